"""The verdict: what a detector says of one face, or why it says nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.equal import own_side_px
from faceauth.intake.rows import NO_FACE, OK, STATUSES, TOO_SMALL, UNREADABLE, ManifestRow
from faceauth.intake.sources.address import split_fragment
from faceauth.labels import FAKE, ID2LABEL

FAKE_LABEL = ID2LABEL[FAKE]

VERDICT_STATUSES = {OK: "the face was judged"} | {
    status: STATUSES[status] for status in (NO_FACE, TOO_SMALL, UNREADABLE)
}

SMALL_FACE, HEAVY_COMPRESSION = "small_face", "heavy_compression"
WARNINGS = {
    SMALL_FACE: "it was enlarged to more than twice its size, and most of what the detector sees is guessed",
    HEAVY_COMPRESSION: "the JPEG was saved with a quality below 40, which wipes out traces",
}
HEAVY_JPEG_QUALITY = 40


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a detector says of one crop.

    Attributes:
        label: `fake` or `real`.
        p_fake: Calibrated, in [0, 1]: at even odds, the probability that the face is fake.
        unsure: Whether the score lies where a face may be either; None if the detector does not know where.
        generator: For a face called fake the nearest known generator, or `unknown`; None for a real one, and
            if the detector knows no generators.
        generator_score: See `faceauth.decisions.attribution.attribute`, in [0, 1]; None without a generator.
    """

    label: str
    p_fake: float
    unsure: bool | None
    generator: str | None = None
    generator_score: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One face of one picture, or one picture without a face that can be judged.

    Attributes:
        path: The picture or video as it was named; None for one that came from memory.
        status: One of `VERDICT_STATUSES`.
        label: `fake` or `real`, as all up to `generator_score` in `Opinion`; all None unless the status is
            `ok`.
        p_fake: Calibrated, in [0, 1].
        unsure: Whether the face may be either.
        generator: Who made a fake.
        generator_score: How sure that is, in [0, 1].
        box: The face as (x1, y1, x2, y2) in pixels of the upright picture, may leave it; None if nobody
            looked for one, or none was found.
        p_face: The face detector's confidence in [0, 1]; None where `box` is.
        frame: Index of the frame in a video; None for pictures.
        timestamp_s: When the video shows it, in seconds from its start; None for pictures.
        reason: Why the status is not `ok`; for `ok`, what a reader should know of the file, mostly empty.
        warnings: Names in `WARNINGS`.
    """

    path: str | None
    status: str
    label: str | None = None
    p_fake: float | None = None
    unsure: bool | None = None
    generator: str | None = None
    generator_score: float | None = None
    box: tuple[float, float, float, float] | None = None
    p_face: float | None = None
    frame: int | None = None
    timestamp_s: float | None = None
    reason: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def is_sure_fake(self) -> bool:
        """True if the face was called fake, and its score does not lie where it may be either."""
        return self.label == FAKE_LABEL and not self.unsure

    def to_json(self) -> dict[str, Any]:
        """Returns the record as `faceauth predict --json` prints it; None is null."""
        document = {name: getattr(self, name) for name in COLUMNS}
        return document | {"box": None if self.box is None else list(self.box), "warnings": [*self.warnings]}


COLUMNS = tuple(field.name for field in fields(Verdict))


def verdict_of(
    row: ManifestRow, opinion: Opinion | None, *, crop: CropSettings, is_searched: bool = True
) -> Verdict:
    """Puts together what is known of a face.

    Args:
        row: What the intake says of it.
        opinion: What the detector says; None where there is no crop.
        crop: How crops are cut.
        is_searched: Whether a face was looked for; if not, the row's box is the whole picture.
    """
    verdict = {} if opinion is None else {field.name: getattr(opinion, field.name) for field in _OPINION}
    return Verdict(
        path=split_fragment(row.image_path)[0] or None,
        status=row.status,
        box=row.box if is_searched else None,
        p_face=row.p_face if is_searched else None,
        frame=row.frame,
        timestamp_s=row.timestamp_s,
        reason=row.reason,
        warnings=tuple(_warnings(row, crop)) if opinion is not None else (),
        **verdict,
    )


def describe_warnings(warnings: Sequence[str]) -> list[str]:
    """Returns warnings as people read them in a table, a few words each."""
    return [name.replace("_", " ") for name in warnings]


_OPINION = fields(Opinion)


def _warnings(row: ManifestRow, crop: CropSettings) -> list[str]:
    found = []
    side_px = own_side_px(row, crop)
    if side_px is not None and side_px < crop.image_size / 2:
        found.append(SMALL_FACE)
    if row.jpeg_quality is not None and row.jpeg_quality < HEAVY_JPEG_QUALITY:
        found.append(HEAVY_COMPRESSION)
    return found

"""The verdict: what a detector says of one face, or of one person of a video, or why it says nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.equal import own_side_px
from faceauth.intake.rows import NO_FACE, OK, STATUSES, TOO_SMALL, UNREADABLE, ManifestRow
from faceauth.intake.sources.address import split_fragment
from faceauth.labels import FAKE, ID2LABEL

FAKE_LABEL = ID2LABEL[FAKE]
# What a record is about.
FACE_KIND, PERSON_KIND = "face", "person"

VERDICT_STATUSES = {OK: "the face was judged"} | {
    status: STATUSES[status] for status in (NO_FACE, TOO_SMALL, UNREADABLE)
}

SMALL_FACE, HEAVY_COMPRESSION = "small_face", "heavy_compression"
OUTSIDE_DOMAIN = "outside_domain"
WARNINGS = {
    SMALL_FACE: "it was enlarged to more than twice its size, and most of what the detector sees is guessed",
    HEAVY_COMPRESSION: "the JPEG was saved with a quality below 40, which wipes out traces",
    OUTSIDE_DOMAIN: "to the detector it is like nothing that it learnt from, where its errors are unknown",
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
        warnings: Names in `WARNINGS` that follow from what the detector sees.
    """

    label: str
    p_fake: float
    unsure: bool | None
    generator: str | None = None
    generator_score: float | None = None
    warnings: tuple[str, ...] = ()


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
        frame: Index of the frame in a video; None for pictures, and for a frame that cannot be read.
        timestamp_s: When the video shows it, in seconds from its start; None for pictures.
        reason: Why the status is not `ok`; for `ok`, what a reader should know of the file, mostly empty.
        warnings: Names in `WARNINGS`.
        person: Number of the face's person within the video, from 1; None for pictures, and unless the status
            is `ok`.
        heatmap: Path of the picture with the heat map; None if none was made.
    """

    kind: ClassVar[str] = FACE_KIND

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
    person: int | None = None
    heatmap: str | None = None

    @property
    def is_sure_fake(self) -> bool:
        """True if the face was called fake, and its score does not lie where it may be either."""
        return self.label == FAKE_LABEL and not self.unsure

    def to_json(self) -> dict[str, Any]:
        """Returns the record as `faceauth predict --json` prints it; None is null."""
        document = {name: getattr(self, name, None) for name in COLUMNS}
        return document | {"box": None if self.box is None else list(self.box), "warnings": [*self.warnings]}


class Moment(NamedTuple):
    """What was said of a person at one time.

    Attributes:
        timestamp_s: When the video shows the face, in seconds from its start.
        frame: Index of the frame.
        p_fake: Calibrated, in [0, 1].
    """

    timestamp_s: float
    frame: int
    p_fake: float


@dataclass(frozen=True, slots=True)
class Person(Verdict):
    """One person of one video: what the verdicts on their faces amount to.

    `frame`, `timestamp_s`, `box` and `p_face` are those of the largest face.

    Attributes:
        n_frames: Frames in which the person's face was judged.
        first_s: When the first of them is shown, in seconds from the start of the video.
        last_s: When the last of them is shown.
        timeline: `p_fake` of each of them, as they are shown; of very many, some at even steps.
    """

    kind: ClassVar[str] = PERSON_KIND
    n_frames: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    timeline: tuple[Moment, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the record as `faceauth predict --json` prints it; None is null."""
        # By name: for its slots the decorator makes the class anew, and super() would look for the old one.
        return Verdict.to_json(self) | {"timeline": [moment._asdict() for moment in self.timeline]}


_OF_PEOPLE = tuple(field.name for field in fields(Person) if field.name not in Verdict.__dataclass_fields__)
# Of a face, what only people have is null.
COLUMNS = (*(field.name for field in fields(Verdict)), "kind", *_OF_PEOPLE)


def verdict_of(
    row: ManifestRow,
    opinion: Opinion | None,
    *,
    crop: CropSettings,
    is_searched: bool = True,
    person: int | None = None,
) -> Verdict:
    """Puts together what is known of a face.

    Args:
        row: What the intake says of it.
        opinion: What the detector says; None where there is no crop.
        crop: How crops are cut.
        is_searched: Whether a face was looked for; if not, the row's box is the whole picture.
        person: Number of the face's person within the video.
    """
    verdict = {} if opinion is None else {name: getattr(opinion, name) for name in _OPINION}
    path, asked_s, _ = split_fragment(row.image_path)
    return Verdict(
        path=path or None,
        status=row.status,
        box=row.box if is_searched else None,
        p_face=row.p_face if is_searched else None,
        frame=row.frame,
        timestamp_s=asked_s if row.timestamp_s is None else row.timestamp_s,
        reason=row.reason,
        warnings=(*_warnings(row, crop), *opinion.warnings) if opinion is not None else (),
        person=person,
        **verdict,
    )


def describe_warnings(warnings: Sequence[str]) -> list[str]:
    """Returns warnings as people read them in a table, a few words each."""
    return [name.replace("_", " ") for name in warnings]


_OPINION = tuple(field.name for field in fields(Opinion) if field.name != "warnings")


def _warnings(row: ManifestRow, crop: CropSettings) -> list[str]:
    found = []
    side_px = own_side_px(row, crop)
    if side_px is not None and side_px < crop.image_size / 2:
        found.append(SMALL_FACE)
    if row.jpeg_quality is not None and row.jpeg_quality < HEAVY_JPEG_QUALITY:
        found.append(HEAVY_COMPRESSION)
    return found

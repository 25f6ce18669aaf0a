"""The row of a manifest: what became of one image that came in."""

import sys
from dataclasses import dataclass, fields

from faceauth.intake.sources.address import split_fragment

OK = "ok"
NO_FACE = "no_face"
TOO_SMALL = "too_small"
UNREADABLE = "unreadable"
DUPLICATE = "duplicate"
LABEL_CONFLICT = "label_conflict"
SURPLUS = "surplus"

STATUSES = {
    OK: "cropped, and in a split",
    NO_FACE: "no face was found with enough certainty",
    TOO_SMALL: "the face, or the image, has too few pixels",
    UNREADABLE: "the file is empty, broken, too large or no image",
    DUPLICATE: "the same bytes as another row of the same class; or a look-alike, where those are dropped",
    LABEL_CONFLICT: "the same bytes are called real in one place and fake in another",
    SURPLUS: "a good crop that was left out so that the sources are balanced, or alike",
}
FAILED_STATUSES = (NO_FACE, TOO_SMALL, UNREADABLE, LABEL_CONFLICT)

_REPEATED = ("folder", "split", "target_class", "status", "format", "jpeg_subsampling")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image on its way from a source to a split. The first six fields are the original spreadsheet's.

    Attributes:
        image_path: Where the image came from, absolute or relative to the manifest's folder.
        destination_path: Where its crop lies, relative to the manifest's folder, with forward slashes;
            empty while there is none.
        folder: The source model: the generator of a fake, the collection of a real.
        split: `train`, `val` or `test`; empty for rows that are in none.
        target_class: `real` or `fake`.
        target: 1 for real, 0 for fake.
        status: One of `STATUSES`.
        reason: Why the status is not `ok`, for people.
        group: Rows of one group (a person, a photo and the fakes made from it, a video) share a split.
        identity: Who is in the picture, as far as it is known; several, such as both people of a face swap,
            are separated by semicolons. Rows that share an identity share a split.
        sha256: Hash of the source file's bytes, 64 hexadecimal digits; empty if it could not be read.
        phash: Perceptual hash of the crop, 64 hexadecimal digits; empty while there is no crop.
        box: The face in the upright source image as (x1, y1, x2, y2) in pixels; may leave the image.
        p_face: The face detector's confidence in [0, 1].
        width: Width of the upright source image in pixels.
        height: Height of the upright source image in pixels.
        format: The source file's format as Pillow names it, such as `JPEG` or `PNG`.
        jpeg_quality: Quality 1 to 100 estimated from the quantisation tables; None if it is no JPEG.
        jpeg_subsampling: How a JPEG's colour is stored, such as `4:2:0`; `4:0:0` is grey; empty if it is no
            JPEG.
        n_bytes: Size of the source file in bytes.
        mean_red: Mean of the crop's red in [0, 255]; None while there is no crop.
        mean_green: Mean of the crop's green in [0, 255].
        mean_blue: Mean of the crop's blue in [0, 255].
        sharpness: Logarithm to base 10 of 1 plus the variance of the Laplacian of the crop's luma.
        frame: Index of the frame in a video; None for images.
        timestamp_s: When the video shows the frame, in seconds from its start; None for images.
    """

    image_path: str
    destination_path: str
    folder: str
    split: str
    target_class: str
    target: int
    status: str = OK
    reason: str = ""
    group: str = ""
    identity: str = ""
    sha256: str = ""
    phash: str = ""
    box: tuple[float, float, float, float] | None = None
    p_face: float | None = None
    width: int | None = None
    height: int | None = None
    format: str = ""
    jpeg_quality: int | None = None
    jpeg_subsampling: str = ""
    n_bytes: int | None = None
    mean_red: float | None = None
    mean_green: float | None = None
    mean_blue: float | None = None
    sharpness: float | None = None
    frame: int | None = None
    timestamp_s: float | None = None

    def __post_init__(self) -> None:
        """Shares the few texts that stand in nearly every row: of a million rows this saves a quarter."""
        for name in _REPEATED:
            object.__setattr__(self, name, sys.intern(getattr(self, name)))

    @property
    def identities(self) -> tuple[str, ...]:
        """The people that the row depends on, each once."""
        return split_identities(self.identity)

    @property
    def video_path(self) -> str:
        """The video that the row is a frame of; empty for images."""
        return "" if self.frame is None else split_fragment(self.image_path)[0]


COLUMNS = tuple(field.name for field in fields(ManifestRow))
ORIGINAL_COLUMNS = COLUMNS[:6]


def split_identities(text: str) -> tuple[str, ...]:
    """Reads a cell that names people, separated by semicolons; each once, in their order."""
    return tuple(dict.fromkeys(name for part in text.split(";") if (name := part.strip())))

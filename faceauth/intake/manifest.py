"""The manifest: one row for each image that came in, whatever became of it.

Two files hold the same rows. `manifest.xlsx` is for people: they may open, filter and correct it.
`manifest.parquet` is for machines: it is read a hundred times faster. Whoever reads a manifest gets the
rows of the one that was changed last, and the log says which.
"""

from dataclasses import dataclass, fields

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
    DUPLICATE: "the same bytes as another row of the same class",
    LABEL_CONFLICT: "the same bytes are called real in one place and fake in another",
    SURPLUS: "a good crop that was left out so that the sources are balanced",
}
FAILED_STATUSES = (NO_FACE, TOO_SMALL, UNREADABLE, LABEL_CONFLICT)


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
        sha256: Hash of the source file's bytes, 64 hexadecimal digits; empty if it could not be read.
        phash: Perceptual hash of the crop, 64 hexadecimal digits; empty while there is no crop.
        box: The face in the upright source image as (x1, y1, x2, y2) in pixels; may leave the image.
        p_face: The face detector's confidence in [0, 1].
        width: Width of the upright source image in pixels.
        height: Height of the upright source image in pixels.
        format: The source file's format as Pillow names it, such as `JPEG` or `PNG`.
        jpeg_quality: Quality 1 to 100 estimated from the quantisation tables; None if it is no JPEG.
        n_bytes: Size of the source file in bytes.
        frame: Index of the frame in a video; None for images.
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
    sha256: str = ""
    phash: str = ""
    box: tuple[float, float, float, float] | None = None
    p_face: float | None = None
    width: int | None = None
    height: int | None = None
    format: str = ""
    jpeg_quality: int | None = None
    n_bytes: int | None = None
    frame: int | None = None


COLUMNS = tuple(field.name for field in fields(ManifestRow))
ORIGINAL_COLUMNS = COLUMNS[:6]

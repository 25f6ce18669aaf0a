"""What the ruler is told: facts of an image's file, and of its crop, that nobody needs to see a face for."""

import io
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image

from faceauth.intake.faces.looks import Look
from faceauth.intake.manifest import ManifestRow
from faceauth.shortcuts.ruler import Facts

# What is known of the file, of the face's place in it, and of how the crop looks as a whole.
FACTS_BY_KIND = {
    "file": (
        "format",
        "jpeg_subsampling",
        "width_px",
        "height_px",
        "aspect_ratio",
        "bytes_per_pixel",
        "jpeg_quality",
    ),
    "face": ("face_center_x", "face_center_y", "face_size"),
    "look": ("mean_red", "mean_green", "mean_blue", "sharpness"),
}
FILE_FACTS = tuple(name for names in FACTS_BY_KIND.values() for name in names)
# Their numbers stand for names.
_NAMED = 2
CROP_FACTS = (
    "mean_red",
    "mean_green",
    "mean_blue",
    "sharpness",
    "png_bytes_per_pixel",
    "jpeg_bytes_per_pixel",
)
JPEG_QUALITY = 75
# Trees take no more kinds of a fact than this; rarer ones count as unknown.
MAX_KINDS = 200


def facts_of_files(rows: Sequence[ManifestRow]) -> Facts:
    """Lists what the manifest knows of each image: its file, where its face lies, and how its crop looks.

    Args:
        rows: Usable rows, n of them.

    Returns:
        The table of `FILE_FACTS`. The face's centre is a share of the image's width and height, its size the
        box's longer side as a share of the image's short side; colours in [0, 255], sharpness as in
        `faceauth.intake.faces.looks`.
    """
    formats = _number_kinds([row.format for row in rows])
    subsamplings = _number_kinds([row.jpeg_subsampling for row in rows])
    values = [
        [formats[row.format], subsamplings[row.jpeg_subsampling], *_measures(row), *_look(row)]
        for row in rows
    ]
    table = np.array(values, dtype=np.float64).reshape(len(rows), len(FILE_FACTS))
    return Facts(FILE_FACTS, table, categorical=tuple(range(_NAMED)))


def facts_of_crop(crop_rgb_uint8: np.ndarray, look: Look) -> list[float]:
    """Measures what is left in a crop's pixels of where they came from, in the order of `CROP_FACTS`.

    Besides colour and sharpness, how many bytes a pixel takes as PNG and as JPEG of quality 75: how much fine
    detail, noise and traces of earlier encodings there are to be stored.

    Args:
        crop_rgb_uint8: A crop, (height, width, 3) uint8.
        look: Its colour and sharpness.
    """
    picture = Image.fromarray(crop_rgb_uint8)
    n_pixels = crop_rgb_uint8.shape[0] * crop_rgb_uint8.shape[1]
    png = _encoded_bytes(picture, "PNG", compress_level=1) / n_pixels
    jpeg = _encoded_bytes(picture, "JPEG", quality=JPEG_QUALITY) / n_pixels
    return [look.mean_red, look.mean_green, look.mean_blue, look.sharpness, png, jpeg]


def _encoded_bytes(picture: Image.Image, image_format: str, **options: int) -> int:
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.tell()


def _number_kinds(names: list[str]) -> dict[str, float]:
    return {
        name: float(number) if number < MAX_KINDS else math.nan
        for number, (name, _) in enumerate(Counter(sorted(names)).most_common())
    }


def _measures(row: ManifestRow) -> list[float]:
    if not row.width or not row.height:
        return [math.nan] * (len(FILE_FACTS) - _NAMED - 4)
    x1, y1, x2, y2 = row.box or (math.nan,) * 4
    return [
        row.width,
        row.height,
        row.width / row.height,
        math.nan if row.n_bytes is None else row.n_bytes / (row.width * row.height),
        math.nan if row.jpeg_quality is None else row.jpeg_quality,
        (x1 + x2) / 2 / row.width,
        (y1 + y2) / 2 / row.height,
        max(x2 - x1, y2 - y1) / min(row.width, row.height),
    ]


def _look(row: ManifestRow) -> list[float]:
    looks = (row.mean_red, row.mean_green, row.mean_blue, row.sharpness)
    return [math.nan if value is None else value for value in looks]

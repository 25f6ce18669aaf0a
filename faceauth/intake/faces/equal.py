"""Brings crops of every source through one chain, so that how they were made no longer tells them apart.

A crop is scaled down to a size and back up, and encoded once as JPEG. Size and quality are drawn from one
distribution for all crops, seeded by the crop's own pixels: the same crop always becomes the same, and
neither class nor source has a say in it.
"""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from faceauth.intake.faces.crop import CropSettings, square_around
from faceauth.intake.rows import ManifestRow

JPEG_SUBSAMPLING = "4:2:0"


@dataclass(frozen=True)
class Chain:
    """From what every crop's treatment is drawn, evenly.

    Attributes:
        side_px: Smallest and largest side, in pixels, to which a crop is scaled down; each crop has at least
            the largest.
        jpeg_quality: Lowest and highest quality of the encoding.
        seed: Another seed draws otherwise.
    """

    side_px: tuple[int, int]
    jpeg_quality: tuple[int, int] = (60, 90)
    seed: int = 0


def own_side_px(row: ManifestRow, crop_settings: CropSettings) -> int | None:
    """Returns how many pixels of the source image lie along a side of a row's crop, at most its size.

    Args:
        row: A row with a crop.
        crop_settings: How it was cut.

    Returns:
        The side in pixels; None if the row does not say where in the image the face was.
    """
    if row.box is None or not row.width or not row.height:
        return None
    left, _, right, _ = square_around(
        row.box, width=row.width, height=row.height, margin_ratio=crop_settings.margin_ratio
    )
    return min(right - left, crop_settings.image_size)


def equalise_crop(crop_rgb_uint8: np.ndarray, chain: Chain) -> np.ndarray:
    """Brings one crop through the chain.

    Args:
        crop_rgb_uint8: A crop, (height, width, 3) uint8.
        chain: From what its treatment is drawn.

    Returns:
        The crop in its size, (height, width, 3) uint8.
    """
    digest = hashlib.sha256(f"{chain.seed}:".encode() + crop_rgb_uint8.tobytes()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    side_px = int(rng.integers(chain.side_px[0], chain.side_px[1], endpoint=True))
    quality = int(rng.integers(chain.jpeg_quality[0], chain.jpeg_quality[1], endpoint=True))
    picture = Image.fromarray(crop_rgb_uint8)
    share = side_px / min(picture.size)
    small = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    # Pillow's bicubic filter widens where it scales down, so that nothing is left to alias.
    scaled = picture.resize(small, Image.Resampling.BICUBIC).resize(picture.size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    scaled.save(buffer, "JPEG", quality=quality, subsampling=JPEG_SUBSAMPLING)
    return np.asarray(Image.open(buffer).convert("RGB"))

"""Cuts a square face crop out of an image: the same code for training, scoring and verdicts."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.fft import dctn


@dataclass(frozen=True)
class CropSettings:
    """How crops are cut; saved with every checkpoint so that verdicts use the same.

    Attributes:
        margin_ratio: Side of the square, as a multiple of the face box's longer side.
        image_size: Side of the finished crop in pixels.
    """

    margin_ratio: float = 1.3
    image_size: int = 256


def square_around(
    box_xyxy: tuple[float, float, float, float], *, width: int, height: int, margin_ratio: float
) -> tuple[int, int, int, int]:
    """Places the square to cut.

    The square is centred on the face. Where it would leave the image it is shifted inside; where it is
    larger than the image it shrinks to the image's short side. So no pixel is ever invented, and nothing
    is stretched: reflected or black borders would be clues of their own.

    Args:
        box_xyxy: Face box (x1, y1, x2, y2) in pixels; may leave the image.
        width: Image width in pixels.
        height: Image height in pixels.
        margin_ratio: Side of the square, as a multiple of the box's longer side.

    Returns:
        The square as whole pixels (x1, y1, x2, y2), inside the image, at least 1 px wide.
    """
    x1, y1, x2, y2 = box_xyxy
    side = max(1, min(round(max(x2 - x1, y2 - y1) * margin_ratio), width, height))
    left = min(max(round((x1 + x2 - side) / 2), 0), width - side)
    top = min(max(round((y1 + y2 - side) / 2), 0), height - side)
    return left, top, left + side, top + side


def crop_face(
    image_rgb_uint8: np.ndarray, box_xyxy: tuple[float, float, float, float], settings: CropSettings
) -> np.ndarray:
    """Cuts and resizes the face once, from native pixels.

    Args:
        image_rgb_uint8: Upright image, (height, width, 3) uint8.
        box_xyxy: Face box in pixels of that image.
        settings: Margin and size.

    Returns:
        The crop, (image_size, image_size, 3) uint8. A square that already has that size is not resampled.
    """
    height, width = image_rgb_uint8.shape[:2]
    x1, y1, x2, y2 = square_around(box_xyxy, width=width, height=height, margin_ratio=settings.margin_ratio)
    square = Image.fromarray(np.ascontiguousarray(image_rgb_uint8[y1:y2, x1:x2]))
    if square.size != (settings.image_size, settings.image_size):
        square = square.resize((settings.image_size, settings.image_size), Image.Resampling.BICUBIC)
    return np.asarray(square)


def perceptual_hash(crop_rgb_uint8: np.ndarray) -> str:
    """Hashes what a crop looks like, so that near-duplicates lie few bits apart.

    The signs, against their median, of the 16 x 16 lowest DCT frequencies of a 64 px grey copy. 256 bits
    rather than the usual 64, because centred faces share their coarsest frequencies.

    Args:
        crop_rgb_uint8: A crop, (height, width, 3) uint8.

    Returns:
        64 hexadecimal digits.
    """
    grey = Image.fromarray(crop_rgb_uint8).convert("L").resize((64, 64), Image.Resampling.BOX)
    frequencies = dctn(np.asarray(grey, dtype=np.float32), norm="ortho")[:16, :16].ravel()
    bits = frequencies > np.median(frequencies[1:])
    return np.packbits(bits).tobytes().hex()

"""What is put in place of a part of a face to see what the detector says without it.

To a network that names objects a grey or blurred region says nothing. To one that looks for fakes it says a
lot: smoothness without grain is what many generators leave. So there are several ways, and
`faceauth.explanations.subject` takes for each face the one that the detector finds least fake.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

# Sizes are shares of the crop's side, so that crops of all sizes lose the same.
BLUR_SHARE = 1 / 64
GRAIN_SHARE = 1 / 256
GRAIN_STD = 20.0


def blurred(crop_rgb_uint8: np.ndarray) -> np.ndarray:
    """Blurs a crop until only its coarse shapes are left: a Gaussian of 1/64 of its side.

    Args:
        crop_rgb_uint8: (height, width, 3) uint8.

    Returns:
        The same shape and type.
    """
    picture = Image.fromarray(crop_rgb_uint8)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(max(picture.size) * BLUR_SHARE)))


def grainy(crop_rgb_uint8: np.ndarray) -> np.ndarray:
    """Blurs a crop and gives it the grain of a camera at high sensitivity: soft grey noise, always the same.

    Args:
        crop_rgb_uint8: (height, width, 3) uint8.

    Returns:
        The same shape and type.
    """
    height, width = crop_rgb_uint8.shape[:2]
    noise = np.random.default_rng(0).normal(128, 32, (height, width)).clip(0, 255).astype(np.uint8)
    soft = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(max(height, width) * GRAIN_SHARE))
    grain = np.asarray(soft, dtype=np.float32) - 128
    grain *= GRAIN_STD / max(float(grain.std()), 1.0)
    return (blurred(crop_rgb_uint8) + grain[:, :, None]).round().clip(0, 255).astype(np.uint8)


def flat(crop_rgb_uint8: np.ndarray) -> np.ndarray:
    """Fills a crop with its mean colour.

    Args:
        crop_rgb_uint8: (height, width, 3) uint8.

    Returns:
        The same shape and type.
    """
    mean = crop_rgb_uint8.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    return np.broadcast_to(mean, crop_rgb_uint8.shape).copy()


STAND_INS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "blurred": blurred,
    "grainy": grainy,
    "flat": flat,
}

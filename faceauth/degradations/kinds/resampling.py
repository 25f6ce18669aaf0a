"""Resampling: what is lost when a picture is made smaller, blurred or sharpened."""

import numpy as np
from PIL import Image, ImageFilter

from faceauth.degradations.degrade import between, degradation, ratio_between

# Radius of the unsharp mask's Gaussian.
SHARPEN_SIGMA_PX = 1.5


def shrink(image_rgb_uint8: np.ndarray, factor: float) -> np.ndarray:
    """Makes (height, width, 3) uint8 smaller by a factor up to 1, with a bicubic filter of matching width."""
    height, width = image_rgb_uint8.shape[:2]
    return resize_to(image_rgb_uint8, max(1, round(height * factor)), max(1, round(width * factor)))


def resize_to(image_rgb_uint8: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes (any, any, 3) uint8 to (height, width, 3) uint8 with a bicubic filter."""
    if image_rgb_uint8.shape[:2] == (height, width):
        return image_rgb_uint8
    return np.asarray(Image.fromarray(image_rgb_uint8).resize((width, height), Image.Resampling.BICUBIC))


def sharpen_edges(image_rgb_uint8: np.ndarray, amount: float, *, sigma_px: float) -> np.ndarray:
    """Adds `amount` times the difference to a Gaussian blur, (height, width, 3) uint8."""
    mask = ImageFilter.UnsharpMask(radius=sigma_px, percent=round(amount * 100), threshold=0)
    return np.asarray(Image.fromarray(image_rgb_uint8).filter(mask))


@degradation("resize", levels=(0.9, 0.75, 0.5, 0.35, 0.25, 0.125), unit="factor", draw=between(0.5, 1.0))
def resize_down_and_up(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Makes the picture smaller by a factor, and large again; both bicubic."""
    height, width = image_rgb_uint8.shape[:2]
    return resize_to(shrink(image_rgb_uint8, level), height, width)


@degradation(
    "downsample", levels=(192, 128, 112, 96, 64, 48), unit="longer side in px", draw=ratio_between(64, 256)
)
def downsample_to_side(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Makes the picture smaller until its longer side has so many pixels, and large again; both bicubic.

    A picture that is no larger stays as it is.
    """
    return resize_down_and_up(image_rgb_uint8, min(1.0, level / max(image_rgb_uint8.shape[:2])), rng)


@degradation("blur", levels=(0.5, 1, 2, 3, 4, 5), unit="sigma in px", draw=between(0.0, 3.0))
def blur_gaussian(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Blurs with a Gaussian; training draws sigmas from 0 to 3 px, as in CNNSpot (arXiv 1912.11035, 4.1)."""
    return np.asarray(Image.fromarray(image_rgb_uint8).filter(ImageFilter.GaussianBlur(level)))


@degradation("sharpen", levels=(0.5, 1, 2, 4), unit="amount", draw=between(0.0, 2.0))
def sharpen(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Adds so many times the difference to a Gaussian blur of sigma 1.5 px (unsharp mask)."""
    return sharpen_edges(image_rgb_uint8, level, sigma_px=SHARPEN_SIGMA_PX)

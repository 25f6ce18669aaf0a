"""Geometry: which part of a picture is left, and which way round."""

import numpy as np

from faceauth.degradations.degrade import always, between, degradation
from faceauth.degradations.kinds.resampling import resize_to


@degradation("flip", levels=(1.0,), unit="mirrored", draw=always(1.0))
def flip(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Mirrors left and right."""
    return image_rgb_uint8[:, ::-1]


@degradation(
    "crop", levels=(0.95, 0.9, 0.8, 0.7, 0.6), unit="share of each side kept", draw=between(0.7, 1.0)
)
def crop(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Cuts out a part, anywhere in the picture, and enlarges it to the old size; bicubic."""
    height, width = image_rgb_uint8.shape[:2]
    kept_height, kept_width = max(1, round(height * level)), max(1, round(width * level))
    top = int(rng.integers(0, height - kept_height + 1))
    left = int(rng.integers(0, width - kept_width + 1))
    return resize_to(image_rgb_uint8[top : top + kept_height, left : left + kept_width], height, width)

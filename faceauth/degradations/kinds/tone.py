"""Tone and colour: what an editor's sliders and a small palette do."""

import numpy as np
from PIL import Image

from faceauth.degradations.degrade import always, degradation, ratio_between, whole_between

_VALUES = np.arange(256, dtype=np.float64)


@degradation(
    "brightness",
    levels=(0.4, 0.6, 0.8, 1.25, 1.6, 2.0),
    unit="factor",
    draw=ratio_between(0.7, 1.4),
    neutral=1,
)
def change_brightness(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplies all values by a factor."""
    return _by_table(image_rgb_uint8, _VALUES * level)


@degradation(
    "contrast", levels=(0.3, 0.5, 0.75, 1.33, 2, 3), unit="factor", draw=ratio_between(0.7, 1.4), neutral=1
)
def change_contrast(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplies the distance of all values from the picture's mean luma by a factor."""
    middle = float(np.asarray(Image.fromarray(image_rgb_uint8).convert("L")).mean())
    return _by_table(image_rgb_uint8, middle + (_VALUES - middle) * level)


@degradation(
    "gamma", levels=(0.4, 0.6, 0.8, 1.25, 1.6, 2.5), unit="exponent", draw=ratio_between(0.7, 1.4), neutral=1
)
def change_gamma(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Raises all values, between 0 and 1, to a power; below 1 the picture becomes lighter."""
    return _by_table(image_rgb_uint8, 255 * (_VALUES / 255) ** level)


@degradation("quantise", levels=(64, 32, 16, 8, 4), unit="values a channel", draw=whole_between(8, 64))
def quantise_colours(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Leaves so many evenly spaced values of each channel, 0 and 255 among them; at least 2."""
    steps = max(2, round(level)) - 1
    return _by_table(image_rgb_uint8, np.rint(_VALUES / 255 * steps) * 255 / steps)


@degradation("greyscale", levels=(0.5, 1.0), unit="share of colour removed", draw=always(1.0))
def remove_colour(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Moves every pixel towards its grey; at 1 three equal channels remain."""
    image = Image.fromarray(image_rgb_uint8)
    return np.asarray(Image.blend(image, image.convert("L").convert("RGB"), level))


def _by_table(image_rgb_uint8: np.ndarray, value_of: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(value_of), 0, 255).astype(np.uint8)[image_rgb_uint8]

"""Smooth random fields and soft edges: the brushes that every part of a portrait is painted with."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatArray = NDArray[np.float32]


def resize_plane(plane: FloatArray, shape: tuple[int, int], *, smooth: bool = True) -> FloatArray:
    """Resamples one plane, with averaging where it shrinks.

    Args:
        plane: float32 (H, W), any range.
        shape: Wanted (height, width).
        smooth: Bicubic if true, else bilinear (which never leaves the range of its input).

    Returns:
        float32 array of the wanted shape.
    """
    kernel = Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(plane).resize((shape[1], shape[0]), kernel))


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], *, cells: tuple[float, float]
) -> FloatArray:
    """Draws a random field whose features are about as large as the given cells.

    Args:
        rng: Source of randomness.
        shape: (height, width) of the field in pixels.
        cells: (height, width) of a cell in pixels; long thin cells give streaks.

    Returns:
        float32 array of that shape, mean about 0, standard deviation below 1.
    """
    coarse = tuple(max(2, round(side / cell) + 1) for side, cell in zip(shape, cells, strict=True))
    return resize_plane(rng.standard_normal(coarse, np.float32), shape)


def smooth_step(values: FloatArray, low: float | FloatArray, high: float | FloatArray) -> FloatArray:
    """Rises from 0 at `low` to 1 at `high` without a kink; `low` may be the larger of the two."""
    ramp = np.clip((values - low) / (high - low), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def blob(x: FloatArray, y: FloatArray, centre: tuple[float, float], size: tuple[float, float]) -> FloatArray:
    """A Gaussian spot of height 1 at a centre, with the given standard deviations."""
    across = (x - np.float32(centre[0])) * np.float32(1 / size[0])
    along = (y - np.float32(centre[1])) * np.float32(1 / size[1])
    return np.exp(-0.5 * (across * across + along * along))


def mix(below: FloatArray, above: FloatArray, cover: FloatArray) -> FloatArray:
    """Lays one picture over another.

    Args:
        below: float32 (3, H, W).
        above: float32 (3, H, W), or a colour from `colour_plane`.
        cover: float32 (H, W) in [0, 1], how much of `above` shows.
    """
    return below + cover * (above - below)


def colour_plane(rgb: tuple[float, float, float]) -> FloatArray:
    """Gives a colour the shape (3, 1, 1), so that it fits any picture."""
    return np.array(rgb, np.float32)[:, None, None]

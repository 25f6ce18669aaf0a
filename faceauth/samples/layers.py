"""What a portrait is put together from: the canvas, and layers that lie one over another on it."""

from dataclasses import dataclass

import numpy as np

from faceauth.samples.noise import FloatArray
from faceauth.samples.people import Shot

# Rows and columns of the whole picture that something covers.
Window = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Canvas:
    """The picture plane, or a window of it, in head units.

    Attributes:
        u: float32 (H, W), to the right of the head's origin.
        v: float32 (H, W), upwards.
        pixel: Size of one pixel in head units.
        window: Where in the whole picture this canvas lies.
    """

    u: FloatArray
    v: FloatArray
    pixel: float
    window: Window

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.u.shape[0], self.u.shape[1])

    def part(self, *, centre: tuple[float, float], reach: tuple[float, float]) -> "Canvas":
        """Cuts out a window, so that small things need not be drawn on the whole picture.

        Args:
            centre: Its middle (u, v) in head units.
            reach: Half its width and half its height in head units.

        Returns:
            A canvas of at least 4 by 4 pixels with even sides, which the head's rays need.
        """
        rows = _even_range(-self.v[:, 0], -centre[1], reach[1])
        columns = _even_range(self.u[0], centre[0], reach[0])
        return Canvas(self.u[rows, columns], self.v[rows, columns], self.pixel, (rows, columns))


@dataclass(frozen=True, slots=True)
class Layer:
    """One thing in the picture, on a window of it.

    Attributes:
        albedo: float32 (3, H, W), the share of light sent back, linear.
        cover: float32 (H, W) in [0, 1], where the thing is.
        depth: float32 (H, W), towards the camera, in head units.
        normal: float32 (3, H, W), unit vectors in camera axes.
        gloss: float32 (H, W), strength of the shine.
        window: Where in the whole picture the layer lies.
    """

    albedo: FloatArray
    cover: FloatArray
    depth: FloatArray
    normal: FloatArray
    gloss: FloatArray
    window: Window


def canvas_of(shot: Shot, side_px: int) -> Canvas:
    """Lays out a square canvas for a shot.

    Args:
        shot: Gives the size and the place of the head.
        side_px: Side of the canvas in pixels.
    """
    pixel = 1 / (shot.head_share * side_px)
    ticks = (np.arange(side_px, dtype=np.float32) + 0.5 - side_px / 2) * np.float32(pixel)
    u, v = np.meshgrid(ticks - np.float32(shot.centre[0]), -ticks - np.float32(shot.centre[1]))
    return Canvas(u, v, pixel, (slice(0, side_px), slice(0, side_px)))


def lay_over(scene: Layer, above: Layer) -> None:
    """Puts a layer on top of what is already there.

    Args:
        scene: The whole picture; changed in place, but for its cover.
        above: What is laid over it.
    """
    cover = above.cover
    for below, new in (
        (scene.albedo, above.albedo),
        (scene.normal, above.normal),
        (scene.depth, above.depth),
        (scene.gloss, above.gloss),
    ):
        part = below[..., *above.window]
        part += cover * (new - part)


def _even_range(ticks: FloatArray, centre: float, reach: float) -> slice:
    """Finds the even range of rising ticks within reach of a centre, kept inside the picture."""
    start = int(np.searchsorted(ticks, centre - reach)) // 2 * 2
    stop = (int(np.searchsorted(ticks, centre + reach)) + 1) // 2 * 2
    start = min(start, len(ticks) - 4)
    return slice(start, min(max(stop, start + 4), len(ticks)))

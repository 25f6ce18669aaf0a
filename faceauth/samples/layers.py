"""What a portrait is put together from: the canvas, and layers that lie one over another on it."""

from dataclasses import dataclass

import numpy as np

from faceauth.samples.noise import FloatArray, mix
from faceauth.samples.people import Shot


@dataclass(frozen=True, slots=True)
class Canvas:
    """The picture plane in head units.

    Attributes:
        u: float32 (H, W), to the right of the head's origin.
        v: float32 (H, W), upwards.
        pixel: Size of one pixel in head units.
    """

    u: FloatArray
    v: FloatArray
    pixel: float

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.u.shape[0], self.u.shape[1])


@dataclass(frozen=True, slots=True)
class Layer:
    """One thing in the picture, on the whole canvas.

    Attributes:
        albedo: float32 (3, H, W), the share of light sent back, linear.
        cover: float32 (H, W) in [0, 1], where the thing is.
        depth: float32 (H, W), towards the camera, in head units.
        normal: float32 (3, H, W), unit vectors in camera axes.
        gloss: float32 (H, W), strength of the shine.
    """

    albedo: FloatArray
    cover: FloatArray
    depth: FloatArray
    normal: FloatArray
    gloss: FloatArray


def canvas_of(shot: Shot, side_px: int) -> Canvas:
    """Lays out a square canvas for a shot.

    Args:
        shot: Gives the size and the place of the head.
        side_px: Side of the canvas in pixels.
    """
    pixel = 1 / (shot.head_share * side_px)
    ticks = (np.arange(side_px, dtype=np.float32) + 0.5 - side_px / 2) * np.float32(pixel)
    u, v = np.meshgrid(ticks - np.float32(shot.centre[0]), -ticks - np.float32(shot.centre[1]))
    return Canvas(u, v, pixel)


def lay_over(below: Layer, above: Layer) -> Layer:
    """Puts a layer on top of what is already there."""
    cover = above.cover
    return Layer(
        albedo=mix(below.albedo, above.albedo, cover),
        cover=below.cover,
        depth=below.depth + cover * (above.depth - below.depth),
        normal=mix(below.normal, above.normal, cover),
        gloss=below.gloss + cover * (above.gloss - below.gloss),
    )

"""What is kept of a face and of its frame, to find the same face again in later frames of a video.

No face recogniser is asked: weights of one do not come with the package. Colours in nine fields of the crop
tell the people of one video apart as far as hair, skin, clothes and what is behind them differ; a small copy
of the frame tells whether the camera still shows the same scene, so that places can be compared.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

_FIELDS = 3
# The edge shows what is behind, which people of one scene have in common.
_LOOK_SIDE_PX, _EDGE_PX = 66, 6
# Of 8 steps each. Hardly a face holds colours farther from grey than these.
_LUMA_STEP, _CHROMA_STEP, _LOWEST_CHROMA = 32, 10, 88
_STEPS = 8
_SCENE_SIZE = (16, 9)
# Of 255 levels of the channel that changed most: noise and compression stay below.
_CHANGED_LEVELS = 16


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What is kept of a face in a frame.

    Attributes:
        looks: float32 (9 * 8 ** 3,), of length 1: the square roots of the shares of pixels, for each of 3 x 3
            fields of the crop and each colour (Y, Cb and Cr in 8 steps).
        scene_rgb_uint8: The frame as (9, 16, 3) uint8.
    """

    looks: np.ndarray
    scene_rgb_uint8: np.ndarray


def glimpse_of(crop_rgb_uint8: np.ndarray, scene_rgb_uint8: np.ndarray) -> Glimpse:
    """Keeps of a face what finds it again.

    Args:
        crop_rgb_uint8: The face's crop, (height, width, 3) uint8.
        scene_rgb_uint8: The frame as `scene_of` made it small.
    """
    small = Image.fromarray(crop_rgb_uint8).resize((_LOOK_SIDE_PX, _LOOK_SIDE_PX), Image.Resampling.BOX)
    ycbcr = np.asarray(small.convert("YCbCr")).astype(np.int32)[_EDGE_PX:-_EDGE_PX, _EDGE_PX:-_EDGE_PX]
    luma = ycbcr[..., 0] // _LUMA_STEP
    blue, red = np.moveaxis(np.clip((ycbcr[..., 1:] - _LOWEST_CHROMA) // _CHROMA_STEP, 0, _STEPS - 1), -1, 0)
    place = np.arange(len(luma)) * _FIELDS // len(luma)
    kind = (((place[:, None] * _FIELDS + place) * _STEPS + luma) * _STEPS + blue) * _STEPS + red
    counts = np.bincount(kind.ravel(), minlength=_FIELDS**2 * _STEPS**3)
    return Glimpse(np.sqrt(counts / luma.size).astype(np.float32), scene_rgb_uint8)


def scene_of(image_rgb_uint8: np.ndarray) -> np.ndarray:
    """Makes an upright frame (height, width, 3) uint8 very small, (9, 16, 3) uint8."""
    image = Image.fromarray(image_rgb_uint8)
    return np.asarray(image.resize(_SCENE_SIZE, Image.Resampling.BOX, reducing_gap=2.0))


def unlikeness(one: Glimpse, other: Glimpse) -> float:
    """Tells how unlike two faces look, from 0 to 1: the squared Hellinger distance of their colours."""
    return float(np.clip(1 - one.looks @ other.looks, 0.0, 1.0))


def share_unchanged(one: Glimpse, other: Glimpse) -> float:
    """Tells which share of the frame is as it was, from 0 to 1."""
    change = np.abs(one.scene_rgb_uint8.astype(np.int16) - other.scene_rgb_uint8).max(axis=-1)
    return float((change < _CHANGED_LEVELS).mean())

"""From crops to the input of a network with NumPy alone, as image processors do it with torch.

Resizing gives torchvision's pixels to the last digit, or in crops that are made less than half as large one
grey level beside it where there is a tie: torch scales uint8 images as Pillow does, along the rows first and
then along the columns, with integer weights and rounding to whole grey levels in between.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Self

import numpy as np

# Pillow's numbers of filters, as preprocessor_config.json has them.
_BILINEAR, _BICUBIC = 2, 3
_SUPPORT = {_BILINEAR: 1.0, _BICUBIC: 2.0}
_BICUBIC_A = -0.5
# Weights are 16-bit integers.
_MOST_BITS, _WEIGHT_LIMIT = 22, 1 << 15
_MAX_SIDE_PX = 4096
_KNOWN_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}


@dataclass(frozen=True)
class PixelRecipe:
    """How crops become the input of a network.

    Attributes:
        height_px: Height that crops are scaled to.
        width_px: Width that they are scaled to.
        resample: Pillow's number of the filter: 2 for bilinear, 3 for bicubic.
        crop_px: Side of the square that is cut out of the middle then; None for all of it.
        scale: What pixels of 0 to 255 are multiplied by.
        mean: Subtracted from each channel after that, RGB.
        std: What each channel is divided by then, RGB.
    """

    height_px: int
    width_px: int
    resample: int
    crop_px: int | None
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        sides = (self.height_px, self.width_px, *([] if self.crop_px is None else [self.crop_px]))
        if any(type(side) is not int or not 1 <= side <= _MAX_SIDE_PX for side in sides):
            raise ValueError(f"sides of {sides} px are out of range")
        if self.crop_px is not None and self.crop_px > min(self.height_px, self.width_px):
            raise ValueError(f"{self.crop_px} px cannot be cut out of {self.height_px} x {self.width_px} px")
        numbers = (self.scale, *self.mean, *self.std)
        if self.resample not in _SUPPORT or len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError("the filter, the mean or the spread of the channels is unknown")
        if not np.isfinite(numbers).all() or self.scale <= 0 or min(self.std) <= 0:
            raise ValueError(f"{numbers} are out of range")

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Returns what `to_json` gave.

        Raises:
            ValueError, TypeError: It was damaged.
        """
        return cls(**{**facts, "mean": tuple(facts["mean"]), "std": tuple(facts["std"])})

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as a JSON object."""
        return asdict(self)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the network's input."""
        return 3, self.crop_px or self.height_px, self.crop_px or self.width_px

    @property
    def corner(self) -> tuple[int, int]:
        """Top and left of the square that is cut out of the middle, in pixels."""
        side = self.crop_px or min(self.height_px, self.width_px)
        # torchvision's `center_crop` rounds halves to even.
        return round((self.height_px - side) / 2), round((self.width_px - side) / 2)

    @property
    def normalisation(self) -> tuple[np.ndarray, np.ndarray]:
        """What grey levels are lessened by, and divided by then: (3, 1, 1) float32 each."""
        mean, std = (np.array(of, np.float32).reshape(3, 1, 1) for of in (self.mean, self.std))
        return mean / np.float32(self.scale), std / np.float32(self.scale)

    def __call__(self, crops_rgb_uint8: np.ndarray) -> np.ndarray:
        """Prepares crops.

        Args:
            crops_rgb_uint8: (n, height, width, 3) uint8.

        Returns:
            (n, 3, input height, input width) float32.
        """
        images = np.ascontiguousarray(crops_rgb_uint8.transpose(0, 3, 1, 2), dtype=np.float32)
        *_, height, width = images.shape
        if width != self.width_px:
            weights, bits = scaling_weights(width, self.width_px, self.resample)
            images = _grey_levels(images @ weights, bits)
        if height != self.height_px:
            weights, bits = scaling_weights(height, self.height_px, self.resample)
            images = _grey_levels(weights.T @ images, bits)
        if self.crop_px is not None:
            top, left = self.corner
            images = images[:, :, top : top + self.crop_px, left : left + self.crop_px]
        mean, std = self.normalisation
        return np.ascontiguousarray((images - mean) / std)


def read_pixel_recipe(facts: Mapping[str, Any]) -> PixelRecipe | None:
    """Reads a `preprocessor_config.json`.

    Args:
        facts: What it holds.

    Returns:
        The recipe for square crops; None if the processor does something that is not known here.
    """
    steps = {name for name, value in facts.items() if name.startswith("do_") and value}
    size: Mapping[str, Any] = facts.get("size") or {}
    side: Any = size.get("shortest_edge")
    height, width = size.get("height", side), size.get("width", side)
    if steps - _KNOWN_STEPS or "do_resize" not in steps:
        return None
    crop = facts.get("crop_size") or {}
    is_cut = "do_center_crop" in steps
    if is_cut and crop.get("height") != crop.get("width"):
        return None
    is_normalised = "do_normalize" in steps
    try:
        return PixelRecipe(
            height_px=height,
            width_px=width,
            resample=facts["resample"],
            crop_px=crop["height"] if is_cut else None,
            scale=float(facts.get("rescale_factor", 1 / 255)) if "do_rescale" in steps else 1.0,
            mean=tuple(facts["image_mean"]) if is_normalised else (0.0, 0.0, 0.0),
            std=tuple(facts["image_std"]) if is_normalised else (1.0, 1.0, 1.0),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _grey_levels(sums: np.ndarray, bits: int) -> np.ndarray:
    """Rounds sums of weighted levels, in place; in float32 they are exact up to rounding of a tie."""
    sums += np.float32(1 << (bits - 1))
    sums *= np.float32(1 / (1 << bits))
    np.floor(sums, out=sums)
    return np.clip(sums, 0.0, 255.0, out=sums)


@cache
def scaling_weights(old: int, new: int, resample: int) -> tuple[np.ndarray, int]:
    """Returns the integer weights of a scaling as (old, new) float32, and how many bits one stands for.

    After Pillow's `Resample.c`, which torch follows for uint8 images.
    """
    scale = old / new
    stretch = max(scale, 1.0)
    support = _SUPPORT[resample] * stretch
    table = np.zeros((old, new))
    for place in range(new):
        centre = scale * (place + 0.5)
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), old)
        of_place = _filter((np.arange(first, last) - centre + 0.5) / stretch, resample)
        table[first:last, place] = of_place / of_place.sum()
    bits = 0
    while bits < _MOST_BITS and int(0.5 + table.max() * (1 << (bits + 1))) < _WEIGHT_LIMIT:
        bits += 1
    rounded = np.trunc(table * (1 << bits) + np.copysign(0.5, table))
    return rounded.astype(np.float32), bits


def _filter(x: np.ndarray, resample: int) -> np.ndarray:
    """Returns the height of a filter at distances x from its centre, in pixels."""
    x = np.abs(x)
    if resample == _BILINEAR:
        return np.maximum(1.0 - x, 0.0)
    a = _BICUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))

"""Degradations: one list, for augmentation while training and for measuring robustness.

A degradation is a function of a picture, a level and a source of chance. Robustness goes through its grid of
levels; training draws a level from its range.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from faceauth.errors import InputError
from faceauth.registry import Registry

ApplyFunction = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
DrawFunction = Callable[[np.random.Generator], float]


def _nothing_needed() -> None:
    """Most degradations need nothing that may be missing."""


@dataclass(frozen=True)
class Degradation:
    """Something that happens to pictures, weakly or strongly.

    Attributes:
        apply: From an image (height, width, 3) uint8, a level and a source of chance to an image of the same
            shape. The image is not changed in place.
        levels: The grid for robustness, from mild to strong; or from low to high, if there is a `neutral`
            level between them.
        unit: What a level counts, such as `JPEG quality`.
        draw: From a source of chance to a level, for augmentation.
        neutral: The level at which nothing happens, where the grid lies on both sides of it; else None.
        check: Raises MissingExtraError if an optional package is needed and not installed.
    """

    apply: ApplyFunction
    levels: tuple[float, ...]
    unit: str
    draw: DrawFunction
    neutral: float | None = None
    check: Callable[[], None] = _nothing_needed

    def __post_init__(self) -> None:
        """Takes the place of its function: a part is found in the file that registers it."""
        object.__setattr__(self, "__module__", self.apply.__module__)

    def clean_place(self, levels: Sequence[float]) -> int:
        """Returns how many of some levels come before the clean picture: none without a `neutral` level."""
        return 0 if self.neutral is None else sum(level < self.neutral for level in levels)


DEGRADATIONS: Registry[Degradation] = Registry("degradation", "faceauth.degradations.kinds")


def degradation(
    name: str,
    *,
    levels: tuple[float, ...],
    unit: str,
    draw: DrawFunction,
    neutral: float | None = None,
    check: Callable[[], None] = _nothing_needed,
) -> Callable[[ApplyFunction], ApplyFunction]:
    """Returns a decorator that files a function under a name; see `Degradation` for the arguments."""

    def file_under_name(apply: ApplyFunction) -> ApplyFunction:
        DEGRADATIONS.register(name)(Degradation(apply, levels, unit, draw, neutral, check))
        return apply

    return file_under_name


def between(low: float, high: float) -> DrawFunction:
    """Draws levels from `low` to `high`, each as likely as the next."""
    return lambda rng: float(rng.uniform(low, high))


def whole_between(low: int, high: int) -> DrawFunction:
    """Draws whole numbers from `low` to `high`, both included."""
    return lambda rng: float(rng.integers(low, high + 1))


def ratio_between(low: float, high: float) -> DrawFunction:
    """Draws levels from `low` to `high`, each doubling as likely as the next."""
    return lambda rng: float(np.exp(rng.uniform(np.log(low), np.log(high))))


def always(level: float) -> DrawFunction:
    """Draws nothing: the level is always the same."""
    return lambda rng: level


@dataclass(frozen=True)
class AtLevel:
    """One degradation at one level, as a function of the picture alone.

    Chance depends on the seed and on the picture's pixels: the same picture gets the same noise in every
    order, batch and process. It does not depend on the level: what differs along a curve is the level alone.

    Attributes:
        name: A name in `DEGRADATIONS`.
        level: How much.
        seed: Of what is drawn.
    """

    name: str
    level: float
    seed: int = 0

    def __call__(self, image_rgb_uint8: np.ndarray) -> np.ndarray:
        """Degrades an image (height, width, 3) uint8; see `degrade` for what it raises."""
        image_rgb_uint8 = np.ascontiguousarray(image_rgb_uint8)
        rng = np.random.default_rng([self.seed, zlib.crc32(image_rgb_uint8.data)])
        return _applied(self.name, image_rgb_uint8, self.level, rng)


def degrade(image_rgb_uint8: np.ndarray, chances: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """Applies degradations one after the other, each with its chance and a level that is drawn.

    Args:
        image_rgb_uint8: (height, width, 3) uint8.
        chances: Registered names with probabilities in [0, 1], in the order of application.
        rng: The only source of chance.

    Returns:
        An image of the same shape.

    Raises:
        UnknownNameError: A name is not registered.
        MissingExtraError: A degradation needs a package that is not installed.
        InputError: A degradation changed the image's shape, which would break the batch.
    """
    for name, chance in chances.items():
        part = DEGRADATIONS.get(name)
        if rng.random() < chance:
            image_rgb_uint8 = _applied(name, np.ascontiguousarray(image_rgb_uint8), part.draw(rng), rng)
    return np.ascontiguousarray(image_rgb_uint8)


def _applied(name: str, image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    degraded = DEGRADATIONS.get(name).apply(image_rgb_uint8, level, rng)
    if degraded.shape != image_rgb_uint8.shape:
        raise InputError(
            f"Degradation '{name}' turned {image_rgb_uint8.shape} into {degraded.shape}.",
            "It must keep the shape.",
        )
    return degraded

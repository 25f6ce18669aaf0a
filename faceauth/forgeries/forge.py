"""Forgeries: one list of ways to make a fake from a real crop.

A forgery is a function of a portrait, perhaps of a second person, and of a source of chance. It needs no
weights and no generator: what it leaves in a picture is what generators and face swaps leave there too, such
as seams, traces of upsampling and a second history of compression.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from faceauth.errors import InputError
from faceauth.registry import Registry

SMALLEST_SIDE_PX = 32
N_LANDMARKS = 5


@dataclass(frozen=True)
class Portrait:
    """A crop with one face.

    Attributes:
        crop_rgb_uint8: (height, width, 3) uint8.
        landmarks: Eyes, nose and corners of the mouth, left before right as the picture shows them, (5, 2)
            float32 as (x, y) in pixels; None if they are not known.
    """

    crop_rgb_uint8: np.ndarray
    landmarks: np.ndarray | None = None

    @property
    def known_landmarks(self) -> np.ndarray:
        """The landmarks, where a forgery cannot do without.

        Raises:
            InputError: They are not known.
        """
        if self.landmarks is None:
            raise InputError(
                "The landmarks of this crop are not known, and the forgery needs them.",
                "Give landmarks=, (5, 2) as (x, y) in pixels: eyes, nose, corners of the mouth.",
            )
        return self.landmarks


ApplyFunction = Callable[[Portrait, Portrait | None, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Forgery:
    """A way to make a fake.

    Attributes:
        apply: From a portrait, a second person's (None where none is needed) and a source of chance to a crop
            (height, width, 3) uint8 of the portrait's shape. Nothing is changed in place.
        needs_landmarks: True if the portrait's landmarks must be known, and the other's too.
        needs_other: True if a second person is needed.
    """

    apply: ApplyFunction
    needs_landmarks: bool = False
    needs_other: bool = False

    def __post_init__(self) -> None:
        """Takes the place of its function: a part is found in the file that registers it."""
        object.__setattr__(self, "__module__", self.apply.__module__)


FORGERIES: Registry[Forgery] = Registry("forgery", "faceauth.forgeries.kinds")


def forgery(
    name: str, *, needs_landmarks: bool = False, needs_other: bool = False
) -> Callable[[ApplyFunction], ApplyFunction]:
    """Returns a decorator that files a function under a name; see `Forgery` for the arguments."""

    def file_under_name(apply: ApplyFunction) -> ApplyFunction:
        FORGERIES.register(name)(Forgery(apply, needs_landmarks, needs_other))
        return apply

    return file_under_name


def forge_crop(
    crop_rgb_uint8: np.ndarray,
    method: str,
    rng: np.random.Generator,
    *,
    landmarks: np.ndarray | None = None,
    other: Portrait | None = None,
) -> np.ndarray:
    """Makes a fake of a real crop.

    Args:
        crop_rgb_uint8: (height, width, 3) uint8, each side at least 32 px. It is not changed.
        method: A name in `FORGERIES`.
        rng: The only source of chance.
        landmarks: Eyes, nose and corners of the mouth, (5, 2) as (x, y) in pixels; for those that need them.
        other: Another person's portrait, with its landmarks; for those that need one.

    Returns:
        The fake, (height, width, 3) uint8.

    Raises:
        UnknownNameError: There is no such forgery.
        InputError: The crop is no such array, or landmarks or a second person are missing.
    """
    part = FORGERIES.get(method)
    portrait = _checked(Portrait(crop_rgb_uint8, landmarks), needs_landmarks=part.needs_landmarks)
    if part.needs_other:
        if other is None:
            raise InputError(f"The forgery '{method}' needs a second person.", "Give other=Portrait(...).")
        other = _checked(other, needs_landmarks=part.needs_landmarks)
    forged = part.apply(portrait, other, rng)
    if forged.shape != crop_rgb_uint8.shape or forged.dtype != np.uint8:
        raise InputError(
            f"The forgery '{method}' turned {crop_rgb_uint8.shape} uint8 into {forged.shape} {forged.dtype}.",
            "It must keep both.",
        )
    return np.ascontiguousarray(forged)


def rng_of(sha256: str, method: str, *, seed: int, number: int = 0) -> np.random.Generator:
    """Returns the source of chance of one forgery: it depends on nothing but these.

    Args:
        sha256: Hash of what is forged.
        method: A name in `FORGERIES`.
        seed: Another seed draws otherwise.
        number: The first, second ... forgery of one crop by one method.
    """
    digest = hashlib.sha256(f"{seed}:{method}:{number}:{sha256}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _checked(portrait: Portrait, *, needs_landmarks: bool) -> Portrait:
    crop = portrait.crop_rgb_uint8
    if (
        crop.dtype != np.uint8
        or crop.ndim != 3
        or crop.shape[2] != 3
        or min(crop.shape[:2]) < SMALLEST_SIDE_PX
    ):
        raise InputError(
            f"A crop of shape {crop.shape} and type {crop.dtype} cannot be forged.",
            f"Give (height, width, 3) uint8 of at least {SMALLEST_SIDE_PX} px a side.",
        )
    if needs_landmarks:
        landmarks = np.asarray(portrait.known_landmarks, dtype=np.float32)
        if landmarks.shape != (N_LANDMARKS, 2) or not np.isfinite(landmarks).all():
            raise InputError(
                f"Landmarks of shape {landmarks.shape} cannot be used.",
                "Give (5, 2) finite numbers: eyes, nose, corners of the mouth.",
            )
        return Portrait(crop, landmarks)
    return portrait

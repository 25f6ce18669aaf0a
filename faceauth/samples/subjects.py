"""What a simulated generator gets to work on, and the registry that generators file themselves in."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from faceauth.registry import Registry
from faceauth.samples.camera import CameraSettings
from faceauth.samples.noise import FloatArray
from faceauth.samples.people import Identity, Shot
from faceauth.samples.portraits import Portrait


@dataclass(frozen=True, slots=True)
class Subject:
    """A person on an occasion, and the photograph that a camera took of it.

    Attributes:
        identity: Who.
        shot: The occasion.
        portrait: The scene, with landmarks.
        camera: The settings of the camera.
        photograph_srgb: float32 (side, side, 3), sRGB values in [0, 1].
    """

    identity: Identity
    shot: Shot
    portrait: Portrait
    camera: CameraSettings
    photograph_srgb: FloatArray


# A generator turns a subject into a fake picture, float32 (side, side, 3), sRGB values around [0, 1].
Generator = Callable[[Subject, np.random.Generator], FloatArray]

SIMULATED_GENERATORS: Registry[Generator] = Registry("simulated generator", "faceauth.samples.generators")

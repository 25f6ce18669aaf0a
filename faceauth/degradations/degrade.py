"""Degradations: one list, for augmentation while training and for measuring robustness."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from faceauth.errors import InputError
from faceauth.registry import Registry

Degradation = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# Each takes an image (height, width, 3) uint8 and a source of chance, and returns one of the same shape.
DEGRADATIONS: Registry[Degradation] = Registry("degradation", package="faceauth.degradations.degrade")


@DEGRADATIONS.register("flip")
def flip(image_rgb_uint8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrors left and right."""
    return image_rgb_uint8[:, ::-1]


@DEGRADATIONS.register("jpeg")
def jpeg(image_rgb_uint8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Saves as JPEG of a quality drawn from 30 to 100, as in CNNSpot (arXiv 1912.11035, section 4.1)."""
    buffer = io.BytesIO()
    Image.fromarray(image_rgb_uint8).save(buffer, format="JPEG", quality=int(rng.integers(30, 101)))
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))


@DEGRADATIONS.register("blur")
def blur(image_rgb_uint8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurs with a Gaussian of sigma drawn from 0 to 3 px, as in CNNSpot (arXiv 1912.11035, section 4.1)."""
    blurred = Image.fromarray(image_rgb_uint8).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 3.0))))
    return np.asarray(blurred)


@DEGRADATIONS.register("resize")
def resize(image_rgb_uint8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Makes the image smaller by a factor drawn from 0.5 to 1, and large again."""
    height, width = image_rgb_uint8.shape[:2]
    factor = float(rng.uniform(0.5, 1.0))
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = Image.fromarray(image_rgb_uint8).resize(small, Image.Resampling.BICUBIC)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


@DEGRADATIONS.register("greyscale")
def greyscale(image_rgb_uint8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Removes colour; three equal channels remain."""
    return np.asarray(Image.fromarray(image_rgb_uint8).convert("L").convert("RGB"))


def degrade(image_rgb_uint8: np.ndarray, chances: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """Applies degradations one after the other, each with its chance.

    Args:
        image_rgb_uint8: (height, width, 3) uint8.
        chances: Registered names with probabilities in [0, 1], in the order of application.
        rng: The only source of chance.

    Returns:
        An image of the same shape.

    Raises:
        UnknownNameError: A name is not registered.
        InputError: A degradation changed the image's shape, which would break the batch.
    """
    shape = image_rgb_uint8.shape
    for name, chance in chances.items():
        function = DEGRADATIONS.get(name)
        if rng.random() < chance:
            image_rgb_uint8 = function(np.ascontiguousarray(image_rgb_uint8), rng)
            if image_rgb_uint8.shape != shape:
                raise InputError(f"Degradation '{name}' turned {shape} into {image_rgb_uint8.shape}.")
    return np.ascontiguousarray(image_rgb_uint8)

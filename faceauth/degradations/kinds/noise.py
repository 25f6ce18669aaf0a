"""Noise of sensors."""

import numpy as np

from faceauth.degradations.degrade import between, degradation, ratio_between


@degradation(
    "gaussian_noise", levels=(2, 5, 10, 15, 25, 40), unit="sigma in 8-bit steps", draw=between(0.0, 15.0)
)
def add_gaussian_noise(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise to each value of each channel, rounds, and cuts off at 0 and 255."""
    noise = rng.standard_normal(image_rgb_uint8.shape, dtype=np.float32) * np.float32(level)
    return np.clip(np.rint(image_rgb_uint8 + noise), 0, 255).astype(np.uint8)


@degradation(
    "shot_noise", levels=(3000, 1000, 300, 100, 30), unit="photons at white", draw=ratio_between(300, 10000)
)
def count_photons(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Lets each value be a Poisson count of photons, in linear light; white stands for `level` of them."""
    photons = rng.poisson(_LINEAR_OF_SRGB[image_rgb_uint8] * level)
    return _srgb_of_linear(photons / level)


def _srgb_of_linear(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(srgb * 255).astype(np.uint8)


def _linear_of_srgb(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


# Light in [0, 1] of each 8-bit value, by the sRGB curve (IEC 61966-2-1), float64 (256,).
_LINEAR_OF_SRGB = _linear_of_srgb(np.arange(256) / 255)

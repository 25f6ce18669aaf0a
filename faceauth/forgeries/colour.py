"""Colours: small changes of tone, and one region given the colours of another."""

import numpy as np

# sRGB (IEC 61966-2-1) to XYZ under D65, and that white.
_XYZ_OF_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE_XYZ = _XYZ_OF_RGB.sum(axis=1)
_RGB_OF_XYZ = np.linalg.inv(_XYZ_OF_RGB)
_LUMA_OF_RGB = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# CIE 15: below this share of white the cube root is a straight line.
_LINEAR_BELOW = (6 / 29) ** 3
_SMALLEST_SPREAD = 1.0
_TONE_CHANCE = 0.4
_SPREAD_RATIOS = (0.7, 1.4)

_LINEAR_OF_LEVEL = np.where(
    np.arange(256) <= 0.04045 * 255,
    np.arange(256) / 255 / 12.92,
    ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4,
).astype(np.float32)


def lab_of(image_rgb_uint8: np.ndarray) -> np.ndarray:
    """Turns sRGB (..., 3) uint8 into CIE L*a*b*, (..., 3) float32; L* in [0, 100]."""
    xyz = _LINEAR_OF_LEVEL[image_rgb_uint8] @ (_XYZ_OF_RGB / _WHITE_XYZ[:, None]).T.astype(np.float32)
    root = np.where(xyz > _LINEAR_BELOW, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def rgb_of(image_lab: np.ndarray) -> np.ndarray:
    """Turns CIE L*a*b* (..., 3) into sRGB, (..., 3) float32 in [0, 255]; what lies outside is cut off."""
    lightness, a, b = np.moveaxis(image_lab.astype(np.float32), -1, 0)
    y = (lightness + 16) / 116
    root = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29))
    linear = np.clip(xyz @ (_RGB_OF_XYZ * _WHITE_XYZ).T.astype(np.float32), 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def match_colours(source_rgb_uint8: np.ndarray, target_rgb_uint8: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Gives a source the mean and spread of a target's colours (Reinhard et al. 2001, IEEE CG&A 21(5)).

    Args:
        source_rgb_uint8: (height, width, 3) uint8.
        target_rgb_uint8: (height, width, 3) uint8.
        mask: Which pixels of both count, and how much, (height, width); not all 0.

    Returns:
        The source, (height, width, 3) float32 in [0, 255].
    """
    source, target = lab_of(source_rgb_uint8), lab_of(target_rgb_uint8)
    mean_source, spread_source = _moments(source, mask)
    mean_target, spread_target = _moments(target, mask)
    ratio = np.clip((spread_target + _SMALLEST_SPREAD) / (spread_source + _SMALLEST_SPREAD), *_SPREAD_RATIOS)
    return rgb_of((source - mean_source) * ratio + mean_target)


def shift_tone(image_rgb_uint8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes the tone of a picture a little: each of three changes with a chance, its strength drawn evenly.

    A shift of each channel by up to 15 levels; hue by up to 0.1 radians about the grey axis, and saturation
    by up to a quarter; brightness and contrast by up to a tenth. Such transforms are those of
    arXiv 2204.08376, 3.1; the chances and ranges are ours.

    Args:
        image_rgb_uint8: (height, width, 3) uint8.
        rng: The source of chance.

    Returns:
        (height, width, 3) float32 in [0, 255].
    """
    image = image_rgb_uint8.astype(np.float32)
    if rng.random() < _TONE_CHANCE:
        image = image + rng.uniform(-15, 15, 3).astype(np.float32)
    if rng.random() < _TONE_CHANCE:
        grey = (image @ _LUMA_OF_RGB)[..., None]
        saturated = (image - grey) * np.float32(rng.uniform(0.75, 1.25))
        image = grey + saturated @ _rotation_about_grey(rng.uniform(-0.1, 0.1)).T
    if rng.random() < _TONE_CHANCE:
        mean = image.mean()
        image = (
            (image - mean) * np.float32(rng.uniform(0.9, 1.1))
            + mean
            + 255 * np.float32(rng.uniform(-0.1, 0.1))
        )
    return np.clip(image, 0, 255)


def _rotation_about_grey(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    third, root = (1 - cos) / 3, np.sqrt(1 / 3) * sin
    return np.array(
        [
            [cos + third, third - root, third + root],
            [third + root, cos + third, third - root],
            [third - root, third + root, cos + third],
        ],
        dtype=np.float32,
    )


def _moments(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share = (mask / mask.sum())[..., None]
    mean = (share * image).sum(axis=(0, 1))
    return mean, np.sqrt((share * (image - mean) ** 2).sum(axis=(0, 1)))

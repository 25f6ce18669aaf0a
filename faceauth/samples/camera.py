"""A simulated camera: lens, Bayer mosaic, sensor noise, demosaicing, white balance, tone curve.

It leaves what a photograph is known by: noise that depends on the light and is correlated between
neighbours and channels by the demosaicing, and a spectrum that falls off with the lens. The order of the
steps follows the usual raw pipeline (Brooks et al., "Unprocessing Images for Learned Raw Denoising",
arXiv 1811.11127, section 3).
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from faceauth.samples.noise import FloatArray
from faceauth.samples.portraits import Portrait

_EXPOSED_FACE = 0.20


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What a camera is set to for one picture.

    Attributes:
        lens_blur_px: Standard deviation of the lens's point spread function, in picture pixels.
        exposure: Factor on the automatic exposure.
        gains_rgb: White balance, the factor by which each raw channel is raised.
        bayer_row: 0 or 1; row of the first red pixel.
        bayer_column: 0 or 1; column of the first red pixel.
        shot_noise: Variance of a raw value for each unit of light.
        read_noise: Standard deviation of a raw value in the dark.
        contrast: Strength of the tone curve's S, 0 for none.
        saturation: Factor on the distance of a colour from grey.
        sharpening: Strength of the unsharp mask that every camera applies.
    """

    lens_blur_px: float
    exposure: float
    gains_rgb: tuple[float, float, float]
    bayer_row: int
    bayer_column: int
    shot_noise: float
    read_noise: float
    contrast: float
    saturation: float
    sharpening: float


def draw_camera_settings(rng: np.random.Generator) -> CameraSettings:
    """Draws the settings of a picture; one law for real and fake pictures alike."""
    return CameraSettings(
        lens_blur_px=rng.uniform(0.40, 0.60),
        exposure=float(np.exp(rng.normal(0, 0.15))),
        gains_rgb=(rng.uniform(1.6, 2.2), 1.0, rng.uniform(1.4, 2.0)),
        bayer_row=int(rng.integers(2)),
        bayer_column=int(rng.integers(2)),
        shot_noise=float(np.exp(rng.uniform(np.log(3e-4), np.log(9e-4)))),
        read_noise=rng.uniform(0.0015, 0.004),
        contrast=rng.uniform(0.0, 0.35),
        saturation=rng.uniform(0.9, 1.15),
        sharpening=rng.uniform(0.3, 0.6),
    )


def take_photograph(portrait: Portrait, settings: CameraSettings, rng: np.random.Generator) -> FloatArray:
    """Takes a picture of a scene.

    Args:
        portrait: The scene.
        settings: The camera's settings.
        rng: Source of the sensor's noise.

    Returns:
        float32 (side_px, side_px, 3), sRGB values in [0, 1], not yet rounded.
    """
    light = _through_lens(portrait, settings.lens_blur_px)
    face = portrait.inner_face > 0.5
    level = float(np.mean(light[face])) if face.any() else float(np.mean(light))
    # Automatic exposure goes most of the way, so that dark skin stays darker than light skin.
    light = light * np.float32(settings.exposure * (_EXPOSED_FACE / max(level, 1e-3)) ** 0.7 * 0.9)
    raw = _bayer_mosaic((light / np.array(settings.gains_rgb)).astype(np.float32), settings)
    deviation = np.sqrt(settings.shot_noise * np.maximum(raw, 0) + settings.read_noise**2)
    raw = np.clip(raw + deviation * rng.standard_normal(raw.shape, np.float32), 0, 1)
    raw = raw * _gain_mosaic(raw.shape[0], settings)
    return _develop(demosaic(raw, settings.bayer_row, settings.bayer_column), settings)


def demosaic(raw: FloatArray, red_row: int, red_column: int) -> FloatArray:
    """Fills in the two missing colours of each pixel of a Bayer mosaic.

    The linear filters of Malvar, He and Cutler, "High-quality linear interpolation for demosaicing of
    Bayer-patterned color images", ICASSP 2004, figure 2: bilinear interpolation corrected by the Laplacian
    of the colour that was measured.

    Args:
        raw: float32 (H, W), one measured colour a pixel.
        red_row: 0 or 1, row of the first red pixel.
        red_column: 0 or 1, column of the first red pixel.

    Returns:
        float32 (H, W, 3), linear camera RGB.
    """
    height, width = raw.shape
    padded = np.pad(raw, 2, mode="reflect")

    def at(down: int, right: int) -> FloatArray:
        return padded[2 + down : 2 + down + height, 2 + right : 2 + right + width]

    near_rows, near_columns = at(-1, 0) + at(1, 0), at(0, -1) + at(0, 1)
    far_rows, far_columns = at(-2, 0) + at(2, 0), at(0, -2) + at(0, 2)
    diagonal = at(-1, -1) + at(-1, 1) + at(1, -1) + at(1, 1)
    green = (4 * raw + 2 * (near_rows + near_columns) - far_rows - far_columns) / 8
    along_row = (5 * raw + 4 * near_columns - diagonal - far_columns + 0.5 * far_rows) / 8
    along_column = (5 * raw + 4 * near_rows - diagonal - far_rows + 0.5 * far_columns) / 8
    across = (6 * raw + 2 * diagonal - 1.5 * (far_rows + far_columns)) / 8

    rows = (np.arange(height) + red_row) % 2 == 0
    columns = (np.arange(width) + red_column) % 2 == 0
    red = rows[:, None] & columns[None, :]
    blue = ~rows[:, None] & ~columns[None, :]
    green_in_red_row = rows[:, None] & ~columns[None, :]
    green_in_blue_row = ~rows[:, None] & columns[None, :]
    return np.stack(
        [
            np.select([red, green_in_red_row, green_in_blue_row], [raw, along_row, along_column], across),
            np.where(red | blue, green, raw),
            np.select([blue, green_in_blue_row, green_in_red_row], [raw, along_row, along_column], across),
        ],
        axis=-1,
    ).astype(np.float32)


def _through_lens(portrait: Portrait, blur_px: float) -> FloatArray:
    side = portrait.side_px
    planes = []
    for channel in range(3):
        # A box would weigh every other pixel differently, which is a trace of its own.
        fine = Image.fromarray(np.ascontiguousarray(portrait.light_rgb[..., channel]))
        sampled = np.asarray(fine.resize((side, side), Image.Resampling.BICUBIC))
        planes.append(gaussian_filter(sampled, blur_px, truncate=3.0))
    return np.maximum(np.stack(planes, axis=-1), 0)


def _bayer_mosaic(light_rgb: FloatArray, settings: CameraSettings) -> FloatArray:
    raw = light_rgb[..., 1].copy()
    red_rows, red_columns = slice(settings.bayer_row, None, 2), slice(settings.bayer_column, None, 2)
    blue_rows, blue_columns = (
        slice(1 - settings.bayer_row, None, 2),
        slice(1 - settings.bayer_column, None, 2),
    )
    raw[red_rows, red_columns] = light_rgb[red_rows, red_columns, 0]
    raw[blue_rows, blue_columns] = light_rgb[blue_rows, blue_columns, 2]
    return raw


def _gain_mosaic(side_px: int, settings: CameraSettings) -> FloatArray:
    gains = np.broadcast_to(np.array(settings.gains_rgb, np.float32), (side_px, side_px, 3))
    return _bayer_mosaic(gains, settings)


def _develop(linear_rgb: FloatArray, settings: CameraSettings) -> FloatArray:
    grey = linear_rgb.mean(axis=-1, keepdims=True)
    linear = np.clip(grey + np.float32(settings.saturation) * (linear_rgb - grey), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** np.float32(1 / 2.4) - 0.055)
    curved = srgb + np.float32(settings.contrast) * (srgb * srgb * (3 - 2 * srgb) - srgb)
    soft = gaussian_filter(curved, (0.9, 0.9, 0), truncate=2.0)
    return np.clip(curved + np.float32(settings.sharpening) * (curved - soft), 0, 1).astype(np.float32)

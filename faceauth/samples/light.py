"""Light on a simulated scene: a main light with cast shadows, a weak second one, sky, ground and shine."""

import numpy as np
from scipy.ndimage import uniform_filter

from faceauth.samples.layers import Layer
from faceauth.samples.noise import FloatArray, colour_plane, resize_plane
from faceauth.samples.people import Shot

# The background is too far behind to be shaded by the person.
_FAR = -1.2
_SHADOW_STEPS = (0.02, 0.04, 0.07, 0.11, 0.16, 0.22, 0.30, 0.40)
# Red light travels furthest under the skin, so that it softens the edge of a shadow most.
_WRAP_RGB = (0.34, 0.18, 0.14)


def light_scene(scene: Layer, shot: Shot, pixel: float) -> FloatArray:
    """Lights a scene.

    Args:
        scene: All layers, laid over one another.
        shot: Gives the lights.
        pixel: Size of one pixel in head units.

    Returns:
        float32 (3, H, W), linear light; 1 is about a white card under the main light.
    """
    light = np.array(shot.light, np.float32)
    shape = (scene.depth.shape[0], scene.depth.shape[1])
    coarse_shape = (shape[0] // 3, shape[1] // 3)
    coarse_depth = resize_plane(scene.depth, coarse_shape, smooth=False)
    open_to_light = resize_plane(_unshadowed(coarse_depth, light, 3 * pixel), shape, smooth=False)
    open_to_sky = resize_plane(_open_sky(coarse_depth, 3 * pixel), shape, smooth=False)

    facing = np.tensordot(light, scene.normal, axes=1)
    fill = np.clip(-0.8 * light[0] * scene.normal[0] + 0.6 * scene.normal[2], 0, 1)
    rim = np.clip(1 - scene.normal[2], 0, 1) ** 3 * np.float32(0.5 * shot.rim) * (scene.depth > -1)
    upward = 0.5 + 0.5 * scene.normal[1]
    sky, ground = colour_plane(shot.sky_rgb), colour_plane(shot.ground_rgb)
    received = (ground + (sky - ground) * upward + 0.35 * sky * fill) * open_to_sky
    for channel, wrap in enumerate(_WRAP_RGB):
        wrapped = np.clip((facing + np.float32(wrap)) * np.float32(1 / (1 + wrap)), 0, 1)
        received[channel] += np.float32(shot.light_rgb[channel]) * wrapped * open_to_light + rim

    half = light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    shine = np.clip(np.tensordot(half, scene.normal, axes=1), 0, 1)
    for _ in range(4):
        shine = shine * shine
    shine = shine * scene.gloss * open_to_light * np.float32(0.22)
    return scene.albedo * received + shine * colour_plane(shot.light_rgb)


def _unshadowed(depth: FloatArray, light: FloatArray, pixel: float) -> FloatArray:
    """Looks from each pixel towards the light, a few steps, for something that stands in the way."""
    sideways = float(np.hypot(light[0], light[1])) + 1e-4
    climb = light[2] / sideways
    blocked = np.zeros_like(depth)
    for step in _SHADOW_STEPS:
        shift_x, shift_y = (
            round(light[0] / sideways * step / pixel),
            round(light[1] / sideways * step / pixel),
        )
        other = _shifted(depth, shift_x, -shift_y)
        above = (other - depth - np.float32(step * climb)) * np.float32(1 / (0.015 + 0.30 * step))
        blocked = np.maximum(blocked, np.clip(above, 0, 1))
    soft = uniform_filter(np.where(depth < _FAR, 0, blocked), 3, mode="nearest")
    return 1 - np.float32(0.82) * soft


def _open_sky(depth: FloatArray, pixel: float) -> FloatArray:
    """Darkens hollows: places that lie deeper than their neighbourhood's mean."""
    near = np.maximum(depth, -1.0)
    shade = np.ones_like(depth)
    for reach, strength in ((0.07, 5.0), (0.22, 1.6)):
        size = max(3, 2 * round(reach / pixel) + 1)
        mean = uniform_filter(uniform_filter(near, size, mode="nearest"), size, mode="nearest")
        shade *= 1 / (1 + np.float32(strength) * np.maximum(mean - near, 0))
    return np.where(depth < _FAR, 1, shade).astype(np.float32)


def _shifted(plane: FloatArray, right: int, down: int) -> FloatArray:
    """Reads the plane at an offset; at the border the outermost values go on."""
    rows = np.clip(np.arange(plane.shape[0]) + down, 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(plane.shape[1]) + right, 0, plane.shape[1] - 1)
    return plane[rows[:, None], columns[None, :]]

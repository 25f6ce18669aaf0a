"""The geometry of a simulated head: a smooth implicit solid with a relief, and the rays that meet it.

In the head's own frame x points to the picture's right, y up and z out of the face; the origin lies between
the eyes, inside the skull. A solid is where

    x^2 + k(y) * (z - relief(x, y))^2 <= q(y)

so that each level section is an ellipse of half-width sqrt(q) and depth sqrt(q / k). Beyond crown and chin q
goes on below zero, which keeps the distance to the solid smooth there and the outline free of jags.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import map_coordinates, uniform_filter

from faceauth.samples.layers import Canvas
from faceauth.samples.noise import FloatArray, resize_plane
from faceauth.samples.people import Identity, Shot

_Y_LOW, _Y_HIGH, _Y_STEP = -2.4, 1.8, 0.005
_RELIEF_STEP = 0.01
_RELIEF_X = np.arange(-0.9, 0.9 + _RELIEF_STEP, _RELIEF_STEP, dtype=np.float32)
_RELIEF_Y = np.arange(-1.25, 0.9 + _RELIEF_STEP, _RELIEF_STEP, dtype=np.float32)
_RAY_START, _RAY_STEPS, _REFINEMENTS = 1.2, 12, 2
_PROBES = (0.03, 0.10, 0.25)

# Half-width of a usual head at each height, and its (half-width / depth)^2.
_HEAD_Y = np.array([-1.06, -1.01, -0.94, -0.82, -0.62, -0.36, -0.10, 0.15, 0.40, 0.65, 0.85, 1.0, 1.06])
_HEAD_WIDTH = np.array([0.0, 0.17, 0.275, 0.39, 0.515, 0.612, 0.662, 0.685, 0.675, 0.60, 0.46, 0.26, 0.0])
_HEAD_K = np.array([0.17, 0.19, 0.29, 0.50, 0.76, 0.84, 0.88, 0.92, 0.92, 0.90, 0.90, 0.90, 0.90])


@dataclass(frozen=True, slots=True)
class Solid:
    """A solid of elliptic sections, tabulated.

    Attributes:
        section: float32 (4, n): q, dq/dy, k and dk/dy at heights `_Y_LOW + i * _Y_STEP`.
        relief: float32 (3, rows, columns): how far the front stands out, and its slopes along x and y, on the
            relief's grid; None for a plain solid.
    """

    section: FloatArray
    relief: FloatArray | None


@dataclass(frozen=True, slots=True)
class Hits:
    """Where the picture's rays meet a solid, pixel by pixel.

    Attributes:
        depth: float32 (H, W), towards the camera, in head units.
        clearance: float32 (H, W), distance by which a ray passes the solid; negative inside its outline.
        normal: float32 (3, H, W), unit vectors in camera axes.
    """

    depth: FloatArray
    clearance: FloatArray
    normal: FloatArray


def head_rotation(shot: Shot) -> FloatArray:
    """Builds the rotation from the head's frame to camera axes.

    Args:
        shot: Gives yaw, pitch and roll.

    Returns:
        float32 (3, 3), to be applied from the left to column vectors.
    """
    cos_yaw, sin_yaw = np.cos(shot.yaw), np.sin(shot.yaw)
    cos_pitch, sin_pitch = np.cos(shot.pitch), np.sin(shot.pitch)
    cos_roll, sin_roll = np.cos(shot.roll), np.sin(shot.roll)
    yaw = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
    pitch = np.array([[1, 0, 0], [0, cos_pitch, sin_pitch], [0, -sin_pitch, cos_pitch]])
    roll = np.array([[cos_roll, -sin_roll, 0], [sin_roll, cos_roll, 0], [0, 0, 1]])
    return (roll @ pitch @ yaw).astype(np.float32)


def head_solid(identity: Identity, shot: Shot) -> Solid:
    """Builds a person's bare head with the expression of a shot."""
    heights = np.where(_HEAD_Y < -0.3, _HEAD_Y - identity.chin_drop * (_HEAD_Y + 0.3) / -0.75, _HEAD_Y)
    jaw = np.interp(
        _HEAD_Y, [-0.9, -0.6, -0.1], [identity.jaw_width, identity.jaw_width, identity.head_width]
    )
    return Solid(_sections(heights, _HEAD_WIDTH * jaw, _HEAD_K), _relief(identity, shot))


def shell_solid(identity: Identity, *, thickness: float, top: float, low_width: float | None) -> Solid:
    """Builds the hull of the hair.

    Args:
        identity: Whose head is inside.
        thickness: From the skull to the hull at the sides, in units.
        top: The same at the crown.
        low_width: Half-width of hair that hangs below the ears; None for hair that follows the head.
    """
    width = _HEAD_WIDTH * identity.head_width
    depth = np.sqrt(width**2 / _HEAD_K)
    rise = np.interp(_HEAD_Y, [0.2, 1.06], [0.0, top])
    width, depth = np.where(width > 0, width + thickness, 0.0), np.where(depth > 0, depth + thickness, 0.1)
    heights = _HEAD_Y + rise
    if low_width is not None:
        above = _HEAD_Y > -0.2
        heights = np.concatenate([[-2.2, -1.0, -0.5], heights[above]])
        width = np.concatenate(
            [[low_width * 1.02, low_width, 0.5 * (low_width + width[above][0])], width[above]]
        )
        depth = np.concatenate([[0.52, 0.56, 0.62], depth[above]])
    ratio = np.where(width > 0, (width / depth) ** 2, 0.9)
    return Solid(_sections(heights, width, ratio), None)


def trace_rays(solid: Solid, rotation: FloatArray, canvas: Canvas) -> Hits:
    """Follows parallel rays from the camera until they meet a solid.

    Args:
        solid: What to meet.
        rotation: float32 (3, 3) from `head_rotation`.
        canvas: The picture plane. Rays are followed at half its resolution; surfaces are smooth enough.

    Returns:
        What the rays meet, at the canvas's resolution.
    """
    shape = (canvas.shape[0] // 2, canvas.shape[1] // 2)
    u, v = resize_plane(canvas.u, shape, smooth=False), resize_plane(canvas.v, shape, smooth=False)
    # Marching happens on a quarter of the rays; the others start next to their neighbours' hits.
    coarse_shape = (u.shape[0] // 2, u.shape[1] // 2)
    coarse_u = resize_plane(u, coarse_shape, smooth=False)
    coarse_v = resize_plane(v, coarse_shape, smooth=False)
    march = np.full(coarse_shape, _RAY_START, np.float32)
    march_depth, march_clearance = march, np.full(coarse_shape, 9.0, np.float32)
    for _ in range(_RAY_STEPS):
        distance = _distance(solid, *to_head(rotation, coarse_u, coarse_v, march))[0]
        nearer = distance < march_clearance
        march_clearance = np.where(nearer, distance, march_clearance)
        march_depth = np.where(nearer, march, march_depth)
        march = march - np.clip(0.85 * distance, -0.04, 0.3)
    march = np.where(march_clearance < 0.004, march, march_depth)

    depth = resize_plane(march, u.shape, smooth=False).copy()
    clearance = resize_plane(march_clearance, u.shape).copy()
    near = clearance < 0.08
    near_u, near_v, near_depth = u[near], v[near], depth[near]
    for _ in range(_REFINEMENTS):
        distance = _distance(solid, *to_head(rotation, near_u, near_v, near_depth), exact=True)[0]
        near_depth = near_depth - np.clip(0.9 * distance, -0.08, 0.05)
    # Marching stops at the surface; how far inside a ray goes shows only beyond it.
    closest = clearance[near]
    for beyond in _PROBES:
        distance = _distance(solid, *to_head(rotation, near_u, near_v, near_depth - np.float32(beyond)))[0]
        closest = np.minimum(closest, distance)
    _, gradient = _distance(solid, *to_head(rotation, near_u, near_v, near_depth), exact=True)
    facing = rotation @ gradient
    # A ray that only grazes must not see the far side of the outline.
    facing[2] = np.maximum(facing[2], 0.02)
    facing /= np.sqrt(np.sum(facing * facing, axis=0)) + np.float32(1e-6)
    depth[near], clearance[near] = near_depth, closest
    normal = np.zeros((3, *u.shape), np.float32)
    normal[2] = 1
    normal[:, near] = facing
    return Hits(
        resize_plane(depth, canvas.shape),
        # Softens the steps that the coarse rays leave along the outline.
        resize_plane(uniform_filter(clearance, 3, mode="nearest"), canvas.shape),
        np.stack([resize_plane(plane, canvas.shape, smooth=False) for plane in normal]),
    )


def to_head(rotation: FloatArray, u: FloatArray, v: FloatArray, depth: FloatArray) -> tuple[FloatArray, ...]:
    """Turns camera coordinates into the head's own (x, y, z)."""
    x, y, z = (rotation[0, i] * u + rotation[1, i] * v + rotation[2, i] * depth for i in range(3))
    return x, y, z


def _sections(
    heights: NDArray[np.float64], width: NDArray[np.float64], ratio: NDArray[np.float64]
) -> FloatArray:
    y = np.arange(_Y_LOW, _Y_HIGH, _Y_STEP)
    q_curve = PchipInterpolator(heights, width**2)
    low, high = heights[0], heights[-1]
    q = q_curve(np.clip(y, low, high))
    q = q - 1.2 * np.maximum(low - y, 0) * (width[0] == 0) - 1.2 * np.maximum(y - high, 0)
    k = PchipInterpolator(heights, ratio)(np.clip(y, low, high))
    return np.stack([q, np.gradient(q, _Y_STEP), k, np.gradient(k, _Y_STEP)]).astype(np.float32)


def _distance(
    solid: Solid, x: FloatArray, y: FloatArray, z: FloatArray, *, exact: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Estimates the distance to a solid to first order.

    Returns:
        The distance, shaped like the coordinates, and the gradient of the implicit function, (3, ...).
        Unless `exact`, the relief is not interpolated, which is fine on the way to the surface.
    """
    index = ((y - np.float32(_Y_LOW)) * np.float32(1 / _Y_STEP)).astype(np.intp)
    q, q_slope, k, k_slope = (table.take(index, mode="clip") for table in solid.section)
    rise: FloatArray | np.float32 = np.float32(0)
    rise_x, rise_y = rise, rise
    if solid.relief is not None:
        column = (x - _RELIEF_X[0]) * np.float32(1 / _RELIEF_STEP)
        row = (y - _RELIEF_Y[0]) * np.float32(1 / _RELIEF_STEP)
        if exact:
            rise, rise_x, rise_y = (
                map_coordinates(plane, (row, column), order=1, mode="nearest") for plane in solid.relief
            )
        else:
            rows, columns = solid.relief.shape[1:]
            place = np.clip(row, 0, rows - 1).astype(np.intp) * columns + np.clip(
                column, 0, columns - 1
            ).astype(np.intp)
            rise, rise_x, rise_y = (plane.take(place) for plane in solid.relief)
    front = z - rise
    pull = front * k
    gradient = np.stack(
        [2 * (x - pull * rise_x), front * front * k_slope - q_slope - 2 * pull * rise_y, 2 * pull]
    )
    steepness = np.sqrt(np.sum(gradient * gradient, axis=0))
    return (x * x + pull * front - q) / np.maximum(steepness, np.float32(0.3)), gradient


def _relief(identity: Identity, shot: Shot) -> FloatArray:
    """Sums the hills and hollows of a face on the relief's grid; returns height and both slopes."""
    x, y = _RELIEF_X[None, :], _RELIEF_Y[:, None]
    nose_foot = -identity.nose_length
    mouth = nose_foot - identity.mouth_drop
    eyes, smile, age = identity.eye_distance, max(0.0, shot.smile), identity.age
    chin = -0.91 - identity.chin_drop
    hills = [
        (eyes, 0.03, -0.075, 0.15, 0.10),
        (0.10, 0.03, -0.035, 0.05, 0.08),
        (0.24, 0.17, identity.brow_ridge, 0.18, 0.05),
        (eyes, 0.00, 0.045, 0.085, 0.055),
        (eyes, -0.115, -0.008 - 0.014 * age, 0.09, 0.025),
        (0.41, -0.20, identity.cheekbone, 0.13, 0.10),
        (0.34, -0.36, 0.02 + 0.035 * smile, 0.11, 0.11),
        (0.43, -0.55, -0.025, 0.10, 0.13),
        (identity.nose_width * 0.78, nose_foot + 0.035, 0.085, 0.045, 0.048),
        (0.19, nose_foot - 0.02, -0.010 - 0.012 * (age + smile), 0.022, 0.06),
        (0.245, nose_foot - 0.10, -0.010 - 0.012 * (age + smile), 0.024, 0.06),
        (identity.mouth_width + 0.01, mouth + 0.03 * smile, -0.022, 0.030, 0.035),
        (0.055, mouth + 0.035, 0.024, 0.055, 0.026),
        (0.60, 0.28, -0.03, 0.10, 0.14),
    ]
    middle = [
        (nose_foot + 0.055, 0.065, 0.068, 0.060),
        (nose_foot - 0.085, -0.010, 0.020, 0.045),
        (mouth, 0.060, 0.200, 0.13),
        (mouth - 0.050 - 0.5 * shot.mouth_open, 0.040, 0.110, 0.030),
        (mouth, -0.030, 0.170, 0.013),
        (0.5 * (mouth + chin) - 0.02, -0.035, 0.130, 0.040),
        (chin, 0.065, 0.130, 0.085),
        (0.50, 0.030, 0.300, 0.170),
    ]
    height = np.zeros((y.size, x.size), np.float32)
    for place, level, rise, spread_x, spread_y in hills:
        both = _bell(x, place, spread_x) + _bell(x, -place, spread_x)
        height += np.float32(rise) * both * _bell(y, level, spread_y)
    for level, rise, spread_x, spread_y in middle:
        height += np.float32(rise) * _bell(x, 0, spread_x) * _bell(y, level, spread_y)
    climb = np.clip((0.16 - y) / (0.16 + identity.nose_length), 0, 1)
    ridge = 0.015 + identity.nose_height * climb**1.25 + identity.nose_bump * _bell(y, -0.12, 0.09)
    ridge = ridge / (1 + np.exp(-(y - nose_foot - 0.005) / 0.016)) / (1 + np.exp((y - 0.16) / 0.05))
    spread = np.float32(0.058) + 0.026 * climb
    height += (ridge * np.exp(-0.5 * (x / spread) ** 2)).astype(np.float32)
    slope_y, slope_x = np.gradient(height, _RELIEF_STEP)
    return np.stack([height, slope_x, slope_y]).astype(np.float32)


def _bell(values: FloatArray, centre: float, spread: float) -> FloatArray:
    return np.exp(-0.5 * ((values - np.float32(centre)) * np.float32(1 / spread)) ** 2)

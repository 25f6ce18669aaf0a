"""Moves a face to where another one lies: similarity transforms and thin-plate splines."""

import numpy as np
from scipy.ndimage import map_coordinates

_SMALLEST_DISTANCE_PX = 1e-6


def fit_similarity(from_xy: np.ndarray, to_xy: np.ndarray) -> np.ndarray:
    """Fits the turn, scale and shift that bring points closest to others (Umeyama 1991, IEEE TPAMI 13(4)).

    Args:
        from_xy: (n, 2).
        to_xy: (n, 2).

    Returns:
        (2, 3) float64: the matrix and the shift that take a point of the first to the second.
    """
    from_mean, to_mean = from_xy.mean(axis=0), to_xy.mean(axis=0)
    centred, wanted = from_xy - from_mean, to_xy - to_mean
    u, values, v = np.linalg.svd(wanted.T @ centred)
    signs = np.array([1.0, np.sign(np.linalg.det(u @ v)) or 1.0])
    spread = max(float((centred**2).sum()), _SMALLEST_DISTANCE_PX)
    matrix = float((values * signs).sum()) / spread * (u * signs) @ v
    return np.concatenate([matrix, (to_mean - matrix @ from_mean)[:, None]], axis=1)


def warp_affine(picture: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves a picture.

    Args:
        picture: (height, width, 3) uint8.
        matrix: (2, 3): takes places of the result, as (x, y) in pixels, to places of the picture.

    Returns:
        The moved picture, (height, width, 3) float32 in [0, 255], mirrored where it has no pixels; and where
        it has some, (height, width) bool.
    """
    height, width = picture.shape[:2]
    y, x = np.indices((height, width), dtype=np.float64)
    places = matrix[:, :2] @ np.stack([x.ravel(), y.ravel()]) + matrix[:, 2:]
    return _sampled(picture, places.T)


def warp_thin_plate(
    picture: np.ndarray, from_xy: np.ndarray, to_xy: np.ndarray, *, stiffness: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Bends a picture so that points of it come to lie on others (Bookstein 1989, IEEE TPAMI 11(6)).

    Args:
        picture: (height, width, 3) uint8.
        from_xy: Points of the picture, (n, 2) as (x, y) in pixels, not all on one line.
        to_xy: Where they shall be, (n, 2).
        stiffness: 0 meets the points; more bends less.

    Returns:
        As from `warp_affine`.
    """
    height, width = picture.shape[:2]
    n = len(to_xy)
    scale = float(max(height, width))
    anchors, wanted = to_xy / scale, from_xy / scale
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _radial(anchors, anchors) + stiffness * np.eye(n)
    system[:n, n:] = np.column_stack([np.ones(n), anchors])
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.lstsq(system, np.concatenate([wanted, np.zeros((3, 2))]), rcond=None)[0]
    # The spline is smooth: it is evaluated on every fourth pixel and interpolated between.
    step = 4
    y, x = np.meshgrid(np.arange(0, height + step, step), np.arange(0, width + step, step), indexing="ij")
    grid = np.stack([x.ravel(), y.ravel()], axis=1) / scale
    coarse = _radial(grid, anchors) @ weights[:n] + np.column_stack([np.ones(len(grid)), grid]) @ weights[n:]
    coarse = coarse.reshape(*x.shape, 2) * scale
    fine = np.indices((height, width)) / step
    places = np.stack([map_coordinates(coarse[..., axis], fine, order=1) for axis in (0, 1)], axis=-1)
    return _sampled(picture, places.reshape(-1, 2))


def _radial(points: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    squared = ((points[:, None] - anchors[None]) ** 2).sum(axis=-1)
    return squared * np.log(np.maximum(squared, 1e-12))


def _sampled(picture: np.ndarray, places_xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = picture.shape[:2]
    x, y = places_xy[:, 0], places_xy[:, 1]
    there = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    moved = np.stack(
        [
            map_coordinates(picture[..., channel].astype(np.float32), (y, x), order=3, mode="mirror")
            for channel in range(3)
        ],
        axis=-1,
    )
    return np.clip(moved, 0, 255).reshape(height, width, 3), there.reshape(height, width)

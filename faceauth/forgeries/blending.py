"""Brings a source into a target: mixed by a mask, or with the source's gradients (Poisson)."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu


def mix(target_rgb_uint8: np.ndarray, source_rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mixes two pictures.

    Args:
        target_rgb_uint8: (height, width, 3) uint8.
        source_rgb: (height, width, 3) of any number type, in [0, 255]; what lies beyond is cut off.
        mask: Share of the source, (height, width) in [0, 1].

    Returns:
        (height, width, 3) uint8; where the mask is 0 exactly the target.
    """
    share = mask[..., None].astype(np.float32)
    mixed = share * source_rgb.astype(np.float32) + (1 - share) * target_rgb_uint8.astype(np.float32)
    rounded = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return np.where(share > 0, rounded, target_rgb_uint8)


def adapt_to_border(target_rgb: np.ndarray, source_rgb: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Shifts the colours of a source smoothly so that it meets the target all along a region's border.

    Poisson image editing (Perez, Gangnet and Blake 2003, ACM TOG 22(3)): the source keeps its gradients. What
    is added to it has no curvature inside the region, and is the difference to the target on its border. At
    the picture's own border nothing is asked.

    Args:
        target_rgb: (height, width, 3) in [0, 255].
        source_rgb: The same shape.
        inside: The region, (height, width) bool.

    Returns:
        The source in its new colours, (height, width, 3) float32, inside the region; the target elsewhere.
        The target alone if the region is empty, and the source as it is if it has no border.
    """
    target, source = target_rgb.astype(np.float32), source_rgb.astype(np.float32)
    number = np.full(inside.shape, -1)
    n = int(inside.sum())
    number[inside] = np.arange(n)
    difference = target - source
    padded = np.pad(number, 1, constant_values=-2)
    rows, columns, diagonal = [], [], np.zeros(n)
    right_side = np.zeros((n, 3))
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        neighbour = padded[1 + dy : 1 + dy + inside.shape[0], 1 + dx : 1 + dx + inside.shape[1]][inside]
        diagonal += neighbour != -2
        within = neighbour >= 0
        rows.append(np.flatnonzero(within))
        columns.append(neighbour[within])
        on_border = neighbour == -1
        moved = np.roll(difference, (-dy, -dx), axis=(0, 1))[inside]
        right_side[on_border] += moved[on_border]
    adapted = target.copy()
    if not n:
        return adapted
    adapted[inside] = source[inside]
    if not right_side.any():
        return adapted
    row, column = np.concatenate(rows), np.concatenate(columns)
    row_all = np.concatenate([row, np.arange(n)])
    column_all = np.concatenate([column, np.arange(n)])
    values = np.concatenate([-np.ones(len(row)), diagonal])
    laplacian = coo_matrix((values, (row_all, column_all)), shape=(n, n)).tocsc()
    solved = splu(laplacian, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right_side)
    adapted[inside] += solved.astype(np.float32)
    return adapted

"""Arithmetic on boxes (x1, y1, x2, y2), to the letter of facenet-pytorch's `detect_face`.

That includes its oddities, which the networks were not trained with but which decide where boxes end up: a
width is x2 - x1 in one place and x2 - x1 + 1 in another.
"""

from itertools import pairwise

import numpy as np


def squared(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Widens each box of (n, 4) float32 to a square of its longer side around the same middle."""
    sizes = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    longer = sizes.max(axis=1, keepdims=True)
    corners = boxes_xyxy[:, :2] + sizes * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([corners, corners + longer], axis=1)


def moved(boxes_xyxy: np.ndarray, offsets: np.ndarray, *, extra_px: int) -> np.ndarray:
    """Moves the edges of boxes as a network says.

    Args:
        boxes_xyxy: The boxes, (n, 4) float32.
        offsets: How far each edge moves, in widths and heights, (n, 4) float32.
        extra_px: Added to widths and heights: 0 after P-net, 1 after R-net and O-net.
    """
    sizes = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] + np.float32(extra_px)
    return boxes_xyxy + offsets * np.concatenate([sizes, sizes], axis=1)


def inside(boxes_xyxy: np.ndarray, sizes_xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts boxes off at the borders of their images.

    Args:
        boxes_xyxy: The boxes, (n, 4) float32.
        sizes_xy: Width and height of the image of each, (n, 2) int64.

    Returns:
        First column and row and the column and row after the last, (n, 4) int64; and which of them are not
        empty, (n,) bool.
    """
    edges = np.trunc(boxes_xyxy).astype(np.int64)
    first = np.maximum(edges[:, :2], 1) - 1
    end = np.minimum(edges[:, 2:], sizes_xy)
    return np.concatenate([first, end], axis=1), (end > first).all(axis=1)


def overlap_pairs(
    boxes_xyxy: np.ndarray, image_of: np.ndarray, *, threshold: float, of_smaller: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Finds boxes of one image that overlap.

    Args:
        boxes_xyxy: The boxes, (n, 4) float32, the boxes of an image one after the other.
        image_of: The image of each, (n,), ascending.
        threshold: Pairs that overlap more than this are found.
        of_smaller: What overlap means: the share of the smaller box that both have in common, with widths one
            pixel larger; or else their intersection over union.

    Returns:
        The pairs as two arrays of indices; the first of a pair is the smaller one.
    """
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    borders = np.flatnonzero(np.diff(image_of, prepend=-1, append=-1))
    for start, end in pairwise(borders):
        found = _overlap_matrix(boxes_xyxy[start:end], of_smaller=of_smaller) > threshold
        first, second = np.nonzero(np.triu(found, 1))
        firsts.append(first + start)
        seconds.append(second + start)
    return np.concatenate(firsts), np.concatenate(seconds)


def survivors(p_faces: np.ndarray, firsts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Suppresses, from the best box on, all that overlap it (greedy non-maximum suppression), without a loop.

    A box stays exactly if no better box that stays overlaps it. Asked of all boxes at once, again and again
    from the guess that all stay, that settles: the answer is right for the best box at once, and after k
    rounds for all that hang on a chain of k better ones.

    Args:
        p_faces: Certainty of each box, (n,).
        firsts: Pairs of boxes that overlap: the smaller index.
        seconds: The larger index. Of equal certainties the smaller index is the better one.

    Returns:
        Which stay, (n,) bool.
    """
    swapped = p_faces[seconds] > p_faces[firsts]
    better, worse = np.where(swapped, seconds, firsts), np.where(swapped, firsts, seconds)
    stays = np.ones(len(p_faces), bool)
    while True:
        now = np.ones(len(p_faces), bool)
        now[worse[stays[better]]] = False
        if np.array_equal(now, stays):
            return now
        stays = now


def _overlap_matrix(boxes_xyxy: np.ndarray, *, of_smaller: bool) -> np.ndarray:
    extra = np.float32(1 if of_smaller else 0)
    x1, y1, x2, y2 = boxes_xyxy.T
    areas = (x2 - x1 + extra) * (y2 - y1 + extra)
    widths = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1) + extra
    heights = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1) + extra
    shared = np.maximum(widths, 0) * np.maximum(heights, 0)
    if of_smaller:
        return shared / np.minimum(areas[:, None], areas)
    return shared / (areas[:, None] + areas - shared)

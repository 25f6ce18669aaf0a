"""The first stage of MTCNN: pyramids on canvases, P-net, and the best windows of each level."""

import time

import numpy as np

from faceauth.intake.faces.mtcnn.boxes import survivors
from faceauth.intake.faces.mtcnn.candidates import Candidates, p_from_logits
from faceauth.intake.faces.mtcnn.networks import MASKED, STEP_PX, WINDOW_PX, Networks
from faceauth.intake.faces.mtcnn.packed_sums import bin_edges, pool_image
from faceauth.intake.faces.mtcnn.pyramid import (
    CANVAS_WIDTH_PX,
    Level,
    Piece,
    canvas_height,
    find_levels,
    pack,
)
from faceauth.intake.faces.mtcnn.scratch import Scratch

P_PROPOSED = np.float32(0.6)
OVERLAP = np.float32(0.5)
# Windows of one level that are three steps apart overlap by less than half.
_NEAR = 2
_NEIGHBOURS = [(0, step) for step in range(1, _NEAR + 1)] + [
    (row, column) for row in range(1, _NEAR + 1) for column in range(-_NEAR, _NEAR + 1)
]


def propose(
    sums: list[np.ndarray],
    min_faces_px: list[int],
    networks: Networks,
    *,
    scratch: Scratch,
    seconds: dict[str, float],
) -> Candidates:
    """Finds the squares that may hold a face.

    Args:
        sums: Of each image the table of its pixels' sums, as from `sum_pixels`.
        min_faces_px: For each image the width of the smallest face that is looked for.
        networks: The networks.
        scratch: Memory to work in.
        seconds: Where seconds of work are added by stage.

    Returns:
        The squares, by image and falling certainty, already moved as P-net says.
    """
    levels = [
        level
        for image, (table, min_face_px) in enumerate(zip(sums, min_faces_px, strict=True))
        for level in find_levels(image, table.shape[0] - 1, table.shape[1] - 1, min_face_px=min_face_px)
    ]
    windows = [np.empty((0, 3), np.int64)]
    said = [np.empty((0, 5), np.float32)]
    for pieces in pack(levels):
        started = time.perf_counter()
        canvas, mask, piece_of = _lay_out(pieces, levels, sums, scratch)
        drawn = time.perf_counter()
        found = networks.propose(canvas, mask)
        ran = time.perf_counter()
        level_row_column, values = _likely(found, pieces, piece_of)
        windows.append(level_row_column)
        said.append(values)
        seconds["pyramid"] += drawn - started
        seconds["P-net"] += ran - drawn
        seconds["candidates"] += time.perf_counter() - ran
    started = time.perf_counter()
    proposed = _best(levels, np.concatenate(windows), np.concatenate(said))
    seconds["candidates"] += time.perf_counter() - started
    return proposed


def _lay_out(
    pieces: list[Piece], levels: list[Level], sums: list[np.ndarray], scratch: Scratch
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height = canvas_height(pieces)
    # What was left on the canvas between the pieces does no harm: no window that reaches there is read, and
    # it is made of pixels, so that nothing becomes infinite.
    canvas = scratch.array("canvas", (height, CANVAS_WIDTH_PX, 3), np.float32)
    mask = scratch.array("mask", (height - 2, CANVAS_WIDTH_PX - 2), np.float32)
    piece_of = scratch.array("piece_of", (height // 2 - 5, CANVAS_WIDTH_PX // 2 - 5), np.int32)
    mask[:] = MASKED
    piece_of[:] = -1
    for index, piece in enumerate(pieces):
        level = levels[piece.level]
        table = sums[level.image]
        top, left = STEP_PX * piece.row, STEP_PX * piece.column
        first_rows, end_rows = bin_edges(table.shape[0] - 1, level.height)
        first_columns, end_columns = bin_edges(table.shape[1] - 1, level.width)
        rows, columns = slice(top, top + piece.height), slice(left, left + piece.width)
        pool_image(
            table,
            (first_rows[rows], end_rows[rows]),
            (first_columns[columns], end_columns[columns]),
            canvas[piece.top : piece.top + piece.height, piece.left : piece.left + piece.width],
            scratch,
        )
        mask[piece.top : piece.top + piece.height - 2, piece.left : piece.left + piece.width - 2] = 0
        row, column = piece.top // STEP_PX, piece.left // STEP_PX
        piece_of[row : row + piece.n_rows, column : column + piece.n_columns] = index
    return canvas, mask, piece_of


def _likely(found: np.ndarray, pieces: list[Piece], piece_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Level, row and column of each window that is likely enough, and what P-net said of it.
    logit = np.log(P_PROPOSED / (1 - P_PROPOSED))
    rows, columns = np.nonzero((found[..., 0] >= logit) & (piece_of >= 0))
    placed = np.array(
        [
            (piece.level, piece.row - piece.top // STEP_PX, piece.column - piece.left // STEP_PX)
            for piece in pieces
        ]
    )[piece_of[rows, columns]]
    placed[:, 1] += rows
    placed[:, 2] += columns
    return placed, found[rows, columns]


def _best(levels: list[Level], windows: np.ndarray, said: np.ndarray) -> Candidates:
    # By level, row and column, as facenet-pytorch has them: of equal certainties the first is taken.
    order = np.lexsort((windows[:, 2], windows[:, 1], windows[:, 0]))
    level, row, column = windows[order].T
    said = said[order]
    p_faces = p_from_logits(said[:, 0])
    scales = np.array([one.scale for one in levels], np.float32)[level]
    corners = np.stack([column, row], axis=1).astype(np.float32) * STEP_PX
    boxes = np.concatenate(
        [
            np.floor((corners + 1) / scales[:, None]),
            np.floor((corners + WINDOW_PX) / scales[:, None]),
        ],
        axis=1,
    )
    stays = survivors(p_faces, *_near_pairs(levels, level, row, column, boxes))
    images = np.array([one.image for one in levels], np.int64)[level]
    return Candidates(images, boxes, p_faces, said[:, 1:]).taken(stays).by_certainty()


def _near_pairs(
    levels: list[Level], level: np.ndarray, row: np.ndarray, column: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # All windows of all levels in one line, each level with a border: neighbours are at fixed distances.
    cells = np.array([one.cells for one in levels], np.int64).reshape(-1, 2) + 2 * _NEAR
    ends = cells.prod(axis=1).cumsum()
    places = np.full(int(ends[-1]) if len(ends) else 0, -1, np.int32)
    across = cells[level, 1]
    place = (ends - cells.prod(axis=1))[level] + (row + _NEAR) * across + column + _NEAR
    places[place] = np.arange(len(place))
    neighbours = np.stack([places[place + down * across + right] for down, right in _NEIGHBOURS])
    which, first = np.nonzero(neighbours >= 0)
    second = neighbours[which, first]
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    widths = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
    heights = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
    shared = np.maximum(widths, 0) * np.maximum(heights, 0)
    overlapping = shared / (areas[first] + areas[second] - shared) > OVERLAP
    return first[overlapping], second[overlapping]

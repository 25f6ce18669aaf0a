"""The scales at which an image is searched, and how pictures of all sizes share canvases of few sizes.

P-net runs over every level of every image. A run for each would leave the processor idle between many small
ones, and each new size costs milliseconds before its first run. So levels are laid side by side on canvases:
P-net's windows see 12 pixels, and those that reach from one level into another are not read.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from faceauth.intake.faces.mtcnn.networks import STEP_PX, WINDOW_PX

FACTOR = 0.709
# Of the sizes tried these leave least of their canvases empty.
CANVAS_WIDTH_PX = 640
CANVAS_HEIGHTS_PX = tuple(range(64, 513, 64))


@dataclass(frozen=True)
class Level:
    """One image at one scale.

    Attributes:
        image: Index of the image.
        scale: Pixels of the level for one of the image.
        height: Rows of the level.
        width: Columns of the level.
    """

    image: int
    scale: float
    height: int
    width: int

    @property
    def cells(self) -> tuple[int, int]:
        """Windows down and across; the last of an odd size lacks one row or column of pixels."""
        return _cells(self.height), _cells(self.width)


@dataclass(frozen=True)
class Piece:
    """The part of a level that lies on a canvas: all of it, or a tile of a level larger than a canvas.

    Attributes:
        level: Index of the level.
        row: First row of windows, of the level.
        column: First column of windows.
        n_rows: Rows of windows.
        n_columns: Columns of windows.
        height: Rows of pixels.
        width: Columns of pixels.
        top: First row of pixels on the canvas, even.
        left: First column of pixels on the canvas, even.
    """

    level: int
    row: int
    column: int
    n_rows: int
    n_columns: int
    height: int
    width: int
    top: int = 0
    left: int = 0


def find_levels(image: int, height: int, width: int, *, min_face_px: int) -> list[Level]:
    """Lists the scales at which an image is searched, as facenet-pytorch does.

    Args:
        image: Index of the image.
        height: Its rows.
        width: Its columns.
        min_face_px: Width of the smallest face that is looked for.

    Returns:
        The levels, from the largest to the smallest.
    """
    scale = WINDOW_PX / min_face_px
    shorter = min(height, width) * scale
    levels = []
    while shorter >= WINDOW_PX:
        levels.append(Level(image, scale, int(height * scale + 1), int(width * scale + 1)))
        scale *= FACTOR
        shorter *= FACTOR
    return levels


def pack(levels: list[Level]) -> list[list[Piece]]:
    """Lays levels on canvases of `CANVAS_WIDTH_PX` and at most the largest of `CANVAS_HEIGHTS_PX` pixels.

    The highest come first, each on the first shelf that has room.

    Args:
        levels: Levels of any number of images.

    Returns:
        For each canvas its pieces.
    """
    pieces = [piece for index, level in enumerate(levels) for piece in _tiles(index, level)]
    pieces.sort(key=lambda piece: -piece.height)
    # Of each shelf: canvas, top, and how much is taken; of each canvas: how much of its height is taken.
    shelves: list[list[int]] = []
    taken: list[int] = []
    canvases: list[list[Piece]] = []
    for piece in pieces:
        width = _even(piece.width)
        shelf = next((shelf for shelf in shelves if shelf[2] + width <= CANVAS_WIDTH_PX), None)
        if shelf is None:
            height = _even(piece.height)
            canvas = next(
                (index for index, used in enumerate(taken) if used + height <= CANVAS_HEIGHTS_PX[-1]),
                len(taken),
            )
            if canvas == len(taken):
                taken.append(0)
                canvases.append([])
            shelf = [canvas, taken[canvas], 0]
            shelves.append(shelf)
            taken[canvas] += height
        canvases[shelf[0]].append(replace(piece, top=shelf[1], left=shelf[2]))
        shelf[2] += width
    return canvases


def canvas_height(pieces: list[Piece]) -> int:
    """Returns the smallest of `CANVAS_HEIGHTS_PX` that holds the pieces of a canvas."""
    lowest = max(piece.top + piece.height for piece in pieces)
    return next(height for height in CANVAS_HEIGHTS_PX if height >= lowest)


def _tiles(index: int, level: Level) -> list[Piece]:
    return [
        Piece(
            index,
            row,
            column,
            n_rows,
            n_columns,
            _span(row, n_rows, level.height),
            _span(column, n_columns, level.width),
        )
        for row, n_rows in _runs(level.cells[0], CANVAS_HEIGHTS_PX[-1])
        for column, n_columns in _runs(level.cells[1], CANVAS_WIDTH_PX)
    ]


def _runs(n_cells: int, side_px: int) -> list[tuple[int, int]]:
    n_runs = -(-n_cells // _cells(side_px))
    borders = [n_cells * run // n_runs for run in range(n_runs + 1)]
    return [(start, end - start) for start, end in pairwise(borders)]


def _span(start: int, n_cells: int, size: int) -> int:
    return min(WINDOW_PX + STEP_PX * (n_cells - 1), size - STEP_PX * start)


def _cells(size: int) -> int:
    return max(0, -(-(size - WINDOW_PX) // STEP_PX) + 1)


def _even(size: int) -> int:
    return size + size % 2

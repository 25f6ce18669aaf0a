"""A sheet of forgeries to look at: the original, the forgery, and eight times what differs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from faceauth.files import whole_file

DIFFERENCE_GAIN = 8
SHOWN_PER_METHOD = 4
TILE_PX = 192
DOTS_PER_INCH = 100
_TITLES = ("original", "forgery", f"difference × {DIFFERENCE_GAIN}")
_GAP_INCH, _NAME_INCH, _TITLE_INCH = 0.06, 0.3, 0.3


def draw_sheet(pairs: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], path: Path) -> None:
    """Draws a row of crops for each method, whole or not at all.

    Args:
        pairs: For each method some pairs of original and forgery, both (height, width, 3) uint8. Only the
            first four are drawn.
        path: Where to; `.png`.
    """
    shown = {method: list(found)[:SHOWN_PER_METHOD] for method, found in pairs.items()}
    n_columns = max((len(found) for found in shown.values()), default=0)
    tile = TILE_PX / DOTS_PER_INCH
    block = 3 * tile + 3 * _GAP_INCH
    width = _NAME_INCH + max(1, n_columns) * (block + _GAP_INCH)
    height = _TITLE_INCH + max(1, len(shown)) * (tile + _GAP_INCH)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    for row, (method, found) in enumerate(shown.items()):
        top = height - _TITLE_INCH - row * (tile + _GAP_INCH)
        figure.text(
            _NAME_INCH / 2 / width, (top - tile / 2) / height, method, rotation=90, ha="center", va="center"
        )
        for column, (original, forged) in enumerate(found):
            for place, panel in enumerate((original, forged, show_difference(original, forged))):
                left = _NAME_INCH + column * (block + _GAP_INCH) + place * (tile + _GAP_INCH)
                area = (left / width, (top - tile) / height, tile / width, tile / height)
                axes = figure.add_axes(area)
                axes.imshow(_tile(panel), interpolation="none")
                axes.set_axis_off()
                if row == 0:
                    axes.set_title(_TITLES[place], fontsize=9, pad=3)
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=DOTS_PER_INCH, metadata={"Software": None})


def show_difference(original_rgb_uint8: np.ndarray, forged_rgb_uint8: np.ndarray) -> np.ndarray:
    """Returns eight times the absolute difference of two crops of one shape, (height, width, 3) uint8."""
    difference = np.abs(forged_rgb_uint8.astype(np.int16) - original_rgb_uint8.astype(np.int16))
    return np.clip(DIFFERENCE_GAIN * difference, 0, 255).astype(np.uint8)


def _tile(panel: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(panel)
    return np.asarray(picture.resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC))

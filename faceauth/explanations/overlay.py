"""Paints heat onto the picture that a crop was cut from.

Where heat is painted the picture turns grey and dark, and the colours (matplotlib's inferno) grow lighter as
they grow hotter, so that a print without colours says the same. Lines run where the heat is a half of what
can be. Nothing outside the crop's square is touched.
"""

import functools
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceauth.intake.faces.crop import CropSettings, square_around

# How light the picture stays below the heat: darker than anything hot.
BASE_LIGHT = 0.6
MAX_OPACITY = 0.85
LINE_AT = 0.5
# How far around a face a view shows the picture, in sides of the crop's square; and the least and the
# greatest length of its longer side.
VIEW_SIDES = 3.0
VIEW_SIDE_PX = (512, 1024)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

Square = tuple[int, int, int, int]


def crop_square(
    box_xyxy: tuple[float, float, float, float] | None, *, width: int, height: int, crop: CropSettings
) -> Square:
    """Returns the square of a picture that a crop was cut from, as pixels (x1, y1, x2, y2).

    Args:
        box_xyxy: The face's box; None for the whole picture, as in pictures that are crops already.
        width: Width of the upright picture in pixels.
        height: Its height in pixels.
        crop: How crops are cut.
    """
    box = (0.0, 0.0, float(width), float(height)) if box_xyxy is None else box_xyxy
    return square_around(box, width=width, height=height, margin_ratio=crop.margin_ratio)


def overlay(image_rgb_uint8: np.ndarray, heat: np.ndarray, square_xyxy: Square) -> np.ndarray:
    """Paints the heat of one crop onto its picture.

    Args:
        image_rgb_uint8: The upright picture, (height, width, 3) uint8.
        heat: The crop's heat, (rows, columns) float32 in [0, 1].
        square_xyxy: Where in the picture the crop was cut from, see `crop_square`.

    Returns:
        A picture of the same shape and type.
    """
    x1, y1, x2, y2 = square_xyxy
    hot = np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR)
    ).clip(0, 1)[:, :, None]
    below = image_rgb_uint8[y1:y2, x1:x2].astype(np.float32)
    grey = (below @ _LUMA)[:, :, None] * BASE_LIGHT
    # The heat sets in softly, and what is cold stays as it was but for its colours.
    opacity = MAX_OPACITY * (1 - (1 - hot) ** 3)
    painted = grey + opacity * (colours(hot[:, :, 0]) - grey)
    painted[_outline(hot[:, :, 0] >= LINE_AT)] = 255
    finished = image_rgb_uint8.copy()
    finished[y1:y2, x1:x2] = painted.round().clip(0, 255).astype(np.uint8)
    return finished


def colours(heat: np.ndarray) -> np.ndarray:
    """Returns the colour of each heat in [0, 1], as float32 RGB in [0, 255], one axis more."""
    return _table()[(np.asarray(heat) * 255).round().astype(np.uint8)]


def view_around(image_rgb_uint8: np.ndarray, square_xyxy: Square) -> tuple[np.ndarray, Square]:
    """Cuts a picture down to what lies around a face, and scales it so that it can be looked at.

    Args:
        image_rgb_uint8: The picture, (height, width, 3) uint8.
        square_xyxy: The square of the face's crop.

    Returns:
        The view, at most `VIEW_SIDES` times the square long and in `VIEW_SIDE_PX`, and the square in it.
    """
    height, width = image_rgb_uint8.shape[:2]
    x1, y1, x2, y2 = square_xyxy
    around = round((VIEW_SIDES - 1) / 2 * (x2 - x1))
    left, top = max(0, x1 - around), max(0, y1 - around)
    right, bottom = min(width, x2 + around), min(height, y2 + around)
    view = Image.fromarray(np.ascontiguousarray(image_rgb_uint8[top:bottom, left:right]))
    factor = min(max(VIEW_SIDE_PX[0], max(view.size)), VIEW_SIDE_PX[1]) / max(view.size)
    if factor != 1:
        size = (max(1, round(view.width * factor)), max(1, round(view.height * factor)))
        view = view.resize(size, Image.Resampling.LANCZOS)
    in_x, in_y = view.width / (right - left), view.height / (bottom - top)
    moved = (round((x1 - left) * in_x), round((y1 - top) * in_y))
    side = max(1, round((x2 - x1) * min(in_x, in_y)))
    moved_xyxy = (*moved, min(moved[0] + side, view.width), min(moved[1] + side, view.height))
    return np.asarray(view), moved_xyxy


def with_legend(image_rgb_uint8: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Puts a strip below a painted picture that says what its colours mean.

    Args:
        image_rgb_uint8: (height, width, 3) uint8.
        lines: What else there is to say; what is too long for a line is cut off.

    Returns:
        (height + strip, max(width, 320), 3) uint8.
    """
    height, width = image_rgb_uint8.shape[0], max(image_rgb_uint8.shape[1], 320)
    size = min(22, max(12, width // 40))
    font = ImageFont.load_default(size)
    pad = size // 2
    strip = 3 * pad + 2 * size + len(lines) * (size + pad)
    sheet = Image.new("RGB", (width, height + strip), "white")
    sheet.paste(Image.fromarray(image_rgb_uint8), ((width - image_rgb_uint8.shape[1]) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    bar = colours(np.broadcast_to(np.linspace(0, 1, width - 2 * pad), (size, width - 2 * pad)))
    top = height + pad
    sheet.paste(Image.fromarray(bar.round().astype(np.uint8)), (pad, top))
    middle = pad + round((width - 2 * pad) * LINE_AT)
    draw.line((middle, top, middle, top + size - 1), fill="white", width=max(1, size // 10))
    top += size + pad // 2
    draw.text((pad, top), "0  says nothing", "black", font)
    draw.text((middle, top), f"{LINE_AT:g}", "black", font, anchor="ma")
    draw.text((width - pad, top), "speaks for fake  1", "black", font, anchor="ra")
    for line in lines:
        top += size + pad
        draw.text((pad, top), _fitting(line, font, width - 2 * pad), "black", font)
    return np.asarray(sheet)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while text and font.getlength(text) > width:
        text = f"{text[:-4]}..." if len(text) > 4 else ""
    return text


def _outline(inside: np.ndarray) -> np.ndarray:
    """Returns the edge of a region, (height, width) of bool, wider in larger pictures."""
    shrunk = inside.copy()
    for _ in range(max(1, min(inside.shape) // 250)):
        padded = np.pad(shrunk, 1, mode="edge")
        shrunk &= padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~shrunk


@functools.cache
def _table() -> np.ndarray:
    return matplotlib.colormaps["inferno"](np.arange(256), bytes=True)[:, :3].astype(np.float32)

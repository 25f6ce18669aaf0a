"""The faces a detector was wrong about, the most confident mistakes first: a sheet to look at and a table."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceauth.evaluation.drawing import COLOUR_OF
from faceauth.files import whole_file
from faceauth.intake.manifest import Manifest
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.scoring.scores import Scores

SHEET_NAME = "misclassified.png"
TABLE_NAME = "misclassified.csv"
COLUMNS = (
    "destination_path",
    "image_path",
    "folder",
    "target_class",
    "p_fake",
    "threshold",
    "confidence",
    "group",
)
# Mistakes of each class that the sheet shows; the table has them all.
SHOWN_PER_CLASS = 48
TILE_PX = 128
# A crop has a few hundred pixels a side. What is far larger is no crop, and would take long to decode.
LARGEST_SIDE_PX = 4_096
# A spreadsheet takes a cell that begins with one of these for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

_COLUMNS_OF_TILES = 8
_GAP_PX, _MARGIN_PX, _CAPTION_PX, _HEADING_PX, _TITLE_PX = 10, 24, 34, 44, 48
_PAPER, _INK, _SOFT, _MISSING = "#ffffff", "#222222", "#555555", "#d9d9d9"

# From crops, uint8 (n, 3, h, w) in RGB, to what an autoencoder makes of them, of the same shape and type.
Reconstruct = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Misclassified:
    """What `write_misclassified` wrote.

    Attributes:
        paths: The table, and the sheet where there is one.
        n_fakes_called_real: Such mistakes in the table.
        n_reals_called_fake: Such mistakes in the table.
        n_not_shown: Crops on the sheet that could not be read: grey tiles with the reason.
    """

    paths: tuple[Path, ...]
    n_fakes_called_real: int
    n_reals_called_fake: int
    n_not_shown: int


def find_mistakes(scores: Scores, threshold: float) -> np.ndarray:
    """Returns the rows that were called wrongly, those furthest from the threshold first, int64 (m,).

    Args:
        scores: Scores of one split.
        threshold: A face is called fake from this score on.
    """
    wrong = np.flatnonzero((scores.p_fake >= threshold) != (scores.target == FAKE))
    return wrong[np.argsort(-np.abs(scores.p_fake[wrong] - threshold), kind="stable")]


def write_misclassified(
    scores: Scores,
    folder: Path,
    *,
    threshold: float,
    manifest: Manifest | None = None,
    shown_per_class: int = SHOWN_PER_CLASS,
    reconstruct: Reconstruct | None = None,
) -> Misclassified:
    """Writes `misclassified.csv`, and where crops are at hand `misclassified.png`, each whole or not at all.

    A crop that cannot be read becomes a grey tile with its reason.

    Args:
        scores: Scores of one split.
        folder: Where to; made if need be.
        threshold: A face is called fake from this score on.
        manifest: Where the crops and the paths of the source images are; without it there is no sheet.
        shown_per_class: So many of the fakes called real, and of the reals called fake, at most.
        reconstruct: Draws each face a second time, as an autoencoder gives it back.
    """
    mistakes = find_mistakes(scores, threshold)
    table = folder / TABLE_NAME
    _write_table(table, scores, mistakes, threshold=threshold, manifest=manifest)
    n_fakes, n_reals = (int((scores.target[mistakes] == target).sum()) for target in (FAKE, REAL))
    if manifest is None:
        return Misclassified((table,), n_fakes, n_reals, 0)
    sheet, n_not_shown = _draw_sheet(
        scores,
        mistakes,
        root=manifest.root,
        threshold=threshold,
        shown_per_class=shown_per_class,
        reconstruct=reconstruct,
    )
    path = folder / SHEET_NAME
    with whole_file(path) as draft:
        sheet.save(draft, optimize=True)
    return Misclassified((table, path), n_fakes, n_reals, n_not_shown)


def _write_table(
    path: Path, scores: Scores, mistakes: np.ndarray, *, threshold: float, manifest: Manifest | None
) -> None:
    image_paths = {row.destination_path: row.image_path for row in manifest.rows} if manifest else {}
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for i in mistakes:
            destination_path, p_fake = str(scores.destination_path[i]), float(scores.p_fake[i])
            writer.writerow(
                [
                    _no_formula(destination_path),
                    _no_formula(image_paths.get(destination_path, "")),
                    _no_formula(str(scores.folder[i])),
                    ID2LABEL[int(scores.target[i])],
                    p_fake,
                    threshold,
                    abs(p_fake - threshold),
                    _no_formula("" if scores.group is None else str(scores.group[i])),
                ]
            )


def _no_formula(text: str) -> str:
    """Puts an apostrophe before what a spreadsheet would calculate."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _draw_sheet(
    scores: Scores,
    mistakes: np.ndarray,
    *,
    root: Path,
    threshold: float,
    shown_per_class: int,
    reconstruct: Reconstruct | None,
) -> tuple[Image.Image, int]:
    """Returns the sheet, and how many of its crops could not be read."""
    card_px = TILE_PX if reconstruct is None else 2 * TILE_PX + 2
    n_columns = _COLUMNS_OF_TILES if reconstruct is None else _COLUMNS_OF_TILES // 2
    groups = [
        (target, mistakes[scores.target[mistakes] == target], words)
        for target, words in ((FAKE, "Fakes called real"), (REAL, "Reals called fake"))
    ]
    heights = [
        _HEADING_PX
        + max(1, -(-min(shown_per_class, len(rows)) // n_columns)) * (TILE_PX + _CAPTION_PX + _GAP_PX)
        if len(rows)
        else _HEADING_PX + 24
        for _, rows, _ in groups
    ]
    width = 2 * _MARGIN_PX + n_columns * (card_px + _GAP_PX) - _GAP_PX
    sheet = Image.new("RGB", (width, _TITLE_PX + sum(heights) + 2 * _MARGIN_PX), _PAPER)
    pen = ImageDraw.Draw(sheet)
    title = f"Misclassified faces: {len(mistakes):,} of {len(scores):,}, fake if p_fake ≥ {threshold:.3f}"
    if not len(mistakes):
        title = f"No face was misclassified: all {len(scores):,} are on the right side of {threshold:.3f}"
    pen.text((_MARGIN_PX, _MARGIN_PX), title, fill=_INK, font=_font(19))
    n_not_shown = 0
    top = _MARGIN_PX + _TITLE_PX
    for (target, rows, words), height in zip(groups, heights, strict=True):
        shown = rows[:shown_per_class]
        n_of_class = int((scores.target == target).sum())
        heading = f"{words}: {len(rows):,} of {n_of_class:,}"
        heading += f", the {len(shown)} most confident" if len(shown) < len(rows) else ""
        pen.text((_MARGIN_PX, top + 6), heading, fill=COLOUR_OF[target], font=_font(16))
        if not len(rows):
            nothing = "none" if n_of_class else f"there was no {ID2LABEL[target]} face"
            pen.text((_MARGIN_PX, top + _HEADING_PX - 8), nothing, fill=_SOFT, font=_font(12))
        for place, i in enumerate(shown):
            row, column = divmod(place, n_columns)
            left = _MARGIN_PX + column * (card_px + _GAP_PX)
            upper = top + _HEADING_PX + row * (TILE_PX + _CAPTION_PX + _GAP_PX)
            n_not_shown += not _draw_face(
                sheet, (left, upper), root, str(scores.destination_path[i]), reconstruct
            )
            frame = (left - 2, upper - 2, left + card_px + 1, upper + TILE_PX + 1)
            pen.rectangle(frame, outline=COLOUR_OF[target], width=2)
            name = _fitted(str(scores.folder[i]), _font(11), card_px)
            pen.text((left, upper + TILE_PX + 4), name, fill=_INK, font=_font(11))
            called = f"{ID2LABEL[target]}, p_fake {scores.p_fake[i]:.3f}"
            pen.text((left, upper + TILE_PX + 18), called, fill=_SOFT, font=_font(11))
        top += height
    return sheet, n_not_shown


def _draw_face(
    sheet: Image.Image,
    corner: tuple[int, int],
    root: Path,
    destination_path: str,
    reconstruct: Reconstruct | None,
) -> bool:
    """Puts a crop, and what is made of it, on the sheet; returns False if it is a grey tile instead."""
    crop = _read_crop(root, destination_path)
    if isinstance(crop, str):
        pen = ImageDraw.Draw(sheet)
        wide = TILE_PX if reconstruct is None else 2 * TILE_PX + 2
        pen.rectangle((*corner, corner[0] + wide - 1, corner[1] + TILE_PX - 1), fill=_MISSING)
        pen.multiline_text((corner[0] + 8, corner[1] + 8), crop, fill=_SOFT, font=_font(11))
        return False
    sheet.paste(_tile(crop), corner)
    if reconstruct is not None:
        given = np.asarray(crop).transpose(2, 0, 1)[None]
        returned = Image.fromarray(np.ascontiguousarray(reconstruct(given)[0].transpose(1, 2, 0)))
        sheet.paste(_tile(returned), (corner[0] + TILE_PX + 2, corner[1]))
    return True


def _read_crop(root: Path, destination_path: str) -> Image.Image | str:
    """Returns a crop in RGB, or in a few short lines why there is none."""
    if not destination_path:
        return "no path\nis known"
    path = (root / destination_path).resolve()
    if not path.is_relative_to(root.resolve()):
        return "path outside\nthe manifest's\nfolder"
    if not path.is_file():
        return "no such file"
    try:
        with Image.open(path) as image:
            if max(image.size) > LARGEST_SIDE_PX:
                return f"{image.width} x {image.height} px:\nno crop"
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be read:\n{type(error).__name__}"


def _tile(crop: Image.Image) -> Image.Image:
    """Fits a crop into a square tile, on grey where it is not square itself."""
    tile = Image.new("RGB", (TILE_PX, TILE_PX), _MISSING)
    scale = TILE_PX / max(crop.size)
    side = (max(1, round(crop.width * scale)), max(1, round(crop.height * scale)))
    small = crop.resize(side, Image.Resampling.LANCZOS)
    tile.paste(small, ((TILE_PX - side[0]) // 2, (TILE_PX - side[1]) // 2))
    return tile


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    # The font that comes with matplotlib: the same on every machine, with letters of most alphabets.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size_px)


def _fitted(text: str, font: ImageFont.FreeTypeFont, width_px: int) -> str:
    """Takes letters out of the middle until a text fits on one line."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    shown, kept = text, len(text)
    while kept > 3 and font.getlength(shown) > width_px:
        kept -= 1
        tail = kept // 3
        shown = f"{text[: kept - tail]}…{text[len(text) - tail :]}"
    return shown

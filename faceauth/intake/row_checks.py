"""Makes rows of the columns of a table, with every value checked.

A stretch of rows is checked column by column, which is fast and knows no row numbers. Where anything in it is
out of the ordinary, the stretch is gone through again row by row: that has the last word, and says what is
wrong in which row.
"""

import logging
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from faceauth.errors import ManifestError, did_you_mean
from faceauth.intake.rows import COLUMNS, OK, STATUSES, ManifestRow
from faceauth.labels import ID2LABEL, LABEL2ID, ORIGINAL_SPLITS, SPLITS, is_original_naming

log = logging.getLogger(__name__)

REQUIRED_COLUMNS = ("destination_path", "folder", "split")

_INTEGERS = ("target", "width", "height", "jpeg_quality", "n_bytes", "frame")
_NUMBERS = ("p_face", "mean_red", "mean_green", "mean_blue", "sharpness", "timestamp_s")
# Rows of one video or person lie side by side; equal texts of these columns are kept in memory once.
_OFTEN_EQUAL = ("reason", "group", "identity")
# What the columns of the Parquet file can hold; the others have 64 bits.
_BITS = {"width": 32, "height": 32, "jpeg_quality": 16}
_PHASH = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_STRETCH_ROWS = 4096
# The target that a cell of `target` and one of `target_class` agree on, each as a target or None.
_AGREED = {
    (given, meant): target
    for target in ID2LABEL
    for given, meant in ((target, target), (target, None), (None, target))
}
_KNOWN_STATUSES = {status: status for status in STATUSES}
_EMPTY = {field.name: "" if field.default is MISSING else field.default for field in fields(ManifestRow)}


def rows_from_columns(
    columns: Mapping[str, Sequence[Any]],
    *,
    path: Path,
    required: Iterable[str] = REQUIRED_COLUMNS,
) -> list[ManifestRow]:
    """Turns the columns of a table into rows, with every value checked.

    Args:
        columns: The cells of each column, by its name as it stands in the file; None, an empty text and NaN
            are empty. Names are matched without regard to case, and others than a row's are left aside.
        path: The file, for messages.
        required: Columns that must be there, besides `target` or `target_class`.

    Raises:
        ManifestError: A column is missing or a value is not allowed; the message names the row.
    """
    named = {key: cells for name, cells in columns.items() if (key := name.strip().lower())}
    missing = [name for name in required if name not in named]
    if not named.keys() & {"target", "target_class"}:
        missing.append("target")
    if missing:
        hint = did_you_mean(missing[0], sorted(named.keys() - set(COLUMNS)) or sorted(named))
        raise ManifestError(
            f"{path} has no column '{missing[0]}'.", f"Columns in it: {', '.join(columns)}. {hint}"
        )
    named = {name: named[name] for name in COLUMNS if name in named}
    splits = _split_names(named.get("split", ()), path)
    n = len(next(iter(named.values())))
    rows: list[ManifestRow] = []
    for start in range(0, n, _STRETCH_ROWS):
        stretch = {name: cells[start : start + _STRETCH_ROWS] for name, cells in named.items()}
        try:
            rows += _ordinary_rows(stretch, splits)
        except (LookupError, TypeError, ValueError, OverflowError):
            # The header is row 1.
            rows += [
                _row(dict(zip(stretch, cells, strict=True)), splits, f"{path}, row {number}")
                for number, cells in enumerate(zip(*stretch.values(), strict=True), start=start + 2)
            ]
    return rows


def _split_names(cells: Iterable[Any], path: Path) -> dict[str, str]:
    names = {str(cell or "").strip().lower() for cell in cells} - {""}
    if not is_original_naming(names):
        return {name: name for name in SPLITS}
    log.info("%s follows the original naming of splits: its test is read as val, its dev as test", path)
    return ORIGINAL_SPLITS


def _ordinary_rows(columns: dict[str, Sequence[Any]], splits: dict[str, str]) -> list[ManifestRow]:
    """Returns the rows of a stretch; a LookupError, TypeError or ValueError says that `_row` must decide."""
    n = len(next(iter(columns.values())))
    values: dict[str, Iterable[Any]] = {}
    for name, cells in columns.items():
        if name in _INTEGERS:
            values[name] = _by_value(cells, partial(_integer, name), empty=None)
        elif name in _NUMBERS:
            values[name] = _numbers(name, cells)
        elif name == "box":
            values[name] = _boxes(cells)
        elif name == "split":
            values[name] = _by_value(cells, lambda cell: splits[_text(cell).strip().lower()], empty="")
        elif name == "status":
            values[name] = _by_value(cells, lambda cell: _KNOWN_STATUSES[_text(cell)], empty=OK)
        elif name == "target_class":
            values[name] = _by_value(cells, lambda cell: LABEL2ID[_text(cell).strip().lower()], empty=None)
        elif name in _OFTEN_EQUAL:
            values[name] = _shared(_texts(cells))
        else:
            values[name] = _texts(cells)
    _check_hashes(values.get("phash", ()))
    nothing = [None] * n
    given, meant = values.get("target", nothing), values.get("target_class", nothing)
    targets = [_AGREED[pair] for pair in zip(given, meant, strict=True)]
    values |= {"target": targets, "target_class": [ID2LABEL[target] for target in targets]}
    return list(map(ManifestRow, *(values.get(name, repeat(_EMPTY[name])) for name in COLUMNS)))


def _by_value(cells: Sequence[Hashable], convert: Callable[[Any], Any], *, empty: Any) -> list[Any]:
    # Most of these columns hold few values: each is converted, and kept in memory, once.
    value_of = {cell: empty if _is_empty(cell) else convert(cell) for cell in set(cells)}
    return [value_of[cell] for cell in cells]


def _texts(cells: Sequence[Any]) -> list[str]:
    if set(map(type, cells)) <= {str, type(None)}:
        return [cell or "" for cell in cells]
    return ["" if _is_empty(cell) else _text(cell) for cell in cells]


def _shared(texts: list[str]) -> list[str]:
    kept: dict[str, str] = {}
    return [kept.setdefault(text, text) for text in texts]


def _numbers(name: str, cells: Sequence[Any]) -> Sequence[Any]:
    if set(map(type, cells)) == {float} and all(map(math.isfinite, cells)):
        return cells
    return [None if _is_empty(cell) else _number(name, cell) for cell in cells]


def _boxes(cells: Sequence[Any]) -> list[tuple[float, float, float, float] | None]:
    if not set(map(type, cells)) <= {list, type(None)}:
        return [_box(None if _is_empty(cell) else cell) for cell in cells]
    numbers = np.array([cell for cell in cells if cell is not None], dtype=np.float64)
    if numbers.shape[1:] != (4,) * (len(numbers) > 0) or not np.isfinite(numbers).all():
        raise ValueError
    boxes = map(tuple, numbers.tolist())
    return [None if cell is None else next(boxes) for cell in cells]


def _check_hashes(phashes: Iterable[str]) -> None:
    present = [phash for phash in phashes if phash]
    digits = "".join(present)
    # `fromhex` passes over spaces, and then gives fewer bytes.
    if set(map(len, present)) - {64} or len(bytes.fromhex(digits)) * 2 != len(digits):
        raise ValueError


def _row(record: dict[str, Any], splits: dict[str, str], place: str) -> ManifestRow:
    values = {name: value for name, value in record.items() if not _is_empty(value)}
    texts = {
        name: _text(value) for name, value in values.items() if name not in (*_INTEGERS, *_NUMBERS, "box")
    }
    try:
        integers = {name: _integer(name, values[name]) for name in _INTEGERS if name in values}
        numbers = {name: _number(name, values[name]) for name in _NUMBERS if name in values}
        box = _box(values.get("box"))
    except ValueError as error:
        raise ManifestError(f"{place}: {error}.") from error
    target_class = texts.get("target_class", "").strip().lower()
    target = integers.pop("target", None)
    if target_class and target_class not in LABEL2ID:
        raise ManifestError(f"{place}: target_class is '{target_class}'.", "Allowed: real, fake.")
    if target is not None and target not in ID2LABEL:
        raise ManifestError(f"{place}: target is {target}.", "Allowed: 1 for real, 0 for fake.")
    if target is None and not target_class:
        raise ManifestError(f"{place}: neither target nor target_class is filled in.")
    if target is not None and target_class and LABEL2ID[target_class] != target:
        raise ManifestError(
            f"{place}: target {target} and target_class '{target_class}' contradict each other.",
            "1 is real, 0 is fake.",
        )
    target = LABEL2ID[target_class] if target is None else target
    split = texts.get("split", "").strip().lower()
    if split and split not in splits:
        raise ManifestError(f"{place}: split is '{split}'.", f"Allowed: {', '.join(splits)}, or empty.")
    status = texts.get("status", OK)
    if status not in STATUSES:
        raise ManifestError(f"{place}: status is '{status}'.", did_you_mean(status, list(STATUSES)))
    if "phash" in texts and not _PHASH.fullmatch(texts["phash"]):
        raise ManifestError(
            f"{place}: phash is '{texts['phash'][:80]}'.", "It has 64 hexadecimal digits, or is empty."
        )
    texts |= {
        "image_path": texts.get("image_path", ""),
        "destination_path": texts.get("destination_path", ""),
        "folder": texts.get("folder", ""),
        "split": splits.get(split, ""),
        "target_class": ID2LABEL[target],
        "status": status,
    }
    return ManifestRow(**texts, **integers, **numbers, target=target, box=box)  # type: ignore[arg-type]


def _is_empty(value: Any) -> bool:
    # Other tools write a missing number as NaN.
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    # A workbook holds every number as a float, and a person may well call a group 7.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} is '{value}', which is no number")
    return number


def _integer(name: str, value: Any) -> int:
    # Beyond 2**53 a float would no longer be the same number.
    number = value if isinstance(value, int) else _number(name, value)
    if number != int(number):
        raise ValueError(f"{name} is {value}, which is no whole number")
    limit = 2 ** (_BITS.get(name, 64) - 1)
    if not -limit <= number < limit:
        raise ValueError(f"{name} is {value}, which is too large")
    return int(number)


def _box(value: Any) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    parts = (
        value.split() if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    )
    if len(parts) != 4:
        raise ValueError(f"box has {len(parts)} numbers, not the 4 of x1 y1 x2 y2")
    x1, y1, x2, y2 = (_number("box", part) for part in parts)
    return x1, y1, x2, y2

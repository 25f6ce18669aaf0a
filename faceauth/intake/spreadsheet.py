"""Tables as `.xlsx` files that people can open: text stays text, and long tables go on in further sheets."""

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font, PatternFill
from openpyxl.utils import get_column_letter
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError, ZipError

from faceauth.errors import InputError
from faceauth.files import whole_file

# A sheet ends at 1,048,576 rows; openpyxl's write-only mode goes on without a word and spoils the file.
MAX_SHEET_ROWS = 1_048_576
# Far more than a full sheet of manifest rows; a zip file of a few kilobytes can hold any amount.
MAX_UNPACKED_BYTES = 4 * 2**30
# Excel cuts longer cells silently.
MAX_CELL_CHARACTERS = 32_767
SAMPLED_ROWS_FOR_WIDTH = 200
_STRETCH_ROWS = 4096

# XML cannot hold these; Excel writes them as _xHHHH_, and so escapes what would then look like that.
_CONTROLS = r"\x00-\x08\x0b-\x1f\ufffe\uffff"
# Readers take a cell of nothing but spaces for an empty one.
_NOT_IN_XML = re.compile(rf"[{_CONTROLS}]|_x(?=[0-9A-Fa-f]{{4}}[_{_CONTROLS}])|\A\s(?=\s*\Z)")


def write_sheets(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str) -> None:
    """Writes one table, whole or not at all, with flat memory.

    The header is bold, frozen and has a filter; columns are as wide as their first rows need. Strings are
    typed as strings, so that a file called `=1+1.png` is a name and no formula.

    Args:
        path: The `.xlsx` file.
        columns: Names of the columns.
        rows: Cells as str, int, float or None.
        title: Name of the sheet; further sheets are called `title (2)` and so on.
    """
    workbook = Workbook(write_only=True)
    iterator = iter(rows)
    head = list(islice(iterator, SAMPLED_ROWS_FOR_WIDTH))
    pending = chain(head, iterator)
    widths = [_width(column, [row[i] for row in head]) for i, column in enumerate(columns)]
    number, more = 0, True
    while more:
        number += 1
        sheet = workbook.create_sheet(title if number == 1 else f"{title} ({number})")
        sheet.freeze_panes = "A2"
        for i, width in enumerate(widths):
            sheet.column_dimensions[get_column_letter(i + 1)].width = width
        sheet.append([_header_cell(sheet, column) for column in columns])
        n_rows = 1
        more = False
        for row in pending:
            sheet.append([_cell(sheet, value) for value in row])
            n_rows += 1
            if n_rows == MAX_SHEET_ROWS:
                more = True
                break
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{n_rows}"
        if more:
            following = list(islice(pending, 1))
            more = bool(following)
            pending = chain(following, pending)
    with whole_file(path) as draft:
        workbook.save(draft)


def read_sheets(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Reads the table of a workbook's first sheet, and of all further sheets with the same header.

    Args:
        path: An `.xlsx` file, made by `write_sheets` or by anyone.

    Returns:
        The column names as they stand, and one dictionary a row; empty cells are None. Rows that are
        entirely empty are left out.

    Raises:
        InputError: The file is no workbook, has no header, or unpacks to more than 4 GiB.
    """
    header, rows = _read_rows(path)
    return header, [dict(zip(header, cells, strict=False)) for cells in rows]


def read_sheet_columns(path: Path) -> dict[str, list[Any]]:
    """Reads the same table column by column, which for many rows takes a fraction of the memory.

    Args:
        path: An `.xlsx` file.

    Returns:
        The cells of each column by its name as it stands; of columns with one name the last one.

    Raises:
        InputError: As for `read_sheets`.
    """
    header, rows = _read_rows(path)
    columns: list[list[Any]] = [[] for _ in header]
    while stretch := list(islice(rows, _STRETCH_ROWS)):
        for column, cells in zip(columns, zip(*stretch, strict=True), strict=True):
            column.extend(cells)
    return dict(zip(header, columns, strict=True))


def _read_rows(path: Path) -> tuple[list[str], Iterator[list[Any]]]:
    _refuse_huge(path)
    try:
        with CalamineWorkbook.from_path(path) as workbook:
            sheets = [workbook.get_sheet_by_index(i) for i in range(len(workbook.sheet_names))]
    except (CalamineError, ZipError, PasswordError, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a spreadsheet: {error}", "Save it again as .xlsx."
        ) from error
    first = next(iter(sheets[0].iter_rows()), []) if sheets else []
    header = _names(first)
    if not any(header):
        raise InputError(f"{path} has no header row.", "Its first row must name the columns.")
    return header, _rows_below(header, sheets)


def _rows_below(header: list[str], sheets: list[CalamineSheet]) -> Iterator[list[Any]]:
    sheets.reverse()
    while sheets:
        # Taken out of the list, so that a sheet's cells are freed before the next one's are turned.
        rows = iter(sheets.pop().iter_rows())
        if _names(next(rows, [])) != header:
            continue
        for cells in rows:
            values = [None if cell == "" else cell for cell in cells]
            if any(value is not None for value in values):
                yield values


def _refuse_huge(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, OSError):
        return  # calamine knows formats that are no archives, and says better what is wrong
    if n_bytes > MAX_UNPACKED_BYTES:
        raise InputError(
            f"{path} unpacks to {n_bytes:,} bytes; at most {MAX_UNPACKED_BYTES:,} are read.",
            "Save the table as Parquet or CSV.",
        )


def escaped(text: str) -> str:
    """Writes control characters the way Excel stores them, and keeps the text within a cell's length.

    Whatever reads workbooks (Excel, LibreOffice, calamine) undoes it.
    """
    if text.isprintable() and "_x" not in text and not text.isspace():
        return text[:MAX_CELL_CHARACTERS]
    safe = _NOT_IN_XML.sub(
        lambda match: f"_x{ord(match.group()[0]):04X}_" if match.group() != "_x" else "_x005F_x", text
    )
    return safe[:MAX_CELL_CHARACTERS]


def _width(column: str, values: list[Any]) -> int:
    longest = max([len(column) + 4, *(len(str(value)) for value in values if value is not None)])
    return min(60, max(8, longest + 1))


def _header_cell(sheet: Any, text: str) -> WriteOnlyCell:
    cell = _typed_cell(sheet, escaped(text), "s")
    cell.font = Font(bold=True)
    cell.fill = PatternFill("solid", fgColor="E8EEF4")
    return cell


def _cell(sheet: Any, value: Any) -> Any:
    if isinstance(value, str):
        text = escaped(value)
        # A cell object for each text would cost a third of the time. openpyxl itself takes what begins with
        # `=` for a formula, and what is called like an error for one.
        return _typed_cell(sheet, text, "s") if text[:1] in ("=", "#") else text or None
    if isinstance(value, float):
        if not isfinite(value):
            return None
        # openpyxl writes 16 digits, of the 17 that some numbers need.
        return value if float(f"{value:.16g}") == value else _typed_cell(sheet, repr(float(value)), "n")
    return value


def _typed_cell(sheet: Any, text: str, data_type: str) -> WriteOnlyCell:
    cell = WriteOnlyCell(sheet, value=text)
    cell.data_type = data_type
    return cell


def _names(cells: list[Any]) -> list[str]:
    return [str(cell).strip() for cell in cells]

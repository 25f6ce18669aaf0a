"""The report's tables as a workbook, for those who want to go on calculating."""

from pathlib import Path

from openpyxl import Workbook
from openpyxl.cell.cell import Cell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from faceauth.files import whole_file
from faceauth.intake.spreadsheet import escaped
from faceauth.report.tables import Rate, Table

_LONGEST_SHEET_NAME = 31
_WIDEST_COLUMN = 60
_HEADER_FONT = Font(bold=True)
_HEADER_FILL = PatternFill("solid", start_color="FFE8EEF4")
_NOTE_FONT = Font(italic=True, color="FF6B665C")


def write_workbook(tables: list[Table], path: Path) -> None:
    """Writes one sheet a table, whole or not at all.

    Text stays text whatever it begins with, so that no name from the data becomes a formula. A figure
    with an interval takes three columns.

    Args:
        tables: At least one.
        path: Where the `.xlsx` shall be.
    """
    workbook = Workbook()
    workbook.remove(workbook.active)
    for table in tables:
        _fill(workbook.create_sheet(_sheet_name(table.title, workbook.sheetnames)), table)
    with whole_file(path) as draft:
        workbook.save(draft)


def flat_rows(table: Table) -> list[list[str | int | float | None]]:
    """Returns header and rows with each rate spread over three columns: the value and its bounds."""
    is_rate = [any(isinstance(row[i], Rate) for row in table.rows) for i in range(len(table.columns))]
    header: list[str | int | float | None] = []
    for title, spread in zip(table.columns, is_rate, strict=True):
        header += [title, f"{title}, low 95 %", f"{title}, high 95 %"] if spread else [title]
    rows = [header]
    for row in table.rows:
        flat: list[str | int | float | None] = []
        for cell, spread in zip(row, is_rate, strict=True):
            if isinstance(cell, Rate):
                flat += [cell.value, *(cell.ci95 or (None, None))]
            else:
                flat += [cell, None, None] if spread else [cell]
        rows.append(flat)
    return rows


def _fill(sheet: Worksheet, table: Table) -> None:
    rows = flat_rows(table)
    for i, row in enumerate(rows, start=1):
        for j, value in enumerate(row, start=1):
            cell = sheet.cell(i, j)
            _put(cell, value)
            if i == 1:
                cell.font, cell.fill = _HEADER_FONT, _HEADER_FILL
                cell.alignment = Alignment(wrap_text=True, vertical="top")
            elif isinstance(value, float):
                cell.number_format = "0.000"
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(rows[0]))}{len(rows)}"
    for j in range(len(rows[0])):
        widest = max(len(f"{row[j]:.3f}" if isinstance(row[j], float) else str(row[j] or "")) for row in rows)
        sheet.column_dimensions[get_column_letter(j + 1)].width = min(_WIDEST_COLUMN, max(9, widest + 2))
    for i, note in enumerate(table.notes, start=len(rows) + 2):
        cell = sheet.cell(i, 1)
        _put(cell, note)
        cell.font = _NOTE_FONT


def _put(cell: Cell, value: str | int | float | None) -> None:
    if isinstance(value, str):
        cell.value = escaped(value)
        cell.data_type = "s"
    else:
        cell.value = value


def _sheet_name(title: str, taken: list[str]) -> str:
    """Returns a name that Excel allows and no other sheet has."""
    plain = (
        "".join(
            " " if character in "[]:*?/\\'" or not character.isprintable() else character
            for character in title
        ).strip()
        or "Table"
    )
    lowered = {name.lower() for name in taken}
    name, number = plain[:_LONGEST_SHEET_NAME], 2
    while name.lower() in lowered:
        suffix = f" {number}"
        name, number = plain[: _LONGEST_SHEET_NAME - len(suffix)] + suffix, number + 1
    return name

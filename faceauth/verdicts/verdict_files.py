"""Files of verdicts: CSV, JSON lines and workbooks, each written whole or not at all while verdicts come."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from faceauth.errors import UsageError
from faceauth.files import whole_file
from faceauth.intake.spreadsheet import write_sheets
from faceauth.verdicts.verdict import COLUMNS, Verdict

# What a spreadsheet that opens a CSV takes for the beginning of a formula (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def check_output(path: Path) -> None:
    """Makes sure, before the work begins, that verdicts can be written to a path.

    Raises:
        UsageError: Its name says no known kind of file, or it is a folder.
    """
    if path.suffix.lower() not in WRITERS:
        raise UsageError(
            f"{path} is no kind of file that verdicts are written to.",
            f"Its name ends in {', '.join(WRITERS)}.",
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", "Give --output the name of a file.")


def write_verdicts(verdicts: Iterable[Verdict], path: Path) -> None:
    """Writes verdicts as the suffix of the path says, and keeps none in memory.

    Args:
        verdicts: The verdicts; if they end with an error, no file appears.
        path: A `.csv` or `.xlsx` with a column for each field, boxes and timelines as JSON and
            warnings separated by semicolons, or a `.jsonl` with an object a line.

    Raises:
        UsageError: The path cannot be used.
    """
    check_output(path)
    WRITERS[path.suffix.lower()](verdicts, path)


def json_line(verdict: Verdict) -> str:
    """Returns a verdict as one line of JSON, without the end of the line."""
    return json.dumps(verdict.to_json(), ensure_ascii=False, allow_nan=False)


def _write_jsonl(verdicts: Iterable[Verdict], path: Path) -> None:
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{json_line(verdict)}\n" for verdict in verdicts)


def _write_csv(verdicts: Iterable[Verdict], path: Path) -> None:
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows([_unlike_a_formula(cell) for cell in cells] for cells in _cells(verdicts))


def _write_xlsx(verdicts: Iterable[Verdict], path: Path) -> None:
    write_sheets(path, COLUMNS, _cells(verdicts), title="verdicts")


def _cells(verdicts: Iterable[Verdict]) -> Iterator[list[Any]]:
    for verdict in verdicts:
        document = verdict.to_json()
        for name in ("box", "timeline"):
            if document[name] is not None:
                document[name] = json.dumps(document[name])
        document["warnings"] = "; ".join(verdict.warnings)
        # Truth values are text, as in JSON: Python's and Excel's would differ.
        yield [str(cell).lower() if isinstance(cell, bool) else cell for cell in document.values()]


def _unlike_a_formula(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


WRITERS: dict[str, Callable[[Iterable[Verdict], Path], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".xlsx": _write_xlsx,
}

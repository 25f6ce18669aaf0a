"""Reads a table with a header from any of the three formats that people keep tables in."""

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import InputError
from faceauth.intake.spreadsheet import read_sheets

TABLE_SUFFIXES = (".xlsx", ".parquet", ".csv")


def read_table(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Reads a table.

    Args:
        path: A file that ends in one of `TABLE_SUFFIXES`.

    Returns:
        The column names as they stand, and one dictionary a row.

    Raises:
        InputError: The file has another suffix or cannot be read as what its suffix says.
    """
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        return read_sheets(path)
    try:
        if suffix == ".parquet":
            # Not `read_table`: that takes a folder called `split=train` above the file for a column.
            with pq.ParquetFile(path) as file:
                table = file.read()
            return table.column_names, table.to_pylist()
        if suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as lines:
                reader = csv.DictReader(lines)
                return list(reader.fieldnames or []), [dict(record) for record in reader]
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as {suffix[1:]}: {error}") from error
    raise InputError(f"{path} is no table.", f"Tables end in: {', '.join(TABLE_SUFFIXES)}.")

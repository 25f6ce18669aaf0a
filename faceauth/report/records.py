"""Tables of lists of objects, whatever those hold."""

from collections.abc import Iterator, Mapping
from typing import Any

from faceauth.report.tables import Cell, Table, as_number, as_rate, metric_title


def records_table(title: str, records: Any, *, folded: bool = False) -> Table | None:
    """Makes a table of whatever a list of objects holds; None if there is none.

    Args:
        title: What it shows.
        records: A list of objects; a rate becomes one cell, a list is joined.
        folded: Whether the page shows it on request only.
    """
    listed = list(objects_of(records))
    columns = list(dict.fromkeys(key for record in listed for key in record))
    if not columns:
        return None
    rows = tuple(tuple(_cell(record.get(column)) for column in columns) for record in listed)
    return Table(title, tuple(_heading(column) for column in columns), rows, folded=folded)


def objects_of(records: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the objects of a list; nothing where it is no list."""
    return iter(
        [record for record in records if isinstance(record, Mapping)] if isinstance(records, list) else []
    )


def _cell(value: Any) -> Cell:
    if isinstance(value, Mapping):
        return (
            as_rate(value) if "value" in value else ", ".join(f"{key}: {item}" for key, item in value.items())
        )
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    number = as_number(value)
    if number is not None:
        return number
    return "" if value is None else str(value)


def _heading(column: str) -> str:
    words = metric_title(column)
    return words[:1].upper() + words[1:]

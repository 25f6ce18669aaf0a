"""The scores table: one row a face, with the truth and what a detector said.

It is the seam between detectors and everything that is said of them: any other tool may write one, as CSV
or as Parquet, and have it measured here.
"""

import csv
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import InputError, did_you_mean
from faceauth.files import whole_file
from faceauth.labels import FAKE, ID2LABEL, LABEL2ID, ORIGINAL_SPLITS, REAL, TEST, is_original_naming

COLUMNS = ("destination_path", "folder", "split", "target", "p_fake")
GROUP_COLUMN = "group"
SUFFIXES = (".csv", ".parquet")

TARGET_BY_TEXT = {
    **{str(target): target for target in ID2LABEL},
    **{f"{target}.0": target for target in ID2LABEL},
    **LABEL2ID,
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of n faces, as columns.

    Attributes:
        destination_path: Where each crop lies, object (n,) of str; empty if it is not known.
        folder: Source model of each face, object (n,) of str.
        split: Split of each face, object (n,) of str.
        target: 1 for real, 0 for fake, int64 (n,).
        p_fake: The detector's probability that the face is fake, float64 (n,) in [0, 1].
        group: Group of each face, object (n,) of str, empty for none; None if no groups are known.

    Raises:
        InputError: Columns differ in length, a target is neither 0 nor 1, or a score is no number in [0, 1].
    """

    destination_path: np.ndarray
    folder: np.ndarray
    split: np.ndarray
    target: np.ndarray
    p_fake: np.ndarray
    group: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self._columns().items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"The columns of the scores differ in length: {lengths}.")
        unknown = np.flatnonzero(~np.isin(self.target, (FAKE, REAL)))
        if len(unknown):
            row = int(unknown[0])
            raise InputError(f"The target of score {row} is {self.target[row]!r}.", "1 is real, 0 is fake.")
        unusable = np.flatnonzero(~((self.p_fake >= 0) & (self.p_fake <= 1)))
        if len(unusable):
            row = int(unusable[0])
            name = self.destination_path[row] or f"score {row}"
            raise InputError(
                f"p_fake of {name} is {self.p_fake[row]}.",
                "It is a probability between 0 and 1, not a logit.",
            )

    def __len__(self) -> int:
        return len(self.p_fake)

    def where(self, keep: np.ndarray) -> "Scores":
        """Returns the rows for which `keep`, bool (n,), is true."""
        return Scores(**{name: column[keep] for name, column in self._columns().items()})

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {name: getattr(self, name) for name in COLUMNS}
        if self.group is not None:
            columns[GROUP_COLUMN] = self.group
        return columns


def write_scores(scores: Scores, path: Path) -> None:
    """Writes a scores table, whole or not at all; its suffix, `.csv` or `.parquet`, says which kind.

    In a CSV a path keeps its first character even if that is one of `=+-@`: it is written for machines, and
    a changed path would not be found again.

    Raises:
        InputError: The suffix is neither.
    """
    suffix = _known_suffix(path)
    columns = {name: column.tolist() for name, column in scores._columns().items()}
    with whole_file(path) as draft:
        if suffix == ".parquet":
            types = {"target": pa.int8(), "p_fake": pa.float64()}
            table = {name: pa.array(column, types.get(name, pa.string())) for name, column in columns.items()}
            pq.write_table(pa.table(table), draft)
        else:
            with draft.open("w", encoding="utf-8", newline="") as stream:
                # With its standard line ends the writer quotes a path that holds a carriage return.
                writer = csv.writer(stream)
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))


def read_scores(path: Path) -> Scores:
    """Reads a scores table that this or any other tool wrote.

    Needed are `p_fake` and one of `target` (1 real, 0 fake) and `target_class` (`real`, `fake`). Missing
    columns are filled: `folder` with the class, `split` with `test`, `destination_path` with nothing.
    Splits named as in the original report (`train`, `test`, `dev`) are renamed, with a line in the log.

    Args:
        path: A `.csv` (UTF-8; separated by comma, semicolon or tab) or a `.parquet`.

    Raises:
        InputError: The file cannot be read, lacks a column, or has a cell that is no target or no
            probability; rows are counted as a spreadsheet counts them, the header of a CSV being row 1.
    """
    suffix = _known_suffix(path)
    if not path.is_file():
        raise InputError(f"There is no scores file {path}.")
    columns = _read_parquet(path) if suffix == ".parquet" else _read_csv(path)
    first_row = 1 if suffix == ".parquet" else 2
    if "p_fake" not in columns:
        raise InputError(f"{path} has no column 'p_fake'.", did_you_mean("p_fake", list(columns)))
    if "target" not in columns and "target_class" not in columns:
        raise InputError(
            f"{path} has no column 'target' (1 real, 0 fake) and no 'target_class' (real, fake).",
            did_you_mean("target", list(columns)),
        )
    p_fake = _parse_p_fake(columns["p_fake"], path, first_row)
    target = _parse_targets(columns, path, first_row)
    n_rows = len(p_fake)

    def texts(name: str, default: list[str]) -> np.ndarray:
        found = columns.get(name, default)
        return np.array(["" if cell is None else str(cell) for cell in found], dtype=object)

    return Scores(
        destination_path=texts("destination_path", [""] * n_rows),
        folder=texts("folder", [ID2LABEL[value] for value in target.tolist()]),
        split=_rename_original_splits(texts("split", [TEST] * n_rows), path),
        target=target,
        p_fake=p_fake,
        group=texts(GROUP_COLUMN, []) if GROUP_COLUMN in columns else None,
    )


def _known_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no kind of scores file.", f"Its name ends in {' or '.join(SUFFIXES)}.")
    return suffix


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    try:
        # ParquetFile, because read_table takes a path with `=` in a folder's name for a partition.
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}.") from error
    return {name.strip(): table.column(i).to_pylist() for i, name in enumerate(table.column_names)}


def _read_csv(path: Path) -> dict[str, list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = max(",;\t", key=stream.readline().count)
            stream.seek(0)
            rows = list(csv.reader(stream, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}.", "Save it as CSV in UTF-8.") from error
    if not rows:
        raise InputError(f"{path} is empty.", f"Its first row names the columns: {', '.join(COLUMNS)}.")
    header = [name.strip() for name in rows[0]]
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{path} has two columns '{name}'.")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise InputError(
                f"Row {number} of {path} has {len(row)} cells, the header has {len(header)}.",
                "A cell with a comma in it belongs in quotes; there are no empty rows.",
            )
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(header)}


def _parse_p_fake(cells: list[Any], path: Path, first_row: int) -> np.ndarray:
    p_fake = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            p_fake[i] = float(cell)
        except (TypeError, ValueError):
            p_fake[i] = np.nan
        if not 0 <= p_fake[i] <= 1:
            raise InputError(
                f"p_fake in row {first_row + i} of {path} is {cell!r}.",
                "It is a probability between 0 and 1, written as 0.93; not a logit and not a percentage.",
            )
    return p_fake


def _parse_targets(columns: dict[str, list[Any]], path: Path, first_row: int) -> np.ndarray:
    parsed = {}
    for name in ("target", "target_class"):
        if name not in columns:
            continue
        parsed[name] = [TARGET_BY_TEXT.get(str(cell).strip().lower()) for cell in columns[name]]
        if None in parsed[name]:
            i = parsed[name].index(None)
            raise InputError(
                f"'{name}' in row {first_row + i} of {path} is {columns[name][i]!r}.",
                "1 or real, 0 or fake.",
            )
    if len(parsed) == 2 and parsed["target"] != parsed["target_class"]:
        i = int(np.argmax(np.array(parsed["target"]) != np.array(parsed["target_class"])))
        raise InputError(
            f"Row {first_row + i} of {path} has target {columns['target'][i]!r} and target_class "
            f"{columns['target_class'][i]!r}.",
            "Here 1 is real and 0 is fake; a tool that counts the other way round needs its column turned.",
        )
    return np.array(next(iter(parsed.values())), dtype=np.int64)


def _rename_original_splits(splits: np.ndarray, path: Path) -> np.ndarray:
    if not is_original_naming(set(splits.tolist())):
        return splits
    logger.info("%s names its splits as the original report does: %s", path, ORIGINAL_SPLITS)
    return np.array([ORIGINAL_SPLITS.get(name, name) for name in splits.tolist()], dtype=object)

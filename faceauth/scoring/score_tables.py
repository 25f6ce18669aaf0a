"""Reading scores tables: our own, and those of any other tool, whatever it calls its columns.

What a score means is stated, never guessed: by the column's name (`p_fake`, `p_real`, `logit_fake`,
`logit_real`) or by whoever reads the table.
"""

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit

from faceauth.errors import InputError, UsageError, did_you_mean
from faceauth.intake.manifest import OK, Manifest, ManifestRow
from faceauth.labels import ID2LABEL, LABEL2ID, ORIGINAL_SPLITS, TEST, is_original_naming
from faceauth.scoring.scores import COLUMNS, OPTIONAL_COLUMNS, Scores, known_suffix

TARGET_BY_TEXT = {
    **{str(target): target for target in ID2LABEL},
    **{f"{target}.0": target for target in ID2LABEL},
    **LABEL2ID,
}
# From the numbers of a column to p_fake.
SCORE_MEANINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "p_fake": lambda number: number,
    "p_real": lambda number: 1 - number,
    "logit_fake": expit,
    "logit_real": lambda number: expit(-number),
}
PROBABILITIES = ("p_fake", "p_real")
PATH_COLUMNS = ("destination_path", "path", "image_path")

logger = logging.getLogger(__name__)


def read_scores(
    path: Path, *, column: str | None = None, meaning: str = "p_fake", manifest: Manifest | None = None
) -> Scores:
    """Reads a scores table that this or any other tool wrote.

    Needed are a score and the truth. The score is the column `p_fake`, `p_real`, `logit_fake` or
    `logit_real`, or any column that the caller names together with its meaning. The truth is `target`
    (1 real, 0 fake) or `target_class` (`real`, `fake`); or a manifest knows it, by the path. Missing columns
    are filled: `folder` with the class, `split` with `test`, `destination_path` with nothing. Splits named
    as in the original report (`train`, `test`, `dev`) are renamed, with a line in the log.

    Args:
        path: A `.csv` (UTF-8; separated by comma, semicolon or tab) or a `.parquet`.
        column: Which column holds the score; None looks for one whose name says what it means.
        meaning: A name in `SCORE_MEANINGS`: what the numbers of `column` are. A logit of a network with two
            outputs is their difference.
        manifest: Where the truth, source, split and group of each path stand.

    Raises:
        UsageError: There is no such meaning.
        InputError: The file cannot be read, lacks a column, has a cell that is no target or no score, or a
            path that the manifest does not know; rows are counted as a spreadsheet counts them, the header
            of a CSV being row 1.
    """
    suffix = known_suffix(path)
    if not path.is_file():
        raise InputError(f"There is no scores file {path}.")
    columns = _read_parquet(path) if suffix == ".parquet" else _read_csv(path)
    first_row = 1 if suffix == ".parquet" else 2
    column, meaning = _find_score_column(columns, path, column, meaning)
    if manifest is not None:
        columns = _truth_of_manifest(columns, path, first_row, manifest)
    if "target" not in columns and "target_class" not in columns:
        raise InputError(
            f"{path} has no column 'target' (1 real, 0 fake) and no 'target_class' (real, fake).",
            f"{did_you_mean('target', list(columns))} With --manifest the truth is looked up by path.",
        )
    p_fake = SCORE_MEANINGS[meaning](_parse_numbers(columns[column], column, meaning, path, first_row))
    target = _parse_targets(columns, path, first_row)
    n_rows = len(p_fake)

    def texts(name: str, default: list[str]) -> np.ndarray:
        found = columns.get(name, default)
        return np.array(["" if cell is None else str(cell) for cell in found], dtype=object)

    paths = next((name for name in PATH_COLUMNS if name in columns), "destination_path")
    return Scores(
        destination_path=texts(paths, [""] * n_rows),
        folder=texts("folder", [ID2LABEL[value] for value in target.tolist()]),
        split=_rename_original_splits(texts("split", [TEST] * n_rows), path),
        target=target,
        p_fake=p_fake,
        **{name: texts(name, []) for name in OPTIONAL_COLUMNS if name in columns},
    )


def _find_score_column(
    columns: dict[str, list[Any]], path: Path, column: str | None, meaning: str
) -> tuple[str, str]:
    if meaning not in SCORE_MEANINGS:
        raise UsageError(
            f"A score cannot mean '{meaning}'.",
            did_you_mean(meaning, list(SCORE_MEANINGS)) or f"One of {', '.join(SCORE_MEANINGS)}.",
        )
    if column is not None:
        if column not in columns:
            raise InputError(f"{path} has no column '{column}'.", did_you_mean(column, list(columns)))
        return column, meaning
    found = [name for name in SCORE_MEANINGS if name in columns]
    if not found:
        raise InputError(
            f"{path} has no column 'p_fake', and none of {', '.join(list(SCORE_MEANINGS)[1:])}.",
            f"{did_you_mean('p_fake', list(columns))} Name it with --score-column and say what it means with "
            "--score-means.",
        )
    if len(found) > 1 and "p_fake" not in found:
        raise InputError(
            f"{path} has several scores: {', '.join(found)}.", "Choose one of them with --score-column."
        )
    return found[0], found[0]


def _truth_of_manifest(
    columns: dict[str, list[Any]], path: Path, first_row: int, manifest: Manifest
) -> dict[str, list[Any]]:
    """Puts the manifest's facts about each path in place of the table's own.

    Raises:
        InputError: The table has no path, a path is in no usable row of the manifest, is there twice, or is
            of another class than the table says.
    """
    name = next((name for name in PATH_COLUMNS if name in columns), None)
    if name is None:
        raise InputError(
            f"{path} has no column 'path', so the manifest cannot say which face is which.",
            f"One of {', '.join(PATH_COLUMNS)}, as they stand in {manifest.path}.",
        )
    rows = _rows_by_path(columns[name], path, first_row, manifest)
    taken: dict[str, int] = {}
    for i, row in enumerate(rows):
        earlier = taken.setdefault(row.destination_path, i)
        if earlier != i:
            raise InputError(
                f"Rows {first_row + earlier} and {first_row + i} of {path} are the same face, "
                f"{row.destination_path}.",
                "One score a face.",
            )
    truth = {
        "target": [row.target for row in rows],
        **{field: [getattr(row, field) for row in rows] for field in ("destination_path", "folder", "split")},
        "group": [row.group for row in rows],
    }
    if any(row.frame is not None for row in rows):
        truth["video"] = [row.video_path for row in rows]
    said = _parse_targets(columns, path, first_row) if {"target", "target_class"} & set(columns) else None
    if said is not None and said.tolist() != truth["target"]:
        i = int(np.argmax(said != np.array(truth["target"])))
        raise InputError(
            f"Row {first_row + i} of {path} calls {columns[name][i]!r} {ID2LABEL[int(said[i])]}, and "
            f"{manifest.path} calls it {rows[i].target_class}.",
            "Here 1 is real and 0 is fake.",
        )
    n_waiting = sum(row.status == OK and row.split in {r.split for r in rows} for row in manifest.rows)
    if n_waiting > len(rows):
        logger.warning(
            "%s has a score for %d of the %d faces of its splits in the manifest; the figures are of these",
            path,
            len(rows),
            n_waiting,
        )
    unused = set(PATH_COLUMNS) | {"target", "target_class"}
    return {key: cells for key, cells in columns.items() if key not in unused | set(truth)} | truth


def _rows_by_path(cells: list[Any], path: Path, first_row: int, manifest: Manifest) -> list[ManifestRow]:
    known: dict[str, ManifestRow] = {}
    for row in manifest.rows:
        if row.status == OK and row.split:
            crop = manifest.crop_path(row)
            for key in (row.image_path, row.destination_path, str(crop), str(crop.resolve())):
                known[key] = row
    rows = [known.get(str(cell)) or known.get(str(cell).strip().replace("\\", "/")) for cell in cells]
    unknown = [i for i, row in enumerate(rows) if row is None]
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(cells)} paths of {path} are no usable row of {manifest.path}, "
            f"such as {cells[unknown[0]]!r} in row {first_row + unknown[0]}.",
            "A path is the manifest's image_path or destination_path, or where the crop lies.",
        )
    return [row for row in rows if row is not None]


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


def _parse_numbers(cells: list[Any], column: str, meaning: str, path: Path, first_row: int) -> np.ndarray:
    numbers = np.empty(len(cells))
    is_probability = meaning in PROBABILITIES
    for i, cell in enumerate(cells):
        try:
            numbers[i] = float(cell)
        except (TypeError, ValueError):
            numbers[i] = np.nan
        if not (0 <= numbers[i] <= 1 if is_probability else np.isfinite(numbers[i])):
            raise InputError(
                f"{column} in row {first_row + i} of {path} is {cell!r}.",
                "It is a probability between 0 and 1, written as 0.93; not a percentage. A column of logits "
                "is called logit_fake or logit_real, or explained with --score-means."
                if is_probability
                else "It is a logit: a number, written as -2.31.",
            )
    return numbers


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

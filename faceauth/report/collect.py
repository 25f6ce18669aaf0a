"""What lies in the folders that a report is asked of: found, read and checked, or said to be missing."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import InputError
from faceauth.labels import FAKE, REAL, SPLITS
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores

# Where crops and training states lie, thousands of files deep, and no results.
_SKIPPED_FOLDERS = {*SPLITS, "checkpoints", "figures", "real", "fake"}
_SEARCH_DEPTH = 2
# A drawing larger than this makes the page slow; its bitmap then stands in.
_LARGEST_SVG_BYTES = 600_000

_PARTS = {
    "prepare.json": "how the data was prepared",
    "audit.json": "the audit",
    "faceauth.json": "a model",
    "metrics.jsonl": "a training log",
    "metrics.json": "an evaluation",
    "clusters.json": "clusters",
}
# Which keys of each document must be objects, if they are there.
_OBJECT_KEYS = {
    "prepare.json": ("counts", "rates", "seconds", "versions", "settings"),
    "audit.json": ("leaks", "shortcuts"),
    "faceauth.json": (),
    "metrics.json": ("overall", "by_folder"),
    "clusters.json": ("measures", "by_folder", "projections"),
}


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON file as it was found.

    Attributes:
        name: How the page calls the folder it was in.
        folder: The folder.
        content: What it holds.
    """

    name: str
    folder: Path
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The epochs of a training log, in order."""

    name: str
    epochs: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics, and with them scores and figures where there are any."""

    name: str
    metrics: dict[str, Any]
    scores: Scores | None
    figures: tuple[Path, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MapPoints:
    """The points of the maps, as columns of equal length n.

    Attributes:
        destination_path: Path of the crop, relative to the manifest's folder; (n,) object (str).
        folder: Source; (n,) object (str).
        split: (n,) object (str).
        target: 1 for real, 0 for fake; (n,) int8.
        p_fake: In [0, 1], NaN where there is none; (n,) float32.
        coordinates: By projection, (n, 2) float32.
    """

    destination_path: np.ndarray
    folder: np.ndarray
    split: np.ndarray
    target: np.ndarray
    p_fake: np.ndarray
    coordinates: dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Cluster measures, and with them the maps where there are any."""

    name: str
    document: dict[str, Any]
    points: MapPoints | None
    plots: tuple[Path, ...]


@dataclass(slots=True)
class Collected:
    """All that was found, and what was not."""

    folders: tuple[Path, ...]
    preparations: list[Document] = field(default_factory=list)
    audits: list[Document] = field(default_factory=list)
    models: list[Document] = field(default_factory=list)
    runs: list[TrainingRun] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    clusters: list[Clusters] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(folders: list[Path]) -> Collected:
    """Reads what results lie in folders and up to two levels below them.

    A file that cannot be read is no reason to withhold the rest: it is named among the problems.

    Args:
        folders: Folders that `prepare`, `train`, `evaluate` or `embed` wrote, or one that holds several.

    Raises:
        InputError: A folder does not exist, or none holds any result.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"There is no folder '{folder}'.", "Name folders that other commands wrote.")
    collected = Collected(folders=tuple(folders))
    seen: set[Path] = set()
    found_parts: set[str] = set()
    for top in folders:
        for folder in _result_folders(top):
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            relative = folder.relative_to(top)
            name = (Path(top.resolve().name) / relative).as_posix()
            found_parts |= _read_folder(collected, folder, name)
    if not found_parts:
        places = ", ".join(f"'{folder}'" for folder in folders)
        raise InputError(f"Nothing to report in {places}.", f"Looked for {', '.join(_PARTS)}.")
    collected.not_found.extend(f"{what} ({part})" for part, what in _PARTS.items() if part not in found_parts)
    return collected


def evaluated_split(metrics: dict[str, Any]) -> str:
    """Returns the split that metrics speak of, or an empty string."""
    split = metrics.get("split")
    return split if isinstance(split, str) else ""


def _result_folders(top: Path, depth: int = _SEARCH_DEPTH) -> Iterator[Path]:
    yield top
    if depth == 0:
        return
    with os.scandir(top) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for name in names:
        if name not in _SKIPPED_FOLDERS:
            yield from _result_folders(top / name, depth - 1)


def _read_folder(collected: Collected, folder: Path, name: str) -> set[str]:
    """Reads the parts of one folder and returns the file names of those that could be read."""
    documents = {part: _document(folder / part, collected.problems) for part in _OBJECT_KEYS}
    found = {part for part, content in documents.items() if content is not None}
    for part, held in (
        ("prepare.json", collected.preparations),
        ("audit.json", collected.audits),
        ("faceauth.json", collected.models),
    ):
        content = documents[part]
        if content is not None:
            held.append(Document(name, folder, content))
    epochs = _epochs(folder / "metrics.jsonl", collected.problems)
    if epochs:
        collected.runs.append(TrainingRun(name, epochs))
        found.add("metrics.jsonl")
    clusters, metrics = documents["clusters.json"], documents["metrics.json"]
    maps: set[str] = set()
    if clusters is not None:
        points = _points(folder / "projections.parquet", collected)
        maps = set(clusters.get("projections", {})) | set(points.coordinates if points else ())
        plots = tuple(path for path in _figures(folder) if path.stem in maps)
        collected.clusters.append(Clusters(name, clusters, points, plots))
    if metrics is not None:
        scores = _scores(folder / "scores.csv", evaluated_split(metrics), collected)
        figures = tuple(
            path
            for place in (folder, folder / "figures")
            for path in _figures(place)
            if path.stem not in maps
        )
        collected.evaluations.append(Evaluation(name, metrics, scores, figures))
    return found


def _document(path: Path, problems: list[str]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{path} could not be read: {error}")
        return None
    keys = _OBJECT_KEYS[path.name]
    if not isinstance(content, dict) or not all(isinstance(content.get(key, {}), dict) for key in keys):
        problems.append(f"{path} has another shape than {path.name} has.")
        return None
    return content


def _epochs(path: Path, problems: list[str]) -> tuple[dict[str, Any], ...]:
    """Reads the epochs of a log, the last word on each."""
    if not path.is_file():
        return ()
    epochs: dict[int, dict[str, Any]] = {}
    n_broken = 0
    # What comes after the last line's end was being written when the run stopped.
    for line in path.read_text("utf-8", errors="replace").split("\n")[:-1]:
        try:
            event = json.loads(line) if line.strip() else None
        except ValueError:
            n_broken += 1
            continue
        if isinstance(event, dict) and event.get("event") == "epoch" and isinstance(event.get("epoch"), int):
            epochs[event["epoch"]] = event
    if n_broken:
        problems.append(f"{path} has {n_broken} line(s) that are no JSON.")
    return tuple(epochs[number] for number in sorted(epochs))


def _scores(path: Path, split: str, collected: Collected) -> Scores | None:
    """Reads the scores that metrics were computed from: those of their split, if the table has more."""
    if not path.is_file():
        collected.not_found.append(f"scores ({path})")
        return None
    try:
        scores = read_scores(path)
    except InputError as error:
        collected.problems.append(str(error))
        return None
    rows = np.flatnonzero(scores.split == split) if split else np.arange(len(scores.p_fake))
    if len(rows) == 0:
        collected.problems.append(f"{path} has no row of the split '{split}'.")
        return None
    return Scores(
        destination_path=scores.destination_path[rows],
        folder=scores.folder[rows],
        split=scores.split[rows],
        target=scores.target[rows],
        p_fake=scores.p_fake[rows],
    )


def _points(path: Path, collected: Collected) -> MapPoints | None:
    if not path.is_file():
        collected.not_found.append(f"maps ({path})")
        return None
    try:
        table = pq.read_table(path)
        texts = {
            column: table[column].cast(pa.string()).fill_null("").to_numpy().astype(object)
            for column in ("destination_path", "folder", "split")
        }
        columns = table.column_names
        coordinates = {
            column[:-2]: np.stack([table[column].to_numpy(), table[f"{column[:-2]}_y"].to_numpy()], axis=1)
            for column in columns
            if column.endswith("_x") and f"{column[:-2]}_y" in columns
        }
        target = table["target"].cast(pa.int8()).to_numpy()
        p_fake = table["p_fake"].cast(pa.float32()).to_numpy()
    except (pa.ArrowException, OSError, KeyError) as error:
        collected.problems.append(f"{path} is no table of maps: {type(error).__name__} {error}")
        return None
    is_finite = all(np.isfinite(places).all() for places in coordinates.values())
    if not coordinates or not is_finite or not np.isin(target, (REAL, FAKE)).all():
        collected.problems.append(f"{path} has no complete map, or a target other than 0 and 1.")
        return None
    return MapPoints(**texts, target=target, p_fake=p_fake, coordinates=coordinates)


def _figures(folder: Path) -> list[Path]:
    """Returns the figures of a folder, each once: as a drawing, or as a bitmap where that is too large."""
    if not folder.is_dir():
        return []
    chosen = {path.stem: path for path in sorted(folder.glob("*.png")) if not path.name.startswith(".")}
    for path in sorted(folder.glob("*.svg")):
        if not path.name.startswith(".") and (
            path.stem not in chosen or path.stat().st_size <= _LARGEST_SVG_BYTES
        ):
            chosen[path.stem] = path
    return [chosen[stem] for stem in sorted(chosen)]

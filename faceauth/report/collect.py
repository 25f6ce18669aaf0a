"""What lies in the folders that a report is asked of: found, read and checked, or said to be missing."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceauth.errors import InputError
from faceauth.labels import SPLITS
from faceauth.report.kinds import STUDY_KINDS, StudyKind
from faceauth.report.readers import (
    MapPoints,
    list_figures,
    read_document,
    read_epochs,
    read_points,
    read_scores_of_split,
)
from faceauth.scoring.scores import Scores

# Where crops and training states lie, thousands of files deep, and no results.
_SKIPPED_FOLDERS = {*SPLITS, "checkpoints", "figures", "real", "fake"}
_SEARCH_DEPTH = 2
_PARTS = {
    "prepare.json": "how the data was prepared",
    "audit.json": "the audit",
    "faceauth.json": "a model",
    "metrics.jsonl": "a training log",
    "metrics.json": "an evaluation",
    "clusters.json": "clusters",
}
# Which keys of each document must be objects, if they are there.
_OBJECT_KEYS: dict[str, dict[str, type]] = {
    "prepare.json": dict.fromkeys(("counts", "rates", "seconds", "versions", "settings"), dict),
    "audit.json": dict.fromkeys(("leaks", "shortcuts"), dict),
    "faceauth.json": {},
    "metrics.json": dict.fromkeys(("overall", "by_folder"), dict),
    "clusters.json": dict.fromkeys(("measures", "by_folder", "projections"), dict),
}
# Faces are in the page on request only, and this sheet is made of nothing else.
_SHEETS_OF_FACES = ("misclassified",)


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


@dataclass(frozen=True, slots=True)
class Clusters:
    """Cluster measures, and with them the maps where there are any."""

    name: str
    document: dict[str, Any]
    points: MapPoints | None
    plots: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """What a verb other than `evaluate` measured, with its figures."""

    name: str
    kind: StudyKind
    document: dict[str, Any]
    figures: tuple[Path, ...]


@dataclass(slots=True)
class Collected:
    """All that was found, and what was not."""

    folders: tuple[Path, ...]
    preparations: list[Document] = field(default_factory=list)
    audits: list[Document] = field(default_factory=list)
    models: list[Document] = field(default_factory=list)
    runs: list[TrainingRun] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)
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
        raise InputError(
            f"Nothing to report in {places}.", f"Looked for {', '.join((*_PARTS, *STUDY_KINDS))}."
        )
    collected.not_found.extend(f"{what} ({part})" for part, what in _PARTS.items() if part not in found_parts)
    return collected


def evaluated_split(metrics: dict[str, Any]) -> str:
    """Returns the split that metrics speak of, or an empty string."""
    split = metrics.get("split")
    return split if isinstance(split, str) else ""


def _result_folders(top: Path, depth: int = _SEARCH_DEPTH) -> Iterator[Path]:
    yield top
    # The trainings of a study are not reported one by one.
    if depth == 0 or (top / "matrix.json").is_file():
        return
    with os.scandir(top) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for name in names:
        if name not in _SKIPPED_FOLDERS:
            yield from _result_folders(top / name, depth - 1)


def _read_folder(collected: Collected, folder: Path, name: str) -> set[str]:
    """Reads the parts of one folder and returns the file names of those that could be read."""
    problems = collected.problems
    documents = {part: read_document(folder / part, keys, problems) for part, keys in _OBJECT_KEYS.items()}
    found = {part for part, content in documents.items() if content is not None}
    for part, held in (
        ("prepare.json", collected.preparations),
        ("audit.json", collected.audits),
        ("faceauth.json", collected.models),
    ):
        content = documents[part]
        if content is not None:
            held.append(Document(name, folder, content))
    epochs = read_epochs(folder / "metrics.jsonl", problems)
    if epochs:
        collected.runs.append(TrainingRun(name, epochs))
        found.add("metrics.jsonl")
    taken = {*_SHEETS_OF_FACES}
    for part, kind in STUDY_KINDS.items():
        content = read_document(folder / part, kind.keys, problems)
        if content is not None:
            figures = tuple(path for path in list_figures(folder) if kind.owns(path.stem))
            taken |= {path.stem for path in figures}
            collected.studies.append(Study(name, kind, content, figures))
            found.add(part)
    clusters, metrics = documents["clusters.json"], documents["metrics.json"]
    if clusters is not None:
        points = read_points(folder / "projections.parquet", collected.not_found, problems)
        maps = set(clusters.get("projections", {})) | set(points.coordinates if points else ())
        plots = tuple(path for path in list_figures(folder) if path.stem in maps)
        taken |= maps
        collected.clusters.append(Clusters(name, clusters, points, plots))
    if metrics is not None:
        split = evaluated_split(metrics)
        scores = read_scores_of_split(folder / "scores.csv", split, collected.not_found, problems)
        places = (folder, folder / "figures")
        figures = tuple(path for place in places for path in list_figures(place) if path.stem not in taken)
        collected.evaluations.append(Evaluation(name, metrics, scores, figures))
    return found

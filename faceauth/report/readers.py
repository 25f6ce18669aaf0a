"""Reads the files of a result: whole, or with a line on why it could not be read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import InputError
from faceauth.labels import FAKE, REAL
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores

# A drawing larger than this makes the page slow; its bitmap then stands in.
_LARGEST_SVG_BYTES = 600_000


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


def read_document(path: Path, keys: dict[str, type], problems: list[str]) -> dict[str, Any] | None:
    """Reads a JSON object; None if there is none, or if it has another shape than it should.

    Args:
        path: The file.
        keys: Which keys must be of which type, if they are there.
        problems: Gets a line on what is wrong.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{path} could not be read: {error}")
        return None
    is_object = isinstance(content, dict)
    if not is_object or not all(isinstance(content.get(key, kind()), kind) for key, kind in keys.items()):
        problems.append(f"{path} has another shape than {path.name} has.")
        return None
    return content


def read_epochs(path: Path, problems: list[str]) -> tuple[dict[str, Any], ...]:
    """Reads the epochs of a training log, the last word on each."""
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


def read_scores_of_split(path: Path, split: str, not_found: list[str], problems: list[str]) -> Scores | None:
    """Reads the scores that metrics were computed from: those of their split, if the table has more."""
    if not path.is_file():
        not_found.append(f"scores ({path})")
        return None
    try:
        scores = read_scores(path)
    except InputError as error:
        problems.append(str(error))
        return None
    chosen = scores.where(scores.split == split) if split else scores
    if len(chosen) == 0:
        problems.append(f"{path} has no row of the split '{split}'.")
        return None
    return chosen


def read_points(path: Path, not_found: list[str], problems: list[str]) -> MapPoints | None:
    """Reads the points of maps; None if there are none, or if they are not complete."""
    if not path.is_file():
        not_found.append(f"maps ({path})")
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
        problems.append(f"{path} is no table of maps: {type(error).__name__} {error}")
        return None
    is_finite = all(np.isfinite(places).all() for places in coordinates.values())
    if not coordinates or not is_finite or not np.isin(target, (REAL, FAKE)).all():
        problems.append(f"{path} has no complete map, or a target other than 0 and 1.")
        return None
    return MapPoints(**texts, target=target, p_fake=p_fake, coordinates=coordinates)


def list_figures(folder: Path) -> list[Path]:
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

"""`faceauth compare`: which of two detectors is better on the same faces, and how sure that is."""

import csv
from pathlib import Path
from typing import Any

from faceauth.errors import InputError
from faceauth.evaluation.drawing import save_figure
from faceauth.files import read_json, whole_file, write_json
from faceauth.labels import TEST
from faceauth.scoring.intervals import DEFAULT_DRAWS
from faceauth.scoring.score_tables import read_scores
from faceauth.studies.comparison import compare_scores
from faceauth.studies.comparison_figure import draw_comparison, format_p

COMPARE_NAME = "compare"
METRICS_NAME = "metrics.json"
SCORES_NAMES = ("scores.csv", "scores.parquet")
SIDES = ("first", "second", "difference")


def compare(
    first: Path, second: Path, output: Path, *, split: str = TEST, draws: int = DEFAULT_DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Compares two detectors by their scores of the same faces.

    Writes `compare.json`, `compare.csv` and `compare` as `.png` and `.svg`.

    Args:
        first: A scores table, or a results folder with `scores.csv` or `scores.parquet`. The threshold of a
            `metrics.json` beside it is the detector's own.
        second: The same for the second detector.
        output: Where results go.
        split: Which rows to compare.
        draws: Resamples for what hangs on thresholds.
        seed: The same seed gives the same intervals.

    Returns:
        The document of `compare.json`.

    Raises:
        InputError: A table cannot be read, or the two are not of the same faces.
    """
    paths = [find_scores(path) for path in (first, second)]
    tables = [read_scores(path) for path in paths]
    thresholds = (_threshold_beside(paths[0]), _threshold_beside(paths[1]))
    document = compare_scores(*tables, split=split, thresholds=thresholds, draws=draws, seed=seed)
    for name, path in zip(("first", "second"), paths, strict=True):
        document[name] = {"scores": str(path)} | document[name]
    write_json(output / f"{COMPARE_NAME}.json", document)
    _write_csv(document, output / f"{COMPARE_NAME}.csv")
    save_figure(draw_comparison(document), output, COMPARE_NAME)
    return document


def find_scores(path: Path) -> Path:
    """Returns the scores table that is meant by a file or a results folder.

    Raises:
        InputError: The folder holds none.
    """
    if not path.is_dir():
        return path
    for name in SCORES_NAMES:
        if (path / name).is_file():
            return path / name
    raise InputError(
        f"{path} holds no scores: neither {' nor '.join(SCORES_NAMES)}.",
        "Give a folder that faceauth evaluate wrote, or a scores table.",
    )


def format_comparison(document: dict[str, Any]) -> list[list[str]]:
    """Makes the table that people see: what, both values, their difference, its interval, p.

    Args:
        document: What `compare` returned.
    """
    rows = []
    for where, metric, compared in _comparisons(document):
        values = [compared[side]["value"] for side in SIDES]
        difference = compared["difference"]
        p_value = compared.get("p_holm", compared["p_value"])
        interval = difference["reason"] or ""
        if difference["ci95"] is not None:
            interval = " to ".join(f"{bound:+.3f}" for bound in difference["ci95"])
        rows.append(
            [
                where,
                metric,
                *("-" if value is None else f"{value:.3f}" for value in values[:2]),
                "-" if values[2] is None else f"{values[2]:+.3f}",
                interval,
                "-" if p_value is None else format_p(p_value).removeprefix("= "),
            ]
        )
    return rows


def _threshold_beside(path: Path) -> float | None:
    beside = path.with_name(METRICS_NAME)
    if not beside.is_file():
        return None
    try:
        return float(read_json(beside)["threshold"]["value"])
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{beside} holds no threshold.", "Run faceauth evaluate again, or move that file away."
        ) from error


def _comparisons(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Lists all comparisons as (overall or folder, metric, comparison)."""
    parts = [("overall", document["overall"]), *document["by_folder"].items()]
    return [(where, metric, compared) for where, part in parts for metric, compared in part.items()]


def _write_csv(document: dict[str, Any], path: Path) -> None:
    header = ["on", "metric"]
    for side in SIDES:
        header += [side, f"{side}_from", f"{side}_to"]
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*header, "p_value", "p_holm", "n_real", "n_fake", "reason"])
        for where, metric, compared in _comparisons(document):
            cells: list[Any] = [where, metric]
            for side in SIDES:
                cells += [compared[side]["value"], *(compared[side]["ci95"] or (None, None))]
            difference = compared["difference"]
            cells += [compared["p_value"], compared.get("p_holm")]
            writer.writerow([*cells, difference["n_real"], difference["n_fake"], difference["reason"]])

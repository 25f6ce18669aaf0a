"""The matrix of a study: each detector (a row) against each source of the test split (a column).

A generator and a family of generators are measured against all reals of the split, a collection of reals
against all fakes. A cell says whether the row's detector learned from that source. Rows are detectors of one
plan, or scores tables of other tools, of which it is not known what they learned from.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceauth.console import progress
from faceauth.errors import InputError
from faceauth.files import whole_file
from faceauth.labels import FAKE, REAL
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate, measure_rates
from faceauth.scoring.scores import Scores
from faceauth.studies.mean_auroc import measure_mean_auroc

ALL, FAMILY, GENERATOR, COLLECTION = "all", "family", "generator", "collection"
SEEN, PARTLY_SEEN, UNSEEN, UNKNOWN = "seen", "partly", "unseen", "unknown"
CELL_METRICS = ("auroc", "balanced_accuracy", "accuracy", "recall_fake", "recall_real")
CSV_HEADER = (
    "training", "test", "kind", "seen", "metric", "value", "low", "high", "n_real", "n_fake", "reason",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class MatrixRow:
    """One detector and what it said.

    Attributes:
        name: How people call it.
        scores: Its scores of the test rows; None if there are none.
        threshold: A face is called fake from this score on.
        folders: The sources that it learned from; None if that is not known.
        reason: Why there are no scores.
    """

    name: str
    scores: Scores | None
    threshold: float = 0.5
    folders: frozenset[str] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class MatrixTest:
    """One column: what detectors are tested on.

    Attributes:
        name: Of the source, or of the family; `all` for all of them.
        kind: `all`, `family`, `generator` or `collection`.
        folders: The sources in it.
    """

    name: str
    kind: str
    folders: tuple[str, ...]

    def rows_of(self, scores: Scores) -> np.ndarray:
        """Returns its own faces and those of the other class that they are measured against, bool (n,)."""
        if self.kind == ALL:
            return np.ones(len(scores), dtype=bool)
        own, other = (REAL, FAKE) if self.kind == COLLECTION else (FAKE, REAL)
        inside = np.isin(scores.folder, np.array(self.folders, dtype=object))
        return ((scores.target == own) & inside) | (scores.target == other)

    def seen_by(self, folders: frozenset[str] | None) -> str:
        """Says whether a detector that learned from `folders` knows it: seen, partly, unseen or unknown."""
        if folders is None:
            return UNKNOWN
        n_seen = sum(folder in folders for folder in self.folders)
        return UNSEEN if n_seen == 0 else SEEN if n_seen == len(self.folders) else PARTLY_SEEN


def find_tests(
    all_scores: Iterable[Scores], families: Mapping[str, Sequence[str]] | None = None
) -> list[MatrixTest]:
    """Finds the columns: all, families of two or more generators, generators, collections.

    Args:
        all_scores: Scores of the test rows, one table a detector.
        families: Names with their sources; those of the other class, or not there, are left aside.

    Raises:
        InputError: There are no scores at all.
    """
    names: dict[int, set[str]] = {FAKE: set(), REAL: set()}
    for scores in all_scores:
        for target, found in names.items():
            found |= set(scores.folder[scores.target == target].tolist())
    if not any(names.values()):
        raise InputError("There are no scores to make a matrix of.")
    tests = [MatrixTest(ALL, ALL, tuple(sorted(names[FAKE])) + tuple(sorted(names[REAL])))]
    for name, folders in (families or {}).items():
        members = tuple(folder for folder in folders if folder in names[FAKE])
        # A family of one would be the generator's column over again.
        if len(members) > 1:
            tests.append(MatrixTest(name, FAMILY, members))
    tests += [MatrixTest(name, GENERATOR, (name,)) for name in sorted(names[FAKE])]
    tests += [MatrixTest(name, COLLECTION, (name,)) for name in sorted(names[REAL])]
    return tests


def measure_matrix(
    rows: Sequence[MatrixRow],
    tests: Sequence[MatrixTest],
    *,
    metrics: Sequence[str] = CELL_METRICS,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures every cell, and each row's mean over generators.

    Args:
        rows: The detectors.
        tests: The columns, as from `find_tests`.
        metrics: Names in `METRICS`.
        draws: Resamples for the intervals.
        seed: The same seed gives the same intervals.

    Returns:
        `tests`, `cells` and `summary` of the document that `matrix.json` holds.

    Raises:
        UnknownNameError: There is no metric of such a name.
    """
    cells, summary = [], []
    with progress("cells", len(rows) * len(tests)) as advance:
        for row in rows:
            of_row = []
            for test in tests:
                rates = _measure_cell(row, test, metrics=metrics, draws=draws, seed=seed)
                seen = test.seen_by(row.folders)
                of_row.append(
                    {
                        "training": row.name,
                        "test": test.name,
                        "kind": test.kind,
                        "seen": seen,
                        "rates": {name: rate.to_json() for name, rate in rates.items()},
                    }
                )
                advance(1)
            cells += of_row
            summary.append(_summarise(row, tests, of_row, draws=draws, seed=seed))
    columns = [
        {"name": test.name, "kind": test.kind, "folders": list(test.folders), **_count(test, rows)}
        for test in tests
    ]
    return {"tests": columns, "cells": cells, "summary": summary}


def write_matrix_csv(document: dict[str, Any], path: Path) -> None:
    """Writes every cell as rows of a CSV, one a metric, whole or not at all.

    Args:
        document: What `measure_matrix` returned.
        path: Where to.
    """
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(CSV_HEADER)
        for cell in document["cells"]:
            place = [cell[key] for key in ("training", "test", "kind", "seen")]
            for metric, rate in cell["rates"].items():
                low, high = rate["ci95"] or (None, None)
                counts = [rate["n_real"], rate["n_fake"]]
                writer.writerow([*place, metric, rate["value"], low, high, *counts, rate["reason"]])


def _measure_cell(
    row: MatrixRow, test: MatrixTest, *, metrics: Sequence[str], draws: int, seed: int
) -> dict[str, Rate]:
    if row.scores is None:
        return dict.fromkeys(metrics, Rate(None, None, 0, 0, row.reason or "there are no scores"))
    chosen = row.scores.where(test.rows_of(row.scores))
    own = test.folders if test.kind != ALL else tuple(set(chosen.folder.tolist()))
    if not np.isin(chosen.folder, np.array(own, dtype=object)).any():
        return dict.fromkeys(metrics, Rate(None, None, 0, 0, f"the scores have no face of {test.name}"))
    return measure_rates(
        chosen.target,
        chosen.p_fake,
        threshold=row.threshold,
        groups=chosen.group,
        metrics=metrics,
        draws=draws,
        seed=seed,
    )


def _summarise(
    row: MatrixRow, tests: Sequence[MatrixTest], cells: list[dict[str, Any]], *, draws: int, seed: int
) -> dict[str, Any]:
    """Means over a row's generators, its worst one, and its false alarms on reals that it does not know."""
    summary: dict[str, Any] = {"training": row.name}
    generators = [test for test in tests if test.kind == GENERATOR]
    for seen in (SEEN, UNSEEN):
        names = [test.name for test in generators if test.seen_by(row.folders) == seen]
        summary[f"{seen}_generators"] = _mean_over(row, names, seen, draws=draws, seed=seed)
    everything = [test.name for test in generators]
    summary["generators"] = _mean_over(row, everything, "tested", draws=draws, seed=seed)
    candidates = [
        cell
        for cell in cells
        if cell["kind"] == GENERATOR
        and cell["seen"] in (UNSEEN, UNKNOWN)
        and cell["rates"].get("auroc", {"value": None})["value"] is not None
    ]
    worst = min(candidates, key=lambda cell: cell["rates"]["auroc"]["value"], default=None)
    summary["worst_generator"] = worst and {"test": worst["test"], "auroc": worst["rates"]["auroc"]}
    summary["unseen_collections"] = _recall_of_unseen_reals(row, tests, draws=draws, seed=seed)
    return summary


def _mean_over(row: MatrixRow, names: list[str], what: str, *, draws: int, seed: int) -> dict[str, Any]:
    if row.scores is None:
        rate = Rate(None, None, 0, 0, row.reason or "there are no scores")
    elif row.folders is None and what != "tested":
        rate = Rate(None, None, 0, 0, "it is not known what the detector learned from")
    else:
        names = [name for name in names if (row.scores.folder == name).any()]
        rate = measure_mean_auroc(row.scores, names, draws=draws, seed=seed)
    return {"names": names, "mean_auroc": rate.to_json()}


def _recall_of_unseen_reals(
    row: MatrixRow, tests: Sequence[MatrixTest], *, draws: int, seed: int
) -> dict[str, Any]:
    names = [test.name for test in tests if test.kind == COLLECTION and test.seen_by(row.folders) == UNSEEN]
    if row.scores is None or not names:
        rate = Rate(None, None, 0, 0, row.reason or "there is no collection that the detector does not know")
        return {"names": names, "recall_real": rate.to_json()}
    keep = (row.scores.target == REAL) & np.isin(row.scores.folder, np.array(names, dtype=object))
    chosen = row.scores.where(keep)
    rates = measure_rates(
        chosen.target,
        chosen.p_fake,
        threshold=row.threshold,
        groups=chosen.group,
        metrics=("recall_real",),
        draws=draws,
        seed=seed,
    )
    return {"names": names, "recall_real": rates["recall_real"].to_json()}


def _count(test: MatrixTest, rows: Sequence[MatrixRow]) -> dict[str, int]:
    """Counts a column's faces; tables of other tools may hold different ones, and the largest counts."""
    counts = {"n_real": 0, "n_fake": 0}
    for row in rows:
        if row.scores is not None:
            targets = row.scores.target[test.rows_of(row.scores)]
            counts["n_real"] = max(counts["n_real"], int((targets == REAL).sum()))
            counts["n_fake"] = max(counts["n_fake"], int((targets == FAKE).sum()))
    return counts

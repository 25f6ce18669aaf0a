"""What the scores of one split say: all metrics with intervals, overall and for each source model.

A generator is measured against all reals of the split and a real collection against all fakes, so that each
folder's figures need both classes no less than the overall ones.
"""

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from faceauth.errors import InputError
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate, measure_rates
from faceauth.scoring.scores import Scores
from faceauth.scoring.thresholds import Threshold

# What a short table shows of each folder; the files hold all metrics.
FOLDER_HEADLINES = ("auroc", "balanced_accuracy", "eer")

logger = logging.getLogger(__name__)


class FolderRows(NamedTuple):
    """The faces that say how a detector does on one source model.

    Attributes:
        name: The folder, with ` (real)` or ` (fake)` if a folder of that name exists in both classes.
        target: 1 for a real collection, 0 for a generator.
        keep: Its own faces and all faces of the other class, bool (n,).
    """

    name: str
    target: int
    keep: np.ndarray


class TableRow(NamedTuple):
    """One line of the table that people see, all texts."""

    folder: str
    metric: str
    value: str
    interval: str
    faces: str


def evaluate_scores(
    scores: Scores,
    *,
    threshold: Threshold,
    split: str,
    model: str,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    test_reads: int = 0,
    shortcut_auroc: Rate | None = None,
) -> dict[str, Any]:
    """Measures one split of a scores table.

    Args:
        scores: The table; rows of other splits are left aside.
        threshold: Chosen beforehand, on another split.
        split: Which rows to measure.
        model: What made the scores, for the record.
        draws: Resamples for the intervals.
        seed: The same seed gives the same intervals.
        test_reads: How often the test split has been read for this model, this time included.
        shortcut_auroc: AUROC of a classifier that sees metadata alone; None if it was not measured.

    Returns:
        The document that `metrics.json` holds.

    Raises:
        InputError: No row is of that split.
    """
    measured = rows_of_split(scores, split)

    def rates(rows: Scores) -> dict[str, Rate]:
        return measure_rates(
            rows.target,
            rows.p_fake,
            threshold=threshold.value,
            groups=rows.group,
            draws=draws,
            seed=seed,
        )

    overall = rates(measured)
    auroc = overall["auroc"]
    if auroc.ci95 is not None and auroc.ci95[1] < 0.5:
        logger.warning(
            "The AUROC is %.3f: the scores rank fakes below reals. Is target 1 = real, 0 = fake, and p_fake "
            "the probability of a fake?",
            auroc.value,
        )
    shortcut = shortcut_auroc or Rate(None, None, 0, 0, "it was not measured")
    return {
        "split": split,
        "model": model,
        "threshold": threshold.to_json(),
        "overall": _to_json(overall),
        "by_folder": {
            folder.name: _to_json(rates(measured.where(folder.keep))) for folder in iterate_folders(measured)
        },
        "shortcut_auroc": shortcut.to_json(),
        "test_reads": test_reads,
    }


def rows_of_split(scores: Scores, split: str) -> Scores:
    """Returns the rows of one split.

    Raises:
        InputError: There is none.
    """
    chosen = scores.where(scores.split == split)
    if not len(chosen):
        found = ", ".join(sorted({f"'{name}'" for name in scores.split.tolist()})) or "none"
        raise InputError(f"No score is of the split '{split}'.", f"Splits in the table: {found}.")
    return chosen


def iterate_folders(scores: Scores) -> Iterator[FolderRows]:
    """Yields the generators and then the real collections, each in alphabetical order."""
    names = {target: set(scores.folder[scores.target == target].tolist()) for target in (FAKE, REAL)}
    for target in (FAKE, REAL):
        for name in sorted(names[target]):
            own = (scores.target == target) & (scores.folder == name)
            is_shared = name in names[FAKE] and name in names[REAL]
            title = f"{name} ({ID2LABEL[target]})" if is_shared else name
            yield FolderRows(title, target, own | (scores.target != target))


def format_table(document: dict[str, Any]) -> list[TableRow]:
    """Makes the table that people see: all metrics overall, and a few for each folder.

    Args:
        document: What `evaluate_scores` returned.
    """
    rows = [_format_row("overall", name, rate) for name, rate in document["overall"].items()]
    for folder, rates in document["by_folder"].items():
        rows += [_format_row(folder, name, rates[name]) for name in FOLDER_HEADLINES]
    return rows


def format_value(value: float) -> str:
    """Writes a value with three decimals; only an exact 0 or 1 is written as `0.000` or `1.000`."""
    text = f"{value:.3f}"
    if text == "0.000" and value > 0:
        return "<0.001"
    if text == "1.000" and value < 1:
        return ">0.999"
    return text


def _to_json(rates: dict[str, Rate]) -> dict[str, Any]:
    return {name: rate.to_json() for name, rate in rates.items()}


def _format_row(folder: str, metric: str, rate: dict[str, Any]) -> TableRow:
    value = "undefined" if rate["value"] is None else format_value(rate["value"])
    interval = rate["reason"] or ""
    if rate["ci95"] is not None:
        interval = " to ".join(format_value(bound) for bound in rate["ci95"])
    return TableRow(folder, metric, value, interval, f"{rate['n_real']} real, {rate['n_fake']} fake")

"""What the scores of one split say: all metrics with intervals, overall and for each source model.

A generator is measured against all reals of the split and a real collection against all fakes, so that each
folder's figures need both classes no less than the overall ones.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from faceauth.decisions.calibration import NO_CALIBRATION, Calibration
from faceauth.decisions.conformal import UnsureBand, measure_unsure
from faceauth.decisions.thresholds import Threshold
from faceauth.evaluation.reliability import describe_reliability
from faceauth.labels import FAKE, REAL
from faceauth.scoring.breakdown import rates_by
from faceauth.scoring.by_folder import iterate_folders, rows_of_split
from faceauth.scoring.delong import delong_auroc
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate, measure_rates
from faceauth.scoring.pooling import POOLING_RULES, pool_scores
from faceauth.scoring.scores import Scores
from faceauth.shortcuts.shortcuts import Shortcuts

# What is said of thresholds that were not chosen for verdicts.
OF_ALTERNATIVES = ("accuracy", "balanced_accuracy", "recall_fake", "recall_real")

# What untouched pictures are called among degraded ones.
CLEAN = "clean"

logger = logging.getLogger(__name__)


def evaluate_scores(
    scores: Scores,
    *,
    threshold: Threshold,
    split: str,
    model: str,
    alternatives: Sequence[dict[str, Any]] = (),
    calibration: Calibration = NO_CALIBRATION,
    unsure: UnsureBand | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    test_reads: Sequence[dict[str, str]] = (),
    shortcuts: Shortcuts | None = None,
) -> dict[str, Any]:
    """Measures one split of a scores table.

    Args:
        scores: The table, calibrated; rows of other splits are left aside.
        threshold: Chosen beforehand, on another split.
        split: Which rows to measure.
        model: What made the scores, for the record.
        alternatives: What other rules chose beforehand, as `list_thresholds` returns it.
        calibration: How the scores were calibrated.
        unsure: The band of scores that are called unsure, chosen beforehand; None if there is none.
        draws: Resamples for the intervals.
        seed: The same seed gives the same intervals.
        test_reads: Who read the test split for this model and when, this time included.
        shortcuts: How far plain facts alone go on the same rows; None if it was not measured.

    Returns:
        The document that `metrics.json` holds.

    Raises:
        InputError: No row is of that split, or the frames of a video do not belong together.
    """
    measured = rows_of_split(scores, split)
    rates = partial(_rates, threshold=threshold.value, draws=draws, seed=seed)
    overall = rates(measured)
    _warn_if_turned_round(overall["auroc"])
    folders = {folder.name: measured.where(folder.keep) for folder in iterate_folders(measured)}
    if shortcuts is None:
        shortcuts = Shortcuts(Rate(None, None, 0, 0, "it was not measured"), {}, [])
    band = unsure or UnsureBand.from_json(None)
    doubt = measure_unsure(
        measured.target,
        measured.p_fake,
        band=band,
        threshold=threshold.value,
        groups=measured.unit,
        draws=draws,
        seed=seed,
    )
    return {
        "split": split,
        "model": model,
        "threshold": threshold.to_json(),
        "overall": _to_json(overall),
        "by_folder": {name: _to_json(rates(rows)) for name, rows in folders.items()},
        "auroc_delong": {
            "overall": _delong(measured),
            "by_folder": {name: _delong(rows) for name, rows in folders.items()},
        },
        "by_degradation": measure_degradations(measured, threshold=threshold.value, draws=draws, seed=seed),
        "pairs": measure_pairs(measured, draws=draws, seed=seed),
        "pooled": measure_videos(measured, threshold=threshold.value, draws=draws, seed=seed),
        "thresholds": [_measure_alternative(facts, measured, draws, seed) for facts in alternatives],
        "calibration": describe_reliability(measured, calibration, draws=draws, seed=seed),
        "unsure": band.to_json() | _to_json(doubt),
        "shortcut_auroc": shortcuts.overall.to_json(),
        "shortcuts": shortcuts.to_json(),
        "test_reads": len(test_reads),
        "test_read_log": list(test_reads),
    }


def measure_pairs(scores: Scores, *, draws: int = DEFAULT_DRAWS, seed: int = 0) -> list[dict[str, Any]]:
    """Measures each generator against each collection of reals alone.

    A generator that was learned from one collection can look easy against all reals and hard against those
    that it imitates.

    Args:
        scores: Rows of one split.
        draws: Resamples for the intervals.
        seed: The same seed gives the same intervals.

    Returns:
        `{"generator", "collection", "auroc": rate}` for each pair; empty with fewer than two collections,
        where it would say nothing new.
    """
    collections = sorted(set(scores.folder[scores.target == REAL].tolist()))
    if len(collections) < 2:
        return []
    pairs = []
    for generator in sorted(set(scores.folder[scores.target == FAKE].tolist())):
        for collection in collections:
            rows = scores.where(
                ((scores.target == FAKE) & (scores.folder == generator))
                | ((scores.target == REAL) & (scores.folder == collection))
            )
            auroc = measure_rates(
                rows.target, rows.p_fake, groups=rows.unit, metrics=("auroc",), draws=draws, seed=seed
            )["auroc"]
            pairs.append({"generator": generator, "collection": collection, "auroc": auroc.to_json()})
    return pairs


def measure_degradations(
    scores: Scores, *, threshold: float, draws: int = DEFAULT_DRAWS, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Measures the pictures of each degradation, where the scores say what was done to each.

    Args:
        scores: Rows of one split.
        threshold: A face is called fake from this score on.
        draws: Resamples for the intervals.
        seed: The same seed gives the same intervals.

    Returns:
        All metrics by degradation, those of untouched pictures under `clean`; empty if none is known.
    """
    if scores.degradation is None or not any(scores.degradation):
        return {}
    labels = np.where(scores.degradation == "", CLEAN, scores.degradation)
    found = rates_by(scores, labels, threshold=threshold, draws=draws, seed=seed)
    return {label: _to_json(rates) for label, rates in found.items()}


def measure_videos(
    scores: Scores, *, threshold: float, draws: int = DEFAULT_DRAWS, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Measures whole videos, their frames' scores brought together by each of `POOLING_RULES`.

    Args:
        scores: Rows of one split.
        threshold: Of a frame; it is used for the videos as it is.
        draws: Resamples for the intervals.
        seed: The same seed gives the same intervals.

    Returns:
        Under the name of each rule `{"overall": {metric: rate}}`, where n counts videos and single pictures;
        empty if no row is of a video.

    Raises:
        InputError: The frames of a video differ in target, folder, split or group.
    """
    if scores.video is None or not any(scores.video):
        return {}
    return {
        rule: {
            "overall": _to_json(
                _rates(pool_scores(scores, how=rule), threshold=threshold, draws=draws, seed=seed)
            )
        }
        for rule in POOLING_RULES.names()
    }


def _rates(rows: Scores, *, threshold: float, draws: int, seed: int) -> dict[str, Rate]:
    return measure_rates(
        rows.target, rows.p_fake, threshold=threshold, groups=rows.unit, draws=draws, seed=seed
    )


def _delong(rows: Scores) -> dict[str, Any]:
    return delong_auroc(rows.target, rows.p_fake, rows.unit).to_json()


def _measure_alternative(facts: dict[str, Any], rows: Scores, draws: int, seed: int) -> dict[str, Any]:
    """Adds to what a rule chose on val how it does on the rows; nothing where it could not choose."""
    if facts["value"] is None:
        return facts
    rates = measure_rates(
        rows.target,
        rows.p_fake,
        threshold=facts["value"],
        groups=rows.unit,
        metrics=OF_ALTERNATIVES,
        draws=draws,
        seed=seed,
    )
    return facts | _to_json(rates)


def _warn_if_turned_round(auroc: Rate) -> None:
    if auroc.ci95 is not None and auroc.ci95[1] < 0.5:
        logger.warning(
            "The AUROC is %.3f: the scores rank fakes below reals. Is target 1 = real, 0 = fake, and p_fake "
            "the probability of a fake?",
            auroc.value,
        )


def _to_json(rates: dict[str, Rate]) -> dict[str, Any]:
    return {name: rate.to_json() for name, rate in rates.items()}

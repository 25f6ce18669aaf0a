"""Which of two detectors is better on the same faces: paired differences with intervals and p-values.

A difference is always the first detector's value minus the second's. Both saw the same faces, so that most of
the luck of the draw falls out of it: the interval of a difference can lie above 0 although the two detectors'
own intervals overlap.

* AUROCs are compared by their paired covariance (`faceauth.scoring.delong`), which respects groups.
* Recalls and balanced accuracy, each detector at its own threshold, are compared on resamples of whole
  groups; their standard error gives interval and p-value.
* Both use Student's t with one degree of freedom less than the class with fewer groups has groups.
* Each generator is one more question, and with twenty of them one p-value below 0.05 is to be expected of two
  equal detectors. `p_holm` is corrected over all generators by Holm's step-down rule (Scandinavian Journal
  of Statistics 6, 1979, 65-70).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from faceauth.labels import FAKE, REAL, TEST
from faceauth.scoring.bounds import AGREEMENT, TAIL
from faceauth.scoring.by_folder import iterate_folders, rows_of_split
from faceauth.scoring.delong import auroc_components, auroc_covariance, delong_auroc, standard_error
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate, measure_rates, reason_for_no_interval
from faceauth.scoring.resampling import count_groups, draw_groups, number_groups
from faceauth.scoring.scores import Scores
from faceauth.studies.pairing import pair_scores

NO_THRESHOLD = (
    "a threshold is missing: it needs the metrics.json that lies beside the scores of each detector"
)
DECISION_METRICS = ("balanced_accuracy", "recall_fake", "recall_real")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two detectors.

    Attributes:
        first: The first detector's.
        second: The second detector's.
        difference: First minus second, in [-1, 1].
        p_value: Chance of so large a difference, on either side, between equally good detectors; None where
            the difference has no interval.
    """

    first: Rate
    second: Rate
    difference: Rate
    p_value: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns the shape that `compare.json` gives a comparison."""
        return {
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "difference": self.difference.to_json(),
            "p_value": self.p_value,
        }


def compare_scores(
    first: Scores,
    second: Scores,
    *,
    split: str = TEST,
    thresholds: tuple[float | None, float | None] = (None, None),
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares two detectors on the same faces.

    Args:
        first: Scores of the first detector.
        second: Scores of the second, of the same faces in any order.
        split: Which rows to compare.
        thresholds: Of the first and of the second; None where it is not known.
        draws: Resamples for what hangs on thresholds.
        seed: The same seed gives the same intervals.

    Returns:
        The document of `compare.json`: `overall` with every metric, `by_folder` with the AUROC of each
        generator against all reals.

    Raises:
        InputError: No row is of that split, or the two tables are not of the same faces.
    """
    faces, p_second = pair_scores(rows_of_split(first, split), rows_of_split(second, split))
    overall: dict[str, Any] = {
        "auroc": compare_aurocs(faces.target, faces.p_fake, p_second, faces.group).to_json()
    }
    decisions = compare_decisions(
        faces.target, faces.p_fake, p_second, faces.group, thresholds=thresholds, draws=draws, seed=seed
    )
    overall |= {name: comparison.to_json() for name, comparison in decisions.items()}
    by_folder = {}
    for folder in iterate_folders(faces):
        if folder.target == FAKE:
            chosen = faces.where(folder.keep)
            compared = compare_aurocs(chosen.target, chosen.p_fake, p_second[folder.keep], chosen.group)
            by_folder[folder.name] = {"auroc": compared.to_json()}
    corrected = correct_by_holm([entry["auroc"]["p_value"] for entry in by_folder.values()])
    for entry, p_holm in zip(by_folder.values(), corrected, strict=True):
        entry["auroc"]["p_holm"] = p_holm
    return {
        "split": split,
        "sign": "first minus second",
        "first": {"threshold": thresholds[0]},
        "second": {"threshold": thresholds[1]},
        "n_real": int((faces.target == REAL).sum()),
        "n_fake": int((faces.target == FAKE).sum()),
        "n_groups": count_groups(number_groups(faces.group, len(faces))),
        "overall": overall,
        "by_folder": by_folder,
    }


def compare_aurocs(
    targets: np.ndarray, p_first: np.ndarray, p_second: np.ndarray, groups: np.ndarray | None = None
) -> Comparison:
    """Compares two AUROCs on the same faces by their paired covariance.

    Args:
        targets: 1 for real, 0 for fake, int64 (n,).
        p_first: Scores of the first detector, float64 (n,) in [0, 1].
        p_second: Scores of the second detector, float64 (n,) in [0, 1].
        groups: Name of each face's group, shape (n,), empty for none; None if no groups are known.

    Raises:
        InputError: The scores cannot be measured.
    """
    first, second = (delong_auroc(targets, p_fake, groups) for p_fake in (p_first, p_second))
    if first.value is None or second.value is None:
        return Comparison(first, second, Rate(None, None, first.n_real, first.n_fake, first.reason), None)
    is_fake, group_of = targets != REAL, number_groups(groups, len(targets))
    reason = reason_for_no_interval(is_fake, group_of)
    deviation = 0.0
    if not reason:
        components = np.stack([auroc_components(is_fake, p_fake) for p_fake in (p_first, p_second)])
        deviation = standard_error(auroc_covariance(components, is_fake, group_of), (1, -1))
    n_groups = min(count_groups(group_of[rows]) for rows in (is_fake, ~is_fake))
    return _compare(first, second, deviation, n_groups=n_groups, reason=reason)


def compare_decisions(
    targets: np.ndarray,
    p_first: np.ndarray,
    p_second: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    thresholds: tuple[float | None, float | None],
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compares recalls and balanced accuracy, each detector at its own threshold, on the same resamples.

    Args:
        targets: 1 for real, 0 for fake, int64 (n,).
        p_first: Scores of the first detector, float64 (n,) in [0, 1].
        p_second: Scores of the second detector, float64 (n,) in [0, 1].
        groups: Name of each face's group, shape (n,), empty for none; None if no groups are known.
        thresholds: Of the first and of the second; without one of them nothing is compared.
        draws: Number of resamples.
        seed: The same seed gives the same intervals.

    Returns:
        One comparison for each of `DECISION_METRICS`.
    """
    rates = [
        measure_rates(
            targets,
            p_fake,
            threshold=threshold,
            groups=groups,
            metrics=DECISION_METRICS,
            draws=draws,
            seed=seed,
        )
        for p_fake, threshold in zip((p_first, p_second), thresholds, strict=True)
    ]
    if None in thresholds:
        compared = {}
        for name in DECISION_METRICS:
            first, second = rates[0][name], rates[1][name]
            nothing = Rate(None, None, first.n_real, first.n_fake, NO_THRESHOLD)
            compared[name] = Comparison(first, second, nothing, None)
        return compared
    is_fake, group_of = targets != REAL, number_groups(groups, len(targets))
    is_right = [
        (p_fake >= threshold) == is_fake
        for p_fake, threshold in zip((p_first, p_second), thresholds, strict=True)
    ]
    gain = is_right[0].astype(np.float64) - is_right[1]
    resampled = _resample_gains(gain, is_fake, group_of, draws=draws, seed=seed)
    n_groups = {
        "recall_fake": count_groups(group_of[is_fake]),
        "recall_real": count_groups(group_of[~is_fake]),
    }
    n_groups["balanced_accuracy"] = min(n_groups.values())
    return {
        name: _compare(
            rates[0][name],
            rates[1][name],
            float(np.nanstd(resampled[name])) * np.sqrt(n_groups[name] / max(n_groups[name] - 1, 1)),
            n_groups=n_groups[name],
            reason=reason_for_no_interval(
                is_fake, group_of, needs_real=name != "recall_fake", needs_fake=name != "recall_real"
            ),
        )
        for name in DECISION_METRICS
    }


def correct_by_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects p-values for their number by Holm's step-down rule.

    The smallest of m is multiplied by m, the next one by m - 1 and so on; none may be smaller than one before
    it, nor larger than 1. What has no p-value was not tested, and does not count.
    """
    corrected: list[float | None] = [None] * len(p_values)
    tested = sorted((p_value, i) for i, p_value in enumerate(p_values) if p_value is not None)
    highest = 0.0
    for rank, (p_value, i) in enumerate(tested):
        highest = max(highest, min(1.0, p_value * (len(tested) - rank)))
        corrected[i] = highest
    return corrected


def _compare(first: Rate, second: Rate, deviation: float, *, n_groups: int, reason: str | None) -> Comparison:
    """Tests a difference against 0 with Student's t."""
    n_real, n_fake = first.n_real, first.n_fake
    if first.value is None or second.value is None:
        why = first.reason if first.value is None else second.reason
        return Comparison(first, second, Rate(None, None, n_real, n_fake, why), None)
    value = first.value - second.value
    if not reason and deviation < AGREEMENT:
        reason = "no interval: the two detectors treat all of these faces alike, or nothing varies"
    if reason:
        return Comparison(first, second, Rate(value, None, n_real, n_fake, reason), None)
    freedom = n_groups - 1
    reach = -float(stdtrit(freedom, TAIL)) * deviation
    ci95 = (max(value - reach, -1.0), min(value + reach, 1.0))
    p_value = float(2 * stdtr(freedom, -abs(value) / deviation))
    return Comparison(first, second, Rate(value, ci95, n_real, n_fake), p_value)


def _resample_gains(
    gain: np.ndarray, is_fake: np.ndarray, group_of: np.ndarray, *, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns the differences in each resample, float64 (draws,); NaN where a class was not drawn.

    They are sums over faces, so that sums over groups say all.
    """
    plan = draw_groups(~is_fake, group_of, draws=draws, seed=seed)
    column = plan.column_of_group[group_of]
    of_groups = np.stack(
        [
            np.bincount(column, weights=weights, minlength=plan.edges[-1])
            for weights in (gain * is_fake, is_fake, gain * ~is_fake, ~is_fake)
        ],
        axis=1,
    )
    sums = np.concatenate([plan.times(block) @ of_groups for block in range(plan.n_blocks)])
    with np.errstate(invalid="ignore", divide="ignore"):
        of_fake, of_real = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
    return {"recall_fake": of_fake, "recall_real": of_real, "balanced_accuracy": (of_fake + of_real) / 2}

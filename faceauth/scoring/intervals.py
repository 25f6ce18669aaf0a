"""How sure a measured rate is: its value, its n and a 95 % interval.

One set of resamples of whole groups (`faceauth.scoring.resampling`) serves all metrics. A threshold is taken
as given: its own uncertainty is not in the interval.

* Shares of faces (accuracy, recall, precision) get a Clopper-Pearson interval with the effective number of
  faces that the resamples' variance stands for (Korn and Graubard, Survey Methodology 24, 1998, 193-201).
  At 0 and at 1, where all resamples agree, that number is the number of groups: 100 of 100 gives
  [0.964, 1] and not [1, 1].
* The recall at a limit of the false positive rate hangs on the few highest real scores, which resamples of
  the same few scores cannot stand for. Its interval comes from the ranks of the scores
  (`bounds_of_recall_at_fpr`): the doubt about the threshold, by Clopper-Pearson from the reals, and the doubt
  of the recall at it are put together as those of independent parts (Zou and Donner, as below). With too few
  reals to be sure of any threshold (fewer than 368 for 1 %, 3,688 for 0.1 %) it reaches down to 0.
* All other metrics get the resamples' standard error on the logit scale, between the lowest and the
  highest value the metric can have, with Student's t for the number of groups and its small-sample factor
  (Hesterberg, arXiv:1411.5279). For an AUROC near 1 plain percentiles hold too rarely: of 400 simulated
  sets of 100 and 100 faces with a true AUROC of 0.998 they held the truth in 84 %, this interval in 97 %.
* A mean of shares (balanced accuracy) is widened, if need be, to what follows from the intervals of its
  parts (Zou and Donner, Statistics in Medicine 27, 2008, 1693-1702): where one recall is exactly 1, the
  resamples see the other recall's doubt alone.
* Where all resamples agree (an AUROC of exactly 1), they cannot tell how sure that is. The bounds are then
  those of the rule of three: a share of 1 - 0.025 ** (1 / groups) of each class, the most that may have
  stayed unseen at 97.5 %, is put at the worst end of the ranking for the one bound and at the best end for
  the other. This is wider than need be.

The ECE is biased upwards and its interval, too, is one of the biased estimate: it never reaches 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceauth.labels import REAL
from faceauth.scoring.bounds import (
    Interval,
    bounds_if_all_agree,
    bounds_of_recall_at_fpr,
    interval_of_draws,
    interval_of_share,
    widen_to_parts,
)
from faceauth.scoring.metrics import METRICS, Metric, value_or_reason
from faceauth.scoring.resampling import count_groups, number_groups, resample_values
from faceauth.scoring.tally import Tally, check_scores, tally_scores

DEFAULT_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """A measured value and what is known of it.

    Attributes:
        value: The value; None where it is undefined.
        ci95: Lower and upper bound of the 95 % interval; None where there is none.
        n_real: Real faces that were measured.
        n_fake: Fake faces that were measured.
        reason: Why `value` or `ci95` is None; None if neither is.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n_real: int
    n_fake: int
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the shape that every JSON file gives a rate."""
        return {
            "value": self.value,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            "reason": self.reason,
        }


def measure_rates(
    targets: np.ndarray,
    p_fake: np.ndarray,
    *,
    threshold: float | None = None,
    groups: np.ndarray | None = None,
    metrics: Iterable[str] | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, Rate]:
    """Measures metrics with their 95 % intervals, all on the same resamples.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1], shape (n,).
        threshold: A face is called fake from this score on. Without it, metrics of decisions are undefined.
        groups: Name of each face's group, shape (n,); an empty name is a group of its own. None: each face is
            one.
        metrics: Names in `METRICS`; None means all.
        draws: Number of resamples.
        seed: The same seed gives the same intervals.

    Raises:
        UnknownNameError: There is no metric of such a name.
        InputError: The scores cannot be measured.
    """
    targets, p_fake = check_scores(targets, p_fake)
    chosen = {name: METRICS.get(name) for name in (METRICS.names() if metrics is None else metrics)}
    tally = tally_scores(targets, p_fake)
    faces = _Faces(
        targets != REAL,
        p_fake,
        number_groups(groups, len(targets)),
        tally,
        0.5 if threshold is None else threshold,
    )
    measured = {name: value_or_reason(metric, tally, threshold) for name, metric in chosen.items()}
    lacking = {name: faces.lacking_groups(metric) for name, metric in chosen.items()}
    with_interval = {
        name: metric for name, metric in chosen.items() if measured[name][0] is not None and not lacking[name]
    }
    parts = {part: METRICS.get(part) for metric in with_interval.values() for part in metric.mean_of}
    to_resample = {
        name: metric for name, metric in {**with_interval, **parts}.items() if metric.max_fpr is None
    }
    resampled = {}
    if to_resample:
        resampled = resample_values(
            lambda drawn: {
                name: metric.compute(drawn, faces.threshold) for name, metric in to_resample.items()
            },
            targets,
            p_fake,
            faces.group_of,
            draws=draws,
            seed=seed,
        )
    rates = {}
    for name in chosen:
        value, reason = measured[name]
        ci95 = None
        if value is not None:
            ci95, reason = (None, lacking[name]) if lacking[name] else faces.interval(name, value, resampled)
        rates[name] = Rate(value, ci95, int(tally.n_real), int(tally.n_fake), reason)
    return rates


def reason_for_no_interval(
    is_fake: np.ndarray, group_of: np.ndarray, *, needs_real: bool = True, needs_fake: bool = True
) -> str | None:
    """Says why there can be no interval: a class in which nothing varies.

    Args:
        is_fake: Class of each face, bool (n,).
        group_of: Number of each face's group, int64 (n,).
        needs_real: Whether a value needs real faces.
        needs_fake: Whether it needs fake faces. One that needs neither takes what there is.

    Returns:
        The reason, or None if there can be one.
    """
    of_one_class = needs_real != needs_fake
    for label, rows, needed in (("real", ~is_fake, needs_real), ("fake", is_fake, needs_fake)):
        if count_groups(group_of[rows]) == 1 and (needed or not of_one_class):
            what = f"there is one {label} face" if rows.sum() == 1 else f"all {label} faces are of one group"
            return f"no interval: {what}"
    return None


@dataclass(frozen=True, eq=False)
class _Faces:
    """What was measured, for the intervals of all metrics.

    Attributes:
        is_fake: Class of each face, bool (n,).
        p_fake: Scores, float64 (n,).
        group_of: Number of each face's group, int64 (n,).
        tally: The faces' tally.
        threshold: A face is called fake from this score on.
    """

    is_fake: np.ndarray
    p_fake: np.ndarray
    group_of: np.ndarray
    tally: Tally
    threshold: float

    def lacking_groups(self, metric: Metric) -> str | None:
        """Says why a metric can have no interval here; None if it can."""
        return reason_for_no_interval(
            self.is_fake, self.group_of, needs_real=metric.needs_real, needs_fake=metric.needs_fake
        )

    def interval(self, name: str, value: float, resampled: dict[str, np.ndarray]) -> Interval:
        """Returns a metric's interval, from its values in the resamples, float64 (draws,) each."""
        metric = METRICS.get(name)
        if metric.max_fpr is not None:
            bounds = bounds_of_recall_at_fpr(
                ~self.is_fake, self.p_fake, self.group_of, max_fpr=metric.max_fpr
            )
            return bounds, None
        if metric.share_of is not None:
            rows = metric.share_of(self.is_fake, self.p_fake >= self.threshold)
            n_groups = count_groups(self.group_of[rows])
            return interval_of_share(value, resampled[name], n_faces=int(rows.sum()), n_groups=n_groups)
        groups_real, groups_fake = (
            count_groups(self.group_of[rows]) for rows in (~self.is_fake, self.is_fake)
        )
        ci95, reason = interval_of_draws(
            value,
            resampled[name],
            highest=metric.highest,
            n_groups=min(n for n in (groups_real, groups_fake) if n),
            if_all_agree=bounds_if_all_agree(
                metric, self.tally, self.threshold, groups_real=groups_real, groups_fake=groups_fake
            ),
        )
        if ci95 is not None and metric.mean_of:
            of_parts = []
            for part in metric.mean_of:
                value_of_part = float(METRICS.get(part).compute(self.tally, self.threshold))
                of_parts.append((value_of_part, self.interval(part, value_of_part, resampled)[0]))
            ci95 = widen_to_parts(value, ci95, of_parts)
        return ci95, reason

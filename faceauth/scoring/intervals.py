"""How sure a measured rate is: its value, its n and a 95 % interval.

One set of resamples serves all metrics. Real and fake faces are resampled apart, and whole groups (a
person, a photo and the fakes made from it, a video) at a time, because faces of one group are no
independent evidence. A threshold is taken as given: its own uncertainty is not in the interval.

* Shares of faces (accuracy, recall, precision) get a Clopper-Pearson interval with the effective number of
  faces that the resamples' variance stands for (Korn and Graubard, Survey Methodology 24, 1998, 193-201).
  At 0 and at 1, where all resamples agree, that number is the number of groups: 100 of 100 gives
  [0.964, 1] and not [1, 1].
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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, expit, logit, stdtrit

from faceauth.labels import REAL
from faceauth.scoring.metrics import METRICS, Metric, Tally, check_scores, tally_scores, value_or_reason

TAIL = 0.025
DEFAULT_DRAWS = 1000
MIN_DEFINED_SHARE = 0.9
# Resamples that differ by less agree: it is rounding.
AGREEMENT = 1e-12
# Counts held at once while resampling: arrays of 800 kB stay in a processor's cache.
COUNTS_AT_ONCE = 100_000


# Lower and upper bound; or None and the reason why there are none.
Interval = tuple[tuple[float, float] | None, str | None]


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
    # In order of score, so that the resampled counts of faces without groups need no sorting.
    order = np.argsort(p_fake, kind="stable")
    targets, p_fake = targets[order], p_fake[order]
    group_of = _number_groups(None if groups is None else np.asarray(groups)[order], len(targets))
    chosen = {name: METRICS.get(name) for name in (METRICS.names() if metrics is None else metrics)}
    tally = tally_scores(targets, p_fake)
    n_real, n_fake = int(tally.n_real), int(tally.n_fake)
    measured = {name: value_or_reason(metric, tally, threshold) for name, metric in chosen.items()}

    is_fake = targets != REAL
    groups_real, groups_fake = _count(group_of[~is_fake]), _count(group_of[is_fake])
    lacking = {
        name: _lacking_groups(metric, n_real, n_fake, groups_real, groups_fake)
        for name, metric in chosen.items()
    }
    with_interval = {
        name: metric for name, metric in chosen.items() if measured[name][0] is not None and not lacking[name]
    }
    cut = 0.5 if threshold is None else threshold
    parts = {part: METRICS.get(part) for metric in with_interval.values() for part in metric.mean_of}
    resampled = _resample(
        {**with_interval, **parts}, targets, p_fake, group_of, threshold=cut, draws=draws, seed=seed
    )

    def interval_of(name: str, metric: Metric, value: float) -> Interval:
        if metric.share_of is not None:
            rows = metric.share_of(is_fake, p_fake >= cut)
            return _interval_of_share(value, resampled[name], int(rows.sum()), _count(group_of[rows]))
        bounds = _bounds_if_all_agree(metric, tally, cut, groups_real, groups_fake)
        n_groups = min(n for n in (groups_real, groups_fake) if n)
        ci95, reason = _interval_of_draws(metric, value, resampled[name], n_groups, bounds)
        if ci95 is not None and metric.mean_of:
            of_parts = []
            for part in metric.mean_of:
                value_of_part = float(parts[part].compute(tally, cut))
                of_parts.append((value_of_part, interval_of(part, parts[part], value_of_part)[0]))
            ci95 = _widen_to_parts(value, ci95, of_parts)
        return ci95, reason

    rates = {}
    for name, metric in chosen.items():
        value, reason = measured[name]
        ci95 = None
        if value is not None:
            ci95, reason = (None, lacking[name]) if lacking[name] else interval_of(name, metric, value)
        rates[name] = Rate(value, ci95, n_real, n_fake, reason)
    return rates


def _number_groups(groups: np.ndarray | None, n_rows: int) -> np.ndarray:
    """Returns each row's group as a number from 0, int64 (n,); rows without a name get their own."""
    if groups is None:
        return np.arange(n_rows)
    names = np.asarray(groups).astype(str)
    named = names != ""
    numbers = np.empty(n_rows, dtype=np.int64)
    numbers[named] = np.unique(names[named], return_inverse=True)[1]
    first_free = int(numbers[named].max()) + 1 if named.any() else 0
    numbers[~named] = first_free + np.arange(n_rows - int(named.sum()))
    return numbers


def _count(group_of: np.ndarray) -> int:
    return len(np.unique(group_of))


def _lacking_groups(
    metric: Metric, n_real: int, n_fake: int, groups_real: int, groups_fake: int
) -> str | None:
    """Says why there can be no interval: a class in which nothing varies."""
    of_one_class = metric.needs_real != metric.needs_fake
    for label, n_faces, n_groups, needed in (
        ("real", n_real, groups_real, metric.needs_real),
        ("fake", n_fake, groups_fake, metric.needs_fake),
    ):
        if n_groups == 1 and (needed or not of_one_class):
            what = f"there is one {label} face" if n_faces == 1 else f"all {label} faces are of one group"
            return f"no interval: {what}"
    return None


def _resample(
    metrics: dict[str, Metric],
    targets: np.ndarray,
    p_fake: np.ndarray,
    group_of: np.ndarray,
    *,
    threshold: float,
    draws: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Returns every metric's value in each resample, float64 (draws,); NaN where it is undefined.

    The rows come in ascending order of p_fake.
    """
    values = {name: np.full(draws, np.nan) for name in metrics}
    if not metrics:
        return values
    starts = np.flatnonzero(np.diff(p_fake, prepend=-1.0))
    is_real = targets == REAL
    each_its_own_group = np.array_equal(group_of, np.arange(len(group_of)))
    share_real = is_real.astype(np.float64)
    done = 0
    for times in _draw_groups(is_real, group_of, draws=draws, seed=seed):
        weights = times if each_its_own_group else times[:, group_of]
        real = weights * share_real
        fake = weights - real
        if len(starts) < len(p_fake):
            real, fake = np.add.reduceat(real, starts, axis=1), np.add.reduceat(fake, starts, axis=1)
        tally = Tally(p_fake=p_fake[starts], real=real, fake=fake)
        for name, metric in metrics.items():
            values[name][done : done + len(times)] = metric.compute(tally, threshold)
        done += len(times)
    return values


def _draw_groups(is_real: np.ndarray, group_of: np.ndarray, *, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often each group is in each resample, float64 (some draws, groups).

    Groups with real faces only, with fake faces only and with both are drawn apart, so that each resample
    has as many groups of each kind as there were. A kind of which there is a single group could not vary:
    then all groups are drawn together, unless that group is all there is of a class.
    """
    n_groups = int(group_of.max()) + 1
    has_real = np.bincount(group_of[is_real], minlength=n_groups) > 0
    has_fake = np.bincount(group_of[~is_real], minlength=n_groups) > 0
    kinds = [has_real & ~has_fake, ~has_real & has_fake, has_real & has_fake]
    strata = [np.flatnonzero(kind) for kind in kinds if kind.any()]
    if min(has_real.sum(), has_fake.sum()) > 1 and min(map(len, strata)) == 1:
        strata = [np.arange(n_groups)]
    rng = np.random.default_rng(seed)
    at_once = max(1, COUNTS_AT_ONCE // len(group_of))
    for start in range(0, draws, at_once):
        n_draws = min(at_once, draws - start)
        offsets = (np.arange(n_draws) * n_groups)[:, None]
        drawn = [
            (stratum[rng.integers(0, len(stratum), (n_draws, len(stratum)))] + offsets).ravel()
            for stratum in strata
        ]
        counts = np.bincount(np.concatenate(drawn), minlength=n_draws * n_groups)
        yield counts.reshape(n_draws, n_groups).astype(np.float64)


def _interval_of_share(value: float, resampled: np.ndarray, n_faces: int, n_groups: int) -> Interval:
    """Clopper-Pearson with the effective number of faces (Korn and Graubard 1998)."""
    if value in (0.0, 1.0):
        n_effective = float(n_groups)
    else:
        defined, reason = _defined(resampled)
        if reason:
            return None, reason
        variance = float(defined.var())
        n_effective = min(n_faces, value * (1 - value) / variance) if variance > 0 else float(n_faces)
        if n_groups < n_faces:
            # Few groups also leave their own variance unsure.
            n_effective *= (stdtrit(n_faces - 1, TAIL) / stdtrit(max(n_groups - 1, 1), TAIL)) ** 2
    hits = value * n_effective
    misses = n_effective - hits
    low = 0.0 if hits == 0 else float(betaincinv(hits, misses + 1, TAIL))
    high = 1.0 if misses == 0 else float(betaincinv(hits + 1, misses, 1 - TAIL))
    return (low, high), None


def _interval_of_draws(
    metric: Metric, value: float, resampled: np.ndarray, n_groups: int, bounds: tuple[float, float]
) -> Interval:
    """Standard error on the logit scale, or the given bounds where all resamples agree."""
    defined, reason = _defined(resampled)
    if reason:
        return None, reason
    deviation = float(defined.std())
    if deviation < AGREEMENT:
        return bounds, None
    share = value / metric.highest
    if share in (0.0, 1.0):
        # The ends of the scale have no logit.
        low, high = np.quantile(defined, [TAIL, 1 - TAIL])
        return (min(value, float(low)), max(value, float(high))), None
    small_sample = np.sqrt(n_groups / (n_groups - 1))
    reach = -stdtrit(n_groups - 1, TAIL) * small_sample * deviation / metric.highest / (share * (1 - share))
    low, high = metric.highest * expit(logit(share) + np.array([-reach, reach]))
    return (float(low), float(high)), None


def _widen_to_parts(
    value: float,
    ci95: tuple[float, float],
    of_parts: list[tuple[float, tuple[float, float] | None]],
) -> tuple[float, float]:
    """Takes the wider of an interval and the one of a mean of independent parts (Zou and Donner 2008)."""
    below = [part - bounds[0] for part, bounds in of_parts if bounds is not None]
    above = [bounds[1] - part for part, bounds in of_parts if bounds is not None]
    reach_below, reach_above = np.linalg.norm(below) / len(of_parts), np.linalg.norm(above) / len(of_parts)
    low, high = min(ci95[0], float(value - reach_below)), max(ci95[1], float(value + reach_above))
    return max(low, 0.0), min(high, 1.0)


def _defined(resampled: np.ndarray) -> tuple[np.ndarray, str | None]:
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < MIN_DEFINED_SHARE * len(resampled) or len(defined) < 2:
        return defined, f"no interval: defined in only {len(defined)} of {len(resampled)} resamples"
    return defined, None


def _bounds_if_all_agree(
    metric: Metric, tally: Tally, threshold: float, groups_real: int, groups_fake: int
) -> tuple[float, float]:
    """Puts the share of each class that may have stayed unseen at either end of the ranking."""
    unseen_real = 1 - TAIL ** (1 / groups_real) if groups_real else 0.0
    unseen_fake = 1 - TAIL ** (1 / groups_fake) if groups_fake else 0.0
    moved_real, moved_fake = unseen_real * tally.n_real, unseen_fake * tally.n_fake
    # Just outside [0, 1], so that they tie with no score.
    p_fake = np.concatenate([[np.nextafter(0, -1)], tally.p_fake, [np.nextafter(1, 2)]])
    kept_real, kept_fake = tally.real * (1 - unseen_real), tally.fake * (1 - unseen_fake)
    worst = Tally(
        p_fake=p_fake,
        real=np.concatenate([[0.0], kept_real, [moved_real]]),
        fake=np.concatenate([[moved_fake], kept_fake, [0.0]]),
    )
    best = Tally(
        p_fake=p_fake,
        real=np.concatenate([[moved_real], kept_real, [0.0]]),
        fake=np.concatenate([[0.0], kept_fake, [moved_fake]]),
    )
    values = [float(metric.compute(each, threshold)) for each in (tally, worst, best)]
    # The fractions of faces that were moved may add up to a rounding error more than there are.
    return max(min(values), 0.0), min(max(values), metric.highest)

"""Lower and upper bounds of 95 % intervals, from what resamples or counts say.

`faceauth.scoring.intervals` says which metric gets which, and why.
"""

import numpy as np
from scipy.special import betaincinv, expit, logit, stdtrit

from faceauth.scoring.metrics import Metric
from faceauth.scoring.tally import Ranking, Tally

TAIL = 0.025
MIN_DEFINED_SHARE = 0.9
# Resamples that differ by less agree: it is rounding.
AGREEMENT = 1e-12

# Lower and upper bound.
Bounds = tuple[float, float]
# The same; or None and the reason why there are none.
Interval = tuple[Bounds | None, str | None]


def interval_of_share(value: float, resampled: np.ndarray, *, n_faces: int, n_groups: int) -> Interval:
    """Clopper-Pearson with the effective number of faces that the resamples' variance stands for.

    Args:
        value: The share, in [0, 1].
        resampled: The share in each resample, float64 (draws,); NaN where it is undefined.
        n_faces: Faces that it is a share of.
        n_groups: Their groups.
    """
    if value in (0.0, 1.0):
        return clopper_pearson(value, float(n_groups)), None
    defined, reason = defined_draws(resampled)
    if reason:
        return None, reason
    variance = float(defined.var())
    return clopper_pearson(value, _effective_number(value, variance, n_faces, n_groups)), None


def interval_of_draws(
    value: float, resampled: np.ndarray, *, highest: float, n_groups: int, if_all_agree: Bounds
) -> Interval:
    """The resamples' standard error on the logit scale, or the given bounds where all resamples agree.

    Args:
        value: In [0, highest].
        resampled: The value in each resample, float64 (draws,); NaN where it is undefined.
        highest: The highest value there is.
        n_groups: Groups of the class that has fewer.
        if_all_agree: Bounds for resamples that are all the same.
    """
    defined, reason = defined_draws(resampled)
    if reason:
        return None, reason
    deviation = float(defined.std())
    if deviation < AGREEMENT:
        return if_all_agree, None
    if value / highest in (0.0, 1.0):
        # The ends of the scale have no logit.
        low, high = np.quantile(defined, [TAIL, 1 - TAIL])
        return (min(value, float(low)), max(value, float(high))), None
    small_sample = np.sqrt(n_groups / (n_groups - 1))
    return logit_bounds(value, deviation * small_sample, highest=highest, n_groups=n_groups), None


def logit_bounds(value: float, deviation: float, *, highest: float = 1.0, n_groups: int) -> Bounds:
    """Student's t on the logit scale.

    Args:
        value: Strictly between 0 and `highest`.
        deviation: Its standard error on its own scale.
        highest: The highest value there is.
        n_groups: One more than the degrees of freedom, at least 2.
    """
    share = value / highest
    reach = -stdtrit(n_groups - 1, TAIL) * deviation / highest / (share * (1 - share))
    low, high = highest * expit(logit(share) + np.array([-reach, reach]))
    return float(low), float(high)


def clopper_pearson(value: float, n_effective: float) -> Bounds:
    """The exact interval of a share of n faces, for an n that need not be whole."""
    hits = value * n_effective
    misses = n_effective - hits
    low = 0.0 if hits == 0 else float(betaincinv(hits, misses + 1, TAIL))
    high = 1.0 if misses == 0 else float(betaincinv(hits + 1, misses, 1 - TAIL))
    return low, high


def widen_to_parts(value: float, bounds: Bounds, of_parts: list[tuple[float, Bounds | None]]) -> Bounds:
    """Takes the wider of some bounds and those of a mean of independent parts.

    Args:
        value: The mean.
        bounds: Its bounds.
        of_parts: Each part's value with its bounds, if it has any.
    """
    low, high = _combine(value, [part for part in of_parts if part[1] is not None], share=1 / len(of_parts))
    return max(min(bounds[0], low), 0.0), min(max(bounds[1], high), 1.0)


def bounds_of_recall_at_fpr(
    is_real: np.ndarray, p_fake: np.ndarray, group_of: np.ndarray, *, max_fpr: float
) -> Bounds:
    """Bounds of the recall at a limit of the false positive rate, from the order of the scores alone.

    The real faces leave it open which threshold keeps the limit. The largest recall over thresholds whose
    false positive rate surely does (Clopper-Pearson), and the smallest over those whose rate surely does not,
    bound what that doubt can do; the doubt of the fakes' recall at the observed threshold is added as that of
    an independent part.

    Args:
        is_real: Class of each face, bool (n,), of at least one face of each class.
        p_fake: Scores, float64 (n,).
        group_of: Number of each face's group, int64 (n,).
        max_fpr: The limit, below 1.
    """
    reals, fakes = np.sort(p_fake[is_real]), np.sort(p_fake[~is_real])
    # Thresholds just below all scores and then just above each real score.
    cuts = np.concatenate([[-np.inf], np.unique(reals)])
    fpr = (len(reals) - np.searchsorted(reals, cuts, side="right")) / len(reals)
    recall = (len(fakes) - np.searchsorted(fakes, cuts, side="right")) / len(fakes)
    first = int(np.argmax(fpr <= max_fpr))
    called = p_fake > cuts[first]
    n_real, n_fake = (effective_number_of_faces(called[rows], group_of[rows]) for rows in (is_real, ~is_real))
    hits = fpr * n_real
    surely_above = np.where(hits > 0, betaincinv(np.maximum(hits, 1e-9), n_real - hits + 1, TAIL), 0.0)
    surely_below = np.where(
        hits < n_real, betaincinv(hits + 1, np.maximum(n_real - hits, 1e-9), 1 - TAIL), 1.0
    )
    value = float(recall[first])
    of_reals = (
        float(recall[surely_below <= max_fpr].max(initial=0.0)),
        float(recall[surely_above > max_fpr].min(initial=1.0)),
    )
    low, high = _combine(value, [(value, of_reals), (value, clopper_pearson(value, n_fake))], share=1.0)
    return max(low, 0.0), min(high, 1.0)


def bounds_if_all_agree(
    metric: Metric, tally: Tally, threshold: float, *, groups_real: int, groups_fake: int
) -> Bounds:
    """Puts the share of each class that may have stayed unseen at either end of the ranking.

    Args:
        metric: What the bounds are of.
        tally: The faces, without leading axes.
        threshold: A face is called fake from this score on.
        groups_real: Groups of real faces; 0 leaves that class as it is.
        groups_fake: Groups of fake faces.
    """
    unseen_real = 1 - TAIL ** (1 / groups_real) if groups_real else 0.0
    unseen_fake = 1 - TAIL ** (1 / groups_fake) if groups_fake else 0.0
    # Just outside [0, 1], so that they tie with no score.
    bottom, top = np.nextafter(0, -1), np.nextafter(1, 2)

    def moved(reals_to: float, fakes_to: float) -> Tally:
        real_scores, real = _move(tally.ranking.real_scores, tally.real, unseen_real, reals_to)
        fake_scores, fake = _move(tally.ranking.fake_scores, tally.fake, unseen_fake, fakes_to)
        return Tally(Ranking(real_scores, fake_scores), real, fake)

    each = (tally, moved(top, bottom), moved(bottom, top))
    values = [float(metric.compute(one, threshold)) for one in each]
    # The fractions of faces that were moved may add up to a rounding error more than there are.
    return max(min(values), 0.0), min(max(values), metric.highest)


def defined_draws(resampled: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Returns the values that are no NaN, and why they are too few for an interval, if they are."""
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < MIN_DEFINED_SHARE * len(resampled) or len(defined) < 2:
        return defined, f"no interval: defined in only {len(defined)} of {len(resampled)} resamples"
    return defined, None


def effective_number_of_faces(called: np.ndarray, group_of: np.ndarray) -> float:
    """Number of faces, each on its own, whose share of called ones would vary as this one does.

    Args:
        called: Bool (n,), n > 0.
        group_of: Number of each face's group, int64 (n,); the variance is that between the groups' sums.
    """
    numbers = np.unique(group_of, return_inverse=True)[1]
    n_groups, value = int(numbers.max()) + 1, float(called.mean())
    if value in (0.0, 1.0):
        return float(n_groups)
    sums = np.bincount(numbers, weights=called - value)
    variance = float((sums**2).sum()) / len(called) ** 2 * n_groups / max(n_groups - 1, 1)
    return _effective_number(value, variance, len(called), n_groups)


def _effective_number(value: float, variance: float, n_faces: int, n_groups: int) -> float:
    """Number of faces, each on its own, whose share would have this variance."""
    n_effective = min(n_faces, value * (1 - value) / variance) if variance > 0 else float(n_faces)
    if n_groups < n_faces:
        # Few groups also leave their own variance unsure.
        n_effective *= (stdtrit(n_faces - 1, TAIL) / stdtrit(max(n_groups - 1, 1), TAIL)) ** 2
    return float(n_effective)


def _combine(value: float, parts: list[tuple[float, Bounds | None]], *, share: float) -> Bounds:
    """Bounds of a sum of independent parts, each times a share, from the parts' own bounds."""
    below = [part - bounds[0] for part, bounds in parts if bounds is not None]
    above = [bounds[1] - part for part, bounds in parts if bounds is not None]
    return value - share * float(np.linalg.norm(below)), value + share * float(np.linalg.norm(above))


def _move(
    scores: np.ndarray, counts: np.ndarray, share: float, to_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """Takes a share of all faces of a class and gives it a score below or above all others."""
    place = 0 if to_score < 0 else len(scores)
    return np.insert(scores, place, to_score), np.insert(counts * (1 - share), place, share * counts.sum())

"""Metrics of rankings: which faces score above which, whatever the scores are."""

from collections.abc import Callable

import numpy as np

from faceauth.scoring.metrics import ratio, register_metric
from faceauth.scoring.tally import Tally

# In place of an empty denominator whose numerator is zero as well: cheaper than a masked division.
SMALLEST = np.finfo(np.float64).tiny


@register_metric(
    meaning="chance that a fake scores above a real, ties counted half", needs_real=True, needs_fake=True
)
def auroc(tally: Tally, threshold: float) -> np.ndarray:
    """Area under the ROC curve, from scores: the chance that a fake scores above a real, ties half."""
    ordered = _sum_of_products(tally.fake, tally.real_below_fake)
    if tally.ranking.has_shared_scores:
        ordered = (ordered + _sum_of_products(tally.fake, tally.real_up_to_fake)) / 2
    return ratio(ordered, tally.n_real * tally.n_fake)


@register_metric(
    meaning="average precision with fake as the positive class", needs_real=True, needs_fake=True
)
def ap_fake(tally: Tally, threshold: float) -> np.ndarray:
    """Average precision, without interpolation, of fakes ranked by p_fake; ties share one step."""
    fake_from_here = tally.n_fake[..., None] - tally.fake_below[..., :-1]
    any_from_here = tally.n_real[..., None] - tally.real_below_fake
    any_from_here += fake_from_here
    precision = fake_from_here / np.maximum(any_from_here, SMALLEST, out=any_from_here)
    return ratio(_sum_of_products(tally.fake, precision), tally.n_fake)


@register_metric(
    meaning="average precision with real as the positive class", needs_real=True, needs_fake=True
)
def ap_real(tally: Tally, threshold: float) -> np.ndarray:
    """Average precision, without interpolation, of reals ranked by 1 - p_fake; ties share one step."""
    real_to_here = tally.real_below[..., 1:]
    any_to_here = real_to_here + tally.fake_up_to_real
    precision = real_to_here / np.maximum(any_to_here, SMALLEST, out=any_to_here)
    return ratio(_sum_of_products(tally.real, precision), tally.n_real)


@register_metric(
    meaning="error rate where as many reals as fakes are called wrongly", needs_real=True, needs_fake=True
)
def eer(tally: Tally, threshold: float) -> np.ndarray:
    """Equal error rate: where the ROC curve, drawn with straight lines, has FPR = FNR.

    0 for perfect scores, 0.5 for scores that tell nothing, 1 for scores the wrong way round.
    """
    # The threshold moves up through all scores and, at last, past them.
    real_place, fake_place = tally.ranking.below_each

    def fpr_and_fnr(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        real_below = _entries(tally.real_below, real_place[step])
        fake_below = _entries(tally.fake_below, fake_place[step])
        return ratio(tally.n_real - real_below, tally.n_real), ratio(fake_below, tally.n_fake)

    def is_past_equality(step: np.ndarray) -> np.ndarray:
        fpr, fnr = fpr_and_fnr(step)
        return fpr < fnr

    following = _first_where(is_past_equality, len(tally.p_fake), shape=tally.n_real.shape)
    fpr_low, fnr_low = fpr_and_fnr(np.maximum(following - 1, 0))
    fpr_high, fnr_high = fpr_and_fnr(following)
    along = ratio(fpr_low - fnr_low, fpr_low - fnr_low - fpr_high + fnr_high)
    return fpr_low + along * (fpr_high - fpr_low)


@register_metric(
    meaning="largest share of fakes found while at most 1 % of reals are called fake",
    needs_real=True,
    needs_fake=True,
    max_fpr=0.01,
)
def tpr_at_fpr_1(tally: Tally, threshold: float) -> np.ndarray:
    """Largest recall of fakes over all thresholds at which at most 1 % of reals are called fake."""
    return recall_at_fpr(tally, 0.01)


@register_metric(
    meaning="largest share of fakes found while at most 0.1 % of reals are called fake",
    needs_real=True,
    needs_fake=True,
    max_fpr=0.001,
)
def tpr_at_fpr_01(tally: Tally, threshold: float) -> np.ndarray:
    """Largest recall of fakes over all thresholds at which at most 0.1 % of reals are called fake."""
    return recall_at_fpr(tally, 0.001)


def recall_at_fpr(tally: Tally, max_fpr: float) -> np.ndarray:
    """Returns the largest recall of fakes over all thresholds whose false positive rate is at most max_fpr.

    These are points of scikit-learn's `roc_curve`; nothing is interpolated between them.

    Args:
        tally: Counts with any leading shape.
        max_fpr: In [0, 1].

    Returns:
        Shape (...); NaN without fakes.
    """

    def is_low_enough(step: np.ndarray) -> np.ndarray:
        return ratio(tally.n_real - _entries(tally.real_below, step), tally.n_real) <= max_fpr

    # The threshold lies just above the last real score that would let too many through.
    first = _first_where(is_low_enough, len(tally.ranking.real_scores), shape=tally.n_real.shape)
    found_from = np.concatenate([[0], tally.ranking.fakes_up_to_reals])
    missed = _entries(tally.fake_below, found_from[first])
    return ratio(tally.n_fake - missed, tally.n_fake)


def _sum_of_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sums over the scores without an array of the products."""
    return np.einsum("...u,...u->...", left, right)


def _entries(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Returns one entry of each row: values of shape (..., m) at places of shape (...)."""
    rows = values.reshape(-1, values.shape[-1])
    return rows[np.arange(place.size), place.ravel()].reshape(place.shape)


def _first_where(
    holds: Callable[[np.ndarray], np.ndarray], last: int, *, shape: tuple[int, ...]
) -> np.ndarray:
    """Finds, for each resample, the first step in 0..last from which on something holds, by halving.

    Args:
        holds: From steps of the given shape, int64, to bool; once true, true at all later steps.
        last: Taken if it holds nowhere before.
        shape: Leading shape of the tally.
    """
    low, high = np.zeros(shape, dtype=np.int64), np.full(shape, last, dtype=np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        is_true = holds(middle)
        low, high = np.where(is_true, low, middle + 1), np.where(is_true, middle, high)
    return low

"""What scores are worth: every metric as one small function over a tally of the scores.

Fake is the positive class and a face is called fake if `p_fake >= threshold`. A tally holds how many real
and how many fake faces there are at each distinct score: all that any of these metrics needs. Its counts
may have leading axes, one entry a resample, so that the same function gives the value and, a thousand
resamples at a time, its interval (`faceauth.scoring.intervals`).

Inside this module an undefined value is NaN; whoever asks gets None and a reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faceauth.errors import InputError
from faceauth.labels import FAKE, REAL
from faceauth.registry import Registry

CALIBRATION_BINS = 15
# The log loss takes no score for more certain than this, as scikit-learn does not.
CERTAINTY = float(np.finfo(np.float64).eps)
# In place of an empty denominator whose numerator is zero as well: cheaper than a masked division.
SMALLEST = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Tally:
    """How many real and fake faces have each score.

    Attributes:
        p_fake: Distinct scores in ascending order, shape (u,) float64.
        real: Real faces at each score, shape (..., u) float64; leading axes are resamples.
        fake: Fake faces at each score, the same shape.
    """

    p_fake: np.ndarray
    real: np.ndarray
    fake: np.ndarray

    @cached_property
    def real_from_here(self) -> np.ndarray:
        """Real faces at or above each score, shape (..., u)."""
        return _cumulate_from_above(self.real)

    @cached_property
    def fake_from_here(self) -> np.ndarray:
        """Fake faces at or above each score, shape (..., u)."""
        return _cumulate_from_above(self.fake)

    @cached_property
    def any_from_here(self) -> np.ndarray:
        """Faces at or above each score, shape (..., u)."""
        return self.real_from_here + self.fake_from_here

    @cached_property
    def n_real(self) -> np.ndarray:
        """All real faces, shape (...)."""
        return self.real.sum(axis=-1)

    @cached_property
    def n_fake(self) -> np.ndarray:
        """All fake faces, shape (...)."""
        return self.fake.sum(axis=-1)

    def called_fake(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns how many real and how many fake faces have `p_fake >= threshold`, shape (...) each."""
        first = int(np.searchsorted(self.p_fake, threshold, side="left"))
        if first == len(self.p_fake):
            return np.zeros_like(self.n_real), np.zeros_like(self.n_fake)
        return self.real_from_here[..., first], self.fake_from_here[..., first]


MetricFunction = Callable[[Tally, float], np.ndarray]
RowChoice = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A metric and what it needs.

    Attributes:
        compute: From a tally and a threshold to values of the tally's leading shape; NaN where undefined.
            A metric that needs no threshold ignores it.
        meaning: One line for people.
        needs_threshold: Whether it judges decisions and not scores.
        needs_real: Whether it is undefined without real faces.
        needs_fake: Whether it is undefined without fake faces.
        share_of: For a share of faces: from (is_fake, called_fake), bool (n,) each, to the faces that it is
            a share of, bool (n,). None for metrics that are no such share.
        mean_of: For a mean of shares: the names of those metrics.
        highest: The highest value it can have; the lowest is 0.
        undefined: Why it may be undefined although the classes it needs are there.
    """

    compute: MetricFunction
    meaning: str
    needs_threshold: bool = False
    needs_real: bool = False
    needs_fake: bool = False
    share_of: RowChoice | None = None
    mean_of: tuple[str, ...] = ()
    highest: float = 1.0
    undefined: str = "it is undefined for these scores"


METRICS: Registry[Metric] = Registry("metric", "faceauth.scoring.metrics")


def tally_scores(targets: np.ndarray, p_fake: np.ndarray) -> Tally:
    """Counts real and fake faces at each distinct score.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1], shape (n,).

    Raises:
        InputError: The lengths differ, a target is neither 0 nor 1, or a score is no number in [0, 1].
    """
    targets, p_fake = check_scores(targets, p_fake)
    distinct, rank = np.unique(p_fake, return_inverse=True)
    is_real = targets == REAL
    real = np.bincount(rank[is_real], minlength=len(distinct)).astype(np.float64)
    fake = np.bincount(rank[~is_real], minlength=len(distinct)).astype(np.float64)
    return Tally(p_fake=distinct, real=real, fake=fake)


def check_scores(targets: np.ndarray, p_fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Makes sure that scores can be measured.

    Args:
        targets: Shape (n,), anything that numpy can hold.
        p_fake: Shape (n,), anything that numpy can hold.

    Returns:
        The targets as int64 (n,) and the scores as float64 (n,).

    Raises:
        InputError: The lengths differ, a target is neither 0 nor 1, or a score is no number in [0, 1].
            Places are counted from 0.
    """
    targets = np.asarray(targets)
    p_fake = np.asarray(p_fake, dtype=np.float64)
    if targets.ndim != 1 or targets.shape != p_fake.shape:
        raise InputError(
            f"Targets of shape {targets.shape} and scores of shape {p_fake.shape} do not belong together.",
            "One target and one p_fake a face.",
        )
    known = (targets == REAL) | (targets == FAKE)
    if not known.all():
        place = int(np.argmin(known))
        raise InputError(
            f"Target {targets[place]!r} at place {place} is unknown.", f"{REAL} is real, {FAKE} is fake."
        )
    usable = (p_fake >= 0) & (p_fake <= 1)
    if not usable.all():
        place = int(np.argmin(usable))
        raise InputError(
            f"p_fake is {p_fake[place]} at place {place}.",
            "It is a probability between 0 and 1, not a logit.",
        )
    return targets.astype(np.int64), p_fake


def compute_metric(
    name: str, targets: np.ndarray, p_fake: np.ndarray, *, threshold: float | None = None
) -> tuple[float | None, str | None]:
    """Measures one thing.

    Args:
        name: A name in `METRICS`.
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1], shape (n,).
        threshold: For metrics of decisions: a face is called fake from this score on.

    Returns:
        The value and None; or None and the reason why there is no value.

    Raises:
        UnknownNameError: There is no such metric.
        InputError: The scores cannot be measured.
    """
    return value_or_reason(METRICS.get(name), tally_scores(targets, p_fake), threshold)


def compute_metrics(
    targets: np.ndarray, p_fake: np.ndarray, *, threshold: float | None = None
) -> dict[str, float | None]:
    """Measures everything in `METRICS`; None stands for an undefined value.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1], shape (n,).
        threshold: A face is called fake from this score on. Without it, metrics of decisions are None.

    Raises:
        InputError: The scores cannot be measured.
    """
    tally = tally_scores(targets, p_fake)
    return {name: value_or_reason(METRICS.get(name), tally, threshold)[0] for name in METRICS.names()}


def value_or_reason(metric: Metric, tally: Tally, threshold: float | None) -> tuple[float | None, str | None]:
    """Measures one thing on a tally without leading axes.

    Returns:
        The value and None; or None and the reason why there is no value.
    """
    if tally.n_real + tally.n_fake == 0:
        return None, "there are no scores"
    if metric.needs_real and tally.n_real == 0:
        return None, "there are no real faces"
    if metric.needs_fake and tally.n_fake == 0:
        return None, "there are no fake faces"
    if metric.needs_threshold and threshold is None:
        return None, "no threshold was given"
    value = float(metric.compute(tally, 0.5 if threshold is None else threshold))
    return (None, metric.undefined) if np.isnan(value) else (value, None)


def _metric(
    *,
    meaning: str,
    needs_threshold: bool = False,
    needs_real: bool = False,
    needs_fake: bool = False,
    share_of: RowChoice | None = None,
    mean_of: tuple[str, ...] = (),
    highest: float = 1.0,
    undefined: str = Metric.undefined,
) -> Callable[[MetricFunction], MetricFunction]:
    """Returns a decorator that files a function under its own name, with what it needs."""

    def file_under_its_name(compute: MetricFunction) -> MetricFunction:
        METRICS.register(compute.__name__)(
            Metric(
                compute,
                meaning,
                needs_threshold,
                needs_real,
                needs_fake,
                share_of,
                mean_of,
                highest,
                undefined,
            )
        )
        return compute

    return file_under_its_name


@_metric(
    meaning="share of faces that were called rightly",
    needs_threshold=True,
    share_of=lambda is_fake, called_fake: np.ones_like(is_fake),
)
def accuracy(tally: Tally, threshold: float) -> np.ndarray:
    """Share of faces that were called rightly; depends on how many of the faces are fake."""
    false_fake, true_fake = tally.called_fake(threshold)
    return _ratio(true_fake + tally.n_real - false_fake, tally.n_real + tally.n_fake)


@_metric(
    meaning="mean of the two recalls",
    needs_threshold=True,
    needs_real=True,
    needs_fake=True,
    mean_of=("recall_fake", "recall_real"),
)
def balanced_accuracy(tally: Tally, threshold: float) -> np.ndarray:
    """Mean of the share of fakes called fake and of reals called real."""
    return (recall_fake(tally, threshold) + recall_real(tally, threshold)) / 2


@_metric(
    meaning="share of fakes among the faces called fake",
    needs_threshold=True,
    needs_real=True,
    needs_fake=True,
    share_of=lambda is_fake, called_fake: called_fake,
    undefined="no face was called fake",
)
def precision_fake(tally: Tally, threshold: float) -> np.ndarray:
    """Share of fakes among the faces called fake; depends on how many of the faces are fake."""
    false_fake, true_fake = tally.called_fake(threshold)
    return _ratio(true_fake, true_fake + false_fake)


@_metric(
    meaning="share of reals among the faces called real",
    needs_threshold=True,
    needs_real=True,
    needs_fake=True,
    share_of=lambda is_fake, called_fake: ~called_fake,
    undefined="no face was called real",
)
def precision_real(tally: Tally, threshold: float) -> np.ndarray:
    """Share of reals among the faces called real; depends on how many of the faces are fake."""
    false_fake, true_fake = tally.called_fake(threshold)
    true_real, false_real = tally.n_real - false_fake, tally.n_fake - true_fake
    return _ratio(true_real, true_real + false_real)


@_metric(
    meaning="share of fakes that were called fake",
    needs_threshold=True,
    needs_fake=True,
    share_of=lambda is_fake, called_fake: is_fake,
)
def recall_fake(tally: Tally, threshold: float) -> np.ndarray:
    """Share of fakes that were called fake."""
    return _ratio(tally.called_fake(threshold)[1], tally.n_fake)


@_metric(
    meaning="share of reals that were called real",
    needs_threshold=True,
    needs_real=True,
    share_of=lambda is_fake, called_fake: ~is_fake,
)
def recall_real(tally: Tally, threshold: float) -> np.ndarray:
    """Share of reals that were called real."""
    return _ratio(tally.n_real - tally.called_fake(threshold)[0], tally.n_real)


@_metric(
    meaning="harmonic mean of precision_fake and recall_fake",
    needs_threshold=True,
    needs_real=True,
    needs_fake=True,
)
def f1_fake(tally: Tally, threshold: float) -> np.ndarray:
    """F1 with fake as the positive class; 0 if no fake was called fake."""
    false_fake, true_fake = tally.called_fake(threshold)
    return _ratio(2 * true_fake, true_fake + false_fake + tally.n_fake)


@_metric(
    meaning="harmonic mean of precision_real and recall_real",
    needs_threshold=True,
    needs_real=True,
    needs_fake=True,
)
def f1_real(tally: Tally, threshold: float) -> np.ndarray:
    """F1 with real as the positive class; 0 if no real was called real."""
    false_fake, true_fake = tally.called_fake(threshold)
    true_real, false_real = tally.n_real - false_fake, tally.n_fake - true_fake
    return _ratio(2 * true_real, true_real + false_real + tally.n_real)


@_metric(
    meaning="chance that a fake scores above a real, ties counted half", needs_real=True, needs_fake=True
)
def auroc(tally: Tally, threshold: float) -> np.ndarray:
    """Area under the ROC curve, from scores: the chance that a fake scores above a real, ties half."""
    ordered = (
        _sum_of_products(tally.real, tally.fake_from_here) - _sum_of_products(tally.real, tally.fake) / 2
    )
    return _ratio(ordered, tally.n_real * tally.n_fake)


@_metric(meaning="average precision with fake as the positive class", needs_real=True, needs_fake=True)
def ap_fake(tally: Tally, threshold: float) -> np.ndarray:
    """Average precision, without interpolation, of fakes ranked by p_fake; ties share one step."""
    precision = tally.fake_from_here / np.maximum(tally.any_from_here, SMALLEST)
    return _ratio(_sum_of_products(tally.fake, precision), tally.n_fake)


@_metric(meaning="average precision with real as the positive class", needs_real=True, needs_fake=True)
def ap_real(tally: Tally, threshold: float) -> np.ndarray:
    """Average precision, without interpolation, of reals ranked by 1 - p_fake; ties share one step."""
    real_to_here = tally.n_real[..., None] - tally.real_from_here + tally.real
    fake_to_here = tally.n_fake[..., None] - tally.fake_from_here + tally.fake
    precision = real_to_here / np.maximum(real_to_here + fake_to_here, SMALLEST)
    return _ratio(_sum_of_products(tally.real, precision), tally.n_real)


@_metric(
    meaning="error rate where as many reals as fakes are called wrongly", needs_real=True, needs_fake=True
)
def eer(tally: Tally, threshold: float) -> np.ndarray:
    """Equal error rate: where the ROC curve, drawn with straight lines, has FPR = FNR.

    0 for perfect scores, 0.5 for scores that tell nothing, 1 for scores the wrong way round.
    """
    weight_real = _ratio(np.ones_like(tally.n_real), tally.n_real)[..., None]
    weight_fake = _ratio(np.ones_like(tally.n_fake), tally.n_fake)[..., None]
    # FPR - FNR: it falls from 1 at the lowest score to -1 above the highest, and is zero after `last`.
    excess = tally.real_from_here * weight_real
    excess += tally.fake_from_here * weight_fake
    last = np.maximum(np.count_nonzero(excess >= 1, axis=-1)[..., None] - 1, 0)
    following = np.minimum(last + 1, excess.shape[-1] - 1)
    beyond = last + 1 == excess.shape[-1]

    def at(index: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, index, axis=-1)

    excess_low = at(last, excess) - 1
    excess_high = np.where(beyond, 0.0, at(following, excess)) - 1
    fpr_low = at(last, tally.real_from_here) * weight_real
    fpr_high = np.where(beyond, 0.0, at(following, tally.real_from_here)) * weight_real
    along = _ratio(excess_low, excess_low - excess_high)
    return (fpr_low + along * (fpr_high - fpr_low))[..., 0]


@_metric(meaning="mean negative log-likelihood of the true class, in nats", highest=-np.log(CERTAINTY))
def log_loss(tally: Tally, threshold: float) -> np.ndarray:
    """Mean negative log-likelihood of the true class in nats; scores of 0 and 1 are clipped by 2e-16."""
    p_fake = np.clip(tally.p_fake, CERTAINTY, 1 - CERTAINTY)
    total = -(tally.fake @ np.log(p_fake) + tally.real @ np.log1p(-p_fake))
    return _ratio(total, tally.n_real + tally.n_fake)


@_metric(meaning="mean squared distance of p_fake from the truth")
def brier(tally: Tally, threshold: float) -> np.ndarray:
    """Mean squared distance of p_fake from the truth (1 for fake, 0 for real), in [0, 1]."""
    total = tally.fake @ (1 - tally.p_fake) ** 2 + tally.real @ tally.p_fake**2
    return _ratio(total, tally.n_real + tally.n_fake)


@_metric(meaning=f"mean distance of p_fake from the share of fakes, in {CALIBRATION_BINS} bins")
def ece(tally: Tally, threshold: float) -> np.ndarray:
    """Expected calibration error of p_fake over bins of equal width, in [0, 1].

    The binary form (Naeini et al., AAAI 2015): bins of p_fake and the share of fakes in them, not bins of
    the confidence in the called class (Guo et al., arXiv:1706.04599). Small sets bias it upwards.
    """
    if len(tally.p_fake) == 0:
        return np.full(tally.n_real.shape, np.nan)
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    starts = np.unique(np.concatenate([[0], np.searchsorted(tally.p_fake, edges)]))
    starts = starts[starts < len(tally.p_fake)]
    gap = tally.real + tally.fake
    gap *= tally.p_fake
    gap -= tally.fake
    total = np.abs(np.add.reduceat(gap, starts, axis=-1)).sum(axis=-1)
    return _ratio(total, tally.n_real + tally.n_fake)


def _cumulate_from_above(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]


def _sum_of_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sums over the scores without an array of the products."""
    return np.einsum("...u,...u->...", left, right)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divides; NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole != 0)

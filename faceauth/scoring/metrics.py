"""What scores are worth: every metric as one small function over a tally of the scores.

The functions themselves are in `faceauth.scoring.metric_kinds`.

Fake is the positive class and a face is called fake if `p_fake >= threshold`. A tally
(`faceauth.scoring.tally`) holds how many real and fake faces there are at each score, in one set of scores or
in many resamples at once, so that the same function gives the value and its interval
(`faceauth.scoring.intervals`).

To a metric's function an undefined value is NaN; whoever asks gets None and a reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceauth.registry import Registry
from faceauth.scoring.tally import Tally, tally_scores

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
        max_fpr: For a recall at a limit of the false positive rate: that limit. It is undefined with fewer
            than 1 / max_fpr real faces: none of them may then be called fake, and how often that happens
            cannot be seen.
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
    max_fpr: float | None = None
    share_of: RowChoice | None = None
    mean_of: tuple[str, ...] = ()
    highest: float = 1.0
    undefined: str = "it is undefined for these scores"

    def __post_init__(self) -> None:
        """Takes the place of its function: a part is found in the file that registers it."""
        object.__setattr__(self, "__module__", self.compute.__module__)


METRICS: Registry[Metric] = Registry("metric", "faceauth.scoring.metric_kinds")


def register_metric(*, meaning: str, **needs: Any) -> Callable[[MetricFunction], MetricFunction]:
    """Returns a decorator that files a function under its own name.

    Args:
        meaning: One line for people.
        needs: Further attributes of `Metric`.
    """

    def file_under_its_name(compute: MetricFunction) -> MetricFunction:
        METRICS.register(compute.__name__)(Metric(compute, meaning, **needs))
        return compute

    return file_under_its_name


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divides; NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole != 0)


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
    if metric.max_fpr is not None and tally.n_real < 1 / metric.max_fpr:
        return (
            None,
            f"it needs at least {1 / metric.max_fpr:,.0f} real faces, and there are {tally.n_real:.0f}",
        )
    if metric.needs_threshold and threshold is None:
        return None, "no threshold was given"
    value = float(metric.compute(tally, 0.5 if threshold is None else threshold))
    return (None, metric.undefined) if np.isnan(value) else (value, None)

"""Rates for each value of any label: a degradation, its level, a camera, an age."""

from collections.abc import Iterable

import numpy as np

from faceauth.errors import InputError
from faceauth.labels import FAKE, REAL
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate, measure_rates
from faceauth.scoring.scores import Scores


def rates_by(
    scores: Scores,
    labels: np.ndarray,
    *,
    threshold: float | None = None,
    metrics: Iterable[str] | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, dict[str, Rate]]:
    """Measures the faces of each label.

    A label that both classes have (a degradation) is measured on its own faces alone: its fakes against its
    reals. A label that one class has (a generator, a collection) is measured against all faces of the other
    class.

    Args:
        scores: Groups, if they are known, are respected.
        labels: What each face is of, shape (n,); texts or numbers.
        threshold: A face is called fake from this score on. Without it, metrics of decisions are undefined.
        metrics: Names in `METRICS`; None means all.
        draws: Number of resamples.
        seed: The same seed gives the same intervals.

    Returns:
        Rates by label as text, in the order of the labels.

    Raises:
        UnknownNameError: There is no metric of such a name.
        InputError: There are not as many labels as scores.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(scores),):
        raise InputError(f"Labels of shape {labels.shape} do not belong to {len(scores)} scores.")
    chosen = None if metrics is None else tuple(metrics)
    rates = {}
    for label in sorted(set(labels.tolist())):
        own = labels == label
        has_real, has_fake = ((scores.target[own] == target).any() for target in (REAL, FAKE))
        keep = own if has_real and has_fake else own | (scores.target == (FAKE if has_real else REAL))
        rows = scores.where(keep)
        rates[str(label)] = measure_rates(
            rows.target,
            rows.p_fake,
            threshold=threshold,
            groups=rows.unit,
            metrics=chosen,
            draws=draws,
            seed=seed,
        )
    return rates

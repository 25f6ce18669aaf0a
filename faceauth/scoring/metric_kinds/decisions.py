"""Metrics of decisions: a face is called fake if `p_fake` is at least the threshold."""

import numpy as np

from faceauth.scoring.metrics import ratio, register_metric
from faceauth.scoring.tally import Tally


@register_metric(
    meaning="share of faces that were called rightly",
    needs_threshold=True,
    share_of=lambda is_fake, called_fake: np.ones_like(is_fake),
)
def accuracy(tally: Tally, threshold: float) -> np.ndarray:
    """Share of faces that were called rightly; depends on how many of the faces are fake."""
    false_fake, true_fake = tally.called_fake(threshold)
    return ratio(true_fake + tally.n_real - false_fake, tally.n_real + tally.n_fake)


@register_metric(
    meaning="mean of the two recalls",
    needs_threshold=True,
    needs_real=True,
    needs_fake=True,
    mean_of=("recall_fake", "recall_real"),
)
def balanced_accuracy(tally: Tally, threshold: float) -> np.ndarray:
    """Mean of the share of fakes called fake and of reals called real."""
    return (recall_fake(tally, threshold) + recall_real(tally, threshold)) / 2


@register_metric(
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
    return ratio(true_fake, true_fake + false_fake)


@register_metric(
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
    return ratio(true_real, true_real + false_real)


@register_metric(
    meaning="share of fakes that were called fake",
    needs_threshold=True,
    needs_fake=True,
    share_of=lambda is_fake, called_fake: is_fake,
)
def recall_fake(tally: Tally, threshold: float) -> np.ndarray:
    """Share of fakes that were called fake."""
    return ratio(tally.called_fake(threshold)[1], tally.n_fake)


@register_metric(
    meaning="share of reals that were called real",
    needs_threshold=True,
    needs_real=True,
    share_of=lambda is_fake, called_fake: ~is_fake,
)
def recall_real(tally: Tally, threshold: float) -> np.ndarray:
    """Share of reals that were called real."""
    return ratio(tally.n_real - tally.called_fake(threshold)[0], tally.n_real)


@register_metric(
    meaning="harmonic mean of precision_fake and recall_fake",
    needs_threshold=True,
    needs_real=True,
    needs_fake=True,
)
def f1_fake(tally: Tally, threshold: float) -> np.ndarray:
    """F1 with fake as the positive class; 0 if no fake was called fake."""
    false_fake, true_fake = tally.called_fake(threshold)
    return ratio(2 * true_fake, true_fake + false_fake + tally.n_fake)


@register_metric(
    meaning="harmonic mean of precision_real and recall_real",
    needs_threshold=True,
    needs_real=True,
    needs_fake=True,
)
def f1_real(tally: Tally, threshold: float) -> np.ndarray:
    """F1 with real as the positive class; 0 if no real was called real."""
    false_fake, true_fake = tally.called_fake(threshold)
    true_real, false_real = tally.n_real - false_fake, tally.n_fake - true_fake
    return ratio(2 * true_real, true_real + false_real + tally.n_real)

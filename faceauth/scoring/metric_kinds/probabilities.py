"""Metrics of probabilities: whether `p_fake` can be taken at its word."""

from itertools import pairwise

import numpy as np

from faceauth.scoring.metrics import ratio, register_metric
from faceauth.scoring.tally import Tally

CALIBRATION_BINS = 15
# The log loss takes no score for more certain than this, as scikit-learn does not.
CERTAINTY = float(np.finfo(np.float64).eps)


@register_metric(
    meaning="mean negative log-likelihood of the true class, in nats", highest=-np.log(CERTAINTY)
)
def log_loss(tally: Tally, threshold: float) -> np.ndarray:
    """Mean negative log-likelihood of the true class in nats; scores of 0 and 1 are clipped by 2e-16."""
    real_scores, fake_scores = (
        np.clip(scores, CERTAINTY, 1 - CERTAINTY)
        for scores in (tally.ranking.real_scores, tally.ranking.fake_scores)
    )
    total = -(tally.fake @ np.log(fake_scores) + tally.real @ np.log1p(-real_scores))
    return ratio(total, tally.n_real + tally.n_fake)


@register_metric(meaning="mean squared distance of p_fake from the truth")
def brier(tally: Tally, threshold: float) -> np.ndarray:
    """Mean squared distance of p_fake from the truth (1 for fake, 0 for real), in [0, 1]."""
    total = tally.fake @ (1 - tally.ranking.fake_scores) ** 2 + tally.real @ tally.ranking.real_scores**2
    return ratio(total, tally.n_real + tally.n_fake)


@register_metric(meaning=f"mean distance of p_fake from the share of fakes, in {CALIBRATION_BINS} bins")
def ece(tally: Tally, threshold: float) -> np.ndarray:
    """Expected calibration error of p_fake over bins of equal width, in [0, 1].

    The binary form (Naeini et al., AAAI 2015): bins of p_fake and the share of fakes in them, not bins of
    the confidence in the called class (Guo et al., arXiv:1706.04599). Small sets bias it upwards.
    """
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    in_bin = []
    for scores in (tally.ranking.real_scores, tally.ranking.fake_scores):
        ends = [0, *np.searchsorted(scores, edges).tolist(), len(scores)]
        in_bin.append([slice(*pair) for pair in pairwise(ends)])
    total = np.zeros_like(tally.n_real)
    for reals, fakes in zip(*in_bin, strict=True):
        excess = tally.real[..., reals] @ tally.ranking.real_scores[reals]
        shortage = tally.fake[..., fakes] @ (1 - tally.ranking.fake_scores[fakes])
        total = total + np.abs(excess - shortage)
    return ratio(total, tally.n_real + tally.n_fake)

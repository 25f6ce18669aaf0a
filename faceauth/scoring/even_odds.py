"""What probabilities are worth at even odds: each class weighs half, however many faces it has.

A generator is measured against all reals, which may outnumber it fifty to one. A `p_fake` that holds at even
odds would look wrong there only because fakes are rare among those faces.
"""

from functools import partial
from itertools import pairwise

import numpy as np

from faceauth.labels import REAL
from faceauth.scoring.bounds import AGREEMENT, Interval, defined_draws, logit_bounds
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate, reason_for_no_interval
from faceauth.scoring.metric_kinds.probabilities import CALIBRATION_BINS
from faceauth.scoring.resampling import count_groups, number_groups, resample_values
from faceauth.scoring.tally import Tally, tally_scores

# As in the log loss of `METRICS`.
CERTAINTY = float(np.finfo(np.float64).eps)
# What is measured with an interval.
RATED = ("ece", "brier", "mean_p_fake_of_fakes", "mean_p_fake_of_reals")


def even_odds_weights(targets: np.ndarray) -> np.ndarray:
    """Returns weights, float64 (n,), of which each class that is there has the same sum, and all sum to 1."""
    is_real = targets == REAL
    n_real = int(is_real.sum())
    n_fake = len(targets) - n_real
    weights = np.where(is_real, 1 / max(n_real, 1), 1 / max(n_fake, 1))
    return weights / weights.sum()


def measure_even_odds(targets: np.ndarray, p_fake: np.ndarray) -> dict[str, float]:
    """Measures `ece`, `brier`, `log_loss` and the mean `p_fake` of each class; both classes are needed.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1], shape (n,).
    """
    return {name: float(value) for name, value in _figures(tally_scores(targets, p_fake)).items()}


def rate_even_odds(
    targets: np.ndarray,
    p_fake: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, Rate]:
    """Measures `ece`, `brier` and the mean `p_fake` of each class, with 95 % intervals.

    The intervals are standard errors of resampled groups on the logit scale, with Student's t for the number
    of groups. The ECE is biased upwards on few faces, and its interval is one of the biased estimate.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1], shape (n,).
        groups: Name of each face's group, shape (n,); an empty name is a group of its own. None: each face is
            one.
        draws: Number of resamples.
        seed: The same seed gives the same intervals.

    Returns:
        `ece`, `brier`, `mean_p_fake_of_fakes`, `mean_p_fake_of_reals`; undefined without both classes.
    """
    n_real = int((targets == REAL).sum())
    n_fake = len(targets) - n_real
    if not n_real or not n_fake:
        absent = "fake" if n_real else "real"
        return {name: Rate(None, None, n_real, n_fake, f"there are no {absent} faces") for name in RATED}
    group_of = number_groups(groups, len(targets))
    n_groups = min(count_groups(group_of[targets == REAL]), count_groups(group_of[targets != REAL]))
    lacking = reason_for_no_interval(targets != REAL, group_of)
    values = measure_even_odds(targets, p_fake)
    resampled = {}
    if lacking is None:
        resampled = resample_values(_figures, targets, p_fake, group_of, draws=draws, seed=seed)
    rates = {}
    for name in RATED:
        ci95, reason = (None, lacking) if lacking else _interval(values[name], resampled[name], n_groups)
        rates[name] = Rate(values[name], ci95, n_real, n_fake, reason)
    return rates


def _figures(tally: Tally) -> dict[str, np.ndarray]:
    """Measures each resample, float64 (...); NaN where a class has no face."""
    means = {}
    gaps = np.zeros((*tally.n_real.shape, CALIBRATION_BINS))
    for name, scores, counts, n, truth in (
        ("real", tally.ranking.real_scores, tally.real, tally.n_real, 0.0),
        ("fake", tally.ranking.fake_scores, tally.fake, tally.n_fake, 1.0),
    ):
        mean = partial(_mean, counts=counts, n=n)
        p_of_truth = np.clip(scores if truth else 1 - scores, CERTAINTY, 1.0)
        means[name] = {
            "p": mean(scores),
            "brier": mean((scores - truth) ** 2),
            "loss": mean(-np.log(p_of_truth)),
        }
        starts = np.searchsorted(scores, np.arange(CALIBRATION_BINS + 1) / CALIBRATION_BINS)
        starts[-1] = len(scores)
        for number, (first, end) in enumerate(pairwise(starts)):
            if end > first:
                gaps[..., number] += _mean((scores - truth)[first:end], counts=counts[..., first:end], n=n)
    real, fake = means["real"], means["fake"]
    return {
        "log_loss": (real["loss"] + fake["loss"]) / 2,
        "brier": (real["brier"] + fake["brier"]) / 2,
        "ece": np.abs(gaps).sum(axis=-1) / 2,
        "mean_p_fake_of_fakes": fake["p"],
        "mean_p_fake_of_reals": real["p"],
    }


def _mean(values: np.ndarray, *, counts: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.divide(counts @ values, n, out=np.full(np.shape(n), np.nan), where=n > 0)


def _interval(value: float, resampled: np.ndarray, n_groups: int) -> Interval:
    defined, reason = defined_draws(resampled)
    if reason:
        return None, reason
    deviation = float(defined.std())
    if deviation < AGREEMENT or not 0 < value < 1:
        return None, "no interval: all resamples agree"
    small_sample = np.sqrt(n_groups / (n_groups - 1))
    return logit_bounds(value, deviation * small_sample, n_groups=n_groups), None

"""Reliability: how often faces with a given `p_fake` are fake, overall and for each source.

Everything here is at even odds, as `p_fake` is (`faceauth.decisions.calibration`): of r reals and f fakes in
a bin, out of n_real and n_fake in all, the share of fakes is that of f / n_fake against r / n_real.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from faceauth.decisions.calibration import Calibration
from faceauth.labels import ID2LABEL, REAL
from faceauth.scoring.bounds import clopper_pearson, effective_number_of_faces
from faceauth.scoring.by_folder import iterate_folders
from faceauth.scoring.even_odds import even_odds_weights, rate_even_odds
from faceauth.scoring.intervals import DEFAULT_DRAWS
from faceauth.scoring.resampling import number_groups
from faceauth.scoring.scores import Scores

# Bins of a table, and of one with fewer than so many faces of a class: few faces make many bins mere noise.
BINS, FEW_BINS, FEW_FACES = 10, 5, 100


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The faces whose `p_fake` lies between two values.

    Attributes:
        p_from: Lowest `p_fake`, in [0, 1].
        p_to: Upper bound of `p_fake`, which only the last bin includes.
        n: Faces in the bin.
        n_real: Real faces among them.
        n_fake: Fake faces among them.
        mean_p_fake: Their mean `p_fake` at even odds; None if there are none.
        share_fake: The share of fakes among them at even odds; None if there are none.
        ci95: Clopper-Pearson interval of that share, with as many faces as the groups are worth.
    """

    p_from: float
    p_to: float
    n: int
    n_real: int
    n_fake: int
    mean_p_fake: float | None
    share_fake: float | None
    ci95: tuple[float, float] | None


def measure_reliability(
    targets: np.ndarray, p_fake: np.ndarray, *, groups: np.ndarray | None = None
) -> list[ReliabilityBin]:
    """Counts faces by `p_fake`.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Calibrated scores in [0, 1], shape (n,).
        groups: Name of each face's group, shape (n,); an empty name is a group of its own. None: each face is
            one.

    Returns:
        Bins of equal width from 0 to 1, also those without a face: ten, or five where a class has fewer than
        100 faces; none at all without both classes. The ECE has its own, finer ones.
    """
    is_fake = targets != REAL
    n_fake = int(is_fake.sum())
    n_real = len(targets) - n_fake
    if not n_real or not n_fake:
        return []
    group_of = number_groups(groups, len(targets))
    weights = even_odds_weights(targets)
    n_bins = BINS if min(n_real, n_fake) >= FEW_FACES else FEW_BINS
    edges = np.arange(n_bins + 1) / n_bins
    bin_of = np.minimum(np.searchsorted(edges, p_fake, side="right") - 1, n_bins - 1)
    bins = []
    for number in range(n_bins):
        inside = bin_of == number
        n, fakes = int(inside.sum()), int((inside & is_fake).sum())
        mean = share = bounds = None
        if n:
            weight = weights[inside]
            mean = float(weight @ p_fake[inside] / weight.sum())
            n_effective = effective_number_of_faces(is_fake[inside], group_of[inside])
            share, low, high = (
                _at_even_odds(value, n_real=n_real, n_fake=n_fake)
                for value in (fakes / n, *clopper_pearson(fakes / n, n_effective))
            )
            bounds = (low, high)
        p_from, p_to = float(edges[number]), float(edges[number + 1])
        bins.append(ReliabilityBin(p_from, p_to, n, n - fakes, fakes, mean, share, bounds))
    return bins


def describe_reliability(
    scores: Scores, calibration: Calibration, *, draws: int = DEFAULT_DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Measures how far calibrated scores can be taken at their word.

    Args:
        scores: Calibrated scores of one split.
        calibration: How they were calibrated.
        draws: Resamples for the intervals.
        seed: The same seed gives the same intervals.

    Returns:
        The part `calibration` of `metrics.json`: `method` and `chosen_on`; under `overall` the rates `ece`,
        `brier`, `mean_p_fake_of_fakes`, `mean_p_fake_of_reals`; `bins`; and under `by_folder` the same rates
        and bins, with the class, for each generator against all reals and each collection against all fakes.
    """

    def measure(rows: Scores) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        rates = rate_even_odds(rows.target, rows.p_fake, groups=rows.group, draws=draws, seed=seed)
        bins = measure_reliability(rows.target, rows.p_fake, groups=rows.group)
        # JSON knows no tuples.
        listed = [asdict(one) | {"ci95": one.ci95 and list(one.ci95)} for one in bins]
        return {name: rate.to_json() for name, rate in rates.items()}, listed

    overall, bins = measure(scores)
    by_folder = {}
    for folder in iterate_folders(scores):
        rates, bins_of_folder = measure(scores.where(folder.keep))
        by_folder[folder.name] = {"class": ID2LABEL[folder.target], **rates, "bins": bins_of_folder}
    return {
        "method": calibration.method,
        "chosen_on": calibration.chosen_on,
        "overall": overall,
        "bins": bins,
        "by_folder": by_folder,
    }


def _at_even_odds(share: float, *, n_real: int, n_fake: int) -> float:
    """Brings a share of fakes from the odds of n_fake to n_real down to even odds."""
    return float(expit(logit(share) + np.log(n_real / n_fake)))

"""The mean AUROC over generators, each against the same reals, with an interval from resampled groups.

The AUROCs of two generators are not independent: the reals are the same, and a group may hold fakes of both.
So each resample draws groups once and measures all generators on it. The interval says what other faces of
the same generators would give. It says nothing of other generators: these were not drawn at random, and
there are few of them.
"""

from collections.abc import Sequence

import numpy as np

from faceauth.labels import FAKE, REAL
from faceauth.scoring.bounds import TAIL, interval_of_draws
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate
from faceauth.scoring.resampling import count_groups, draw_groups, number_groups
from faceauth.scoring.scores import Scores


def measure_mean_auroc(
    scores: Scores, generators: Sequence[str], *, draws: int = DEFAULT_DRAWS, seed: int = 0
) -> Rate:
    """Measures the mean of the AUROCs of generators against all reals; each generator weighs the same.

    The interval is the resamples' standard error on the logit scale, with Student's t for the number of
    groups of the class that has fewer, as in `faceauth.scoring.intervals`.

    Args:
        scores: Scores with reals and with fakes of these generators.
        generators: Names of their folders.
        draws: Number of resamples.
        seed: The same seed gives the same interval.
    """
    is_own = (scores.target == FAKE) & np.isin(scores.folder, np.array(generators, dtype=object))
    n_real, n_fake = int((scores.target == REAL).sum()), int(is_own.sum())
    if not n_real or not n_fake:
        reason = "there are no real faces" if not n_real else "there is no such generator"
        return Rate(None, None, n_real, n_fake, reason)
    used = scores.where((scores.target == REAL) | is_own)
    is_real = used.target == REAL
    places = [np.flatnonzero((used.folder == name) & ~is_real) for name in generators]
    places = [place for place in places if len(place)]
    reals = np.flatnonzero(is_real)[np.argsort(used.p_fake[is_real], kind="stable")]
    below = np.searchsorted(used.p_fake[reals], used.p_fake, side="left")
    up_to = np.searchsorted(used.p_fake[reals], used.p_fake, side="right")

    def mean_auroc(weights: np.ndarray) -> np.ndarray:
        """From weights (draws, n) to mean AUROCs (draws,); NaN where a generator has no weight."""
        weight_below = np.cumsum(np.pad(weights[:, reals], ((0, 0), (1, 0))), axis=1)
        total = np.zeros(len(weights))
        with np.errstate(invalid="ignore"):
            for place in places:
                own = weights[:, place]
                beaten = (weight_below[:, below[place]] + weight_below[:, up_to[place]]) / 2
                total += (own * beaten).sum(axis=1) / (own.sum(axis=1) * weight_below[:, -1])
        return total / len(places)

    value = float(mean_auroc(np.ones((1, len(used))))[0])
    group_of = number_groups(used.group, len(used))
    groups_of_class = (count_groups(group_of[is_real]), count_groups(group_of[~is_real]))
    if min(groups_of_class) < 2:
        return Rate(value, None, n_real, n_fake, "no interval: all faces of a class are of one group")
    drawn = draw_groups(is_real, group_of, draws=draws, seed=seed)
    column = drawn.column_of_group[group_of]
    resampled = [mean_auroc(drawn.times(block)[:, column]) for block in range(drawn.n_blocks)]
    # Where no resample differs: the pairs of which neither side is of the share that may have stayed unseen.
    kept = float(np.prod([TAIL ** (1 / n_groups) for n_groups in groups_of_class]))
    ci95, why_none = interval_of_draws(
        value,
        np.concatenate(resampled),
        highest=1.0,
        n_groups=min(groups_of_class),
        if_all_agree=(value * kept, 1 - (1 - value) * kept),
    )
    return Rate(value, ci95, n_real, n_fake, why_none)

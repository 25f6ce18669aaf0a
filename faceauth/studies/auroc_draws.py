"""AUROCs of several scores of the same faces, all in the same resamples of groups.

What differs between two of them in one resample is the scores alone, so that their difference is far surer
than that of two independent measurements.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faceauth.labels import REAL
from faceauth.scoring.resampling import draw_groups, number_groups
from faceauth.scoring.scores import Scores


class _Ranking(NamedTuple):
    """Where the fakes stand among the reals.

    Attributes:
        order: Reals in ascending order of score, int64 (reals,).
        n_below: How many reals score below each fake, int64 (fakes,).
        n_up_to: How many reals score at most as high as each fake, int64 (fakes,).
    """

    order: np.ndarray
    n_below: np.ndarray
    n_up_to: np.ndarray


def resample_aurocs(all_scores: Sequence[Scores], *, draws: int, seed: int) -> np.ndarray:
    """Measures the AUROC of each table in each resample of groups.

    Args:
        all_scores: Tables of the same faces in the same order, at least one.
        draws: Number of resamples.
        seed: The same seed gives the same resamples.

    Returns:
        AUROCs, float64 (tables, draws); NaN where a resample, or the tables, lack a class.
    """
    first = all_scores[0]
    is_real = first.target == REAL
    aurocs = np.full((len(all_scores), draws), np.nan)
    if is_real.all() or not is_real.any():
        return aurocs
    group_of = number_groups(first.group, len(first))
    group_draws = draw_groups(is_real, group_of, draws=draws, seed=seed)
    column_of = group_draws.column_of_group[group_of]
    rankings = [_rank(scores.p_fake[is_real], scores.p_fake[~is_real]) for scores in all_scores]
    done = 0
    for block in range(group_draws.n_blocks):
        times = group_draws.times(block)[:, column_of].astype(np.float64)
        real, fake = times[:, is_real], times[:, ~is_real]
        for table, ranking in enumerate(rankings):
            aurocs[table, done : done + len(times)] = _weighted_aurocs(real, fake, ranking)
        done += len(times)
    return aurocs


def _rank(p_fake_of_real: np.ndarray, p_fake_of_fake: np.ndarray) -> _Ranking:
    order = np.argsort(p_fake_of_real, kind="stable")
    ascending = p_fake_of_real[order]
    left, right = (np.searchsorted(ascending, p_fake_of_fake, side=side) for side in ("left", "right"))
    return _Ranking(order, left, right)


def _weighted_aurocs(real: np.ndarray, fake: np.ndarray, ranking: _Ranking) -> np.ndarray:
    """From weights (draws, reals) and (draws, fakes) to AUROCs (draws,); ties count half."""
    below = np.pad(np.cumsum(real[:, ranking.order], axis=1), ((0, 0), (1, 0)))
    twice_beaten = below[:, ranking.n_below] + below[:, ranking.n_up_to]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.einsum("df,df->d", fake, twice_beaten) / (2 * fake.sum(axis=1) * below[:, -1])

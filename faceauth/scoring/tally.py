"""How many real and how many fake faces have each score: all that the metrics of scores need.

Counts may have leading axes, one entry a resample, so that one function gives a metric's value and, many
resamples at a time, its interval. Each class has its counts at its own scores: where few scores tie, that is
half of what one shared list of scores would take, and resampling is bound by memory.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faceauth.errors import InputError
from faceauth.labels import FAKE, REAL


@dataclass(frozen=True, eq=False)
class Ranking:
    """The distinct scores of both classes and how they lie among each other; all resamples share it.

    Attributes:
        real_scores: Distinct scores of real faces in ascending order, shape (r,) float64.
        fake_scores: Distinct scores of fake faces in ascending order, shape (f,) float64.
    """

    real_scores: np.ndarray
    fake_scores: np.ndarray

    @cached_property
    def p_fake(self) -> np.ndarray:
        """Distinct scores of both classes in ascending order, shape (u,) float64."""
        return np.union1d(self.real_scores, self.fake_scores)

    @cached_property
    def has_shared_scores(self) -> bool:
        """Whether a real and a fake face have the same score."""
        return len(self.p_fake) < len(self.real_scores) + len(self.fake_scores)

    @cached_property
    def reals_below_fakes(self) -> np.ndarray:
        """Number of real scores below each fake score, int64 (f,)."""
        return np.searchsorted(self.real_scores, self.fake_scores, side="left")

    @cached_property
    def reals_up_to_fakes(self) -> np.ndarray:
        """Number of real scores at or below each fake score, int64 (f,)."""
        return np.searchsorted(self.real_scores, self.fake_scores, side="right")

    @cached_property
    def fakes_up_to_reals(self) -> np.ndarray:
        """Number of fake scores at or below each real score, int64 (r,)."""
        return np.searchsorted(self.fake_scores, self.real_scores, side="right")

    @cached_property
    def below_each(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of real and of fake scores below each of `p_fake` and, last, of all, int64 (u + 1,) each."""
        reals, fakes = (
            np.append(np.searchsorted(scores, self.p_fake), len(scores))
            for scores in (self.real_scores, self.fake_scores)
        )
        return reals, fakes


@dataclass(frozen=True, eq=False)
class Tally:
    """How many real and fake faces have each score.

    Attributes:
        ranking: The scores.
        real: Real faces at each score of real faces, shape (..., r) float64; leading axes are resamples.
        fake: Fake faces at each score of fake faces, shape (..., f) float64.
    """

    ranking: Ranking
    real: np.ndarray
    fake: np.ndarray

    @cached_property
    def real_below(self) -> np.ndarray:
        """Real faces below each of their scores and, as the last entry, all of them, shape (..., r + 1)."""
        return _cumulate(self.real)

    @cached_property
    def fake_below(self) -> np.ndarray:
        """Fake faces below each of their scores and, as the last entry, all of them, shape (..., f + 1)."""
        return _cumulate(self.fake)

    @cached_property
    def n_real(self) -> np.ndarray:
        """All real faces, shape (...)."""
        return self.real_below[..., -1]

    @cached_property
    def n_fake(self) -> np.ndarray:
        """All fake faces, shape (...)."""
        return self.fake_below[..., -1]

    @cached_property
    def real_below_fake(self) -> np.ndarray:
        """Real faces below each fake score, shape (..., f)."""
        return np.take(self.real_below, self.ranking.reals_below_fakes, axis=-1)

    @cached_property
    def real_up_to_fake(self) -> np.ndarray:
        """Real faces at or below each fake score, shape (..., f)."""
        return np.take(self.real_below, self.ranking.reals_up_to_fakes, axis=-1)

    @cached_property
    def fake_up_to_real(self) -> np.ndarray:
        """Fake faces at or below each real score, shape (..., r)."""
        return np.take(self.fake_below, self.ranking.fakes_up_to_reals, axis=-1)

    @property
    def p_fake(self) -> np.ndarray:
        """Distinct scores of both classes in ascending order, shape (u,) float64."""
        return self.ranking.p_fake

    @cached_property
    def real_from_here(self) -> np.ndarray:
        """Real faces at or above each score of `p_fake`, shape (..., u)."""
        return self.n_real[..., None] - self.real_below[..., self.ranking.below_each[0][:-1]]

    @cached_property
    def fake_from_here(self) -> np.ndarray:
        """Fake faces at or above each score of `p_fake`, shape (..., u)."""
        return self.n_fake[..., None] - self.fake_below[..., self.ranking.below_each[1][:-1]]

    def called_fake(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns how many real and how many fake faces have `p_fake >= threshold`, shape (...) each."""
        first_real = int(np.searchsorted(self.ranking.real_scores, threshold, side="left"))
        first_fake = int(np.searchsorted(self.ranking.fake_scores, threshold, side="left"))
        return (
            self.n_real - self.real_below[..., first_real],
            self.n_fake - self.fake_below[..., first_fake],
        )


def tally_scores(targets: np.ndarray, p_fake: np.ndarray) -> Tally:
    """Counts real and fake faces at each distinct score.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1], shape (n,).

    Raises:
        InputError: The lengths differ, a target is neither 0 nor 1, or a score is no number in [0, 1].
    """
    targets, p_fake = check_scores(targets, p_fake)
    real_scores, real = np.unique(p_fake[targets == REAL], return_counts=True)
    fake_scores, fake = np.unique(p_fake[targets == FAKE], return_counts=True)
    return Tally(Ranking(real_scores, fake_scores), real.astype(np.float64), fake.astype(np.float64))


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


def _cumulate(counts: np.ndarray) -> np.ndarray:
    below = np.zeros((*counts.shape[:-1], counts.shape[-1] + 1))
    np.cumsum(counts, axis=-1, out=below[..., 1:])
    return below

"""The unsure band: scores with which a face may be either, by split conformal prediction on val.

For each class apart (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, on Mondrian
predictors; Sadinle, Lei and Wasserman, arXiv:1609.00451) a bound is taken from val so that a new face of that
class lies inside with at least the stated coverage, whatever the distribution of scores:

* a real face scores below `high`, the bound of the reals, with a chance of at least the coverage;
* a fake face scores at or above `low`, the bound of the fakes, with a chance of at least the coverage.

Below `low` only "real" is left, from `high` on only "fake", and between them both: unsure.

Faces of one group (a person, a video) are no independent evidence. With K groups of a class, each of them
weighs 1 / (K + 1), shared out among its faces, and the rest stands for the face to come (Lee, Barber and
Willett, arXiv:2306.06342). What is covered is then a face of a new group; where each face is its own group
this is the usual quantile with ceil((n + 1) * coverage).

Where a detector separates the classes so well that the two bounds cross, faces between them fit neither
class. Nothing is gained by calling them unsure, so the band shrinks to a point: the threshold, as far as
the bounds allow. And since verdicts fall at the threshold, a band is stretched to it if it lies beside.
Either way each class is covered more often, never less.

The coverage is one over all val and test splits that could have been drawn, for faces like those of val. New
generators, other cameras and heavier compression are no such faces, and nothing is promised for them. The
same val faces have also chosen the epoch, which makes the band a little too narrow.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from faceauth.errors import InputError
from faceauth.labels import FAKE, REAL, TEST, VAL
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate, measure_rates
from faceauth.scoring.resampling import count_groups, number_groups
from faceauth.scoring.tally import check_scores

# What sums of weights may differ by through rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class UnsureBand:
    """Scores from `low` up to, and without, `high` are unsure.

    Attributes:
        low: Below it a face is surely called real; None if there is no band.
        high: From it on a face is surely called fake; above 1 if none is. None if there is no band.
        coverage: The least share of each class that shall not be surely called the other.
        chosen_on: The split whose scores it was chosen on; None for older checkpoints.
        n_real: Real faces it was chosen on.
        n_fake: Fake faces it was chosen on.
        groups_real: Groups that the real faces are of.
        groups_fake: Groups that the fake faces are of.
        reason: Why there is no band; None if there is one.
    """

    low: float | None
    high: float | None
    coverage: float | None
    chosen_on: str | None
    n_real: int
    n_fake: int
    groups_real: int
    groups_fake: int
    reason: str | None = None

    def is_unsure(self, p_fake: np.ndarray) -> np.ndarray | None:
        """Tells which calibrated scores (n,) lie in the band, bool (n,); None if there is no band."""
        if self.low is None or self.high is None:
            return None
        return (p_fake >= self.low) & (p_fake < self.high)

    def to_json(self) -> dict[str, Any]:
        """Returns the shape that a checkpoint's card gives an unsure band."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: dict[str, Any] | None) -> Self:
        """Reads back what `to_json` wrote; older cards have nothing, and so no band."""
        if not facts:
            return cls(None, None, None, None, 0, 0, 0, 0, "the checkpoint was made without an unsure band")
        return cls(**facts)


def choose_unsure_band(
    targets: np.ndarray,
    p_fake: np.ndarray,
    *,
    coverage: float,
    threshold: float = 0.5,
    chosen_on: str = VAL,
    groups: np.ndarray | None = None,
) -> UnsureBand:
    """Chooses the band in which a face is called unsure.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Calibrated scores in [0, 1], shape (n,).
        coverage: The least share of each class that shall not be surely called the other, between 0 and 1.
        threshold: Where verdicts fall; the band touches it.
        chosen_on: The split that the scores are of.
        groups: Name of each face's group, shape (n,); an empty name is a group of its own. None: each face is
            one.

    Returns:
        The band; without bounds, and with the reason, where a class has too few groups for the coverage.

    Raises:
        InputError: The scores are of the test split, or cannot be measured, or the coverage is no share.
    """
    if chosen_on == TEST:
        raise InputError("An unsure band cannot be chosen on the test split.", f"Choose it on '{VAL}'.")
    if not 0 < coverage < 1:
        raise InputError(f"The coverage is {coverage}.", "It lies between 0 and 1, such as 0.9.")
    targets, p_fake = check_scores(targets, p_fake)
    group_of = number_groups(groups, len(targets))
    is_real = targets == REAL
    n_real, n_fake = int(is_real.sum()), int((~is_real).sum())
    groups_real, groups_fake = (count_groups(group_of[chosen]) for chosen in (is_real, ~is_real))
    facts = (coverage, chosen_on, n_real, n_fake, groups_real, groups_fake)
    real_bound = _upper_bound(p_fake[is_real], group_of[is_real], coverage)
    fake_bound = _upper_bound(-p_fake[~is_real], group_of[~is_real], coverage)
    if real_bound is None or fake_bound is None:
        needed = int(np.ceil(coverage / (1 - coverage) - ROUNDING))
        reason = (
            f"a coverage of {coverage:g} needs {needed} groups of each class; "
            f"'{chosen_on}' has {groups_real} of real and {groups_fake} of fake faces"
        )
        return UnsureBand(None, None, *facts, reason)
    # A real face may have the very score of its bound and is still covered.
    sure_fake_from, sure_real_below = float(np.nextafter(real_bound, 2)), -fake_bound
    if sure_real_below < sure_fake_from:
        low, high = sure_real_below, sure_fake_from
    else:
        low = high = float(np.clip(threshold, sure_fake_from, sure_real_below))
    return UnsureBand(min(low, threshold), max(high, threshold), *facts)


def measure_unsure(
    targets: np.ndarray,
    p_fake: np.ndarray,
    *,
    band: UnsureBand,
    threshold: float,
    groups: np.ndarray | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, Rate]:
    """Measures on any split what a band does.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Calibrated scores in [0, 1], shape (n,).
        band: Chosen beforehand, on another split.
        threshold: Where verdicts fall.
        groups: Name of each face's group, shape (n,); None: each face is one.
        draws: Number of resamples for the intervals.
        seed: The same seed gives the same intervals.

    Returns:
        `covered_real` and `covered_fake`, the shares that were not surely called the other class, to be
        compared with the band's coverage; `share_unsure`; and `error_of_the_sure`, the share of wrong calls
        among faces that are not unsure. All undefined, with the reason, where there is no band. These are
        shares of faces, and what the band promises is for a face of a group drawn at random: where large
        groups are harder than small ones, fewer faces are covered, and the promise still holds.

    Raises:
        InputError: The scores cannot be measured.
    """
    targets, p_fake = check_scores(targets, p_fake)
    n_real = int((targets == REAL).sum())
    n_fake = len(targets) - n_real
    unsure = band.is_unsure(p_fake)
    if unsure is None or band.low is None or band.high is None:
        names = ("covered_real", "covered_fake", "share_unsure", "error_of_the_sure")
        reason = band.reason or "there is no band"
        return {name: Rate(None, None, n_real, n_fake, reason) for name in names}

    def share(metric: str, is_so: np.ndarray, rows: np.ndarray) -> Rate:
        # As the rate at which a detector that calls exactly these faces rightly is right.
        called = np.where(is_so[rows] == (targets[rows] == FAKE), 1.0, 0.0)
        of_rows = None if groups is None else np.asarray(groups)[rows]
        rates = measure_rates(
            targets[rows], called, threshold=0.5, groups=of_rows, metrics=(metric,), draws=draws, seed=seed
        )
        return rates[metric]

    everyone = np.ones(len(targets), dtype=bool)
    is_wrong = (p_fake >= threshold) != (targets == FAKE)
    return {
        "covered_real": share("recall_real", p_fake < band.high, everyone),
        "covered_fake": share("recall_fake", p_fake >= band.low, everyone),
        "share_unsure": share("accuracy", unsure, everyone),
        "error_of_the_sure": share("accuracy", is_wrong, ~unsure),
    }


def _upper_bound(scores: np.ndarray, group_of: np.ndarray, coverage: float) -> float | None:
    """Returns the score that a face of a new group exceeds with a chance of at most 1 - coverage.

    None where there are too few groups to say.
    """
    if not len(scores):
        return None
    _, number, sizes = np.unique(group_of, return_inverse=True, return_counts=True)
    weights = 1 / sizes[number] / (len(sizes) + 1)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order]) >= coverage - ROUNDING
    return float(scores[order][np.argmax(reached)]) if reached.any() else None

"""The variance of an AUROC without resampling, and the covariance of several on the same faces.

Each face has a component: the share of the faces of the other class that it is ranked rightly against, ties
half. The AUROC is the mean of either class's components, and their variance gives that of the AUROC (DeLong,
DeLong and Clarke-Pearson, Biometrics 44, 1988, 837-845); by sorting in n log n steps (Sun and Xu, IEEE Signal
Processing Letters 21, 2014, 1389-1393). With groups, components are summed within each group, of both
classes, before they are squared (Obuchowski, Biometrics 53, 1997, 567-578); groups of one face each give
DeLong's variance.
"""

import math
from collections.abc import Sequence

import numpy as np

from faceauth.labels import REAL
from faceauth.scoring.bounds import AGREEMENT, bounds_if_all_agree, logit_bounds
from faceauth.scoring.intervals import Rate, reason_for_no_interval
from faceauth.scoring.metrics import METRICS, value_or_reason
from faceauth.scoring.resampling import count_groups, number_groups
from faceauth.scoring.tally import check_scores, tally_scores

# What a sum of products may differ by from 0, as a share of its terms, when they cancel out.
ROUNDING = 1e-12


def delong_auroc(targets: np.ndarray, p_fake: np.ndarray, groups: np.ndarray | None = None) -> Rate:
    """Measures the AUROC with DeLong's interval, or with groups Obuchowski's, on the logit scale.

    Student's t has one degree of freedom less than the class with fewer groups has groups. Where nothing
    varies (an AUROC of exactly 1), the bounds are those of `bounds_if_all_agree`.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1], shape (n,).
        groups: Name of each face's group, shape (n,); an empty name is a group of its own. None: each face is
            one.

    Raises:
        InputError: The scores cannot be measured.
    """
    targets, p_fake = check_scores(targets, p_fake)
    tally = tally_scores(targets, p_fake)
    n_real, n_fake = int(tally.n_real), int(tally.n_fake)
    metric = METRICS.get("auroc")
    value, reason = value_or_reason(metric, tally, None)
    if value is None:
        return Rate(None, None, n_real, n_fake, reason)
    is_fake, group_of = targets != REAL, number_groups(groups, len(targets))
    reason = reason_for_no_interval(is_fake, group_of)
    if reason:
        return Rate(value, None, n_real, n_fake, reason)
    groups_real, groups_fake = (count_groups(group_of[rows]) for rows in (~is_fake, is_fake))
    components = auroc_components(is_fake, p_fake)
    deviation = standard_error(auroc_covariance(components[None], is_fake, group_of), (1,))
    if deviation < AGREEMENT:
        ci95 = bounds_if_all_agree(metric, tally, 0.5, groups_real=groups_real, groups_fake=groups_fake)
    else:
        ci95 = logit_bounds(value, deviation, n_groups=min(groups_real, groups_fake))
    return Rate(value, ci95, n_real, n_fake)


def auroc_components(is_fake: np.ndarray, p_fake: np.ndarray) -> np.ndarray:
    """Returns the share of the other class that each face is ranked rightly against, ties half.

    Args:
        is_fake: Class of each face, bool (n,), of at least one face of each class.
        p_fake: Scores, float64 (n,).

    Returns:
        float64 (n,) in [0, 1]; the mean of each class is the AUROC.
    """
    components = np.empty(len(p_fake))
    reals, fakes = np.sort(p_fake[~is_fake]), np.sort(p_fake[is_fake])
    components[is_fake] = _share_below(p_fake[is_fake], reals)
    components[~is_fake] = 1 - _share_below(p_fake[~is_fake], fakes)
    return components


def auroc_covariance(components: np.ndarray, is_fake: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """Returns the covariance of the AUROCs of k detectors on the same faces, by Obuchowski's estimator.

    Args:
        components: What `auroc_components` returned for each detector, float64 (k, n).
        is_fake: Class of each face, bool (n,).
        group_of: Number of each face's group, int64 (n,); each class is of at least two groups.

    Returns:
        float64 (k, k), positive semidefinite.
    """
    fakes, groups_fake = _sums_by_group(components, is_fake, group_of)
    reals, groups_real = _sums_by_group(components, ~is_fake, group_of)
    of_both = fakes @ reals.T * _unbiased(count_groups(group_of))
    of_each = fakes @ fakes.T * _unbiased(groups_fake) + reals @ reals.T * _unbiased(groups_real)
    covariance = of_each + of_both + of_both.T
    # Sums over groups that cancel out leave a rounding error, which is no variance.
    spread = np.sqrt(np.diag(of_each))
    return np.where(np.abs(covariance) < ROUNDING * np.outer(spread, spread), 0.0, covariance)


def standard_error(covariance: np.ndarray, weights: Sequence[float]) -> float:
    """Returns the standard error of a weighted sum of k figures, from their covariance, float64 (k, k)."""
    terms = np.outer(weights, weights) * covariance
    variance = float(terms.sum())
    return math.sqrt(variance) if variance > ROUNDING * np.abs(terms).sum() else 0.0


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    below, up_to = (np.searchsorted(others, scores, side) for side in ("left", "right"))
    return (below + up_to) / (2 * len(others))


def _sums_by_group(components: np.ndarray, rows: np.ndarray, group_of: np.ndarray) -> tuple[np.ndarray, int]:
    """Sums what one class's components differ from their mean, over each group, as shares of the class.

    Returns:
        float64 (k, number of all groups), and how many groups the class is of.
    """
    of_class = components[:, rows]
    differing = (of_class - of_class.mean(axis=1, keepdims=True)) / of_class.shape[1]
    n_groups = int(group_of.max()) + 1
    sums = [np.bincount(group_of[rows], weights=of_one, minlength=n_groups) for of_one in differing]
    return np.stack(sums), count_groups(group_of[rows])


def _unbiased(n_groups: int) -> float:
    return n_groups / (n_groups - 1)

"""AUROC of cross-validated scores, where only scores of one fold are compared, with a 95 % interval.

Scores of different folds come from different classifiers, and each classifier has learned from the rows that
the others are tested on. Compared across folds, scores of data with nothing to find lean below 0.5: a fold
with more fakes than its share leaves fewer to learn from, and is scored lower. Within a fold the classifier
has seen none of the rows, so that nothing leans.
"""

import numpy as np
from scipy.special import expit, logit, stdtrit
from scipy.stats import rankdata

from faceauth.labels import FAKE
from faceauth.scoring.intervals import Rate

# On either side of a 95 % interval.
TAIL = 0.025
# Influences that differ by less are the same but for rounding.
_AGREEMENT = 1e-12


def auroc_within_folds(
    targets: np.ndarray, p_fake: np.ndarray, *, folds: np.ndarray, groups: np.ndarray
) -> Rate:
    """Measures the chance that a fake scores above a real of the same fold, ties counted half.

    The interval is that of clustered ROC data (Obuchowski, Biometrics 53, 1997, 567-578): each row's
    influence on the AUROC is summed over its group, and the variance is that of the groups' sums. It is taken
    on the logit scale with Student's t for the number of groups of the smaller class, as in
    `faceauth.scoring.intervals`; where nothing varies, the rule of three gives its bounds, as there. The
    classifiers are taken as given, though what they have learned from overlaps: of 200 simulated sets with
    nothing in them (200 rows, two a group) 88 % had 0.5 inside.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores, any real numbers, shape (n,).
        folds: Number of the fold that each row was tested in, shape (n,).
        groups: Name of each row's group, shape (n,).

    Returns:
        The AUROC; undefined, with the reason, if no fold has both classes.
    """
    is_fake = targets == FAKE
    n_real, n_fake = int((~is_fake).sum()), int(is_fake.sum())
    n_pairs, n_ordered = 0.0, 0.0
    # How many pairs of each row are in the right order, and how many pairs it has.
    ordered, pairs = np.zeros(len(targets)), np.zeros(len(targets))
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        fakes = is_fake[rows]
        fake, real = rows[fakes], rows[~fakes]
        if not len(fake) or not len(real):
            continue
        # A row's rank among all, less its rank among its like, is how many of the others it is above.
        ranks = rankdata(p_fake[rows])
        ordered[fake] = ranks[fakes] - rankdata(p_fake[fake])
        ordered[real] = len(fake) - (ranks[~fakes] - rankdata(p_fake[real]))
        pairs[fake], pairs[real] = len(real), len(fake)
        n_pairs += len(fake) * len(real)
        n_ordered += float(ordered[fake].sum())
    if not n_pairs:
        return Rate(None, None, n_real, n_fake, "no fold has both classes")
    value = n_ordered / n_pairs
    counted = pairs > 0
    numbers = np.unique(groups.astype(str), return_inverse=True)[1]
    groups_real = len(np.unique(numbers[counted & ~is_fake]))
    groups_fake = len(np.unique(numbers[counted & is_fake]))
    influence = np.bincount(numbers, weights=(ordered - value * pairs) / n_pairs)
    n_groups = min(groups_real, groups_fake)
    if n_groups < 2:
        return Rate(value, None, n_real, n_fake, "no interval: all faces of a class are of one group")
    deviation = float(np.sqrt(np.square(influence).sum() * n_groups / (n_groups - 1)))
    if deviation < _AGREEMENT or value in (0.0, 1.0):
        seen = TAIL ** (1 / groups_real) * TAIL ** (1 / groups_fake)
        return Rate(value, (seen * value, 1 - seen * (1 - value)), n_real, n_fake)
    reach = -stdtrit(n_groups - 1, TAIL) * deviation / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Rate(value, (float(low), float(high)), n_real, n_fake)

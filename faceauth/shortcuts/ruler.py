"""The ruler: a small classifier that sees a few plain facts of each image, cross-validated by group.

It is told nothing that takes a look at the face. Where it tells real from fake, a detector that was trained
on the same images may have learned no more than that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from faceauth.labels import FAKE
from faceauth.scoring.intervals import Rate
from faceauth.shortcuts.within_folds import auroc_within_folds

FOLDS = 5
# Small trees and a large minimum of rows: with nothing to find, the score should be 0.5.
TREES = 60
TREE_DEPTH = 3
LEARNING_RATE = 0.1
MIN_ROWS_IN_LEAF = 20


@dataclass(frozen=True)
class Facts:
    """A table of plain facts.

    Attributes:
        names: Names of the facts, m of them.
        values: One row an image, float64 (n, m); NaN where a fact is not known.
        categorical: Positions of the facts whose numbers stand for kinds without an order.
    """

    names: tuple[str, ...]
    values: np.ndarray
    categorical: tuple[int, ...] = ()

    def take(self, rows: np.ndarray) -> "Facts":
        """Returns some rows, by their positions or by flags."""
        return Facts(self.names, self.values[rows], self.categorical)

    def only(self, names: Sequence[str]) -> "Facts":
        """Returns some of the facts, in the order of the table."""
        kept = [i for i, name in enumerate(self.names) if name in names]
        categorical = tuple(new for new, i in enumerate(kept) if i in self.categorical)
        return Facts(tuple(self.names[i] for i in kept), self.values[:, kept], categorical)


@dataclass(frozen=True)
class Reading:
    """What the ruler made of a table.

    Attributes:
        p_fake: The score of each row by a classifier that has not seen its group, float64 (n,).
        folds: Number of the fold that each row was scored in, int64 (n,); only scores of one fold compare.
        leaned_on: The facts by how much of the AUROC is lost when one is shuffled, the strongest first.
    """

    p_fake: np.ndarray
    folds: np.ndarray
    leaned_on: list[tuple[str, float]]


def lacking_groups(targets: np.ndarray, groups: np.ndarray, *, at_least: int = FOLDS) -> str | None:
    """Says why the ruler cannot be laid on; None if it can.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        groups: Name of each row's group, shape (n,).
        at_least: Groups of each class that are wanted.
    """
    n_groups = min(len(set(groups[targets == target])) for target in (0, 1))
    if n_groups >= at_least:
        return None
    return f"metadata can be tested only with {at_least} groups of each class; there are {n_groups}"


def read_ruler(facts: Facts, targets: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> Reading:
    """Trains the ruler on four fifths of the groups and scores the rest, five times.

    Args:
        facts: What the classifier sees of n rows.
        targets: 1 for real, 0 for fake, shape (n,); both with at least `FOLDS` groups.
        groups: Name of each row's group, shape (n,).
        seed: Of the folds and of what is shuffled.
    """
    is_fake = targets == FAKE
    p_fake, fold_of = np.zeros(len(targets)), np.zeros(len(targets), dtype=np.int64)
    losses = np.zeros(len(facts.names))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    rng = np.random.default_rng(seed)
    # The trees are so small that threads would spend their time waiting for one another.
    with threadpool_limits(1):
        for number, (train, test) in enumerate(folds.split(facts.values, is_fake, groups)):
            classifier, values = _fit(facts, train, is_fake, seed=seed)
            fold_of[test] = number
            p_fake[test] = classifier.predict_proba(values[test])[:, 1]
            if is_fake[test].all() or not is_fake[test].any():
                continue  # no AUROC in this fold, so nothing to lose by shuffling
            losses += _losses(classifier, values[test], is_fake[test], p_fake[test], rng=rng) / FOLDS
    order = np.argsort(-losses, kind="stable")
    return Reading(p_fake, fold_of, [(facts.names[i], round(float(losses[i]), 4)) for i in order])


def rate_reading(
    reading: Reading, targets: np.ndarray, groups: np.ndarray, *, keep: np.ndarray | None = None
) -> Rate:
    """Returns the AUROC of the ruler with its interval, over all rows or over those flagged in `keep`."""
    keep = np.ones(len(targets), dtype=bool) if keep is None else keep
    return auroc_within_folds(
        targets[keep], reading.p_fake[keep], folds=reading.folds[keep], groups=groups[keep]
    )


def _fit(
    facts: Facts, train: np.ndarray, is_fake: np.ndarray, *, seed: int
) -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    # A fact that nobody filled in says nothing, and the trees cannot bin it.
    said = ~np.isnan(facts.values[train]).all(axis=0)
    values = np.where(said, facts.values, 0.0)
    classifier = HistGradientBoostingClassifier(
        max_iter=TREES,
        max_depth=TREE_DEPTH,
        learning_rate=LEARNING_RATE,
        # Small sets could not be divided at all otherwise.
        min_samples_leaf=int(np.clip(len(train) // 10, 5, MIN_ROWS_IN_LEAF)),
        categorical_features=list(facts.categorical) or None,
        random_state=seed,
    )
    return classifier.fit(values[train], is_fake[train]), values


def _losses(
    classifier: HistGradientBoostingClassifier,
    values: np.ndarray,
    is_fake: np.ndarray,
    p_fake: np.ndarray,
    *,
    rng: np.random.Generator,
) -> np.ndarray:
    """How much of the AUROC each fact is worth: what is lost when it is shuffled among the rows."""
    # All in one call: a call costs more than the rows in it.
    n_rows, n_facts = values.shape
    shuffled = np.repeat(values[None], n_facts, axis=0)
    for fact in range(n_facts):
        shuffled[fact, :, fact] = values[rng.permutation(n_rows), fact]
    scores = classifier.predict_proba(shuffled.reshape(-1, n_facts))[:, 1].reshape(n_facts, n_rows)
    return _auroc(p_fake[None], is_fake) - _auroc(scores, is_fake)


def _auroc(scores: np.ndarray, is_fake: np.ndarray) -> np.ndarray:
    n_fake = int(is_fake.sum())
    ranks = rankdata(scores, axis=1)[:, is_fake].sum(axis=1)
    return (ranks - n_fake * (n_fake + 1) / 2) / (n_fake * (len(is_fake) - n_fake))

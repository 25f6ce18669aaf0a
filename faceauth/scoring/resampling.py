"""Resamples of scores: whole groups, drawn with replacement, real and fake apart.

Faces of one group (a person, a photo and the fakes made from it, a video) are no independent evidence, so
that a resample has a group as a whole: once, several times or not at all. Resamples are drawn in blocks, each
from a seed of its own: one seed gives the same resamples whatever the number of threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from faceauth.labels import REAL
from faceauth.scoring.tally import Ranking, Tally

# Counts held at once by a thread: a few arrays of 3 MB stay in a processor's cache.
COUNTS_AT_ONCE = 400_000
# Less than that is done before a second thread has started.
COUNTS_WORTH_THREADS = 1_000_000
MAX_THREADS = 8


@dataclass(frozen=True, eq=False)
class GroupDraws:
    """How often each group is in each resample.

    Groups with real faces only, with fake faces only and with both are drawn apart, so that each resample has
    as many groups of each kind as there were. A kind of which there is a single group could not vary: then
    all groups are drawn together, unless that group is all there is of a class.

    Attributes:
        column_of_group: Column of each group in the counts, int64 (g,).
        edges: First columns of the kinds that are drawn apart and, last, the number of groups.
        draws: Number of resamples.
        at_once: Resamples in a block; the last block may have fewer.
        seed: The same seed gives the same draws.
    """

    column_of_group: np.ndarray
    edges: tuple[int, ...]
    draws: int
    at_once: int
    seed: int

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.draws // self.at_once)

    def times(self, block: int) -> np.ndarray:
        """Returns how often each group is drawn in the resamples of a block, int64 (some draws, g)."""
        rng = np.random.default_rng((self.seed, block))
        n_draws = min(self.at_once, self.draws - block * self.at_once)
        n_groups = self.edges[-1]
        drawn = np.empty((n_draws, n_groups), dtype=np.int64)
        for first, end in pairwise(self.edges):
            drawn[:, first:end] = rng.integers(first, end, (n_draws, end - first))
        drawn += (np.arange(n_draws) * n_groups)[:, None]
        return np.bincount(drawn.ravel(), minlength=n_draws * n_groups).reshape(n_draws, n_groups)


@dataclass(frozen=True, eq=False)
class TallyDraws:
    """The tallies of all resamples of some scores, block by block."""

    groups: GroupDraws
    ranking: Ranking
    real: "_ClassRows"
    fake: "_ClassRows"

    def tally(self, block: int) -> Tally:
        """Returns a block's tally; its leading axis is the block's resamples."""
        times = self.groups.times(block)
        return Tally(self.ranking, self.real.count(times), self.fake.count(times))


def number_groups(groups: np.ndarray | None, n_rows: int) -> np.ndarray:
    """Numbers groups.

    Args:
        groups: Name of each row's group, shape (n,); an empty name is a group of its own. None: each row is.
        n_rows: Number of rows.

    Returns:
        Each row's group as a number from 0 without gaps, int64 (n,).
    """
    if groups is None:
        return np.arange(n_rows)
    names = np.asarray(groups).astype(str)
    named = names != ""
    numbers = np.empty(n_rows, dtype=np.int64)
    numbers[named] = np.unique(names[named], return_inverse=True)[1]
    first_free = int(numbers[named].max()) + 1 if named.any() else 0
    numbers[~named] = first_free + np.arange(n_rows - int(named.sum()))
    return numbers


def count_groups(group_of: np.ndarray) -> int:
    """Returns how many groups some rows are of."""
    return len(np.unique(group_of))


def draw_groups(is_real: np.ndarray, group_of: np.ndarray, *, draws: int, seed: int) -> GroupDraws:
    """Says which groups are drawn together.

    Args:
        is_real: Class of each face, bool (n,), n > 0.
        group_of: Number of each face's group from 0 without gaps, int64 (n,).
        draws: Number of resamples.
        seed: The same seed gives the same draws.
    """
    numbers, first_row = np.unique(group_of, return_index=True)
    n_groups = len(numbers)
    has_real = np.bincount(group_of[is_real], minlength=n_groups) > 0
    has_fake = np.bincount(group_of[~is_real], minlength=n_groups) > 0
    kind = has_real + 2 * has_fake.astype(np.int64)
    sizes = [int(size) for size in np.bincount(kind) if size]
    if min(has_real.sum(), has_fake.sum()) > 1 and min(sizes) == 1:
        kind, sizes = np.zeros(n_groups, dtype=np.int64), [n_groups]
    # Within a kind in the order of the rows: a class whose faces are no groups then is a slice of columns.
    column_of_group = np.empty(n_groups, dtype=np.int64)
    column_of_group[np.lexsort((first_row, kind))] = np.arange(n_groups)
    edges = (0, *np.cumsum(sizes).tolist())
    return GroupDraws(column_of_group, edges, draws, max(1, COUNTS_AT_ONCE // len(group_of)), seed)


def draw_tallies(
    targets: np.ndarray, p_fake: np.ndarray, group_of: np.ndarray, *, draws: int, seed: int
) -> TallyDraws:
    """Prepares resampled tallies.

    Args:
        targets: 1 for real, 0 for fake, int64 (n,), n > 0.
        p_fake: Scores in [0, 1], float64 (n,).
        group_of: Number of each face's group from 0 without gaps, int64 (n,).
        draws: Number of resamples.
        seed: The same seed gives the same resamples.
    """
    order = np.argsort(p_fake, kind="stable")
    is_real, p_fake, group_of = targets[order] == REAL, p_fake[order], group_of[order]
    groups = draw_groups(is_real, group_of, draws=draws, seed=seed)
    column = groups.column_of_group[group_of]
    (real_scores, real), (fake_scores, fake) = (
        _class_rows(p_fake[rows], column[rows]) for rows in (is_real, ~is_real)
    )
    return TallyDraws(groups, Ranking(real_scores, fake_scores), real, fake)


def resample_values(
    compute: Callable[[Tally], dict[str, np.ndarray]],
    targets: np.ndarray,
    p_fake: np.ndarray,
    group_of: np.ndarray,
    *,
    draws: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Measures all resamples, on several threads if that is worth it.

    Args:
        compute: From a tally with one leading axis to values by name, float64 of that axis; called from
            several threads at once.
        targets: What `draw_tallies` takes, as are all that follow.
        p_fake: Scores in [0, 1], float64 (n,).
        group_of: Number of each face's group, int64 (n,).
        draws: Number of resamples.
        seed: The same seed gives the same values.

    Returns:
        Values by name, float64 (draws,).
    """
    tallies = draw_tallies(targets, p_fake, group_of, draws=draws, seed=seed)
    blocks = range(tallies.groups.n_blocks)

    def measure(block: int) -> dict[str, np.ndarray]:
        return compute(tallies.tally(block))

    if draws * len(p_fake) < COUNTS_WORTH_THREADS:
        measured = [measure(block) for block in blocks]
    else:
        with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as threads:
            measured = list(threads.map(measure, blocks))
    return {name: np.concatenate([values[name] for values in measured]) for name in measured[0]}


@dataclass(frozen=True, eq=False)
class _ClassRows:
    """The faces of one class in ascending order of score.

    Attributes:
        columns: Each face's column in the counts of groups, int64 (m,); None if it is those from `first` on.
        first: The first of them.
        starts: First face of each distinct score, int64 (u,).
        n_faces: m.
    """

    columns: np.ndarray | None
    first: int
    starts: np.ndarray
    n_faces: int

    def count(self, times: np.ndarray) -> np.ndarray:
        """Counts faces at each distinct score, float64 (some draws, u), from the groups' counts."""
        if self.columns is None:
            counts = times[:, self.first : self.first + self.n_faces]
        else:
            # Several times as fast as indexing with an array.
            counts = np.take(times, self.columns, axis=1)
        if len(self.starts) < self.n_faces:
            counts = np.add.reduceat(counts, self.starts, axis=1)
        return counts.astype(np.float64)


def _class_rows(p_fake: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, _ClassRows]:
    """Returns the distinct ones of ascending scores, and how their faces are counted."""
    scores, starts = np.unique(p_fake, return_index=True)
    first = int(column[0]) if len(column) else 0
    is_range = np.array_equal(column, np.arange(first, first + len(column)))
    return scores, _ClassRows(None if is_range else column, first, starts, len(column))

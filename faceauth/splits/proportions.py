"""Which group goes to which split, so that every source keeps the wanted shares: the search behind `assign`.

Each group has a place in [0, 1) of its own, which says to which split it tends. From there as few groups are
moved, or swapped, as the shares need: so another image, or another group, leaves nearly all others where they
were. Few groups are tried in every way.
"""

import itertools
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

# Shares that miss the wanted ones by no more than this are as good as met.
TOLERANCE = 0.02
# Costs beside the sum of squared deviations: of a share beyond the tolerance, of its excess squared, and of a
# source, or a whole class, that a split has nothing of, so that there is nothing to measure.
_MISS_COST = 1.0
_EXCESS_COST = 1_000.0
_EMPTY_COST = 4.0
_EMPTY_CLASS_COST = 10_000.0
# Where groups and sources are so few, every way to split them is tried.
_MAX_TRIED_WAYS = 3**11
_MAX_TRIED_CELLS = 4_000_000
_MAX_MOVES = 20_000
_MAX_REPAIRS = 1_000
_RESTARTS = 40
_MAX_CELLS_OF_RESTARTS = 3_000
_MOVES_LOOKED_AT = 128
_SWAP_CELLS = 1_000_000
_LEAST = 1e-12
# Shares are sums of fractions.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Costs:
    """What it costs that c sources have not the wanted shares.

    Attributes:
        tolerances: (c,) float64; deviations that are as good as none.
        empty: (c,) float64; of a split that has nothing of a source.
    """

    tolerances: np.ndarray
    empty: np.ndarray

    def of(self, deviations: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Returns the costs of (..., c) deviations from shares that broadcast to them."""
        excess = np.maximum(np.abs(deviations) - self.tolerances, 0)
        is_empty = deviations + wanted <= _ROUNDING
        missed = _MISS_COST * (excess > _ROUNDING) + _EXCESS_COST * excess**2
        return deviations**2 + missed + self.empty * is_empty


@dataclass
class _State:
    """Groups in splits. Groups with the same share of every source are of one kind.

    Attributes:
        kinds: (k, c) sparse float64; the share of each of c sources that one group of a kind holds.
        norms: (k,) float64; sums of the squares of `kinds`.
        wanted: (s,) float64; the shares that sum to 1.
        costs: What deviations cost.
        counts: (k, s) int64; how many groups of each kind are in each split.
        deviations: (s, c) float64; share of each source in each split, less the wanted one.
    """

    kinds: csr_array
    norms: np.ndarray
    wanted: np.ndarray
    costs: "_Costs"
    counts: np.ndarray
    deviations: np.ndarray

    def move(self, kind: int, source: int, target: int, n: int = 1) -> None:
        """Moves n groups of a kind from one split to another."""
        self.counts[kind, source] -= n
        self.counts[kind, target] += n
        columns = self.kinds.indices[self.kinds.indptr[kind] : self.kinds.indptr[kind + 1]]
        shares = self.kinds.data[self.kinds.indptr[kind] : self.kinds.indptr[kind + 1]] * n
        self.deviations[source, columns] -= shares
        self.deviations[target, columns] += shares

    def recount(self) -> None:
        """Computes the deviations anew, without what rounding added up to."""
        self.deviations = (self.kinds.T @ self.counts).T - self.wanted[:, None]

    @property
    def costs_of_cells(self) -> np.ndarray:
        """Returns (s, c) float64."""
        return self.costs.of(self.deviations, self.wanted[:, None])

    @property
    def cost(self) -> float:
        """What is to become small."""
        return float(self.costs_of_cells.sum())

    @property
    def is_met(self) -> bool:
        """True if every source has its shares."""
        return bool((np.abs(self.deviations) <= self.costs.tolerances + _ROUNDING).all())


def spread_groups(
    counts: csr_array, wanted: np.ndarray, places: np.ndarray, *, is_class: np.ndarray, seed: int
) -> np.ndarray:
    """Gives every group a split.

    Args:
        counts: (g, c) sparse; how many rows of each of c sources a group has. Every source has some.
        wanted: (s,) float64; positive shares that sum to 1.
        places: (g,) float64 in [0, 1), in ascending order; where the groups tend to.
        is_class: (c,) bool; True where a source is all that there is of a class. Such a one shall be in every
            split, whatever becomes of the shares.
        seed: Of further tries, where the first does not meet the shares.

    Returns:
        (g,) int64, the number of each group's split.
    """
    shares = csr_array(counts.multiply(1 / counts.sum(axis=0)[None, :]))
    costs = _costs(np.asarray(counts.sum(axis=0)).ravel(), wanted, is_class)
    n_groups, n_splits = len(places), len(wanted)
    tended = np.minimum(np.searchsorted(np.cumsum(wanted), places, side="right"), n_splits - 1)
    if n_splits**n_groups <= min(_MAX_TRIED_WAYS, _MAX_TRIED_CELLS / shares.shape[1]):
        return _best_of_all(shares.toarray(), wanted, costs, tended)
    kind_of, kinds = _kinds(shares)
    start = np.zeros((kinds.shape[0], n_splits), dtype=np.int64)
    np.add.at(start, (kind_of, tended), 1)
    norms = np.asarray((kinds * kinds).sum(axis=1)).ravel()
    best = _State(kinds, norms, wanted, costs, start, np.empty(0))
    _descend(best)
    tries = np.random.default_rng(seed)
    for _ in range(_RESTARTS if n_groups * len(is_class) <= _MAX_CELLS_OF_RESTARTS else 0):
        if best.is_met:
            break
        other = _State(kinds, norms, wanted, costs, _shaken(best.counts, tries), np.empty(0))
        _descend(other)
        if other.cost < best.cost - _LEAST:
            best = other
    return _in_order_of_places(kind_of, best.counts)


def _kinds(shares: csr_array) -> tuple[np.ndarray, csr_array]:
    """Returns the kind of each group, and the share of each source that one of that kind holds."""
    shares.sort_indices()
    found: dict[tuple[bytes, bytes], int] = {}
    kind_of = np.empty(shares.shape[0], dtype=np.int64)
    first: list[int] = []
    for i in range(shares.shape[0]):
        own = slice(shares.indptr[i], shares.indptr[i + 1])
        key = (shares.indices[own].tobytes(), shares.data[own].tobytes())
        kind_of[i] = found.setdefault(key, len(found))
        if kind_of[i] == len(first):
            first.append(i)
    return kind_of, csr_array(shares[first])


def _costs(sizes: np.ndarray, wanted: np.ndarray, is_class: np.ndarray) -> _Costs:
    """Returns what deviations cost, by the number of rows of each source."""
    rows = sizes[:, None] * wanted
    cannot = (np.abs(np.round(rows) - rows) > TOLERANCE * sizes[:, None]).any(axis=1)
    # Where a split is due less than a row it may as well have none.
    may_be_empty = rows.min(axis=1) < 1
    return _Costs(
        tolerances=np.where(cannot, 1 / sizes, TOLERANCE),
        empty=np.where(is_class, _EMPTY_CLASS_COST, np.where(may_be_empty, 0.0, _EMPTY_COST)),
    )


def _best_of_all(shares: np.ndarray, wanted: np.ndarray, costs: _Costs, tended: np.ndarray) -> np.ndarray:
    n_groups, n_splits = len(shares), len(wanted)
    ways = np.stack(np.unravel_index(np.arange(n_splits**n_groups), (n_splits,) * n_groups), axis=1)
    cost = np.zeros(len(ways))
    for split in range(n_splits):
        deviations = (ways == split).astype(np.float64) @ shares - wanted[split]
        cost += costs.of(deviations, wanted[split]).sum(axis=1)
    # Of equal ways the one that leaves most groups where they tend to.
    n_moved = (ways != tended).sum(axis=1)
    return ways[np.lexsort((n_moved, np.round(cost, 9)))[0]]


def _descend(state: _State) -> None:
    """Lowers the cost until no single move or swap lowers it further."""
    state.recount()
    _even_out(state)
    state.recount()
    for _ in range(_MAX_REPAIRS):
        if state.is_met or not _repair(state):
            break


def _even_out(state: _State) -> None:
    """Lowers the sum of squared deviations by moves, of as many groups of a kind at once as help."""
    for _ in range(_MAX_MOVES):
        change = _changes_of_moves(state)
        kind, source, target = np.unravel_index(np.argmin(change), change.shape)
        if not change[kind, source, target] < -_LEAST:
            return
        slope = change[kind, source, target] - 2 * state.norms[kind]
        n = round(-slope / (4 * state.norms[kind]))
        state.move(int(kind), int(source), int(target), min(max(n, 1), int(state.counts[kind, source])))


def _changes_of_moves(state: _State) -> np.ndarray:
    """Returns (k, s, s): how the sum of squared deviations changes if one group of a kind moves."""
    pull = state.kinds @ state.deviations.T
    change = 2 * state.norms[:, None, None] + 2 * (pull[:, None, :] - pull[:, :, None])
    change[state.counts == 0] = np.inf
    splits = np.arange(len(state.wanted))
    change[:, splits, splits] = np.inf
    return change


def _repair(state: _State) -> bool:
    """Makes the move or the swap that lowers the cost most; returns False if there is none."""
    change = _changes_of_moves(state)
    best, steps = -_LEAST, []
    moves = _promising_moves(state, change)
    if len(moves):
        kind, source, target = moves.T
        gain = _changes_of_cost(state, state.kinds[kind].toarray(), source, target)
        if gain.min() < best:
            best, steps = gain.min(), [tuple(moves[gain.argmin()])]
    n_looked_at = int(min(48, max(4, (_SWAP_CELLS / (3 * state.kinds.shape[1])) ** 0.5)))
    for one, other in itertools.combinations(range(len(state.wanted)), 2):
        there = _smallest(change[:, one, other], n_looked_at)
        back = _smallest(change[:, other, one], n_looked_at)
        if not len(there) or not len(back):
            continue
        first, second = (grid.ravel() for grid in np.meshgrid(there, back, indexing="ij"))
        shares = state.kinds[there].toarray()[:, None] - state.kinds[back].toarray()[None]
        gain = _changes_of_cost(
            state, shares.reshape(len(first), -1), np.full(len(first), one), np.full(len(first), other)
        )
        if gain.min() < best:
            at = gain.argmin()
            best, steps = gain.min(), [(first[at], one, other), (second[at], other, one)]
    for kind, source, target in steps:
        state.move(int(kind), int(source), int(target))
    return bool(steps)


def _promising_moves(state: _State, change: np.ndarray) -> np.ndarray:
    flat = _smallest(change.ravel(), _MOVES_LOOKED_AT)
    found = [np.stack(np.unravel_index(flat, change.shape), axis=1)]
    cells = state.costs_of_cells
    by_source = state.kinds.tocsc()
    for cell in np.argsort(-cells, axis=None, kind="stable")[:8]:
        split, column = np.unravel_index(cell, cells.shape)
        kinds = by_source.indices[by_source.indptr[column] : by_source.indptr[column + 1]]
        is_short = state.deviations[split, column] < 0
        options = change[kinds, :, split] if is_short else change[kinds, split, :]
        kind, other = np.unravel_index(_smallest(options.ravel(), 24), options.shape)
        here = np.full(len(kind), split)
        ends = (other, here) if is_short else (here, other)
        found.append(np.stack([kinds[kind], *ends], axis=1))
    return np.concatenate(found)


def _smallest(values: np.ndarray, n: int) -> np.ndarray:
    """Returns the positions of the n smallest finite values, smallest first."""
    n = min(n, len(values))
    few = np.argpartition(values, n - 1)[:n] if n < len(values) else np.arange(len(values))
    few = few[np.lexsort((few, values[few]))]
    return few[np.isfinite(values[few])]


def _changes_of_cost(state: _State, shares: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns (m,): how the cost changes if shares (m, c) go from one split to another."""
    change = np.zeros(len(shares))
    for split, sign in ((source, -1), (target, 1)):
        now, wanted = state.deviations[split], state.wanted[split][:, None]
        before, after = (state.costs.of(deviations, wanted) for deviations in (now, now + sign * shares))
        change += (after - before).sum(axis=1)
    return change


def _shaken(counts: np.ndarray, tries: np.random.Generator) -> np.ndarray:
    """Returns counts of which a sixth of all groups, at least two, were put anywhere."""
    counts = counts.copy()
    kinds, splits = np.nonzero(counts)
    weights = counts[kinds, splits] / counts.sum()
    for at in tries.choice(len(kinds), size=max(2, counts.sum() // 6), p=weights):
        if counts[kinds[at], splits[at]]:
            counts[kinds[at], splits[at]] -= 1
            counts[kinds[at], tries.integers(counts.shape[1])] += 1
    return counts


def _in_order_of_places(kind_of: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Gives the groups of each kind, in the order of their places, to the splits in theirs."""
    members: dict[int, list[int]] = defaultdict(list)
    for group, kind in enumerate(kind_of):
        members[int(kind)].append(group)
    splits = np.empty(len(kind_of), dtype=np.int64)
    for kind, groups in members.items():
        splits[groups] = np.repeat(np.arange(counts.shape[1]), counts[kind])
    return splits

"""Near-duplicates: crops whose perceptual hashes differ in few bits.

Every hash is compared with every other, 64 bits at a time and on all cores: half the bits rule nearly all
pairs out, and the other half is looked at for the rest. So nothing is missed, a million hashes take minutes,
and memory grows with the number of hashes alone, even if all of them lie close together: pairs are counted
and joined as they are found, and never listed. An index of 16 bands of 16 bits would look at a twentieth of
the pairs, but one by one, which takes as long.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faceauth.console import progress

HASH_BITS = 256
# Chosen by eye among 53 million pairs of natural face crops: up to here a pair shows one photo, one scene or
# one person; the first pairs of strangers appear at 40 bits.
MAX_BITS_APART = 36
# Fewer hashes are compared by matrix products, in less time than it takes to compile the faster way.
COMPILED_FROM = 8_192
_BLOCK_ROWS = 512
# Bits that are set in each number of 16 bits.
_BITS_SET = np.unpackbits(np.arange(2**16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16).sum(1, np.uint8)


@dataclass(frozen=True)
class LookAlikes:
    """Which of n crops look like which.

    Attributes:
        sets: (n,) int64; crops with one number are joined by a chain of look-alikes. A crop without a
            look-alike, or without a hash, has a number of its own.
        own_part: (n,) bool; True where a look-alike is of the same part.
        other_part: (n,) bool; True where a look-alike is of another part.
        n_across: Pairs of look-alikes of different parts.
        max_bits_apart: Largest Hamming distance of look-alikes, in bits of 256.
    """

    sets: np.ndarray
    own_part: np.ndarray
    other_part: np.ndarray
    n_across: int
    max_bits_apart: int


@dataclass(frozen=True)
class _Distinct:
    """Different hashes, each once for every part that has it.

    Attributes:
        words: (4, m) uint64; the finest frequencies first.
        parts: (m,) int64, in ascending order.
        weights: (m,) int64; how many crops have that hash and part.
        first_columns: (m,) int64; each is compared with those from here on.
    """

    words: np.ndarray
    parts: np.ndarray
    weights: np.ndarray
    first_columns: np.ndarray


@dataclass(frozen=True)
class _Found:
    """What is known of m different hashes so far; `forest` leads from each to one of its set, or itself."""

    forest: np.ndarray
    own_part: np.ndarray
    other_part: np.ndarray


def find_look_alikes(
    hashes: Sequence[str],
    parts: Sequence[int],
    *,
    across_only: bool = False,
    max_bits_apart: int = MAX_BITS_APART,
) -> LookAlikes:
    """Finds which crops look alike, without missing any.

    Args:
        hashes: Perceptual hashes of 64 hexadecimal digits, n of them; empty ones are like no other.
        parts: n numbers, such as the classes or the splits of the crops.
        across_only: Compare crops of different parts alone, which is faster; `own_part` stays False, and
            `sets` joins what is alike across parts.
        max_bits_apart: Largest Hamming distance of look-alikes, in bits of 256.

    Returns:
        The sets of look-alikes, and who has one in which part.
    """
    with_hash = np.array([i for i, text in enumerate(hashes) if text], dtype=np.int64)
    words = pack_hashes([text for text in hashes if text])
    distinct, entry_of = _distinct(words, np.asarray(parts, dtype=np.int64)[with_hash], across_only)
    found, n_across = _compare(distinct, max_bits_apart)
    own_part = found.own_part.astype(bool)
    if not across_only:
        own_part |= distinct.weights > 1
    sets = np.arange(len(hashes), dtype=np.int64)
    entry_sets = _sets_of(found.forest)
    # A set is called after the first crop in it.
    first = np.full(len(entry_sets), len(hashes), dtype=np.int64)
    own, other = np.zeros(len(hashes), dtype=bool), np.zeros(len(hashes), dtype=bool)
    if len(with_hash):
        np.minimum.at(first, entry_sets[entry_of], with_hash)
        sets[with_hash] = first[entry_sets[entry_of]]
        own[with_hash] = own_part[entry_of]
        other[with_hash] = found.other_part.astype(bool)[entry_of]
    return LookAlikes(sets, own, other, n_across, max_bits_apart)


def pairs_across(
    hashes: Sequence[str],
    parts: Sequence[int],
    alike: LookAlikes,
) -> Iterator[tuple[int, int]]:
    """Lists the pairs of look-alikes of different parts, of which there may be very many.

    Args:
        hashes: As given to `find_look_alikes`.
        parts: The same.
        alike: What it found.

    Yields:
        Pairs of positions (i, j) with i < j, in ascending order.
    """
    left = np.flatnonzero(alike.other_part)
    words = pack_hashes([hashes[i] for i in left.tolist()])
    parts_left = np.asarray(parts, dtype=np.int64)[left]
    for k, i in enumerate(left):
        near = bits_apart(words[k + 1 :], words[k]) <= alike.max_bits_apart
        near &= parts_left[k + 1 :] != parts_left[k]
        yield from ((int(i), int(j)) for j in left[k + 1 :][near])


def pack_hashes(hashes: Sequence[str]) -> np.ndarray:
    """Returns n perceptual hashes of 64 hexadecimal digits as (n, 4) uint64."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint64).reshape(-1, 4)


def bits_apart(words: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Counts the bits in which packed hashes differ.

    Args:
        words: (..., 4) uint64.
        others: The same, or what numpy can broadcast to it.

    Returns:
        (...) int64 in [0, 256].
    """
    differing = np.ascontiguousarray(words ^ others).view(np.uint16)
    return _BITS_SET[differing].sum(axis=-1, dtype=np.int64)


def join_pairs(forest: np.ndarray, ones: np.ndarray, others: np.ndarray) -> None:
    """Joins sets, in place, by pairs of their members.

    Args:
        forest: (n,) integers; each leads to a member of its set that is not behind it, or to itself.
        ones: (k,) integers, positions of the first of each pair.
        others: (k,) integers, positions of the second.
    """
    apart = forest[ones] != forest[others]
    if apart.any():
        forest[:] = _sets_of(forest, ones[apart], others[apart])


def _sets_of(
    forest: np.ndarray, ones: Sequence[int] | np.ndarray = (), others: Sequence[int] | np.ndarray = ()
) -> np.ndarray:
    """Returns for each position the first one of its set."""
    n = len(forest)
    tails = np.concatenate([np.arange(n), np.asarray(ones, dtype=np.int64)])
    heads = np.concatenate([forest, np.asarray(others, dtype=np.int64)])
    graph = coo_array((np.ones(len(tails), dtype=np.int8), (tails, heads)), shape=(n, n))
    if n == 0:
        return forest.copy()
    labels = connected_components(graph, directed=False)[1]
    _, first = np.unique(labels, return_index=True)
    return first[labels].astype(forest.dtype)


def _distinct(words: np.ndarray, parts: np.ndarray, across_only: bool) -> tuple[_Distinct, np.ndarray]:
    """Returns the different hashes of each part, and for each of n hashes which one it is."""
    n = len(words)
    order = np.lexsort((*words.T, parts))
    words, sorted_parts = words[order], parts[order]
    is_new = np.ones(n, dtype=bool)
    is_new[1:] = (words[1:] != words[:-1]).any(axis=1) | (sorted_parts[1:] != sorted_parts[:-1])
    entry_of = np.empty(n, dtype=np.int64)
    entry_of[order] = np.cumsum(is_new) - 1
    starts = np.flatnonzero(is_new)
    kept_parts = sorted_parts[starts]
    if across_only:
        first_columns = np.searchsorted(kept_parts, kept_parts, side="right").astype(np.int64)
    else:
        first_columns = np.arange(1, len(starts) + 1, dtype=np.int64)
    return _Distinct(
        # Coarse frequencies, which come first, are much the same in all centred faces: the fine ones tell
        # pairs apart with fewer bits.
        words=np.ascontiguousarray(words[starts].T[::-1]),
        parts=kept_parts,
        weights=np.diff(starts, append=n),
        first_columns=first_columns,
    ), entry_of


def _compare(distinct: _Distinct, max_bits_apart: int) -> tuple[_Found, int]:
    n = len(distinct.parts)
    own_part, other_part = np.zeros(n, dtype=np.uint8), np.zeros(n, dtype=np.uint8)
    compare = _compiled() if n >= COMPILED_FROM else _by_matrix_product
    n_threads = _cores() if n >= COMPILED_FROM else 1
    # A thread joins in a forest of its own, so that none waits for another.
    forests = [np.arange(n, dtype=np.int64) for _ in range(n_threads)]
    free: SimpleQueue[np.ndarray] = SimpleQueue()
    for forest in forests:
        free.put(forest)

    def compare_block(start: int) -> int:
        own_forest = free.get()
        found = _Found(own_forest, own_part, other_part)
        try:
            return compare(distinct, start, min(start + _BLOCK_ROWS, n), max_bits_apart, found)
        finally:
            free.put(own_forest)

    n_across = 0
    starts = range(0, n, _BLOCK_ROWS)
    with progress("look-alikes", n) as advance:
        for start, n_pairs in zip(starts, _in_threads(compare_block, starts, n_threads), strict=True):
            n_across += n_pairs
            advance(min(_BLOCK_ROWS, n - start))
    joined = forests[0]
    for forest in forests[1:]:
        join_pairs(joined, np.arange(n), forest)
    return _Found(joined, own_part, other_part), n_across


def _cores() -> int:
    # A container or a queue may give fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_threads(work: Callable[[int], int], items: Iterable[int], n_threads: int) -> Iterator[int]:
    pool = ThreadPoolExecutor(n_threads)
    try:
        yield from pool.map(work, items)
    finally:
        # What was interrupted need not be finished first.
        pool.shutdown(wait=True, cancel_futures=True)


def _compiled() -> Callable[[_Distinct, int, int, int, _Found], int]:
    # Numba takes half a second to import, and the kernel as long to compile.
    from faceauth.splits.near_kernel import compare_rows

    def compare(distinct: _Distinct, start: int, stop: int, limit: int, found: _Found) -> int:
        return compare_rows(
            distinct.words,
            start,
            stop,
            distinct.first_columns,
            distinct.parts,
            distinct.weights,
            np.uint64(limit),
            found.forest,
            found.own_part,
            found.other_part,
        )

    return compare


def _by_matrix_product(distinct: _Distinct, start: int, stop: int, limit: int, found: _Found) -> int:
    # Signs as +1 and -1: the Hamming distance is then a matrix product.
    first = int(distinct.first_columns[start])
    rows, columns = (
        np.unpackbits(np.ascontiguousarray(words.T).view(np.uint8), axis=1).astype(np.float32) * 2 - 1
        for words in (distinct.words[:, start:stop], distinct.words[:, first:])
    )
    near = rows @ columns.T >= HASH_BITS - 2 * limit
    near &= np.arange(first, first + len(columns)) >= distinct.first_columns[start:stop, None]
    ones, others = np.nonzero(near)
    ones, others = ones + start, others + first
    differ = distinct.parts[ones] != distinct.parts[others]
    for flags, pairs in ((found.other_part, differ), (found.own_part, ~differ)):
        flags[ones[pairs]] = 1
        flags[others[pairs]] = 1
    join_pairs(found.forest, ones, others)
    return int((distinct.weights[ones] * distinct.weights[others])[differ].sum())

"""The comparison of perceptual hashes as machine code; see `faceauth.splits.near` for what it is for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# So many columns of two words fit in the fastest memory of a core while a block of rows goes over them.
_TILE = 1_024
# Columns that are ruled out together.
_STRIP = 64


def _generate_bits_set(_typing: Any, _word: Any) -> tuple[Any, Callable[..., Any]]:
    """Counts the bits of a word with the processor's own instruction, for many words at once if it can."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


_bits_set: Any = intrinsic(_generate_bits_set)


@njit(nogil=True)
def _root(forest: np.ndarray, i: int) -> int:
    while forest[i] != i:
        forest[i] = forest[forest[i]]
        i = forest[i]
    return i


@njit(nogil=True)
def compare_rows(
    words: np.ndarray,
    start: int,
    stop: int,
    first_columns: np.ndarray,
    parts: np.ndarray,
    weights: np.ndarray,
    limit: np.uint64,
    forest: np.ndarray,
    own_part: np.ndarray,
    other_part: np.ndarray,
) -> int:
    """Compares a block of hashes with all that come after, joins look-alikes and marks them.

    Args:
        words: (4, n) uint64.
        start: First row of the block.
        stop: Row behind the block.
        first_columns: (n,) int64, in ascending order; row i is compared with the columns from there on.
        parts: (n,) int64.
        weights: (n,) int64.
        limit: Largest distance of look-alikes in bits.
        forest: (n,) int64; joined in place.
        own_part: (n,) uint8; set to 1 for both of a pair of one part.
        other_part: (n,) uint8; set to 1 for both of a pair of two parts.

    Returns:
        Sum of the products of weights over all pairs of two parts.
    """
    n = words.shape[1]
    one = np.uint64(1)
    n_across = 0
    for tile in range(first_columns[start], n, _TILE):
        tile_end = min(tile + _TILE, n)
        for i in range(start, stop):
            row0, row1, row2, row3 = words[0, i], words[1, i], words[2, i], words[3, i]
            for strip in range(tile, tile_end, _STRIP):
                strip_end = min(strip + _STRIP, tile_end)
                if strip_end <= first_columns[i]:
                    continue
                # The difference wraps around below zero, to numbers whose highest bit is set: a loop without
                # a branch, which the compiler turns into instructions on many words.
                wrapped = np.uint64(0)
                words0, words1 = words[0, strip:strip_end], words[1, strip:strip_end]
                for k in range(words0.shape[0]):
                    wrapped |= _bits_set(words0[k] ^ row0) + _bits_set(words1[k] ^ row1) - limit - one
                if not wrapped >> np.uint64(63):
                    continue
                for j in range(max(strip, first_columns[i]), strip_end):
                    n_bits = _bits_set(words[0, j] ^ row0) + _bits_set(words[1, j] ^ row1)
                    if n_bits > limit:
                        continue
                    n_bits += _bits_set(words[2, j] ^ row2) + _bits_set(words[3, j] ^ row3)
                    if n_bits > limit:
                        continue
                    if parts[i] == parts[j]:
                        own_part[i] = own_part[j] = 1
                    else:
                        other_part[i] = other_part[j] = 1
                        n_across += weights[i] * weights[j]
                    one_root, other_root = _root(forest, i), _root(forest, j)
                    if one_root < other_root:
                        forest[other_root] = one_root
                    elif other_root < one_root:
                        forest[one_root] = other_root
    return n_across

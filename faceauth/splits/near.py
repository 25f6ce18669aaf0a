"""Near-duplicates: pairs of crops whose perceptual hashes differ in few bits."""

from collections.abc import Iterator

import numpy as np

HASH_BITS = 256
# Chosen by eye among 53 million pairs of natural face crops: up to here a pair shows one photo, one scene or
# one person; the first pairs of strangers appear at 40 bits.
MAX_BITS_APART = 36
_BLOCK_ROWS = 512


def near_duplicate_pairs(
    hashes: list[str], *, max_bits_apart: int = MAX_BITS_APART
) -> Iterator[tuple[int, int]]:
    """Finds all pairs of hashes that lie close together.

    Args:
        hashes: Perceptual hashes of 64 hexadecimal digits; empty ones have no neighbours.
        max_bits_apart: Largest Hamming distance of a pair, in bits of 256.

    Yields:
        Pairs of positions (i, j) with i < j.
    """
    positions = np.array([i for i, text in enumerate(hashes) if text], dtype=np.int64)
    if len(positions) < 2:
        return
    packed = np.frombuffer(bytes.fromhex("".join(hashes[i] for i in positions)), dtype=np.uint64).reshape(
        -1, 4
    )
    # Signs as +1 and -1: the Hamming distance is then a matrix product, far faster than counting bits.
    signs = np.unpackbits(packed.view(np.uint8), axis=1).astype(np.float32) * 2 - 1
    for start in range(0, len(positions), _BLOCK_ROWS):
        block = signs[start : start + _BLOCK_ROWS]
        bits_apart = (HASH_BITS - block @ signs[start:].T) / 2
        rows, columns = np.nonzero(bits_apart <= max_bits_apart)
        for row, column in zip(rows, columns, strict=True):
            if column > row:
                yield int(positions[start + row]), int(positions[start + column])

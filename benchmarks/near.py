"""Finds look-alikes among perceptual hashes, beside matrix products of their signs, which need no compiler.

Prints seconds on the clock, and seconds of processors, which drift less on a shared machine.

python benchmarks/near.py
python benchmarks/near.py --hashes 10000 --hashes 1000000 --like prepared/
"""

import argparse
import platform
import resource
import time
from pathlib import Path

import numpy as np

from faceauth.intake.manifest import read_manifest
from faceauth.splits import near
from faceauth.splits.near import find_look_alikes, pack_hashes
from faceauth.versions import installed_versions

# As many of the hashes as this have a partner that was made from them.
PLANTED_SHARE = 0.01
LARGEST_PLANTED_BITS = 40
SLOW_HASHES = 100_000
# The plain way is timed on so many rows, and its time scaled up.
SLOW_ROWS = 2_048


def main() -> None:
    """Prints seconds of both ways, their ratio, and how many planted pairs were found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hashes", type=int, action="append")
    parser.add_argument("--like", type=Path, help="prepared folder whose hashes are mixed into new ones")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    kind = f"like those of {arguments.like.name}" if arguments.like else "of random bits"
    machine = platform.processor() or platform.machine()
    print(f"hashes {kind}; {machine}, {near._cores()} cores, {installed_versions()}")
    like = None
    if arguments.like:
        like = pack_hashes([row.phash for row in read_manifest(arguments.like).rows if row.phash])
    started = time.perf_counter()
    find_look_alikes(random_hashes(near.COMPILED_FROM, rng), [0] * near.COMPILED_FROM)
    print(f"first use, with the compiler: {time.perf_counter() - started:.2f} s", flush=True)
    for n in arguments.hashes or [10_000, 100_000, 1_000_000]:
        hashes, planted = hashes_with_pairs(n, like, rng)
        started, worked = time.perf_counter(), time.process_time()
        found = find_look_alikes(hashes, [0] * n)
        clock_s, fast_s = time.perf_counter() - started, time.process_time() - worked
        expected = [(i, j) for i, j, n_bits in planted if n_bits <= near.MAX_BITS_APART]
        n_found = sum(found.sets[i] == found.sets[j] for i, j in expected)
        line = (
            f"{n:>9,} hashes {clock_s:7.2f} s, of processors {fast_s:7.2f} s, "
            f"{found.own_part.sum():,} look-alikes, {n_found:,} of {len(expected):,} planted pairs"
        )
        if n <= SLOW_HASHES:
            slow_s = seconds_of_matrix_products(hashes)
            line += f"; matrix products {slow_s:.2f} s of processors, ratio {slow_s / fast_s:.0f}"
        print(line, flush=True)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak_mib:,.0f} MiB")


def random_hashes(n: int, rng: np.random.Generator) -> list[str]:
    """Hashes of random bits."""
    return [row.tobytes().hex() for row in rng.integers(0, 256, (n, 32), dtype=np.uint8)]


def hashes_with_pairs(
    n: int, like: np.ndarray | None, rng: np.random.Generator
) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Makes n hashes, with pairs of known distance among them.

    Args:
        n: How many.
        like: (m, 4) uint64, hashes of real crops; None for random bits. A new one takes each bit from one of
            two real ones, and so has the same coarse frequencies as faces do.
        rng: Source of randomness.

    Returns:
        The hashes, and the planted pairs as (position, position, bits apart).
    """
    if like is None:
        words = rng.integers(0, 2**64, (n, 4), dtype=np.uint64)
    else:
        mask = rng.integers(0, 2**64, (n, 4), dtype=np.uint64)
        one, other = (like[rng.integers(0, len(like), n)] for _ in range(2))
        words = one & mask | other & ~mask
    n_planted = int(n * PLANTED_SHARE / 2)
    positions = rng.permutation(n)[: 2 * n_planted].reshape(-1, 2)
    planted = []
    for i, j in positions.tolist():
        n_bits = int(rng.integers(0, LARGEST_PLANTED_BITS + 1))
        flips = np.zeros(256, dtype=np.uint8)
        flips[rng.choice(256, n_bits, replace=False)] = 1
        words[j] = words[i] ^ np.packbits(flips).view(np.uint64)
        planted.append((i, j, n_bits))
    return [row.tobytes().hex() for row in words], planted


def seconds_of_matrix_products(hashes: list[str]) -> float:
    """Times the plain way on the first rows against all, and scales to half of all pairs."""
    signs = np.unpackbits(pack_hashes(hashes).view(np.uint8), axis=1).astype(np.float32) * 2 - 1
    n_rows = min(SLOW_ROWS, len(signs))
    started = time.process_time()
    for start in range(0, n_rows, 512):
        bits_apart = (near.HASH_BITS - signs[start : start + 512] @ signs.T) / 2
        np.nonzero(bits_apart <= near.MAX_BITS_APART)
    return (time.process_time() - started) * len(signs) / n_rows / 2


if __name__ == "__main__":
    main()

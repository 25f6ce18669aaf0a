"""A smaller set that looks like the whole: for what costs the square of n, and for what an eye can take."""

import numpy as np


def stratified_rows(names: np.ndarray, n_max: int, *, seed: int) -> np.ndarray:
    """Chooses at most `n_max` rows so that every source keeps its share, and none disappears.

    Args:
        names: Source of each row; (n,) of str.
        n_max: How many rows may stay. Sources are never dropped, so that with more sources than this
            one row of each stays.
        seed: Seed of the choice.

    Returns:
        Row numbers in ascending order; (min(n, n_max),) int64.
    """
    n = len(names)
    if n <= n_max:
        return np.arange(n)
    rng = np.random.default_rng(seed)
    sources, source_of_row, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    shares = counts * (n_max / n)
    quotas = np.maximum(1, np.floor(shares).astype(int))
    # Largest remainders first; where the guaranteed single rows overdraw, the largest sources pay.
    for source in np.argsort(quotas - shares, kind="stable"):
        if quotas.sum() >= n_max:
            break
        quotas[source] += 1
    while quotas.sum() > max(n_max, len(sources)):
        quotas[np.argmax(quotas)] -= 1
    chosen = [
        rng.choice(np.flatnonzero(source_of_row == i), quota, replace=False) for i, quota in enumerate(quotas)
    ]
    return np.sort(np.concatenate(chosen))

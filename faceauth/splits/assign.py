"""Splits by group: each group goes to one split; sources keep their proportions as far as groups allow."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence

from faceauth.errors import UsageError
from faceauth.intake.manifest import ManifestRow
from faceauth.labels import CLASSES, SPLITS
from faceauth.splits.balance import order_key

log = logging.getLogger(__name__)


def parse_ratios(text: str) -> tuple[float, float, float]:
    """Reads the shares of train, val and test.

    Args:
        text: Three numbers such as `0.8,0.1,0.1`.

    Raises:
        UsageError: There are not three numbers in [0, 1] that sum to 1.
    """
    try:
        ratios = tuple(float(part) for part in text.split(","))
    except ValueError:
        ratios = ()
    if len(ratios) != 3 or not all(0 <= ratio <= 1 for ratio in ratios) or abs(sum(ratios) - 1) > 1e-6:
        raise UsageError(f"'{text}' are no splits.", "Give three shares that sum to 1, such as 0.8,0.1,0.1.")
    return ratios


def assign_splits(rows: Sequence[ManifestRow], *, ratios: tuple[float, float, float], seed: int) -> list[str]:
    """Gives every row a split.

    Groups are taken from the largest to the smallest, equal ones in a seeded order, and each goes where
    the sources in it are most short of their share.

    Args:
        rows: The chosen rows with their groups, n of them.
        ratios: Shares of train, val and test.
        seed: Another seed splits otherwise.

    Returns:
        n names of splits.
    """
    members = defaultdict(list)
    for i, row in enumerate(rows):
        members[row.group].append(i)
    shares = {split: ratio for split, ratio in zip(SPLITS, ratios, strict=True) if ratio > 0}
    sizes = Counter((row.target, row.folder) for row in rows)
    filled: Counter[tuple[str, tuple[int, str]]] = Counter()
    splits = [""] * len(rows)
    for group in sorted(members, key=lambda name: (-len(members[name]), order_key(name, seed))):
        counts = Counter((rows[i].target, rows[i].folder) for i in members[group])

        def shortage(split: str, counts: Counter = counts) -> float:
            return sum(
                n * (1 - filled[split, source] / (shares[split] * sizes[source]))
                for source, n in counts.items()
            )

        chosen = max(shares, key=shortage)
        for source, n in counts.items():
            filled[chosen, source] += n
        for i in members[group]:
            splits[i] = chosen
    _warn_of_gaps(rows, splits, shares)
    return splits


def _warn_of_gaps(rows: Sequence[ManifestRow], splits: list[str], shares: dict[str, float]) -> None:
    found = Counter((split, row.target_class) for row, split in zip(rows, splits, strict=True))
    gaps = [
        f"{label} in {split}" for split in shares for label in CLASSES if rows and not found[split, label]
    ]
    if gaps:
        log.warning("too few groups to fill every split: there is no %s", ", no ".join(gaps))

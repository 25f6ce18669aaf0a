"""Splits by group: each group goes to one split; sources keep their proportions as far as groups allow."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.sparse import coo_array, csr_array

from faceauth.errors import InputError, UsageError
from faceauth.intake.manifest import ManifestRow
from faceauth.intake.sources.source_file import SourceFile
from faceauth.labels import CLASSES, SPLITS
from faceauth.splits.balance import order_key
from faceauth.splits.proportions import TOLERANCE, spread_groups

log = logging.getLogger(__name__)

Ratios = tuple[float, float, float]
OFFICIAL: Literal["official"] = "official"
_LISTED = 3
# Hexadecimal digits of a sort key that make a place in [0, 1).
_PLACE_DIGITS = 13


@dataclass(frozen=True)
class MissedShare:
    """A source that has not the wanted share in a split, by more than 2 percentage points.

    Attributes:
        source: The source model.
        target_class: `real` or `fake`.
        split: The split.
        wanted: The wanted share in [0, 1].
        got: The share it has.
        n_rows: Rows of the source in all splits.
        reason: Why it could not be met.
    """

    source: str
    target_class: str
    split: str
    wanted: float
    got: float
    n_rows: int
    reason: str


@dataclass(frozen=True)
class SplitShares:
    """How the rows were split; the part `splits` of `prepare.json`.

    Attributes:
        wanted: Share of each split, or None where the splits are the official ones.
        by_source: For each source its class, its rows and their share in each split.
        missed: The shares that were missed.
    """

    wanted: dict[str, float] | None
    by_source: dict[str, dict[str, Any]]
    missed: list[MissedShare]

    def to_json(self) -> dict[str, Any]:
        """Returns the record as it stands in `prepare.json`."""
        return {
            "wanted": OFFICIAL if self.wanted is None else self.wanted,
            "by_source": self.by_source,
            "missed": [asdict(share) for share in self.missed],
        }


def parse_ratios(text: str) -> Ratios | Literal["official"]:
    """Reads the shares of train, val and test.

    Args:
        text: Three numbers such as `0.8,0.1,0.1`; or `official`, for the splits that a data set came
            with.

    Raises:
        UsageError: There are not three numbers in [0, 1] that sum to 1.
    """
    if text.strip().lower() == OFFICIAL:
        return OFFICIAL
    try:
        ratios = tuple(float(part) for part in text.split(","))
    except ValueError:
        ratios = ()
    if len(ratios) != 3 or not all(0 <= ratio <= 1 for ratio in ratios) or abs(sum(ratios) - 1) > 1e-6:
        raise UsageError(
            f"'{text}' are no splits.",
            "Give three shares that sum to 1, such as 0.8,0.1,0.1; or official, for data sets with splits.",
        )
    return ratios


def assign_splits(rows: Sequence[ManifestRow], *, ratios: Ratios, seed: int) -> list[str]:
    """Gives every row a split, so that sources and classes have the wanted shares in each.

    Which group goes where follows from a hash of its name and the seed, as far as shares allow: another image
    leaves nearly all others where they were.

    Args:
        rows: The chosen rows with their groups, n of them.
        ratios: Shares of train, val and test.
        seed: Another seed splits otherwise.

    Returns:
        n names of splits; all rows of a group have the same.
    """
    if not rows:
        return []
    shares = {split: ratio for split, ratio in zip(SPLITS, ratios, strict=True) if ratio > 0}
    wanted = np.array(list(shares.values())) / sum(shares.values())
    places = {row.group: "" for row in rows}
    places = {group: order_key(group, seed) for group in places}
    groups = sorted(places, key=lambda group: (places[group], group))
    counts, is_class = _counts_of_groups(rows, groups)
    found = spread_groups(
        counts,
        wanted,
        np.array([int(places[group][:_PLACE_DIGITS], 16) for group in groups]) / 16**_PLACE_DIGITS,
        is_class=is_class,
        seed=seed,
    )
    names = list(shares)
    split_of = {group: names[split] for group, split in zip(groups, found, strict=True)}
    splits = [split_of[row.group] for row in rows]
    _warn_of_gaps(rows, splits, names)
    return splits


def refuse_without_official(files: Sequence[SourceFile]) -> None:
    """Stops a run that wants official splits where a file has none.

    Raises:
        UsageError: Names a few of the files.
    """
    without = [file.image_path for file in files if not file.split]
    if without:
        raise UsageError(
            f"--splits official: {len(without):,} of {len(files):,} files have no official split, such as "
            f"{', '.join(without[:_LISTED])}.",
            "They come with the layouts of some data sets (--layout). Or give shares: --splits 0.8,0.1,0.1.",
        )


def official_splits(rows: Sequence[ManifestRow], files: Sequence[SourceFile]) -> list[str]:
    """Returns the splits that the authors of a data set gave.

    Args:
        rows: The chosen rows with their groups, n of them.
        files: Their files.

    Raises:
        InputError: A group is in more than one of them; the message names a few.
    """
    found = defaultdict(set)
    for row, file in zip(rows, files, strict=True):
        found[row.group].add(file.split)
    cut = sorted(group for group, splits in found.items() if len(splits) > 1)
    if cut:
        of_cut = [
            f"{group} ({' and '.join(split for split in SPLITS if split in found[group])})"
            for group in cut[:_LISTED]
        ]
        raise InputError(
            f"The official splits cut {len(cut):,} of {len(found):,} groups, such as {', '.join(of_cut)}.",
            "What belongs together, or looks alike, would be in two splits, and no figure could be trusted. "
            "Give shares, such as --splits 0.8,0.1,0.1.",
        )
    splits = [file.split for file in files]
    _warn_of_gaps(rows, splits, list(SPLITS))
    return splits


def describe_splits(
    rows: Sequence[ManifestRow], splits: Sequence[str], *, ratios: Ratios | Literal["official"]
) -> SplitShares:
    """Says which share of each source is in each split, and where that is not what was wanted.

    Args:
        rows: The chosen rows with their groups, n of them.
        splits: Their splits.
        ratios: What was wanted.

    Returns:
        The shares. The log names the first that was missed.
    """
    n_rows = Counter((row.target_class, row.folder) for row in rows)
    n_in = Counter((row.target_class, row.folder, split) for row, split in zip(rows, splits, strict=True))
    in_groups: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        in_groups[row.target_class, row.folder][row.group] += 1
    of_one_name = Counter(folder for _, folder in n_rows)
    by_source, missed = {}, []
    for (target_class, folder), n in sorted(n_rows.items()):
        got = {split: n_in[target_class, folder, split] / n for split in SPLITS}
        name = folder if of_one_name[folder] == 1 else f"{target_class}/{folder}"
        by_source[name] = {
            "target_class": target_class,
            "n_rows": n,
            "n_groups": len(in_groups[target_class, folder]),
            **{split: round(share, 4) for split, share in got.items()},
        }
        if ratios == OFFICIAL:
            continue
        missed += [
            MissedShare(
                name, target_class, split, share, round(got[split], 4), n,
                _why_missed(in_groups[target_class, folder], share),
            )
            for split, share in zip(SPLITS, ratios, strict=True)
            if abs(got[split] - share) > TOLERANCE + 1e-9
        ]  # fmt: skip
    if missed:
        worst = max(missed, key=lambda share: abs(share.got - share.wanted))
        log.warning(
            "%d of %d sources miss a share by more than 2 points, such as %s %s in %s: %.1f %% wanted, "
            "%.1f %% got (%s); prepare.json has all",
            len({(share.target_class, share.source) for share in missed}), len(n_rows), worst.target_class,
            worst.source, worst.split, 100 * worst.wanted, 100 * worst.got, worst.reason,
        )  # fmt: skip
    wanted = None if ratios == OFFICIAL else dict(zip(SPLITS, ratios, strict=True))
    return SplitShares(wanted=wanted, by_source=by_source, missed=missed)


def _why_missed(sizes: Counter[str], wanted: float) -> str:
    n, largest = sizes.total(), max(sizes.values())
    if abs(round(wanted * n) / n - wanted) > TOLERANCE:
        return f"{n} rows cannot be divided that finely"
    if largest > 2 * TOLERANCE * n:
        return f"its largest group has {largest:,} of {n:,} rows"
    return f"its {len(sizes):,} groups hold rows of other sources too, or are too unequal"


def _counts_of_groups(rows: Sequence[ManifestRow], groups: Sequence[str]) -> tuple[csr_array, np.ndarray]:
    """Counts the rows of each group in each source, and in each class that has several sources.

    Returns:
        (g, c) counts, and (c,) flags: True where a column counts a whole class.
    """
    sources = sorted({(row.target, row.folder) for row in rows})
    column_of = {source: i for i, source in enumerate(sources)}
    n_sources = Counter(target for target, _ in sources)
    several = sorted(target for target, n in n_sources.items() if n > 1)
    class_column = {target: len(sources) + i for i, target in enumerate(several)}
    row_of = {group: i for i, group in enumerate(groups)}
    at = [row_of[row.group] for row in rows]
    columns = [column_of[row.target, row.folder] for row in rows]
    of_class = [
        (i, class_column[row.target]) for i, row in zip(at, rows, strict=True) if row.target in several
    ]
    tails = np.array(at + [i for i, _ in of_class])
    heads = np.array(columns + [column for _, column in of_class])
    shape = (len(groups), len(sources) + len(several))
    counts = csr_array(coo_array((np.ones(len(tails)), (tails, heads)), shape=shape))
    return counts, np.array([n_sources[target] == 1 for target, _ in sources] + [True] * len(several))


def _warn_of_gaps(rows: Sequence[ManifestRow], splits: Sequence[str], shares: Sequence[str]) -> None:
    found = Counter((split, row.target_class) for row, split in zip(rows, splits, strict=True))
    gaps = [
        f"{label} in {split}" for split in shares for label in CLASSES if rows and not found[split, label]
    ]
    if gaps:
        log.warning("too few groups to fill every split: there is no %s", ", no ".join(gaps))

"""Shortcuts: what can be told about the class without a look at the face.

A classifier sees only plain facts: format, size, bytes, JPEG quality and subsampling, where the face lies,
and the crop's mean colour and sharpness. If it tells real from fake, a detector trained on these images may
have learned no more than that.

Measured over all images the classifier says how far the whole set can be told apart, and that mixes good
pairs with bad ones. So each generator is also set against each collection of reals, with a classifier of
their own.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faceauth.console import progress
from faceauth.intake.manifest import ManifestRow
from faceauth.labels import FAKE
from faceauth.scoring.intervals import Rate
from faceauth.shortcuts.plain_facts import FACTS_BY_KIND, facts_of_files
from faceauth.shortcuts.ruler import FOLDS, lacking_groups, rate_reading, read_ruler

CLEAN = "clean"
LEANS = "leans"
EXPOSED = "exposed"
UNCLEAR = "unclear"
UNKNOWN = "unknown"

# Up to 0.7 discrimination is called poor by convention: it explains no detector that is worth having.
CLEAN_BELOW = 0.7
EXPOSED_ABOVE = 0.9
RATINGS = {
    CLEAN: f"nearly clean: at most {CLEAN_BELOW} with 95 % certainty",
    LEANS: "plain facts lean to one class, and a detector may use them",
    EXPOSED: f"plain facts give the class away: at least {EXPOSED_ABOVE} with 95 % certainty",
    UNCLEAR: "too few images to tell a nearly clean pair from one that leans",
    UNKNOWN: "could not be measured",
}
KINDS = {"file": "facts of the file", "face": "the face's place and size", "look": "colour and sharpness"}
# What shuffling must cost in AUROC for a fact to be named besides the strongest.
WORTH_NAMING = 0.005
MAX_NAMED = 3
# Enough for an interval of 0.01, and a million images take no longer than these.
MAX_ROWS_OF_A_SIDE = 5_000


@dataclass(frozen=True)
class Pair:
    """How far plain facts alone tell one generator from one collection of reals.

    Attributes:
        generator: Source model of the fakes.
        collection: Source model of the reals.
        auroc: AUROC of a classifier of their own.
        leaned_on: The facts it leaned on, the strongest first, up to three.
    """

    generator: str
    collection: str
    auroc: Rate
    leaned_on: tuple[str, ...]

    @property
    def rating(self) -> str:
        """One of `RATINGS`."""
        return rate_ruler(self.auroc)

    def to_json(self) -> dict[str, Any]:
        """Returns an entry of `pairs` in `audit.json`."""
        return {
            "generator": self.generator,
            "collection": self.collection,
            "auroc": self.auroc.to_json(),
            "leaned_on": list(self.leaned_on),
            "rating": self.rating,
        }


@dataclass(frozen=True)
class Shortcuts:
    """How far plain facts alone go.

    Attributes:
        overall: AUROC of the classifier over all rows.
        by_folder: The same classifier's for each generator against all reals.
        features: What it leaned on, the strongest first, as (name, loss of AUROC when shuffled).
        pairs: Each generator against each collection; empty if pairs were not measured.
        by_kind: The AUROC over all rows of a classifier that sees only one kind of facts: `file`, the place
            of the `face`, or the `look` of the crop (colour and sharpness).
    """

    overall: Rate
    by_folder: dict[str, Rate]
    features: list[tuple[str, float]]
    pairs: list[Pair] = field(default_factory=list)
    by_kind: dict[str, Rate] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the part `shortcuts` of `audit.json`."""
        return {
            "overall": self.overall.to_json(),
            "by_folder": {folder: rate.to_json() for folder, rate in self.by_folder.items()},
            "by_kind": {kind: rate.to_json() for kind, rate in self.by_kind.items()},
            "features": [{"name": name, "importance": importance} for name, importance in self.features],
            "pairs": [pair.to_json() for pair in self.pairs],
        }


def measure_shortcuts(rows: Sequence[ManifestRow], *, seed: int = 0) -> Shortcuts:
    """Trains and tests the classifier on all rows, cross-validated by group.

    Args:
        rows: Usable rows of any split.
        seed: Of the folds.

    Returns:
        AUROC with intervals, without pairs; undefined, with the reason, where there are too few groups of a
        class.
    """
    targets, folders, groups = _columns(rows)
    is_real = targets != FAKE
    reason = lacking_groups(targets, groups, at_least=FOLDS)
    if reason:
        return Shortcuts(Rate(None, None, int(is_real.sum()), int((~is_real).sum()), reason), {}, [])
    facts = facts_of_files(rows)
    reading = read_ruler(facts, targets, groups, seed=seed)
    of_kind = {
        kind: read_ruler(facts.only(names), targets, groups, seed=seed)
        for kind, names in FACTS_BY_KIND.items()
    }
    return Shortcuts(
        overall=rate_reading(reading, targets, groups),
        by_folder={
            name: rate_reading(reading, targets, groups, keep=is_real | (folders == name))
            for name in sorted(set(folders[~is_real]))
        },
        features=reading.leaned_on,
        by_kind={kind: rate_reading(found, targets, groups) for kind, found in of_kind.items()},
    )


def measure_pairs(rows: Sequence[ManifestRow], *, seed: int = 0) -> list[Pair]:
    """Sets each generator against each collection of reals, with a classifier of their own.

    Args:
        rows: Usable rows of any split. Of a source with more than 5,000 rows so many are taken, by the hash
            of their groups.
        seed: Of the folds and of what is taken of large sources.

    Returns:
        The pairs, sorted by generator and collection; undefined, with the reason, where there are too few
        groups of a class.
    """
    targets, folders, groups = _columns(rows)
    facts = facts_of_files(rows)
    sides = {
        (target, name): _at_most(np.flatnonzero((targets == target) & (folders == name)), groups, seed=seed)
        for target in (0, 1)
        for name in sorted(set(folders[targets == target]))
    }
    fakes = {name: side for (target, name), side in sides.items() if target == FAKE}
    reals = {name: side for (target, name), side in sides.items() if target != FAKE}
    pairs = []
    with progress("pairs of sources", len(fakes) * len(reals)) as advance:
        for generator, fake in fakes.items():
            for collection, real in reals.items():
                chosen = np.sort(np.concatenate([fake, real]))
                reason = lacking_groups(targets[chosen], groups[chosen], at_least=FOLDS)
                leaned_on: tuple[str, ...] = ()
                if reason:
                    rate = Rate(None, None, len(real), len(fake), reason)
                else:
                    reading = read_ruler(facts.take(chosen), targets[chosen], groups[chosen], seed=seed)
                    rate = rate_reading(reading, targets[chosen], groups[chosen])
                    leaned_on = _worth_naming(reading.leaned_on)
                pairs.append(Pair(generator, collection, rate, leaned_on))
                advance()
    return pairs


def rate_ruler(auroc: Rate) -> str:
    """Puts an AUROC of plain facts into one of `RATINGS`, by its interval."""
    if auroc.value is None or auroc.ci95 is None:
        return UNKNOWN
    low, high = auroc.ci95
    if high < CLEAN_BELOW:
        return CLEAN
    if low > EXPOSED_ABOVE:
        return EXPOSED
    # Both "nearly nothing" and "a good deal" lie inside such an interval.
    return UNCLEAR if low <= 0.5 else LEANS


def describe_ruler(shortcuts: dict[str, Any]) -> str:
    """Puts the result of the ruler into one sentence.

    Args:
        shortcuts: The part `shortcuts` of `audit.json`.
    """
    rate = shortcuts["overall"]
    if rate["value"] is None:
        return f"How far plain facts alone go is unknown: {rate['reason']}."
    leaned = ", ".join(
        feature["name"] for feature in shortcuts["features"][:3] if feature["importance"] > WORTH_NAMING
    )
    found = f", by {leaned}" if leaned else ""
    kinds = shortcuts.get("by_kind", {})
    alone = ", ".join(f"{KINDS[kind]} {_in_short(kinds[kind])}" for kind in KINDS if kind in kinds)
    return f"A ruler alone, plain facts without a look at the face, gets AUROC {_in_short(rate)}{found}." + (
        f" By themselves: {alone}." if alone else ""
    )


def _in_short(rate: dict[str, Any]) -> str:
    interval = f" ({rate['ci95'][0]:.2f} to {rate['ci95'][1]:.2f})" if rate["ci95"] else ""
    return f"{rate['value']:.2f}{interval}"


def _worth_naming(leaned_on: list[tuple[str, float]]) -> tuple[str, ...]:
    strongest, *others = leaned_on[:MAX_NAMED]
    return (strongest[0], *(name for name, loss in others if loss > WORTH_NAMING))


def _columns(rows: Sequence[ManifestRow]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    targets = np.array([row.target for row in rows], dtype=np.int64)
    folders = np.array([row.folder for row in rows], dtype=object)
    groups = np.array([row.group or row.sha256 or row.image_path for row in rows], dtype=object)
    return targets, folders, groups


def _at_most(positions: np.ndarray, groups: np.ndarray, *, seed: int) -> np.ndarray:
    if len(positions) <= MAX_ROWS_OF_A_SIDE:
        return positions
    keys = [hashlib.sha256(f"{seed}:{groups[i]}".encode()).hexdigest() for i in positions]
    return positions[np.argsort(keys, kind="stable")[:MAX_ROWS_OF_A_SIDE]]

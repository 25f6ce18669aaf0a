"""What remains after equalising: how far the plain facts of the crops alone go, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceauth.intake.manifest import ManifestRow
from faceauth.labels import FAKE
from faceauth.scoring.intervals import Rate
from faceauth.shortcuts.ruler import Facts, lacking_groups, rate_reading, read_ruler


@dataclass(frozen=True)
class Remains:
    """How far the crops' plain facts tell fakes from all reals, before and after.

    Attributes:
        generator: The source model of the fakes; empty for all of them.
        before: AUROC of a classifier of the crops as they were.
        after: The same for the crops as they are.
        leaned_on: The fact that the latter leaned on most; empty if it could not be measured.
    """

    generator: str
    before: Rate
    after: Rate
    leaned_on: str

    def to_json(self) -> dict[str, Any]:
        """Returns an entry of `remains` in `prepare.json`; `generator` is null for all fakes together."""
        return {
            "generator": self.generator or None,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "leaned_on": self.leaned_on or None,
        }


def measure_remains(
    rows: Sequence[ManifestRow],
    before: np.ndarray,
    after: np.ndarray,
    *,
    names: tuple[str, ...],
    seed: int = 0,
) -> list[Remains]:
    """Lays the ruler on the crops' facts before and after, for all fakes and for each generator.

    Each generator is set against all reals with a classifier of its own, cross-validated by group.

    Args:
        rows: The rows, n of them.
        before: Their crops' facts as they were, float64 (n, m).
        after: The same facts as they are, float64 (n, m).
        names: Names of the m facts.
        seed: Of the folds.
    """
    targets = np.array([row.target for row in rows], dtype=np.int64)
    folders = np.array([row.folder for row in rows], dtype=object)
    groups = np.array([row.group or row.sha256 or row.destination_path for row in rows], dtype=object)
    is_real = targets != FAKE
    found = []
    for generator in ("", *sorted(set(folders[~is_real]))):
        chosen = np.flatnonzero(is_real | (folders == generator) | (generator == ""))
        (rate_before, _), (rate_after, leaned_on) = (
            _measure(Facts(names, values[chosen]), targets[chosen], groups[chosen], seed=seed)
            for values in (before, after)
        )
        found.append(Remains(generator, rate_before, rate_after, leaned_on))
    return found


def _measure(facts: Facts, targets: np.ndarray, groups: np.ndarray, *, seed: int) -> tuple[Rate, str]:
    reason = lacking_groups(targets, groups)
    if reason:
        n_fake = int((targets == FAKE).sum())
        return Rate(None, None, len(targets) - n_fake, n_fake, reason), ""
    reading = read_ruler(facts, targets, groups, seed=seed)
    return rate_reading(reading, targets, groups), reading.leaned_on[0][0]

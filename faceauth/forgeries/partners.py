"""Who swaps faces with whom: pairs of groups of one split, alike in pose and light.

A swap depends on two people, and from then on their groups are one. Were partners drawn freely, a few swaps
would tie all groups of a split into one, and no interval that respects groups could be computed any more. So
groups are paired off: each swaps with one other group, where their number is odd three swap among themselves.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from faceauth.forgeries.reals import RealCrop
from faceauth.forgeries.rows import group_of

# So many groups are compared with each; the pairing of a million would take days otherwise.
MAX_COMPARED = 1_000
# Half a profile cannot be bent to a face from the front.
MOST_STEPS_OF_TURN = 2.0


def pair_groups(reals: Sequence[RealCrop]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Pairs groups off, inside their split and, as far as it goes, their source.

    Args:
        reals: Crops with landmarks, in any order.

    Returns:
        For each (split, group) the groups that it swaps with: mostly one, two where three swap among
        themselves, none where a group is alone in its split.
    """
    members = defaultdict(list)
    for real in sorted(reals, key=lambda real: (real.key, real.row.folder)):
        members[real.row.split, group_of(real.row)].append(real)
    partners: dict[tuple[str, str], tuple[str, ...]] = {}
    for split in sorted({split for split, _ in members}):
        groups = {group: found for (of, group), found in members.items() if of == split}
        by_folder = defaultdict(list)
        for group, found in groups.items():
            by_folder[found[0].row.folder].append(group)
        features = {
            group: np.mean([real.known_features for real in found], axis=0) for group, found in groups.items()
        }
        sets: list[tuple[str, ...]] = []
        left: list[str] = []
        for folder in sorted(by_folder):
            left += _match(by_folder[folder], features, sets)
        alone = _match(left, features, sets)
        if alone and sets:
            sets[-1] += tuple(alone)
        for names in sets:
            for name in names:
                partners[split, name] = tuple(other for other in names if other != name)
        if alone and not sets:
            partners[split, alone[0]] = ()
    return partners


def choose_other(
    real: RealCrop, candidates: Sequence[RealCrop], rng: np.random.Generator, *, among: int = 3
) -> RealCrop | None:
    """Chooses whose face somebody gets: one of the few that are most alike.

    Args:
        real: Who gets a face.
        candidates: The crops of the partner groups, in any order.
        rng: The source of chance.
        among: So many of the most alike.

    Returns:
        One of the candidates; None if there is none of another identity whose head is turned about alike.
    """
    people = set(real.row.identities)
    features = real.known_features
    others = [
        other
        for other in candidates
        if not people & set(other.row.identities)
        and abs(other.known_features[0] - features[0]) <= MOST_STEPS_OF_TURN
    ]
    if not others:
        return None
    others.sort(key=lambda other: (float(np.abs(other.known_features - features).sum()), other.key))
    return others[int(rng.integers(min(among, len(others))))]


def _match(groups: list[str], features: dict[str, np.ndarray], sets: list[tuple[str, ...]]) -> list[str]:
    """Adds pairs to `sets`, each group with the one most alike that is left; returns one without, if any."""
    left = list(groups)
    while len(left) > 1:
        first, compared = left[0], left[1 : 1 + MAX_COMPARED]
        distances = np.abs(np.array([features[name] for name in compared]) - features[first]).sum(axis=1)
        nearest = compared[int(np.argmin(distances))]
        sets.append((first, nearest))
        left.remove(nearest)
        del left[0]
    return left

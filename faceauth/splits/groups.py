"""Groups: what must stay together, because one image would give the others away.

Six things tie images: the group that the user names; a person that the user names in both; the same path
in two sources, since a fake often keeps the name of its photo; the same bytes; crops that look alike; and, on
request, faces that a network takes for one person (`faceauth.splits.people`). Ties are transitive.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from faceauth.intake.manifest import ManifestRow, split_identities
from faceauth.intake.sources.source_file import SourceFile
from faceauth.splits.near import LookAlikes


@dataclass(frozen=True)
class Ties:
    """How many rows each kind of tie joined to another row; for the log and `prepare.json`."""

    named: int
    identity: int
    same_key: int
    same_bytes: int
    look_alike: int
    same_person: int = 0


class _Joined:
    """Union-find over positions."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def find(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> int:
        """Joins two sets; returns 1 if they were apart, else 0."""
        i, j = sorted((self.find(i), self.find(j)))
        self._parent[j] = i
        return int(i != j)

    def join_equal(self, values: Iterable[str]) -> int:
        """Joins the positions of equal values; empty values join nothing."""
        return self.join_sharing((value,) if value else () for value in values)

    def join_sharing(self, values: Iterable[Iterable[str]]) -> int:
        """Joins the positions that have at least one value in common."""
        first: dict[str, int] = {}
        return sum(self.join(first.setdefault(value, i), i) for i, own in enumerate(values) for value in own)

    def join_sets(self, sets: Iterable[int]) -> int:
        """Joins each position to the one that its set is called after; to itself where it has no other."""
        return sum(self.join(int(first), i) for i, first in enumerate(sets))


def group_rows(
    files: Sequence[SourceFile],
    rows: Sequence[ManifestRow],
    *,
    alike: LookAlikes,
    same_person: Sequence[int] | None = None,
) -> tuple[list[str], Ties]:
    """Gives every row the name of its group.

    Args:
        files: The source files, n of them.
        rows: Their rows in the same order.
        alike: Which of the rows' crops look alike.
        same_person: For each row the position of the first row whose face is taken for the same person, its
            own where there is none; None ties none by faces.

    Returns:
        n names: the alphabetically first name that a user gave inside the group, or else its first person, or
        else the first key that several sources share, or else the hash of its first file; and the counts of
        ties.
    """
    joined = _Joined(len(rows))
    # A name given by the user says more than a file name does.
    keys = ["" if file.is_named else file.key for file in files]
    people = [split_identities(file.identity) for file in files]
    shared = {key for key, n in Counter(key for key in keys if key).items() if n > 1}
    ties = Ties(
        named=joined.join_equal(file.group for file in files),
        identity=joined.join_sharing(people),
        same_key=joined.join_equal(key if key in shared else "" for key in keys),
        same_bytes=joined.join_equal(row.sha256 for row in rows),
        look_alike=joined.join_sets(alike.sets),
        same_person=0 if same_person is None else joined.join_sets(same_person),
    )
    members = defaultdict(list)
    for i in range(len(rows)):
        members[joined.find(i)].append(i)
    names = [""] * len(rows)
    for positions in members.values():
        name = (
            min((files[i].group for i in positions if files[i].group), default="")
            or min((name for i in positions for name in people[i]), default="")
            or min((keys[i] for i in positions if keys[i] in shared), default="")
            or min((rows[i].sha256[:16] for i in positions if rows[i].sha256), default="")
            or files[positions[0]].key
        )
        for i in positions:
            names[i] = name
    return names, ties

"""Leaks: what one split knows of another. Any leak makes every figure of the later split worthless."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any

from faceauth.errors import ManifestError
from faceauth.intake.manifest import OK, Manifest, ManifestRow
from faceauth.intake.sources.find import source_key
from faceauth.labels import SPLITS
from faceauth.splits.near import find_look_alikes, pairs_across

GROUP, EXACT, NEAR, IDENTITY = "group", "exact", "near", "identity"
MAX_LISTED_ROWS = 1_000
ROWS_IN_A_MESSAGE = 3


@dataclass(frozen=True)
class LeakingRow:
    """A row that shares something with a row of another split.

    Attributes:
        kind: `group`, `exact`, `near` or `identity`.
        shared: What is shared: the group's name, the hash of the file's bytes, the destination path of the
            look-alike, or the person.
        split: The row's split.
        folder: Its source model.
        destination_path: Where its crop lies.
        image_path: Where its image came from.
    """

    kind: str
    shared: str
    split: str
    folder: str
    destination_path: str
    image_path: str


@dataclass(frozen=True)
class Leaks:
    """Leaks by kind, and the rows that make them.

    Attributes:
        group: Names of the groups that are in more than one split; where a table has no groups, the path
            that the rows share inside their sources, as a photo and the fakes made from it do.
        exact: Hashes of the source files that are in more than one split.
        near: Pairs of destination paths of look-alike crops in different splits; at most 1,000.
        n_near: How many such pairs there are in all.
        identity: People who are in more than one split, as far as the manifest names them.
        rows: The offending rows, those that share something next to each other; at most 1,000.
        n_rows: How many there are in all. A row counts once for each thing that it shares.
    """

    group: list[str]
    exact: list[str]
    near: list[tuple[str, str]]
    n_near: int
    identity: list[str]
    rows: list[LeakingRow]
    n_rows: int

    @property
    def any(self) -> bool:
        """True if there is at least one leak."""
        return bool(self.group or self.exact or self.near or self.identity)

    def to_json(self) -> dict[str, int]:
        """Returns the counts, as they stand in `audit.json`."""
        return {
            GROUP: len(self.group),
            EXACT: len(self.exact),
            NEAR: self.n_near,
            IDENTITY: len(self.identity),
        }

    def rows_to_json(self) -> dict[str, Any]:
        """Returns the offending rows, as they stand in `audit.json`, and how many were left out."""
        return {
            "leaking_rows": [asdict(row) for row in self.rows],
            "leaking_rows_not_listed": self.n_rows - len(self.rows),
        }

    def describe(self) -> str:
        """Returns one line that counts the leaks and names an example of each."""
        parts = []
        if self.group:
            parts.append(f"{len(self.group)} groups are in two splits, such as {self.group[0]}")
        if self.exact:
            parts.append(f"{len(self.exact)} files are in two splits, such as sha256 {self.exact[0][:16]}")
        if self.near:
            first, second = self.near[0]
            parts.append(
                f"{self.n_near} pairs of look-alikes lie across splits, such as {first} and {second}"
            )
        if self.identity:
            people = "1 person is" if len(self.identity) == 1 else f"{len(self.identity)} people are"
            parts.append(f"{people} in two splits, such as {self.identity[0]}")
        return "; ".join(parts) or "no leaks"


def find_leaks(rows: Iterable[ManifestRow]) -> Leaks:
    """Looks for groups, files, look-alikes and people that are in more than one split.

    Args:
        rows: A manifest's rows; only usable ones with a split count.
    """
    used = [row for row in rows if row.status == OK and row.split]
    groups = _across_splits(used, ([row.group or source_key(row.image_path, row.folder)] for row in used))
    exact = _across_splits(used, ([row.sha256] for row in used))
    people = _across_splits(used, (row.identities for row in used))
    hashes, parts = [row.phash for row in used], [SPLITS.index(row.split) for row in used]
    alike = find_look_alikes(hashes, parts, across_only=True)
    near = list(islice(pairs_across(hashes, parts, alike), MAX_LISTED_ROWS))
    found = chain(
        _rows_of(GROUP, groups, used),
        _rows_of(EXACT, exact, used),
        _rows_of(IDENTITY, people, used),
        (
            _leaking_row(NEAR, used[one], used[other].destination_path)
            for i, j in near
            for one, other in ((i, j), (j, i))
        ),
    )
    return Leaks(
        group=list(groups),
        exact=list(exact),
        near=[(used[i].destination_path, used[j].destination_path) for i, j in near],
        n_near=alike.n_across,
        identity=list(people),
        rows=list(islice(found, MAX_LISTED_ROWS)),
        n_rows=sum(len(positions) for shared in (groups, exact, people) for positions in shared.values())
        + 2 * alike.n_across,
    )


def refuse_leaks(manifest: Manifest) -> None:
    """Stops whoever wants to train or evaluate on a manifest that leaks.

    Raises:
        ManifestError: There is a leak; the message names a few of the rows.
    """
    leaks = find_leaks(manifest.rows)
    if not leaks.any:
        return
    shown = leaks.rows[:ROWS_IN_A_MESSAGE]
    listed = "; ".join(f"{row.destination_path or row.image_path} ({row.split})" for row in shown)
    raise ManifestError(
        f"{manifest.path} leaks: {leaks.describe()}. Of {leaks.n_rows} rows: {listed}.",
        f"See them all: faceauth audit {manifest.path}. Split again by group: faceauth prepare with this "
        "manifest as SOURCE.",
    )


def _across_splits(rows: Sequence[ManifestRow], shared: Iterable[Sequence[str]]) -> dict[str, list[int]]:
    """Returns what is in more than one split, sorted, with the positions of the rows that share it."""
    positions = defaultdict(list)
    for i, names in enumerate(shared):
        for name in names:
            if name:
                positions[name].append(i)
    return {
        name: found for name, found in sorted(positions.items()) if len({rows[i].split for i in found}) > 1
    }


def _rows_of(kind: str, shared: dict[str, list[int]], rows: Sequence[ManifestRow]) -> Iterator[LeakingRow]:
    for name, positions in shared.items():
        # The splits take turns, so that even the first rows of a large group show what is wrong.
        turns: dict[str, int] = defaultdict(int)
        turn_of = {}
        for i in positions:
            turn_of[i] = turns[rows[i].split]
            turns[rows[i].split] += 1
        for i in sorted(positions, key=turn_of.__getitem__):
            yield _leaking_row(kind, rows[i], name)


def _leaking_row(kind: str, row: ManifestRow, shared: str) -> LeakingRow:
    return LeakingRow(kind, shared, row.split, row.folder, row.destination_path, row.image_path)

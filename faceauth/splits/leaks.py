"""Leaks: what one split knows of another. Any leak makes every figure of the later split worthless."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from faceauth.errors import ManifestError
from faceauth.intake.manifest import OK, Manifest, ManifestRow
from faceauth.intake.sources import source_key
from faceauth.splits.near import near_duplicate_pairs


@dataclass(frozen=True)
class Leaks:
    """Leaks by kind, as the rows that are in two splits.

    Attributes:
        group: Names of the groups that are in more than one split; where a table has no groups, the path
            that the rows share inside their sources, as a photo and the fakes made from it do.
        exact: Hashes of the source files that are in more than one split.
        near: Pairs of destination paths of look-alike crops in different splits.
    """

    group: list[str]
    exact: list[str]
    near: list[tuple[str, str]]

    @property
    def any(self) -> bool:
        """True if there is at least one leak."""
        return bool(self.group or self.exact or self.near)

    def to_json(self) -> dict[str, int]:
        """Returns the counts, as they stand in `audit.json`."""
        return {"group": len(self.group), "exact": len(self.exact), "near": len(self.near)}

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
                f"{len(self.near)} pairs of look-alikes lie across splits, such as {first} and {second}"
            )
        return "; ".join(parts) or "no leaks"


def find_leaks(rows: Iterable[ManifestRow]) -> Leaks:
    """Looks for groups, files and look-alikes that are in more than one split.

    Args:
        rows: A manifest's rows; only usable ones with a split count.
    """
    used = [row for row in rows if row.status == OK and row.split]
    groups = [row.group or source_key(row.image_path, row.folder) for row in used]
    near = [
        (used[i].destination_path, used[j].destination_path)
        for i, j in near_duplicate_pairs([row.phash for row in used])
        if used[i].split != used[j].split
    ]
    return Leaks(
        group=_in_two_splits((group, row.split) for group, row in zip(groups, used, strict=True)),
        exact=_in_two_splits((row.sha256, row.split) for row in used),
        near=near,
    )


def refuse_leaks(manifest: Manifest) -> None:
    """Stops whoever wants to train or evaluate on a manifest that leaks.

    Raises:
        ManifestError: There is a leak.
    """
    leaks = find_leaks(manifest.rows)
    if leaks.any:
        raise ManifestError(
            f"{manifest.path} leaks: {leaks.describe()}.",
            "Split it again by group: faceauth prepare with this manifest as SOURCE.",
        )


def _in_two_splits(pairs: Iterable[tuple[str, str]]) -> list[str]:
    splits = defaultdict(set)
    for key, split in pairs:
        if key:
            splits[key].add(split)
    return sorted(key for key, found in splits.items() if len(found) > 1)

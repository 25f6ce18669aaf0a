"""Duplicates: the same bytes twice, and crops that look alike. Either way it is recorded what was found."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faceauth.errors import UnknownNameError, did_you_mean
from faceauth.intake.faces.crop import square_around
from faceauth.intake.manifest import DUPLICATE, LABEL_CONFLICT, OK, ManifestRow
from faceauth.intake.pipeline.store import crop_name
from faceauth.splits.near import LookAlikes, bits_apart, find_look_alikes, pack_hashes

GROUP, DROP = "group", "drop"
HANDLINGS = (GROUP, DROP)


@dataclass(frozen=True)
class Duplicates:
    """How many duplicates there were; for `prepare.json`.

    Attributes:
        handling: What became of look-alikes of one class: `group` or `drop`.
        exact: Rows that were dropped because of the same bytes in the same class.
        near: Rows that look like another row of their class.
        near_dropped: How many of these were dropped.
        across_classes: Rows that look like a row of the other class; none is dropped for that.
    """

    handling: str
    exact: int
    near: int
    near_dropped: int
    across_classes: int


def parse_handling(text: str) -> Literal["group", "drop"]:
    """Reads what shall become of look-alikes.

    Raises:
        UnknownNameError: It is neither `group` nor `drop`.
    """
    if text == GROUP:
        return "group"
    if text == DROP:
        return "drop"
    raise UnknownNameError(
        f"'{text}' is not what can become of duplicates.", did_you_mean(text, list(HANDLINGS))
    )


def drop_same_bytes(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Keeps the first of rows whose pixels come from the same bytes.

    Args:
        rows: All rows; only usable ones count.

    Returns:
        The rows; others of one class have the status `duplicate`, and where the classes contradict each other
        all have `label_conflict`. Two frames of one video are not the same bytes.
    """
    positions = defaultdict(list)
    for i, row in enumerate(rows):
        if row.status == OK:
            positions[crop_name(row)].append(i)
    rows = list(rows)
    for same in positions.values():
        first = rows[same[0]]
        if len({rows[i].target for i in same}) > 1:
            for i in same:
                other = next(rows[j] for j in same if rows[j].target != rows[i].target)
                reason = f"the same bytes are called {other.target_class} at {other.image_path}"
                rows[i] = dataclasses.replace(rows[i], status=LABEL_CONFLICT, reason=reason)
        else:
            what = "bytes" if first.frame is None else "frame"
            for i in same[1:]:
                rows[i] = dataclasses.replace(
                    rows[i], status=DUPLICATE, reason=f"the same {what} as {first.image_path}"
                )
    return rows


def find_alike_rows(rows: Sequence[ManifestRow]) -> LookAlikes:
    """Finds which usable rows look alike, and whether in one class or across classes.

    Args:
        rows: All rows, without those of the same bytes.
    """
    return find_look_alikes(
        [row.phash if row.status == OK else "" for row in rows], [row.target for row in rows]
    )


def drop_look_alikes(
    rows: Sequence[ManifestRow], alike: LookAlikes, *, margin_ratio: float
) -> list[ManifestRow]:
    """Keeps one of look-alikes of one class: the one with the most native pixels under its crop.

    No kept row looks like another kept row of its class, and every dropped row looks like the kept one that
    its reason names. Rows of different classes are never dropped for that: a fake that hardly differs from
    its photo is a pair, not a duplicate.

    Args:
        rows: All rows.
        alike: What `find_alike_rows` found among them.
        margin_ratio: Side of the crops, as a multiple of the face box's longer side.

    Returns:
        The rows; dropped ones have the status `duplicate`.
    """
    members = defaultdict(list)
    for i in np.flatnonzero(alike.own_part).tolist():
        members[alike.sets[i], rows[i].target].append(i)
    rows = list(rows)
    for positions in members.values():
        left = np.array(
            sorted(positions, key=lambda i: (-_native_side_px(rows[i], margin_ratio), rows[i].image_path))
        )
        words = pack_hashes([rows[i].phash for i in left])
        while len(left):
            bits = bits_apart(words, words[0])
            is_near = bits <= alike.max_bits_apart
            kept = rows[left[0]]
            for i, n_bits in zip(left[is_near][1:], bits[is_near][1:], strict=True):
                reason = f"looks like {kept.image_path}: {n_bits} of 256 bits differ"
                rows[i] = dataclasses.replace(rows[i], status=DUPLICATE, reason=reason)
            left, words = left[~is_near], words[~is_near]
    return rows


def count_duplicates(
    rows: Sequence[ManifestRow], settled: Sequence[ManifestRow], alike: LookAlikes, *, handling: str
) -> Duplicates:
    """Counts duplicates.

    Args:
        rows: All rows, after those of the same bytes were dropped.
        settled: The same, after look-alikes were dropped, if they were.
        alike: Which look alike.
        handling: What became of look-alikes.
    """
    n_exact, n_all = (sum(row.status == DUPLICATE for row in found) for found in (rows, settled))
    return Duplicates(
        handling=handling,
        exact=n_exact,
        near=int(alike.own_part.sum()),
        near_dropped=n_all - n_exact,
        across_classes=int(alike.other_part.sum()),
    )


def _native_side_px(row: ManifestRow, margin_ratio: float) -> int:
    if row.box is None or row.width is None or row.height is None:
        return 0
    x1, _, x2, _ = square_around(row.box, width=row.width, height=row.height, margin_ratio=margin_ratio)
    return x2 - x1

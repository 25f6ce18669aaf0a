"""Which rows of a scores table are measured: a split, and within it each source model."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from faceauth.errors import InputError
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.scoring.scores import Scores


class FolderRows(NamedTuple):
    """The faces that say how a detector does on one source model.

    Attributes:
        name: The folder, with ` (real)` or ` (fake)` if a folder of that name exists in both classes.
        target: 1 for a real collection, 0 for a generator.
        keep: Its own faces and all faces of the other class, bool (n,).
    """

    name: str
    target: int
    keep: np.ndarray


def rows_of_split(scores: Scores, split: str) -> Scores:
    """Returns the rows of one split.

    Raises:
        InputError: There is none.
    """
    chosen = scores.where(scores.split == split)
    if not len(chosen):
        found = ", ".join(sorted({f"'{name}'" for name in scores.split.tolist()})) or "none"
        raise InputError(f"No score is of the split '{split}'.", f"Splits in the table: {found}.")
    return chosen


def iterate_folders(scores: Scores) -> Iterator[FolderRows]:
    """Yields the generators and then the real collections, each in alphabetical order."""
    names = {target: set(scores.folder[scores.target == target].tolist()) for target in (FAKE, REAL)}
    for target in (FAKE, REAL):
        for name in sorted(names[target]):
            own = (scores.target == target) & (scores.folder == name)
            is_shared = name in names[FAKE] and name in names[REAL]
            title = f"{name} ({ID2LABEL[target]})" if is_shared else name
            yield FolderRows(title, target, own | (scores.target != target))

"""Two scores tables of the same faces, row beside row."""

import numpy as np

from faceauth.errors import InputError
from faceauth.scoring.scores import Scores

# What two tables must say alike of each face.
SHARED_COLUMNS = ("target", "folder", "group")


def pair_scores(first: Scores, second: Scores) -> tuple[Scores, np.ndarray]:
    """Finds each face of one table in another by its `destination_path`.

    Args:
        first: Gives the order of the rows.
        second: The same faces in any order.

    Returns:
        The first table, with the groups of the second if only that one knows groups; and the second table's
        `p_fake` in the order of the first, float64 (n,).

    Raises:
        InputError: A path is missing, stands twice or in one table only, or the tables give a face another
            target, folder or group.
    """
    place_of = _places(second, "second")
    _places(first, "first")
    paths = first.destination_path.tolist()
    _refuse_strangers(set(paths) - place_of.keys(), "second")
    _refuse_strangers(place_of.keys() - set(paths), "first")
    order = np.array([place_of[path] for path in paths], dtype=np.int64)
    for name in SHARED_COLUMNS:
        here, there = getattr(first, name), getattr(second, name)
        if here is None or there is None:
            continue
        differing = np.flatnonzero(here != there[order])
        if len(differing):
            row = int(differing[0])
            raise InputError(
                f"The two tables differ in the {name} of {paths[row]}: "
                f"'{here[row]}' in the first, '{there[order[row]]}' in the second.",
                "Detectors can be compared on the same faces with the same labels only.",
            )
    group = first.group
    if group is None and second.group is not None:
        group = second.group[order]
    return (
        Scores(first.destination_path, first.folder, first.split, first.target, first.p_fake, group),
        second.p_fake[order],
    )


def _places(scores: Scores, which: str) -> dict[str, int]:
    """Returns each path's row."""
    places: dict[str, int] = {}
    for row, path in enumerate(scores.destination_path.tolist()):
        if not path:
            raise InputError(
                f"Row {row} of the {which} table has no destination_path.",
                "Faces are found again by it: both tables need that column.",
            )
        if path in places:
            raise InputError(
                f"{path} stands twice in the {which} table.", "Each face needs a path of its own."
            )
        places[path] = row
    return places


def _refuse_strangers(missing: set[str], which: str) -> None:
    if missing:
        raise InputError(
            f"{len(missing):,} faces are not in the {which} table, such as {min(missing)}.",
            "Score both detectors on the same manifest and split.",
        )

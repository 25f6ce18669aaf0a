"""What forging does to rows of a manifest: they come along, groups of partners merge, leaks are dropped."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from faceauth.files import whole_file
from faceauth.intake.faces.crop import perceptual_hash
from faceauth.intake.faces.looks import look_of
from faceauth.intake.manifest import OK, UNREADABLE, Manifest, ManifestRow
from faceauth.intake.pipeline.places import destination_of, folder_name
from faceauth.intake.sources.address import split_fragment
from faceauth.intake.sources.find import source_key
from faceauth.intake.sources.remote import is_url
from faceauth.labels import FAKE, ID2LABEL
from faceauth.splits.leaks import find_leaks

FOLDER_PREFIX = "forged_"
IDENTITY_SEPARATOR = "; "
GROUP_SEPARATOR = "+"
_PNG = ".png"


@dataclass(frozen=True)
class MadeForgery:
    """A forgery and what it was made of.

    Attributes:
        row: Its row.
        method: A name in `FORGERIES`.
        number: The first, second ... of its real by that method, from 0.
        real: The row of the crop that was forged.
        other: The row of the second person; None where there is none.
    """

    row: ManifestRow
    method: str
    number: int
    real: ManifestRow
    other: ManifestRow | None = None


def group_of(row: ManifestRow) -> str:
    """Returns the group of a row; where the table names none, the path that it shares with its like."""
    return row.group or source_key(row.image_path, row.folder)


def bring_along(manifest: Manifest, row: ManifestRow, folder: Path) -> ManifestRow:
    """Puts a row's crop into another prepared folder: as a further name of the file if that is possible.

    Args:
        manifest: Where the row stands.
        row: Any row; only the crop of a usable one is brought along.
        folder: The other folder.

    Returns:
        The row as it stands there; `unreadable`, with a reason, if the crop cannot be read.
    """
    row = replace(row, image_path=_from_elsewhere(row.image_path, manifest.root))
    if row.status != OK or not row.split:
        return replace(row, split="", destination_path="")
    path = manifest.crop_path(row)
    key = row.sha256[:32] if row.sha256 and row.frame is None else _hash(row.destination_path)
    name = f"{row.split}/{row.target_class}/{folder_name(row.folder)}/{key}{_PNG}"
    try:
        with whole_file(folder / name) as draft:
            if path.suffix.lower() == _PNG:
                _link_or_copy(path, draft)
            else:
                # Both classes are stored alike.
                save_crop(read_crop(path), draft)
    except (OSError, ValueError, SyntaxError) as error:
        reason = f"the crop cannot be read: {error}"[:500]
        return replace(row, split="", destination_path="", status=UNREADABLE, reason=reason)
    return replace(row, destination_path=name)


def read_crop(path: Path) -> np.ndarray:
    """Reads a crop, (height, width, 3) uint8.

    Raises:
        OSError, ValueError, SyntaxError: It cannot be read; Pillow has all three.
    """
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def save_crop(crop_rgb_uint8: np.ndarray, file: Path | BinaryIO) -> None:
    """Writes a crop as PNG, as the preparation does."""
    Image.fromarray(crop_rgb_uint8).save(file, format="PNG", compress_level=4)


def row_of_forgery(
    real: ManifestRow, other: ManifestRow | None, method: str, crop_rgb_uint8: np.ndarray, sha256: str
) -> ManifestRow:
    """Returns the row of a forgery: in the group and split of its real, with the facts of that one's photo.

    Format, size, quality and face box stay those of the photo that the pixels came from: the audit must not
    find a difference between the files of reals and forgeries that no detector ever sees.

    Args:
        real: The row of the crop that was forged.
        other: The row of the second person, if any.
        method: A name in `FORGERIES`.
        crop_rgb_uint8: The forgery.
        sha256: Hash of its file.
    """
    people = (*real.identities, *(other.identities if other else ()))
    row = replace(
        real,
        folder=FOLDER_PREFIX + method,
        target=FAKE,
        target_class=ID2LABEL[FAKE],
        group=group_of(real),
        identity=IDENTITY_SEPARATOR.join(dict.fromkeys(people)),
        sha256=sha256,
        phash=perceptual_hash(crop_rgb_uint8),
        frame=None,
        timestamp_s=None,
        **asdict(look_of(crop_rgb_uint8)),
    )
    name = destination_of(row, real.split)
    # Prepared again, the forgery is what is read, and not the photo of its real.
    return replace(row, image_path=name, destination_path=name)


def merge_groups(rows: Sequence[ManifestRow], made: Iterable[MadeForgery]) -> tuple[list[ManifestRow], int]:
    """Makes one group of the groups of two people of whom one got the other's face.

    Args:
        rows: All rows.
        made: The forgeries.

    Returns:
        The rows with the new names, which are the old ones joined by a plus; and how many groups were joined
        to another.
    """
    sets: dict[str, frozenset[str]] = {}
    for forgery in made:
        if forgery.other is not None:
            names = {group_of(forgery.real), group_of(forgery.other)} - {""}
            joined = frozenset().union(names, *(sets.get(name, frozenset()) for name in names))
            sets.update(dict.fromkeys(joined, joined))
    merged = {name: GROUP_SEPARATOR.join(sorted(names)) for name, names in sets.items() if len(names) > 1}
    return [replace(row, group=merged.get(group_of(row), row.group)) for row in rows], len(merged)


def drop_look_alikes_across(
    rows: Sequence[ManifestRow], made: Sequence[MadeForgery]
) -> tuple[list[ManifestRow], list[MadeForgery], list[MadeForgery]]:
    """Drops forgeries that look like a crop of another split: a change may bring two pictures nearer.

    Args:
        rows: The other rows, which have no leaks.
        made: The forgeries.

    Returns:
        All rows that stay, forgeries last; the forgeries that stay, and those that were dropped.
    """
    kept = list(made)
    dropped: list[MadeForgery] = []
    while True:
        both = [*rows, *(forgery.row for forgery in kept)]
        alike = {path for pair in find_leaks(both).near for path in pair}
        leaking = [forgery for forgery in kept if forgery.row.destination_path in alike]
        if not leaking:
            return both, kept, dropped
        dropped += leaking
        kept = [forgery for forgery in kept if forgery.row.destination_path not in alike]


def _from_elsewhere(image_path: str, root: Path) -> str:
    place, _, _ = split_fragment(image_path)
    if not place or is_url(place) or Path(place).is_absolute():
        return image_path
    return str((root / place).absolute()) + image_path[len(place) :]


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]

"""Where images come from: folders laid out by class, named folders, and existing spreadsheets."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from faceauth.errors import InputError, UsageError
from faceauth.intake.address import Address
from faceauth.intake.images import IMAGE_SUFFIXES
from faceauth.intake.manifest import newest_of_pair, rows_from_records
from faceauth.intake.tables import TABLE_SUFFIXES, read_table
from faceauth.intake.walk import walk
from faceauth.labels import CLASSES, LABEL2ID

log = logging.getLogger(__name__)

GROUPS_NAME = "groups.csv"
# What a groups file says of a path: its group and who is in the picture.
Named = dict[str, tuple[str, str]]


@dataclass(frozen=True, order=True)
class SourceFile:
    """One image file of a source.

    Attributes:
        image_path: The absolute path and the fragment of the address as valid text: of bytes that are no
            UTF-8, the hexadecimal numbers.
        folder: The source model: generator or collection.
        target: 1 for real, 0 for fake.
        key: The path inside its collection, without suffix. A fake often keeps the name of the photo that
            it was made from, so files with one key in several sources are taken as one group.
        group: The group that a groups file names, empty if there is none.
        address: Where the pixels lie.
        identity: Who is in the picture as a groups file says, separated by semicolons; mostly empty.
        split: The split that the data set's authors gave it: `train`, `val` or `test`; mostly empty.
    """

    image_path: str
    folder: str
    target: int
    key: str
    group: str
    address: Address
    identity: str = ""
    split: str = ""

    @property
    def is_named(self) -> bool:
        """True if somebody said what the image belongs to."""
        return bool(self.group or self.identity)


def find_sources(sources: list[str], *, groups_file: Path | None = None) -> list[SourceFile]:
    """Lists the images of all sources, sorted by path.

    Args:
        sources: Each one of: a folder with `real/<collection>/...` and `fake/<generator>/...`;
            `real:<name>=PATH` or `fake:<name>=PATH`; a spreadsheet with `image_path`, `folder` and `target`.
        groups_file: CSV with the column `path` and one or both of `group` and `identity`, paths relative to
            the source folder or absolute. Without it a `groups.csv` in a source folder is used.

    Returns:
        The files; one path that two sources name is listed once a class and folder.

    Raises:
        UsageError: A source does not exist or has an unknown form.
        InputError: A source has no images, or a groups file cannot be used or names none of the images.
    """
    if not sources:
        raise UsageError(
            "No SOURCE was given.", "Give a folder with real/ and fake/ in it, or real:<name>=PATH."
        )
    files: list[SourceFile] = []
    for source in sources:
        found = list(_find(source, groups_file))
        if not found:
            raise InputError(
                f"{source} has no images.", f"Images end in: {', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        files.extend(found)
    # Of one path that two sources name, the entry with a group comes last and stays.
    files.sort(key=lambda file: (file.image_path, file.folder, file.target, file.is_named, file.key))
    unique = {(file.image_path, file.folder, file.target): file for file in files}
    n_named = sum(file.is_named for file in unique.values())
    if groups_file is not None and not n_named:
        raise InputError(
            f"{groups_file} names none of the {len(unique)} images.",
            "Its paths are relative to the source folder, or absolute.",
        )
    if n_named:
        log.info("%d of %d images have a group or an identity that was named", n_named, len(unique))
    return sorted(unique.values())


def _find(source: str, groups_file: Path | None) -> Iterator[SourceFile]:
    label, colon, rest = source.partition(":")
    name, equals, folder = rest.partition("=")
    if colon and label in CLASSES:
        if not (equals and name and folder):
            raise UsageError(f"'{source}' is not a source.", f"Write {label}:<name>=PATH.")
        root = _existing(folder)
        if not root.is_dir():
            raise UsageError(f"{folder} is not a folder.", f"Write {label}:<name>=FOLDER.")
        return _files_below(root, root, name, LABEL2ID[label], _groups_of(root, groups_file))
    root = _existing(source)
    if root.is_file():
        if root.suffix.lower() not in TABLE_SUFFIXES:
            raise UsageError(
                f"{root} is neither a folder nor a spreadsheet.",
                f"Spreadsheets end in: {', '.join(TABLE_SUFFIXES)}.",
            )
        return _files_of_table(root, groups_file)
    return _files_of_layout(root, groups_file)


def _existing(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        raise UsageError(f"{text} does not exist.")
    return path.absolute()


def _files_of_layout(root: Path, groups_file: Path | None) -> Iterator[SourceFile]:
    if not any((root / label).is_dir() for label in CLASSES):
        raise InputError(
            f"{root} has neither a folder 'real' nor a folder 'fake'.",
            "Lay it out as real/<collection>/... and fake/<generator>/..., or name the classes: "
            "real:<name>=PATH fake:<name>=PATH.",
        )
    groups = _groups_of(root, groups_file)
    for label in CLASSES:
        class_root = root / label
        if not class_root.is_dir():
            continue
        for entry in sorted(class_root.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files_below(entry, root, entry.name, LABEL2ID[label], groups)
            elif entry.suffix.lower() in IMAGE_SUFFIXES:
                yield _source_file(entry, entry.stem, label, LABEL2ID[label], groups, root)


def _files_below(folder: Path, root: Path, name: str, target: int, groups: Named) -> Iterator[SourceFile]:
    n_other = 0
    for path in walk(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            key = path.relative_to(folder).with_suffix("").as_posix()
            yield _source_file(path, key, name, target, groups, root)
        elif path.name != GROUPS_NAME:
            n_other += 1
    if n_other:
        log.info("%s: %d files that are no images were passed over", folder, n_other)


def _source_file(path: Path, key: str, folder: str, target: int, groups: Named, root: Path) -> SourceFile:
    relative = _as_text(path.relative_to(root).as_posix())
    group, identity = groups.get(_as_text(str(path))) or groups.get(relative, ("", ""))
    return SourceFile(
        _as_text(str(path)), _as_text(folder), target, _as_text(key), group, Address(path), identity
    )


def _as_text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _files_of_table(table: Path, groups_file: Path | None) -> Iterator[SourceFile]:
    table = newest_of_pair(table)
    header, records = read_table(table)
    rows = rows_from_records(header, records, path=table, required=("image_path", "folder"))
    groups = {} if groups_file is None else _read_groups(groups_file)
    for row in rows:
        path = table.parent / row.image_path.replace("\\", "/")
        group, identity = groups.get(row.image_path) or groups.get(str(path), ("", ""))
        key = source_key(row.image_path, row.folder)
        yield SourceFile(
            _as_text(str(path)),
            row.folder,
            row.target,
            key,
            group or row.group,
            Address(path),
            identity or row.identity,
        )


def source_key(image_path: str, folder: str) -> str:
    """Returns what the rows of a table that come from one photo have in common: the path inside the source.

    Args:
        image_path: Where the image came from, with slashes of either kind.
        folder: Its source model.

    Returns:
        The path below the last folder of that name, without suffix; the file's name alone if there is no
        such folder. Empty if the path is.
    """
    path = PurePosixPath(image_path.replace("\\", "/"))
    if not path.name:
        return ""
    above = path.parts[:-1]
    below = above[len(above) - above[::-1].index(folder) :] if folder in above else ()
    return PurePosixPath(*below, path.stem).as_posix()


def _groups_of(root: Path, groups_file: Path | None) -> Named:
    beside = root / GROUPS_NAME
    if groups_file is None and beside.is_file():
        log.info("groups are taken from %s", beside)
        groups_file = beside
    return {} if groups_file is None else _read_groups(groups_file)


def _read_groups(path: Path) -> Named:
    if not path.is_file():
        raise UsageError(f"There is no groups file at {path}.")
    header, records = read_table(path)
    if "path" not in header or not {"group", "identity"} & set(header):
        raise InputError(
            f"{path} has the columns {', '.join(header) or 'none'}.",
            "A groups file has: path, and group or identity or both.",
        )
    named = {}
    for record in records:
        group, identity = (str(record.get(name) or "").strip() for name in ("group", "identity"))
        if group or identity:
            named[str(record["path"])] = (group, identity)
    return named

"""Where images come from: folders laid out in a known way, named folders, and existing spreadsheets."""

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from faceauth.errors import InputError, UsageError
from faceauth.intake.manifest import newest_of_pair
from faceauth.intake.pixels.shards import shard_facts
from faceauth.intake.row_checks import rows_from_columns
from faceauth.intake.sources.address import SHARD_SUFFIXES, Address, split_fragment
from faceauth.intake.sources.layout import (
    GROUPS_NAME,
    MEDIA_SUFFIXES,
    PLAIN_LAYOUT,
    list_layout,
    media_below,
    stem_of,
)
from faceauth.intake.sources.remote import exists, is_url, local_copy, path_of, reaching
from faceauth.intake.sources.source_file import SourceFile, as_text, source_file
from faceauth.intake.tables import TABLE_SUFFIXES, read_columns, read_table
from faceauth.labels import CLASSES, LABEL2ID

log = logging.getLogger(__name__)


@dataclass
class _Groups:
    """What a groups file says of paths, and how many images it was asked for with success."""

    named: dict[str, tuple[str, str]] = field(default_factory=dict)
    n_used: int = 0

    def applied(self, file: SourceFile, *names: str) -> SourceFile:
        """Returns the file with the group and the identity under the first name that is known."""
        entry = next((self.named[name] for name in names if name in self.named), None)
        if entry is None:
            return file
        self.n_used += 1
        group, identity = entry
        return replace(file, group=group or file.group, identity=identity or file.identity)


def find_sources(
    sources: list[str], *, layout: str | None = None, groups_file: Path | None = None
) -> list[SourceFile]:
    """Lists the images and videos of all sources, sorted by path, rows of tables by number.

    Args:
        sources: Each one of: a folder with `real/<collection>/...` and `fake/<generator>/...`;
            `real:<name>=PATH` or `fake:<name>=PATH`; a spreadsheet with `image_path`, `folder` and `target`.
        layout: Registered name of the layout of all sources, which are folders then; without it folders are
            laid out as `image_folder`.
        groups_file: CSV with the column `path` and one or both of `group` and `identity`, paths relative to
            the source folder or absolute. Without it a `groups.csv` in a source folder is used. What it says
            goes before what a layout knows.

    Returns:
        The files; one path that two sources name is listed once a class and folder.

    Raises:
        UsageError: A source does not exist or has an unknown form, or no layout has that name.
        InputError: A source has no images or is laid out otherwise, or a groups file cannot be used or names
            none of the images.
    """
    if not sources:
        raise UsageError(
            "No SOURCE was given.", "Give a folder with real/ and fake/ in it, or real:<name>=PATH."
        )
    files: list[SourceFile] = []
    n_used = 0
    for source in sources:
        groups = _Groups()
        n_before = len(files)
        with reaching(source) if "://" in source else nullcontext():
            files.extend(_find(source, layout, groups_file, groups))
        if len(files) == n_before:
            raise InputError(
                f"{source} has no images.", f"Images and videos end in: {', '.join(sorted(MEDIA_SUFFIXES))}."
            )
        n_used += groups.n_used
    # Of one path that two sources name, the entry with a group comes last and stays.
    files.sort(key=lambda file: (file.image_path, file.folder, file.target, file.is_named, file.key))
    unique = {(file.image_path, file.folder, file.target): file for file in files}
    if groups_file is not None and not n_used:
        raise InputError(
            f"{groups_file} names none of the {len(unique)} images.",
            "Its paths are relative to the source folder, or absolute.",
        )
    n_named = sum(file.is_named for file in unique.values())
    if n_named:
        log.info("%d of %d images have a group or an identity that was named", n_named, len(unique))
    return sorted(unique.values(), key=_order)


def _order(file: SourceFile) -> tuple[str, int, str, int]:
    # Rows of a table by their numbers, so that it is read from front to back.
    row = file.address.row
    if row is None:
        return file.image_path, -1, file.folder, file.target
    return file.image_path.rpartition("#")[0], row, file.folder, file.target


def _find(source: str, layout: str | None, groups_file: Path | None, groups: _Groups) -> Iterator[SourceFile]:
    label, colon, rest = source.partition(":")
    name, equals, folder = rest.partition("=")
    if colon and label in CLASSES:
        if not (equals and name and folder):
            raise UsageError(f"'{source}' is not a source.", f"Write {label}:<name>=PATH.")
        if layout is not None:
            raise UsageError(
                f"'{source}' and --layout {layout} contradict each other.",
                f"Give the data set's folder with --layout, or {label}:<name>=PATH without it.",
            )
        root = _existing(folder)
        if not root.is_dir():
            raise UsageError(f"{folder} is not a folder.", f"Write {label}:<name>=FOLDER.")
        return _with_groups(_files_below(root, name, LABEL2ID[label]), root, groups_file, groups)
    root = _existing(source)
    suffix = root.suffix.lower()
    if root.is_dir() or (layout is not None and suffix in SHARD_SUFFIXES):
        return _with_groups(list_layout(root, layout or PLAIN_LAYOUT), root, groups_file, groups)
    if layout is not None:
        raise UsageError(
            f"{root} is no folder, which --layout {layout} needs.", "Give the data set's folder."
        )
    if suffix not in TABLE_SUFFIXES:
        raise UsageError(
            f"{root} is neither a folder nor a spreadsheet.",
            f"Spreadsheets end in: {', '.join(TABLE_SUFFIXES)}. A table that holds images needs --layout "
            "huggingface.",
        )
    if suffix in SHARD_SUFFIXES and _holds_images(root):
        raise UsageError(
            f"{root} holds images, and no column image_path.", "Read its rows with --layout huggingface."
        )
    return _files_of_table(root, groups_file, groups)


def _holds_images(table: Path) -> bool:
    # Asked of the columns alone: to read such a table as a spreadsheet takes all images into memory.
    try:
        return "image_path" not in (name.strip().lower() for name in shard_facts(table).columns)
    except InputError:
        return False


def _existing(text: str) -> Path:
    path = path_of(text)
    if not exists(path):
        raise UsageError(f"{text} does not exist.")
    return path


def _files_below(folder: Path, name: str, target: int) -> Iterator[SourceFile]:
    for path, relative in media_below(folder):
        yield source_file(Address(path), folder=name, target=target, key=stem_of(relative))


def _with_groups(
    files: Iterator[SourceFile], root: Path, groups_file: Path | None, groups: _Groups
) -> Iterator[SourceFile]:
    beside = root / GROUPS_NAME
    if groups_file is None and root.is_dir() and beside.is_file():
        log.info("groups are taken from %s", beside)
        groups_file = beside
    if groups_file is None:
        yield from files
        return
    groups.named = _read_groups(groups_file)
    start = len(root.as_posix().rstrip("/")) + 1
    for file in files:
        relative = as_text(file.address.path.as_posix()[start:])
        # A row or a frame may be named, or else its whole table or video.
        names = (file.image_path, relative + file.address.fragment, as_text(str(file.address.path)), relative)
        yield groups.applied(file, *names)


def _files_of_table(table: Path, groups_file: Path | None, groups: _Groups) -> Iterator[SourceFile]:
    with local_copy(table) as here:
        newest = newest_of_pair(here)
        columns = read_columns(newest)
    table = table.with_name(newest.name)
    rows = rows_from_columns(columns, path=table, required=("image_path", "folder"))
    groups.named = {} if groups_file is None else _read_groups(groups_file)
    for row in rows:
        place, time_s, number = split_fragment(row.image_path)
        path = path_of(place) if is_url(place) else table.parent / place.replace("\\", "/")
        address = Address(path, time_s, number)
        key = source_key(place, row.folder)
        file = source_file(
            address,
            folder=row.folder,
            target=row.target,
            # Frames of one video belong together, rows of one table do not.
            key=key if number is None else f"{key}{address.fragment}",
            group=row.group,
            identity=row.identity,
            split=row.split,
        )
        yield groups.applied(file, row.image_path, file.image_path)


def source_key(image_path: str, folder: str) -> str:
    """Returns what the rows of a table that come from one photo have in common: the path inside the source.

    Args:
        image_path: Where the image came from, with slashes of either kind.
        folder: Its source model.

    Returns:
        The path below the last folder of that name, without suffix; the file's name alone if there is no
        such folder. Empty if the path is. All frames of a video have one key, and rows of a table one each.
    """
    place, _, number = split_fragment(image_path)
    path = PurePosixPath(place.replace("\\", "/"))
    if not path.name:
        return ""
    above = path.parts[:-1]
    below = above[len(above) - above[::-1].index(folder) :] if folder in above else ()
    key = PurePosixPath(*below, path.stem).as_posix()
    return key if number is None else f"{key}#row={number}"


def _read_groups(path: Path) -> dict[str, tuple[str, str]]:
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

"""Lists the files of a folder tree that strangers made: links, loops, names of any bytes."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from faceauth.intake.sources.remote import is_remote, list_files

log = logging.getLogger(__name__)

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"})


def walk(folder: Path) -> Iterator[Path]:
    """Lists the files below a folder in the order of their names, without hidden ones.

    Links are followed, since clusters keep data behind them. A folder that cannot be listed is passed over
    with a warning.

    Raises:
        InputError: The folder is behind a URL that cannot be reached.
    """
    if is_remote(folder):
        yield from list_files(folder)
    else:
        yield from _walk(folder)


def is_archive(path: Path) -> bool:
    """Tells by its name whether a file packs others. Nothing is unpacked that nobody asked for."""
    return path.suffix.lower() in ARCHIVE_SUFFIXES


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    # A stack and no recursion: trees may be deeper than Python's.
    pending = [_listed(folder, seen)]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
        elif _is_folder(entry):
            pending.append(_listed(Path(entry.path), seen))
        else:
            yield Path(entry.path)


def _listed(folder: Path, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    try:
        status = folder.stat()
        # A folder met again, perhaps by another name, is a loop.
        if (status.st_dev, status.st_ino) in seen:
            return iter(())
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return iter(sorted(_shown(entries), key=lambda entry: os.fsencode(entry.name)))
    except OSError as error:
        log.warning("%s cannot be listed: %s", folder, error.strerror)
        return iter(())


def _shown(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in entries if not entry.name.startswith("."))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself; as a file it fails alone, with its reason.
        return False

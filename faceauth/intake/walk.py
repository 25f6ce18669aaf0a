"""Lists the files of a folder tree that strangers made: links, loops, names of any bytes."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)


def walk(folder: Path) -> Iterator[Path]:
    """Lists the files below a folder in the order of their names, without hidden ones.

    Links are followed, since clusters keep data behind them. A folder that cannot be listed is passed over
    with a warning.
    """
    yield from _walk(folder, set())


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    # A folder met again is a loop.
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        log.warning("%s cannot be listed: %s", folder, error.strerror)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            is_folder = entry.is_dir()
        except OSError:
            # A link to itself; as a file it fails alone, with its reason.
            is_folder = False
        if is_folder:
            yield from _walk(Path(entry.path), seen)
        else:
            yield Path(entry.path)

"""What is to be judged: pictures, videos, folders, patterns, and lists of them, in the order given."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from faceauth.errors import InputError, UsageError
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import MEDIA_SUFFIXES, media_below
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import REAL

STDIN = "-"
_MAGIC = re.compile(r"[*?\[]")


def find_pictures(places: Iterable[str], *, listed: Iterable[str] = ()) -> list[SourceFile]:
    """Lists pictures and videos.

    Args:
        places: Each a file, whatever its name ends in; a folder, of which all images and videos are taken at
            any depth; a pattern such as `photos/**/*.jpg`, if there is no file of that name; or `-` for
            `listed`.
        listed: The lines of a list. What does not exist there stays in the list, and fails alone.

    Returns:
        Each file once, in the order in which they were named, those of folders and patterns by name. Nothing
        is known of their class, and nothing asks for it.

    Raises:
        UsageError: A place does not exist, or a pattern fits nothing.
        InputError: There is no picture at all.
    """
    places = list(places)
    paths: dict[Path, None] = {}
    for place in places:
        if place == STDIN:
            for line in listed:
                paths.update(dict.fromkeys(_below(Path(line))))
        else:
            paths.update(dict.fromkeys(_existing(place)))
    if not paths:
        raise InputError(
            f"There are no pictures in {', '.join(places) or 'nothing'}.",
            f"Images and videos end in: {', '.join(sorted(MEDIA_SUFFIXES))}.",
        )
    return [picture(path) for path in paths]


def picture(path: Path) -> SourceFile:
    """Returns the record of a picture, of which nobody knows whether it is real."""
    # Which class stands here is asked by nobody: `verdict_of` takes nothing of it.
    return source_file(Address(_unlike_a_formula(path)), folder="", target=REAL, key="")


def _existing(place: str) -> Iterator[Path]:
    path = Path(place).expanduser()
    try:
        is_there = path.exists()
    except (OSError, ValueError):
        is_there = False
    if is_there:
        yield from _below(path)
        return
    fitting = sorted(_fitting(path)) if _MAGIC.search(place) else []
    if not fitting:
        raise UsageError(
            f"There is no file or folder '{place}'.",
            "Give images, videos, folders, patterns such as 'photos/*.jpg', or - for a list on stdin.",
        )
    for found in fitting:
        yield from _below(found)


def _fitting(pattern: Path) -> Iterator[Path]:
    root = Path(pattern.anchor)
    for path in root.glob(str(pattern.relative_to(pattern.anchor))):
        # As in a shell, what is hidden is taken only where the pattern says so.
        if not any(part.startswith(".") for part in set(path.parts) - set(pattern.parts)):
            yield path


def _below(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file, _ in media_below(path))
    else:
        yield path


def _unlike_a_formula(path: Path) -> Path:
    """Returns the same path, of which no spreadsheet that opens a CSV makes a formula."""
    return Path.cwd() / path if str(path)[:1] in ("=", "+", "-", "@", "\t", "\r") else path

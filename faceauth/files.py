"""Files that appear whole or not at all, and JSON that other tools can read."""

import errno
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from faceauth.errors import FaceAuthError, InputError

DAMAGED = "It was damaged or written by something else: begin anew with --overwrite, or in another --output."
# Far more than any of ours; a stranger's would fill the memory first and be refused afterwards.
MAX_JSON_BYTES = 512 * 2**20

_DRAFT = re.compile(r"\.(?P<stem>.+)\.\d+-\d+\.draft(?P<suffix>\.[^.]*)?", re.DOTALL)
# These come from writing, and often without the name of what was written.
_WRITING_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to, and puts it in place only when the block ends without an error.

    Args:
        path: Where the finished file shall be. Its folder is made if need be.

    Yields:
        A path beside it, with the same suffix, which is removed if the block fails.

    Raises:
        OSError: It could not be written; the error bears the name of the finished file.
    """
    # Threads of one process may write the same file at once: two photos with the same bytes have one crop.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    draft = path.with_name(f".{path.stem}.{writer}.draft{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except Exception as error:
        _name_what_was_written(error, path, draft)
    finally:
        # Where this fails, so did what came before, and that says why.
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: an older folder of that name stays until the new one is complete.

    Args:
        path: Where the finished folder shall be.

    Yields:
        An empty folder beside it.

    Raises:
        OSError: It could not be written; the error bears the name of the finished folder or of a file in it.
    """
    # One name for all, so that the draft of a killed run is cleared away by the next.
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        yield draft
        previous = path.with_name(f".{path.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        if path.exists():
            path.replace(previous)
        draft.replace(path)
        shutil.rmtree(previous, ignore_errors=True)
    except Exception as error:
        _name_what_was_written(error, path, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def is_draft_of(name: str, finished: re.Pattern[str]) -> bool:
    """Tells whether a file is what a killed process left of a file that it was writing.

    Args:
        name: The file's name.
        finished: What names of finished files look like.
    """
    match = _DRAFT.fullmatch(name)
    return match is not None and bool(finished.fullmatch(match["stem"] + (match["suffix"] or "")))


def write_json(path: Path, document: Any) -> None:
    """Writes a document as indented JSON, whole or not at all.

    Raises:
        ValueError: The document holds NaN or infinity, which JSON does not know; undefined is null.
    """
    with whole_file(path) as draft:
        draft.write_text(json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds one object, as all of ours do.

    Raises:
        InputError: It holds something else, is larger than 512 MiB, or is nested too deeply.
    """
    n_bytes = path.stat().st_size
    if n_bytes > MAX_JSON_BYTES:
        raise InputError(
            f"{path} has {n_bytes:,} bytes; JSON of at most {MAX_JSON_BYTES:,} is read.", DAMAGED
        )
    try:
        document = parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} cannot be read as JSON: {error}.", DAMAGED) from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no JSON object.", DAMAGED)
    return document


def parse_json(content: bytes) -> Any:
    """Parses JSON that anybody may have written.

    Raises:
        ValueError: It is no JSON, holds NaN or infinity, or is nested too deeply.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _name_what_was_written(error: Exception, path: Path, draft: Path) -> NoReturn:
    if isinstance(error, OSError):
        named = error.filename
        if named == str(draft) or (named is None and error.errno in _WRITING_FAULTS):
            error.filename, error.filename2 = str(path), None
    elif not isinstance(error, FaceAuthError) and _is_full(path.parent, error):
        # Libraries that are written in other languages tell of a full disk in ways of their own.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    raise error


def _is_full(folder: Path, error: Exception) -> bool:
    if os.strerror(errno.ENOSPC) in str(error):
        return True
    try:
        return shutil.disk_usage(folder).free == 0
    except OSError:
        return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")

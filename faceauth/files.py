"""Files that appear whole or not at all, and JSON that other tools can read."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faceauth.errors import InputError

DAMAGED = "It was damaged or written by something else: begin anew with --overwrite, or in another --output."


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to, and puts it in place only when the block ends without an error.

    Args:
        path: Where the finished file shall be. Its folder is made if need be.

    Yields:
        A path beside it, with the same suffix, which is removed if the block fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Threads of one process may write the same file at once: two photos with the same bytes have one crop.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    draft = path.with_name(f".{path.stem}.{writer}.draft{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: an older folder of that name stays until the new one is complete.

    Args:
        path: Where the finished folder shall be.

    Yields:
        An empty folder beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name for all, so that the draft of a killed run is cleared away by the next.
    draft = path.with_name(f".{path.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        previous = path.with_name(f".{path.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        if path.exists():
            path.replace(previous)
        draft.replace(path)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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
        InputError: It holds something else.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} cannot be read as JSON: {error}.", DAMAGED) from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no JSON object.", DAMAGED)
    return document

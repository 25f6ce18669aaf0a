"""Brings a prepared folder to object storage: what is missing there, each object whole, the manifest last.

The run itself works in a folder of this machine, the staging folder, so that restart, lock and whole files
mean there what they always mean. Only when all is done are crops and tables uploaded. Stopped in between, the
same command uploads what is still missing; until the manifest is there, nobody takes the crops for complete.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from upath import UPath

from faceauth.console import progress
from faceauth.errors import InputError, UsageError
from faceauth.intake.manifest import PARQUET_NAME, XLSX_NAME
from faceauth.intake.pipeline.collect import SETTINGS_NAME
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.pipeline.store import STORE_NAME
from faceauth.intake.sources.remote import PARALLEL_REQUESTS, is_remote, is_url, path_of, reaching
from faceauth.intake.sources.source_file import SourceFile
from faceauth.intake.sources.walk import walk
from faceauth.labels import SPLITS

log = logging.getLogger(__name__)

# Says with what settings the crops in a remote folder were made, and that the folder is ours.
MARKER = f"{STORE_NAME}/{SETTINGS_NAME}"
_CROP = re.compile(rf"(?:{'|'.join(SPLITS)})/(?:real|fake)/[^/]+/[0-9a-f]{{32}}\.png")
# Uploads that are asked for at once; each holds one open file.
_CHUNK = 16 * PARALLEL_REQUESTS


def work_folder(output: str, *, staging: Path | None = None) -> tuple[Path, UPath | None]:
    """Returns where a run works, and where its result goes if that is elsewhere.

    Args:
        output: A local folder, or a URL.
        staging: Where to work if the output is a URL; without it a folder below the user's cache
            (`XDG_CACHE_HOME`, else `~/.cache`), the same for the same URL.

    Returns:
        The local folder, and the remote one or None.

    Raises:
        UsageError: There is no such kind of URL, or a staging folder is named for a local output.
        MissingExtraError: The URL needs a package that is not installed.
    """
    if not is_url(output):
        if staging is not None:
            raise UsageError(
                f"--staging {staging} has no use: {output} is a folder of this machine.",
                "Leave it out, or give a URL such as s3://bucket/folder as --output.",
            )
        return Path(output.removeprefix("file://")), None
    destination = path_of(output)
    assert is_remote(destination)
    if staging is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        name = hashlib.sha256(str(destination).encode()).hexdigest()[:16]
        staging = cache / "faceauth" / "staging" / name
    return staging, destination


def outside(destination: UPath, files: list[SourceFile]) -> list[SourceFile]:
    """Leaves out the files that lie in the remote output: crops of an earlier run.

    Raises:
        InputError: There are no others.
    """
    folder = f"{str(destination).rstrip('/')}/"
    kept = [file for file in files if not file.image_path.startswith(folder)]
    if not kept:
        raise InputError(f"All images lie inside {destination}.", "Choose an --output outside the source.")
    return kept


def open_destination(destination: UPath, settings: CollectSettings, *, overwrite: bool) -> None:
    """Makes sure, before the work begins, that its result can and may be written where it shall go.

    An empty folder gets a marker, which says that it is ours, and with what settings.

    Args:
        destination: The remote output folder.
        settings: What decides how the crops will look.
        overwrite: Whether what an earlier run left there may be replaced.

    Raises:
        UsageError: The folder holds what `faceauth prepare` did not make, or crops of other settings.
        InputError: The place cannot be reached, or may not be written to.
    """
    with reaching(destination):
        fs, root = destination.fs, destination.path
        fs.invalidate_cache()
        marker = _marker(settings)
        if fs.exists(f"{root}/{MARKER}"):
            kept = fs.cat_file(f"{root}/{MARKER}")
            if kept != marker and not overwrite:
                raise UsageError(
                    f"{destination} holds crops made with other settings.",
                    "Choose another --output, or replace them with --overwrite.",
                )
            marker = kept
        elif fs.exists(root) and fs.ls(root, detail=False):
            raise UsageError(
                f"{destination} is not empty and was not made by `faceauth prepare`.",
                "Choose another --output.",
            )
        # Also where it stands already: whether one may write shows in writing only.
        fs.pipe_file(f"{root}/{MARKER}", marker)
        fs.invalidate_cache()


def publish(folder: Path, destination: UPath, settings: CollectSettings) -> int:
    """Uploads a prepared folder.

    Crops that are there already with the same size are left alone; crops that no row names any more are
    deleted at the end. The journal and the crops that are in no split stay in the staging folder.

    Args:
        folder: The staging folder, prepared to the end.
        destination: The remote output folder.
        settings: What decided how the crops look.

    Returns:
        Files that were uploaded.

    Raises:
        InputError: The place cannot be reached, or may not be written to.
    """
    crops, tables = _to_publish(folder)
    fs, root = destination.fs, destination.path
    marker = _marker(settings)
    with reaching(destination):
        fs.invalidate_cache()
        there = {name[len(root) :].lstrip("/"): info for name, info in fs.find(root, detail=True).items()}
        fs.invalidate_cache()
        if MARKER not in there or fs.cat_file(f"{root}/{MARKER}") != marker:
            # Crops of other settings may have the same sizes.
            _each(fs.rm_file, [f"{root}/{name}" for name in _ours(there)], "old files deleted")
            there = {}
            fs.pipe_file(f"{root}/{MARKER}", marker)

    missing = [name for name, size in crops.items() if name not in there or there[name].get("size") != size]
    log.info("%s: %d of %d crops are to be uploaded", destination, len(missing), len(crops))

    def upload(name: str) -> None:
        fs.put_file(str(folder / name), f"{root}/{name}")

    with reaching(destination):
        _each(upload, missing, "crops uploaded")
        for name in tables:
            upload(name)
        stale = [name for name in there if _CROP.fullmatch(name) and name not in crops]
        _each(fs.rm_file, [f"{root}/{name}" for name in stale], "old crops deleted")
        fs.invalidate_cache()
    return len(missing) + len(tables)


def _to_publish(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Returns the sizes of all crops by name, and the other files, the manifest last."""
    crops, tables = {}, []
    for path in walk(folder):
        name = path.relative_to(folder).as_posix()
        if _CROP.fullmatch(name):
            crops[name] = path.stat().st_size
        elif path.parent == folder:
            tables.append(name)
    last = (XLSX_NAME, PARQUET_NAME)
    return crops, sorted(tables, key=lambda name: last.index(name) if name in last else -1)


def _ours(there: Iterable[str]) -> list[str]:
    """Returns manifest and crops of an older run, in the order in which they may go."""
    first = [name for name in (PARQUET_NAME, XLSX_NAME) if name in there]
    return [*first, *(name for name in there if _CROP.fullmatch(name))]


def _each(do: Callable[[str], None], names: Iterable[str], title: str) -> None:
    names = list(names)
    if not names:
        return
    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool, progress(title, len(names)) as advance:
        pending = iter(names)
        while chunk := list(islice(pending, _CHUNK)):
            for _ in pool.map(do, chunk):
                advance(1)


def _marker(settings: CollectSettings) -> bytes:
    return json.dumps(asdict(settings), indent=2).encode()

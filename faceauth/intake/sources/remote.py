"""Files behind a URL, such as `s3://bucket/photos`: named, listed, told apart by version, and fetched.

Everything goes through `fsspec`; credentials and endpoints are found where its back ends look for them (the
environment, their own files). A path behind a URL is a `UPath`, which has the methods of a `Path`.
"""

import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, cast

import fsspec
from upath import UPath

from faceauth.errors import FaceAuthError, InputError, MissingExtraError, UsageError
from faceauth.intake.pixels.images import MAX_FILE_BYTES, UnreadableImageError

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# Requests that wait side by side: one answer takes some 20 to 50 ms, whatever its size.
PARALLEL_REQUESTS = 16
# Bytes that a worker holds of images that it has fetched and not decoded yet.
FETCHED_BYTES = 64 * 2**20
# The back ends repeat what is worth repeating; these pauses are for a network that is gone for a moment.
PAUSES_S = (2.0, 10.0, 30.0)

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://.+", re.IGNORECASE | re.DOTALL)
# What the back ends are called in this package's extras.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
# By what the back ends know a version of an object, best first.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "md5", "content_md5", "blob_id", "generation", "LastModified")
_TIME_KEYS = ("last_modified", "updated", "mtime", "modified", "created")
# A listing of a million objects tells all their versions; asking for each again would take hours.
_listed_versions: dict[str, str] = {}


def is_url(text: str) -> bool:
    """Tells whether a text names a place behind a URL; `file://` and Windows drives are local."""
    match = _URL.fullmatch(text)
    return match is not None and match["scheme"].lower() != "file"


def is_remote(path: Path) -> TypeGuard[UPath]:
    """Tells whether a path leads behind a URL."""
    # Paths of one's own machine are instances of `Path`, also those that `UPath` makes.
    return isinstance(path, UPath) and not isinstance(path, Path)


def path_of(text: str) -> Path:
    """Makes a path of what a user wrote: a local path, or a URL such as `s3://bucket/photos`.

    Args:
        text: A path, with `~` for the home folder, or a URL.

    Returns:
        An absolute local `Path`, or a `UPath`. Nothing is opened.

    Raises:
        MissingExtraError: The URL needs a package that is not installed.
        UsageError: There is no such kind of URL, or it is one that leads through another.
    """
    if not is_url(text):
        return Path(text.removeprefix("file://")).expanduser().absolute()
    scheme = text.partition("://")[0].lower()
    if "::" in text:
        raise UsageError(f"{text} leads through another URL.", "Unpack archives first, and name the folder.")
    try:
        fsspec.get_filesystem_class(scheme)
        return _as_path(UPath(text.rstrip("/")))
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        hint = f'Install it with: pip install "faceauth[{extra}]"' if extra else f"{error}."
        raise MissingExtraError(f"{scheme}:// needs a package that is not installed.", hint) from error
    except ValueError as error:
        raise UsageError(
            f"{text} is not a place that can be read: {error}.", "Known are s3://, gs://, hf:// and others."
        ) from error


@contextmanager
def reaching(place: object) -> Iterator[None]:
    """Turns whatever a back end raises inside the block into one message.

    Args:
        place: What is asked for, as it shall be named.

    Raises:
        InputError: It does not exist, is not allowed, or cannot be reached.
    """
    try:
        yield
    except FaceAuthError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{place} does not exist.", "Check the names of bucket and folder.") from error
    except PermissionError as error:
        raise InputError(
            f"{place} may not be read or written: {error}.",
            "Check the credentials, and that they have not expired.",
        ) from error
    except Exception as error:
        # The clients of object stores raise classes of their own, which share nothing.
        what = f"{type(error).__name__}: {error}".strip().rstrip(".:")
        hint = (
            "Give credentials in the environment, as the client of that store expects them."
            if "credential" in what.lower()
            else "Check the network and the address; the same command goes on where this one stopped."
        )
        raise InputError(f"{place} cannot be reached: {what}.", hint) from error


def exists(path: Path) -> bool:
    """Tells whether there is a file or folder, local or remote.

    Raises:
        InputError: A remote place does not answer.
    """
    if not is_remote(path):
        return path.exists()
    with reaching(path):
        try:
            path.fs.info(path.path)
        except FileNotFoundError:
            return False
    return True


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Gives a file to those who read none behind a URL: itself, or a copy for as long as the block runs.

    Raises:
        InputError: A remote file cannot be fetched.
    """
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with reaching(path):
            path.fs.get_file(path.path, str(copy))
        yield copy


def list_files(folder: UPath) -> Iterator[Path]:
    """Lists the files below a remote folder in the order of their names, without hidden ones.

    One listing answers for all, and the versions that it tells are kept for `version_of`.

    Raises:
        InputError: The folder cannot be listed.
    """
    with reaching(folder):
        folder.fs.invalidate_cache()
        found: dict[str, dict[str, Any]] = folder.fs.find(folder.path, detail=True)
        # Back ends keep listings, at a kilobyte an object.
        folder.fs.invalidate_cache()
    start = len(folder.path.rstrip("/")) + 1
    n_unnamed = 0
    for name in sorted(found):
        info = found.pop(name)
        below = name[start:]
        if not below or name.endswith("/") or any(part.startswith(".") for part in below.split("/")):
            continue
        if "::" in below or "://" in below:
            n_unnamed += 1
            continue
        path = _as_path(UPath(folder.fs.unstrip_protocol(name)))
        _listed_versions[str(path)] = _version(info)
        yield path
    if n_unnamed:
        log.warning("%s: %d names with :: or :// in them were passed over", folder, n_unnamed)


def version_of(path: Path) -> str:
    """Returns what changes when a file does: its size and time, or what an object store says of it.

    Args:
        path: A local or remote file.

    Returns:
        A short text; `missing` if there is no such file.

    Raises:
        InputError: A remote place does not answer.
    """
    if not is_remote(path):
        try:
            status = path.stat()
        except (OSError, ValueError):
            return "missing"
        return f"{status.st_size}:{status.st_mtime_ns}"
    known = _listed_versions.get(str(path))
    if known is None:
        with reaching(path):
            try:
                known = _version(path.fs.info(path.path))
            except FileNotFoundError:
                return "missing"
    return known


def fetch_each(paths: Sequence[Path]) -> Iterator[bytes | UnreadableImageError]:
    """Fetches several remote files in their order, many requests at a time and few bytes ahead.

    Args:
        paths: n remote files.

    Yields:
        n times the file's bytes, or the error that says why there are none: it is missing, empty, too large,
        or the only one that may not be read.

    Raises:
        InputError: The place cannot be reached, or none of the files may be read. That ends a run: as rows
            that say so, files would pass for broken that are not.
    """
    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        sizes = list(pool.map(_asked, paths, repeat(_size)))
        if denied := [size for size in sizes if isinstance(size, PermissionError)]:
            with reaching(paths[0].parent):
                if len(denied) == len(sizes):
                    raise denied[0]
        wanted = [_refused(size) if not isinstance(size, int) else _too_large(size) for size in sizes]
        start = 0
        while start < len(paths):
            end, n_bytes = start, 0
            while end < len(paths) and (end == start or n_bytes <= FETCHED_BYTES):
                size = sizes[end]
                n_bytes += size if isinstance(size, int) and wanted[end] is None else 0
                end += 1
            group = [i for i in range(start, end) if wanted[i] is None]
            contents = dict(
                zip(group, pool.map(_asked, [paths[i] for i in group], repeat(_content)), strict=True)
            )
            for i in range(start, end):
                content = wanted[i] or contents.pop(i)
                yield content if isinstance(content, bytes | UnreadableImageError) else _refused(content)
            start = end


def _as_path(path: UPath) -> Path:
    # It has the methods of a `Path`, and is none to a type checker.
    return cast(Path, path)


def _asked(path: UPath, ask: Callable[[UPath], Answer]) -> Answer | OSError:
    for pause_s in (*PAUSES_S, None):
        try:
            return ask(path)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            return error
        except Exception as error:
            if pause_s is None:
                with reaching(path):
                    raise
            log.warning("%s did not answer (%s); trying again", path, type(error).__name__)
            time.sleep(pause_s)
    raise RuntimeError("the last pause is None")


def _size(path: UPath) -> int:
    return int(path.fs.info(path.path)["size"] or 0)


def _content(path: UPath) -> bytes:
    return bytes(path.fs.cat_file(path.path))


def _too_large(n_bytes: int) -> UnreadableImageError | None:
    if n_bytes == 0:
        return UnreadableImageError("the file is empty (0 bytes)")
    if n_bytes > MAX_FILE_BYTES:
        return UnreadableImageError(f"the file has {n_bytes:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    return None


def _refused(error: OSError) -> UnreadableImageError:
    what = "No such file or directory" if isinstance(error, FileNotFoundError) else error.strerror or error
    return UnreadableImageError(f"the file cannot be read: {what}")


def _version(info: dict[str, Any]) -> str:
    token = next((info[key] for key in (*_VERSION_KEYS, *_TIME_KEYS) if info.get(key)), "")
    return f"{info.get('size')}:{str(token).strip(chr(34))}"

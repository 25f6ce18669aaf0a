"""Locks between processes, on one machine or over a shared folder.

A lock belongs to the process that holds it. The kernel frees it when that process ends, however it ends: what
a killed process held can be had at once, and nothing has to be cleared away. On a network file system its
lock service must run, as it does for NFS by default.
"""

import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BufferedRandom, FileIO
from pathlib import Path

from faceauth.errors import InUseError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

POLL_SECONDS = 0.5
# Windows keeps others from reading what is locked, so the lock lies far behind the holder's name.
_LOCKED_BYTE = 2**30
_MAX_HOLDER_BYTES = 4096

log = logging.getLogger(__name__)


@contextmanager
def claim(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Claims a piece of work for the length of the block.

    A process that claims what it holds already gets it again.

    Args:
        path: A file that stands for the piece of work; made if need be, and left behind empty.
        wait: Whether to wait until nobody else holds it.

    Yields:
        True if it is ours; False if another process holds it.

    Raises:
        OSError: The file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        is_ours = _lock(file)
        while wait and not is_ours:
            time.sleep(POLL_SECONDS)
            is_ours = _lock(file)
        try:
            yield is_ours
        finally:
            if is_ours:
                _unlock(file)


@contextmanager
def hold_alone(path: Path, *, what: str, hint: str) -> Iterator[None]:
    """Keeps every other process out for the length of the block, and tells those that come who is inside.

    Where the file system knows no locks, a warning says so and the work goes on without one.

    Args:
        path: A file that stands for what is held; made if need be, and left behind.
        what: What is held, for the message to the others, such as the path of a folder.
        hint: What the others can do.

    Raises:
        InUseError: Another process holds it; the message says which, where, and since when.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a buffer: what did not fit on a full disk must not come again when the file is closed.
    with path.open("a+b", buffering=0) as file:
        try:
            is_ours = _lock(file)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            log.warning("%s cannot be locked (%s): see to it that no other run uses it", what, error.strerror)
            yield
            return
        if not is_ours:
            raise InUseError(f"{what} is in use by {_holder(file)}.", hint)
        _write_holder(file)
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)
            _unlock(file)


def _write_holder(file: FileIO | BufferedRandom) -> None:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    # On a full disk the lock holds all the same, and what comes next says that there is no room.
    with suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(holder).encode())


def _holder(file: FileIO | BufferedRandom) -> str:
    try:
        file.seek(0)
        holder = json.loads(file.read(_MAX_HOLDER_BYTES))
        return f"process {int(holder['pid'])} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # It was locked a moment ago, or cannot be read.
        return "another process"


if sys.platform == "win32":

    def _lock(file: FileIO | BufferedRandom) -> bool:
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(file: FileIO | BufferedRandom) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:

    def _lock(file: FileIO | BufferedRandom) -> bool:
        try:
            # Not flock: those locks pass on to processes that we start, and would outlive this one.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(file: FileIO | BufferedRandom) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN)

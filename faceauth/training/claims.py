"""Claims on pieces of work, so that several processes share them: on one machine, or over a shared folder.

A claim is a lock on a file, which the kernel frees when the process that holds it ends, however it ends: a
piece of work whose process was killed can be claimed again at once, and nothing has to be cleared away.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claim(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Claims a piece of work for the length of the block.

    On a network file system its lock service must run, as it does for NFS by default. A process that claims
    what it holds already gets it again.

    Args:
        path: A file that stands for the piece of work; made if need be, and left behind empty.
        wait: Whether to wait until nobody else holds it.

    Yields:
        True if it is ours; False if another process holds it.

    Raises:
        OSError: The file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            # Not flock: those locks pass on to processes that we start, and would outlive this one.
            fcntl.lockf(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            is_ours = False
        else:
            is_ours = True
        yield is_ours

"""What a fault of the disk or the operating system means for the person who waits: one message, one hint."""

import errno
import os
import shutil
from pathlib import Path

from faceauth.errors import FaceAuthError

MAX_NAME_CHARACTERS = 200

_AGAIN = "The same command then goes on where this one stopped."
_PERMISSION = ("There is no permission to use {path}.", "Change its permissions, or choose another path.")
_FAULTS = {
    errno.ENOSPC: ("{path} could not be written: the disk is full{free}.", "Make room."),
    errno.EDQUOT: ("{path} could not be written: your quota of disk space is used up.", "Make room."),
    errno.EROFS: ("{path} could not be written: its file system is read-only.", "Choose another --output."),
    errno.EFBIG: (
        "{path} became larger than its file system, or a limit of this process, allows.",
        "Mend that.",
    ),
    errno.EIO: ("The disk under {path} reports a fault.", "Check the disk, or choose another --output."),
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EMFILE: (
        "{path} could not be opened: this process has as many files open as it may.",
        "Raise the limit (ulimit -n), or lower --workers.",
    ),
    errno.ENFILE: (
        "{path} could not be opened: this machine has as many files open as it can.",
        "Close other programs, or lower --workers.",
    ),
    errno.ENAMETOOLONG: ("{path} is too long a name for its file system.", "Choose a shorter path."),
}
# What may be mended while the finished part of the work stays.
_MENDABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE)


def explain_os_error(error: OSError, *, resumable: bool = False) -> FaceAuthError:
    """Says what could not be used, why, and what to do.

    Args:
        error: The fault; `files.whole_file` has seen to it that it names what was being written.
        resumable: Whether the same command goes on where it was stopped.
    """
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    path = f"{name[:MAX_NAME_CHARACTERS]}..." if len(name) > MAX_NAME_CHARACTERS else name or "A file"
    if error.errno not in _FAULTS:
        # "[Errno 20] Not a directory" tells a person no more than the words alone do.
        text = f"{error.strerror}: {name}" if error.strerror and name else error.strerror or str(error)
        return FaceAuthError(f"{text or type(error).__name__}.")
    message, hint = _FAULTS[error.errno]
    if resumable and error.errno in _MENDABLE:
        hint = f"{hint} {_AGAIN}"
    return FaceAuthError(message.format(path=path, free=_free_space(name)), hint)


def _free_space(name: str) -> str:
    folder = Path(name).absolute().parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError:
        return ""
    if free_bytes < 2**20:
        return f" ({free_bytes // 1024} KiB are free)"
    # A draft was cleared away since, or the names for files ran out before the bytes did.
    return f" for it ({free_bytes // 2**20:,} MiB are free)"

"""What worker processes of the tests do: they find faces, and some of them die of it.

A module of its own, so that a worker process imports no more than this.
"""

import functools
import os
import signal
import threading
import time
from pathlib import Path

from faceauth.errors import UsageError
from faceauth.intake.faces.detectors.whole import load_whole
from faceauth.intake.pipeline.batch import collect_batch

FIND_WHOLE = load_whole(device="cpu")


def load_collecting(settings, search, *arguments):
    """Returns what does a batch with one of the searches below."""
    detect = functools.partial(search, *arguments) if arguments else search
    return functools.partial(collect_batch, settings=settings, detect=detect)


def search(images):
    return FIND_WHOLE(images)


def die_once(marker, images):
    """Is killed from outside the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return FIND_WHOLE(images)


def die_or_hang_at(fatal_px, endless_px, images):
    """Dies of images of one width as of a broken decoder, and never comes back from those of another."""
    widths = {image.shape[1] for image in images}
    if fatal_px in widths:
        os.kill(os.getpid(), signal.SIGSEGV)
    while endless_px in widths:
        time.sleep(1)
    return FIND_WHOLE(images)


def load_dying(*, device):
    """Stands for a face detector that dies of pictures of 70 px."""
    return functools.partial(die_or_hang_at, 70, 0)


def raise_at(width, images):
    if any(image.shape[1] == width for image in images):
        raise ValueError("no such width")
    return FIND_WHOLE(images)


def load_calling(folder=None):
    """Returns what calls whatever function it is sent, with its arguments."""
    if folder is not None:
        Path(folder, str(os.getpid())).touch()
    return call


def call(work):
    function, *arguments = work
    return function(*arguments)


def load_nothing():
    raise UsageError("There is nothing to load.", "Bring something.")


def load_and_end():
    os._exit(7)


def fail(text):
    raise ValueError(text)


def variable(name):
    return os.environ.get(name)


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def fail_with_a_lock():
    error = ValueError("a lock in the hand cannot be sent")
    error.lock = threading.Lock()
    raise error

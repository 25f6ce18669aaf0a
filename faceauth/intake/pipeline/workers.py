"""Worker processes that may die: each does one piece of work at a time; a lost one is an error to catch.

`concurrent.futures` gives up all work when one process dies, and does not say which piece killed it. Here one
object stands for one process, and starts another in its place.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from faceauth.errors import FaceAuthError
from faceauth.memory import keep_freed_memory

# Processes fill the cores; threads inside each would only wait for one another.
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Until all parts are imported and loaded, on a machine that is busy and a disk that is slow.
START_SECONDS = 300

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# `multiprocessing` asks after all its processes whenever one is started, and two threads that ask after one
# process get one answer between them.
_ONE_AT_A_TIME = threading.Lock()


class LostWorkError(Exception):
    """A worker ended, or was ended, in the midst of its work; the message says how."""


class LateWorkError(LostWorkError):
    """A worker exceeded its time and was ended."""


class StoppedError(Exception):
    """A worker was asked for more after it had been stopped."""


class Worker:
    """One process, started when it is first needed, and started again after a loss.

    Args:
        load: Called once in each process, to get what does the work. It is pickled: a function of a module,
            or a `functools.partial` of one.

    Raises:
        pickle.PicklingError: It cannot be pickled.
    """

    def __init__(self, load: Callable[[], Callable[[Any], Any]]) -> None:
        # Pickled apart, so that nothing is imported before the process has limited its threads.
        self._load = pickle.dumps(load)
        self._process: Any = None
        self._connection: Connection | None = None
        self._stopped = False

    def do(self, work: Any, *, limit_s: int) -> Any:
        """Does a piece of work in the process.

        Args:
            work: What to do; is pickled.
            limit_s: After so many seconds the process is ended.

        Returns:
            What the process returned.

        Raises:
            LostWorkError: The process ended in the midst of the work.
            LateWorkError: It exceeded its time.
            StoppedError: `stop` was called.
            FaceAuthError: The process does not even start.
            Exception: What the work raised; a note holds the traceback.
        """
        if self._stopped:
            raise StoppedError
        if self._connection is None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send(work)
            return self._answer(self._connection, limit_s)
        except (EOFError, ConnectionError) as error:
            how = self._end()
            if self._stopped:
                raise StoppedError from error
            raise LostWorkError(f"the work on it ended its process ({how})") from error
        except TimeoutError as error:
            self._end()
            raise LateWorkError(f"the work on it did not end within {limit_s} s") from error

    def stop(self) -> None:
        """Ends the process at once, also from another thread and in the midst of its work."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()
            with _ONE_AT_A_TIME:
                process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._load), daemon=True)
        with _ONE_AT_A_TIME, _interrupts_held_back():
            process.start()
        self._process = process
        # The process holds the only other end, so that its death ends the connection.
        theirs.close()
        if self._stopped:
            self._end()
            raise StoppedError
        try:
            self._answer(self._connection, START_SECONDS)
        except (EOFError, ConnectionError, TimeoutError) as error:
            how = self._end()
            if self._stopped:
                raise StoppedError from error
            raise FaceAuthError(
                f"A worker process did not start ({how}).",
                "What it printed above says more. A script of your own calls this below "
                "`if __name__ == '__main__':`; --workers 0 works without other processes.",
            ) from error
        except BaseException:
            self._end()
            raise

    @staticmethod
    def _answer(connection: Connection, limit_s: int) -> Any:
        # Waits in short turns instead of looking at a clock, so that a laptop that sleeps or a terminal's
        # Ctrl-Z does not count.
        for _ in range(limit_s):
            if connection.poll(1.0):
                is_done, answer = connection.recv()
                if is_done:
                    return answer
                raise answer
        raise TimeoutError

    def _end(self) -> str:
        assert self._connection is not None
        with _ONE_AT_A_TIME:
            if not self._stopped:
                # One that died by itself shall say of what.
                self._process.join(timeout=1.0)
            self._process.kill()
            self._process.join()
        self._connection.close()
        code = self._process.exitcode
        self._connection = self._process = None
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def usable_cores() -> int:
    """Returns how many cores this process may use: those that it is bound to, and its container's share."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = _CGROUP_QUOTA.read_text("ascii").split()
        n_cores = min(n_cores, max(1, int(quota) // int(period)))
    return n_cores


def _serve(connection: Connection, load: bytes) -> None:
    """Runs in the worker process: loads, then works until the other side is gone."""
    # Ctrl-C reaches every process of a terminal; what it means is for the first one to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    keep_freed_memory()
    try:
        work = pickle.loads(load)()
        connection.send((True, None))
    except Exception as error:
        _send_error(connection, error)
        return
    while True:
        try:
            task = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            connection.send((True, work(task)))
        except ConnectionError:
            return
        except Exception as error:
            _send_error(connection, error)


def _send_error(connection: Connection, error: Exception) -> None:
    trace = traceback.format_exc()
    error.add_note(f"In a worker process:\n{trace}")
    try:
        connection.send((False, error))
    except (pickle.PicklingError, TypeError, AttributeError):
        connection.send((False, RuntimeError(trace)))


def _end_with_parent() -> None:
    # A parent that was killed can tell nobody, and a decoder that hangs would hang on for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    # A process inherits what is held back, and so is not torn apart by Ctrl-C before it can ignore it.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # On its first start the tracker lets interrupts through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

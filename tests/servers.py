"""A real `faceauth serve` in a process of its own, and how much memory it and its processes take."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import psutil

START_SECONDS = 120


class Served:
    """A server that runs.

    Attributes:
        url: Its address, without the slash at the end.
        process: Its process.
        errors: The file that its stderr goes to.
    """

    def __init__(self, url, process, errors):
        self.url = url
        self.process = process
        self.errors = errors

    def rss_bytes(self):
        """The memory of the process and all below it."""
        total = 0
        for process in (top := psutil.Process(self.process.pid), *top.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    @contextlib.contextmanager
    def peak_rss(self):
        """Yields a list whose last entry is the most memory that was seen."""
        seen = [self.rss_bytes()]
        done = threading.Event()

        def watch():
            while not done.wait(0.1):
                seen.append(max(seen[-1], self.rss_bytes()))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()

    def end(self, number=signal.SIGINT):
        """Ends it with a signal, and returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def running(folder, *arguments, **environment):
    """Starts `faceauth serve` with arguments on any free port, and ends it."""
    errors = folder / "stderr.txt"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "faceauth", "serve", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)} | environment,
        )
    try:
        started = time.monotonic()
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), errors.read_text()
        assert time.monotonic() - started < START_SECONDS
        yield Served(url.rstrip("/"), process, errors)
    finally:
        process.kill()
        process.wait()

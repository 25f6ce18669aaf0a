"""What people see while work goes on: log lines and progress, always on stderr, never on stdout."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_EVERY_SECONDS = 30.0
MAX_CHARACTERS = 4_000

# All but the line end and the tab, and what turns the direction of writing round.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

log = logging.getLogger(__name__)


def configure_logging(*, quiet: bool) -> None:
    """Sends the package's log to stderr; only the first of several processes speaks.

    Args:
        quiet: Warnings and errors alone.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter())
    is_first = int(os.environ.get("RANK", "0")) == 0
    logger = logging.getLogger("faceauth")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.ERROR if not is_first else logging.WARNING if quiet else logging.INFO)


class _PlainFormatter(logging.Formatter):
    """Information as it is; what is more than that says so."""

    def format(self, record: logging.LogRecord) -> str:
        text = harmless(record.getMessage())
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


def harmless(text: str) -> str:
    """Returns text that a terminal shows and does not obey: control characters are spelt out.

    Args:
        text: May hold the names of files that strangers made. Of more than 4,000 characters the first and the
            last are kept.
    """
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS // 2]} ... {text[-MAX_CHARACTERS // 2 :]}"
    return _CONTROLS.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def can_show(text: str) -> bool:
    """Tells whether stdout can take a text as it is; terminals of old code pages lack signs."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[..., None]]:
    """Shows how far a long piece of work is, with its rate and the time left.

    A moving bar where stderr is a terminal; a log line every 30 seconds elsewhere.

    Args:
        title: What is being done.
        total: Number of items.

    Yields:
        A function to call with the number of items that were finished, and optionally a short note.
    """
    if not log.isEnabledFor(logging.INFO):
        yield _advance_silently
        return
    if sys.stderr.isatty():
        with _bar(title, total) as advance_bar:
            yield advance_bar
        return
    started = spoken = time.monotonic()
    done = 0

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, spoken
        done += n
        now = time.monotonic()
        if now - spoken >= LOG_EVERY_SECONDS:
            spoken = now
            rate = done / (now - started)
            left = (total - done) / rate if rate else 0.0
            log.info("%s: %d of %d, %.1f/s, %s left %s", title, done, total, rate, _clock(left), note)

    yield advance


def _advance_silently(n: int = 1, note: str = "") -> None:
    """Takes what the others take and shows nothing."""


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, note="", rate="")
        done = 0

        def advance(n: int = 1, note: str = "") -> None:
            nonlocal done
            done += n
            rate = done / max(1e-6, time.monotonic() - started)
            bar.update(task, advance=n, note=note, rate=f"{rate:.1f}/s")

        yield advance


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Prints an aligned table to stdout; columns of numbers are aligned to the right.

    Args:
        header: Names of the columns.
        rows: Cells as text.
    """
    rows = [[harmless(cell) for cell in row] for row in rows]
    widths = [
        max(len(header[i]), *(len(row[i]) for row in rows)) if rows else len(name)
        for i, name in enumerate(header)
    ]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        )
        print("  ".join(cells).rstrip())


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("-", "").isdigit() or text in ("", "-", "—")

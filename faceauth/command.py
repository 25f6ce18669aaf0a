"""How a function becomes a command: the app, the guard around each verb, exit codes, JSON on stdout.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 finished, but some items failed; 130 interrupted.
"""

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import typer

from faceauth.console import configure_logging, harmless
from faceauth.errors import FaceAuthError, UsageError, did_you_mean
from faceauth.faults import explain_os_error
from faceauth.labels import SPLITS
from faceauth.memory import keep_freed_memory

FAILED_ITEMS = 3
INTERRUPTED = 130
# The other verbs take minutes at most and begin anew.
RESUMABLE = ("prepare", "train", "quickstart", "robustness", "matrix")

app = typer.Typer(
    name="faceauth",
    help="Tell real faces from machine-made ones, name the generator, and trust the numbers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def verb(function: Callable[..., int | None]) -> Callable[..., None]:
    """Makes a function a command: errors become one message and an exit code, never a traceback."""
    resumable = function.__name__ in RESUMABLE

    @functools.wraps(function)
    def guarded(**arguments: Any) -> None:
        as_json = bool(arguments.get("as_json"))
        configure_logging(quiet=bool(arguments.get("quiet")) or as_json)
        keep_freed_memory()
        try:
            code = function(**arguments) or 0
        except (FaceAuthError, OSError) as error:
            # An OSError is a full disk, a missing right, a broken pipe: no traceback would help with it.
            mistake = (
                error if isinstance(error, FaceAuthError) else explain_os_error(error, resumable=resumable)
            )
            if as_json:
                print_json({"error": {"message": mistake.message, "hint": mistake.hint}})
            print(f"faceauth: {harmless(str(mistake))}", file=sys.stderr)
            code = mistake.exit_code
        except KeyboardInterrupt:
            rest = "; the same command goes on where this one stopped" if resumable else ""
            print(f"faceauth: interrupted{rest}", file=sys.stderr)
            code = INTERRUPTED
        raise typer.Exit(code)

    app.command()(guarded)
    return guarded


def check_split(split: str) -> None:
    """Makes sure that a split is one of `SPLITS`.

    Raises:
        UsageError: It is not.
    """
    if split not in SPLITS:
        raise UsageError(f"There is no split called '{split}'.", did_you_mean(split, list(SPLITS)))


def print_json(document: Any) -> None:
    """Prints a document as JSON; null stands for what is undefined."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))

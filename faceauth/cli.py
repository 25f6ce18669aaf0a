"""The command line: brings the verbs together and runs them.

Each verb is one thin function in `faceauth.commands`; what it does lives in `faceauth.verbs` and
`faceauth.train`. Data goes to stdout, log and progress to stderr.
"""

import io
import sys
from typing import Annotated

import typer

import faceauth
from faceauth.command import app
from faceauth.commands import data, judging, learning, measuring, serving

# In the order of the help; importing a module has registered its verbs.
VERBS = (data, judging, serving, learning, measuring)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"faceauth {faceauth.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Tell real faces from machine-made ones, name the generator, and trust the numbers."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and leaves with its exit code.

    Args:
        arguments: The words after the program's name; None takes those it was started with.
    """
    for stream in (sys.stdout, sys.stderr):
        # File names need not be valid text; a message about one must get out all the same.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(args=arguments)

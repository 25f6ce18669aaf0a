"""Runs work in a process of its own, which may be killed, confined or measured."""

import contextlib
import multiprocessing
import os
import traceback

from faceauth.cli import main
from faceauth.shortcuts import shortcuts

# Without the seconds that each process would take to import everything.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [
        "own_process",
        "faceauth.verbs.prepare",
        "faceauth.intake.faces.detectors.mtcnn",
        "faceauth.intake.pipeline.engines.local",
    ]
)


def in_a_process(work, *arguments):
    """Does work, a function of a module, and returns the exit code; a negative one is a signal."""
    process = processes.Process(target=_work, args=(work, arguments))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def run_faceauth(log_path, *arguments):
    """The command itself, with what it prints in a file."""
    # The plain-facts classifier takes longer than all the rest of a small run.
    shortcuts.FOLDS = 10**6
    with log_path.open("a") as log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
        main([str(argument) for argument in arguments])


def _work(work, arguments):
    code = 0
    try:
        work(*arguments)
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        traceback.print_exc()
        code = 99
    # Without taking all that was imported to pieces.
    os._exit(code)

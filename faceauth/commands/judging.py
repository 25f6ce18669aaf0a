"""The verbs that judge faces: predict.

What they do lives in `faceauth.verbs`. Heavy imports stand inside the functions, so that help comes at once.
"""

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceauth.command import FAILED_ITEMS, verb
from faceauth.errors import UsageError
from faceauth.options import BatchSize, Device, Limit, Quiet, Runtime

if TYPE_CHECKING:
    from faceauth.verdicts.verdict import Verdict


@verb
def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Images, videos, folders, patterns such as 'photos/*.jpg', or - for a list on stdin.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Checkpoint or run folder, ONNX file, or org/name on the hub; or embedded, which comes with "
            "faceauth.",
        ),
    ] = "embedded",
    no_detect: Annotated[
        bool, typer.Option("--no-detect", help="The pictures are face crops already: look for no faces.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write verdicts to a .csv, .jsonl or .xlsx file.", show_default=False
        ),
    ] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            "--heatmap", help="Write a heat map of each judged face to this folder.", show_default=False
        ),
    ] = None,
    heatmap_method: Annotated[
        str | None,
        typer.Option(
            "--heatmap-method",
            help="attention, grad_cam or occlusion; what suits the network if not given.",
            show_default=False,
        ),
    ] = None,
    fail_on_fake: Annotated[
        bool,
        typer.Option(
            "--fail-on-fake", help="Leave with exit code 1 if a face, or a person of a video, is surely fake."
        ),
    ] = False,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", help="Frames of each video, at even times; 16 if not given.", show_default=False
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="Frames a second of each video, instead.", show_default=False),
    ] = None,
    each_frame: Annotated[
        bool, typer.Option("--each-frame", help="In the table, list each face of each frame of videos, too.")
    ] = False,
    batch_size: BatchSize = 32,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            max=64,
            help="Processes that read files and find faces; one a core if not given, none for few files.",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    runtime: Runtime = None,
    limit: Limit = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON a face, or person, instead of a table.")
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Judge every face of images and every person of videos: real or fake, how surely, and made by what.

    Example: faceauth predict photos/ --output verdicts.csv
    """
    from faceauth.console import can_show
    from faceauth.intake.sources.video_sampling import parse_sampling
    from faceauth.verbs.predict import PredictSettings, Tally, find_inputs, predict, tallied
    from faceauth.verbs.predict_text import BLOCKS, TENTHS, VerdictTable, describe_tally
    from faceauth.verdicts.verdict_files import check_output, json_line, write_verdicts

    if output is not None:
        check_output(output)
    if heatmap_method is not None and heatmap is None:
        raise UsageError("--heatmap-method says how, and not where to.", "Name a folder: --heatmap DIR")
    settings = PredictSettings(
        model=model,
        is_crops=no_detect,
        videos=parse_sampling(frames, fps),
        batch_size=batch_size,
        device=device,
        runtime=runtime,
        workers=workers,
        limit=limit,
        heatmap=heatmap,
        heatmap_method=heatmap_method,
    )
    files = find_inputs(paths, settings=settings, listed=_lines_of_stdin() if "-" in paths else ())
    tally = Tally()
    sparks = BLOCKS if can_show(BLOCKS) else TENTHS
    table = VerdictTable((file.image_path for file in files), each_frame=each_frame, sparks=sparks)

    def shown(verdicts: Iterable["Verdict"]) -> Iterator["Verdict"]:
        for number, verdict in enumerate(verdicts):
            if as_json:
                print(json_line(verdict), flush=True)
            else:
                for line in (*(table.header() if number == 0 else ()), *table.lines(verdict)):
                    print(line, flush=True)
            yield verdict

    verdicts = shown(tallied(predict(files, settings=settings), tally))
    if output is None:
        deque(verdicts, maxlen=0)
    else:
        write_verdicts(verdicts, output)
    if not as_json:
        for line in (*table.rest(), ""):
            print(line)
        for sentence in describe_tally(tally):
            print(sentence)
        if output is not None:
            print(f"Verdicts: {output}")
        if heatmap is not None:
            print(f"Heat maps: {heatmap}")
    if fail_on_fake and tally.n_sure_fake:
        print(f"faceauth: {tally.n_sure_fake:,} faces or people are surely called fake", file=sys.stderr)
        return 1
    return FAILED_ITEMS if tally.n_failed else 0


def _lines_of_stdin() -> list[str]:
    # Names of files need not be valid text.
    lines = [os.fsdecode(line.rstrip(b"\r")) for line in sys.stdin.buffer.read().split(b"\n")]
    if not any(lines):
        raise UsageError("The list on stdin is empty.", "Give one path a line: find photos -name '*.jpg'")
    return [line for line in lines if line]

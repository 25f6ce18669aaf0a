"""The verbs that train, once or many times, and what comes of it: train, matrix, models, export.

What they do lives in `faceauth.verbs`. Heavy imports stand inside the functions, so that help comes at once.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from faceauth.command import FAILED_ITEMS, print_json, verb
from faceauth.console import print_table
from faceauth.errors import UsageError
from faceauth.options import (
    AsJson,
    BatchSize,
    DryRun,
    Limit,
    MaybeManifest,
    Model,
    Output,
    Overwrite,
    Quiet,
    Set,
    Workers,
)


@verb
def train(
    config: Annotated[
        str | None,
        typer.Option(
            "--config", help="YAML file, or the name of a shipped config such as deit.", show_default=False
        ),
    ] = None,
    manifest: MaybeManifest = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run folder.", show_default=False)
    ] = None,
    set_: Set = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Seed of everything that is drawn.", show_default=False),
    ] = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Train a detector; the same as accelerate launch faceauth/train.py.

    Example: faceauth train --config quickstart --manifest prepared/ --output runs/first
    """
    from faceauth.config import load_config
    from faceauth.training.settings import TrainSettings

    flags = {"data.manifest": manifest, "output": output, "seed": seed}
    settings = load_config(TrainSettings, config, _overrides(set_, flags))

    from faceauth.train import train

    checkpoint = train(settings, overwrite=overwrite, dry_run=dry_run)
    if not dry_run:
        print(checkpoint)


@verb
def matrix(
    output: Output,
    config: Annotated[
        str, typer.Option("--config", help="YAML file of a study, or the name of a shipped one.")
    ] = "matrix",
    manifest: MaybeManifest = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--scores",
            metavar="NAME=FILE",
            help="A scores table by any tool, one row of the matrix each, instead of trainings.",
            show_default=False,
        ),
    ] = None,
    set_: Set = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, max=256, help="Processes that share the trainings.")
    ] = 1,
    launcher: Annotated[
        str,
        typer.Option(
            "--launcher", help="What starts each training, such as 'accelerate launch'.", show_default=False
        ),
    ] = "",
    limit: Limit = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Train the detectors of a plan, such as one a generator, and test each on every source.

    Example: faceauth matrix --config matrix --manifest prepared/ --output matrix/
    """
    from faceauth.config import load_config
    from faceauth.shortcuts.shortcuts import describe_ruler
    from faceauth.verbs.matrix import describe_study, format_matrix, matrix, matrix_of_tables
    from faceauth.verbs.study import MatrixSettings, find_study

    if scores is not None:
        if manifest is not None:
            raise UsageError("--scores takes the place of --manifest.", "Leave one of them out.")
        document = matrix_of_tables(scores, output)
    else:
        flags = {"manifest": manifest, "output": output}
        settings = load_config(MatrixSettings, find_study(config), _overrides(set_, flags))
        if dry_run:
            described = describe_study(settings, limit=limit)
            if as_json:
                print_json(described)
            else:
                _print_study(described)
            return 0
        document = matrix(settings, jobs=jobs, launcher=launcher, limit=limit, overwrite=overwrite)
    if as_json:
        print_json(document)
    else:
        print_table(
            ["training", "AUROC seen", "unseen", "all generators", "worst not seen", "new reals called real"],
            format_matrix(document),
        )
        print()
        if document["shortcuts"]:
            print(describe_ruler(document["shortcuts"]))
        print(output / "matrix.png")
    for name, reason in document["failed"].items():
        print(f"{name}: {reason}", file=sys.stderr)
    return FAILED_ITEMS if document["failed"] else 0


@verb
def models(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List every detector: parameters, input size, default weights, source.

    Example: faceauth models
    """
    from faceauth.verbs.models import describe_detectors

    described = describe_detectors()
    if as_json:
        print_json(described)
        return
    print_table(
        ["name", "parameters", "input px", "default weights", "what it is"],
        [
            [
                entry["name"],
                f"{entry['parameters']:,}",
                str(entry["image_size"]),
                entry["default_weights"],
                entry["summary"],
            ]
            for entry in described
        ],
    )


@verb
def export(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder to write to; not needed to push what is there.", show_default=False
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="packed: weights as small integers, for FaceAuth; onnx: one file for other runtimes, too.",
        ),
    ] = "packed",
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits",
            help="Of a weight. packed: 4, 5, 6 or 8, the usual; onnx: 32, the usual, or 8.",
            show_default=False,
        ),
    ] = None,
    manifest: MaybeManifest = None,
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    limit: Limit = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            "--push-to-hub",
            metavar="ORG/NAME",
            help="Upload what was written, or without --output the checkpoint itself, with your own login.",
            show_default=False,
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Everybody may see what is pushed; else only its owner.")
    ] = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be pushed, and push nothing.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a detector in another format, say how far it answers the same, and share it.

    Example: faceauth export --model runs/first --format packed --manifest prepared/ --output small/
    """
    if output is None and push_to_hub is None:
        raise UsageError("There is nothing to do.", "Give --output DIR, --push-to-hub ORG/NAME, or both.")
    if push_to_hub is None and (public or dry_run):
        raise UsageError(
            "--public and --dry-run are about what is pushed.", "Give --push-to-hub ORG/NAME, too."
        )
    document: dict[str, Any] = {}
    if output is not None:
        from faceauth.exports.export import ExportSettings
        from faceauth.verbs.evaluate import ScoringSettings
        from faceauth.verbs.export import export, format_parity

        document = export(
            model,
            output,
            format_name=format_,
            settings=ExportSettings(bits=bits),
            manifest_path=manifest,
            scoring=ScoringSettings(batch_size=batch_size, workers=workers, limit=limit),
            overwrite=overwrite,
        )
        if not as_json:
            if document["parity"] is not None:
                print_table(["on the same crops of val", "value", "95 % interval"], format_parity(document))
                print()
            print(output)
    if push_to_hub is not None:
        from faceauth.detectors.embedded import checkpoint_of
        from faceauth.verbs.push import describe_push, push

        document["pushed"] = push(
            output or checkpoint_of(model), push_to_hub, is_public=public, dry_run=dry_run
        )
        if not as_json:
            for line in describe_push(document["pushed"]):
                print(line)
    if as_json:
        print_json(document)


def _overrides(set_: list[str] | None, flags: dict[str, Any]) -> list[str]:
    """Returns what --set and the flags change in a config; flags come last, and so win."""
    of_flags = [f"{key}={json.dumps(str(value))}" for key, value in flags.items() if value is not None]
    return [*(set_ or []), *of_flags]


def _print_study(described: list[dict[str, Any]]) -> None:
    print_table(
        ["training", "sources", "real", "fake", "epochs", "state"],
        [
            [
                entry["name"],
                str(len(entry["folders"])),
                *(f"{entry['n_train'][label]:,}" for label in ("real", "fake")),
                str(entry["epochs"]),
                entry["state"],
            ]
            for entry in described
        ],
    )

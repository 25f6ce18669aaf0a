"""The options that mean the same for every verb, with their help."""

from pathlib import Path
from typing import Annotated

import typer

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.", show_default=False)]
Model = Annotated[
    Path,
    typer.Option(
        "--model",
        help="Checkpoint or run folder, an id of the Hugging Face hub, or embedded.",
        show_default=False,
    ),
]
ManifestPath = Annotated[
    Path, typer.Option("--manifest", help="Prepared folder, or a manifest file.", show_default=False)
]
MaybeModel = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="Checkpoint or run folder, an id of the Hugging Face hub, or embedded.",
        show_default=False,
    ),
]
MaybeManifest = Annotated[
    Path | None, typer.Option("--manifest", help="Prepared folder, or a manifest file.", show_default=False)
]
Split = Annotated[str, typer.Option("--split", help="train, val or test.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change one setting, such as optimizer.learning_rate=1e-4.", show_default=False
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, max=4096, help="Crops a step.")]
Workers = Annotated[int, typer.Option("--workers", min=0, max=64, help="Readers beside the main process.")]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Torch device such as cpu or cuda:0; the best there is if not given.",
        show_default=False,
    ),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="torch, openvino or onnxruntime; the fastest that can run the model if not given.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is drawn.")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most so many, for a trial.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Begin anew in a folder that holds an older run.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")]

"""The verbs that say what detectors are worth: evaluate, compare, robustness, embed, report.

What they do lives in `faceauth.verbs`. Heavy imports stand inside the functions, so that help comes at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from faceauth.command import check_split, print_json, verb
from faceauth.console import print_table
from faceauth.errors import UsageError
from faceauth.options import (
    AsJson,
    BatchSize,
    Device,
    Limit,
    ManifestPath,
    MaybeManifest,
    MaybeModel,
    Model,
    Output,
    Overwrite,
    Quiet,
    Seed,
    Split,
    Workers,
)

# What --score-means, --threshold-rule and --calibration are if they are not given.
OF_SCORES = ("p_fake", "half", "none")


@verb
def evaluate(
    output: Output,
    model: MaybeModel = None,
    manifest: MaybeManifest = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            help="CSV or Parquet of any tool, with path or target, and p_fake, p_real, logit_fake or "
            "logit_real; instead of a model.",
            show_default=False,
        ),
    ] = None,
    score_column: Annotated[
        str | None,
        typer.Option(
            "--score-column", help="With --scores: the column, if it has another name.", show_default=False
        ),
    ] = None,
    score_means: Annotated[
        str, typer.Option("--score-means", help="What it holds: p_fake, p_real, logit_fake or logit_real.")
    ] = OF_SCORES[0],
    split: Split = "test",
    threshold_rule: Annotated[
        str,
        typer.Option(
            "--threshold-rule", help="With --scores: half, youden, best_f1, fpr=0.05, cost=5 or value=0.6."
        ),
    ] = OF_SCORES[1],
    calibration: Annotated[
        str,
        typer.Option(
            "--calibration", help="With --scores: none, temperature, platt or isotonic, fitted on val."
        ),
    ] = OF_SCORES[2],
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    device: Device = None,
    seed: Seed = 0,
    limit: Limit = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a split and measure it, every figure with its n and interval.

    Example: faceauth evaluate --model runs/first --manifest prepared/ --output results/
    """
    check_split(split)
    if scores is None and (model is None or manifest is None):
        raise UsageError("Nothing to evaluate was given.", "Use --model M --manifest F, or --scores FILE.")
    if scores is not None and model is not None:
        raise UsageError("--scores takes the place of --model.", "Leave one of them out.")
    if scores is None and (score_column, score_means, threshold_rule, calibration) != (None, *OF_SCORES):
        raise UsageError(
            "--score-column, --score-means, --threshold-rule and --calibration belong to --scores.",
            "Leave them out: a checkpoint brings what was decided on val when it was trained.",
        )

    from faceauth.evaluation.document_text import describe_evaluation, print_metrics
    from faceauth.verbs.evaluate import ScoringSettings, evaluate, evaluate_table

    if scores is not None:
        document = evaluate_table(
            scores,
            output,
            split=split,
            rule=threshold_rule,
            calibration=calibration,
            column=score_column,
            meaning=score_means,
            manifest_path=manifest,
            seed=seed,
        )
    else:
        assert model is not None
        assert manifest is not None
        settings = ScoringSettings(
            batch_size=batch_size, workers=workers, device=device, seed=seed, limit=limit
        )
        document = evaluate(model, manifest, output, split=split, settings=settings)
    if as_json:
        print_json(document)
    else:
        print_metrics(document)
        print()
        for sentence in describe_evaluation(document):
            print(sentence)


@verb
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="FIRST", help="Scores table, or a folder that evaluate wrote.")
    ],
    second: Annotated[
        Path, typer.Argument(metavar="SECOND", help="The same of a second detector, on the same faces.")
    ],
    output: Output,
    split: Split = "test",
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare two detectors on the same faces: differences with intervals and p-values.

    Example: faceauth compare results/deit results/densenet --output compared/
    """
    check_split(split)

    from faceauth.verbs.compare import compare, format_comparison

    document = compare(first, second, output, split=split, seed=seed)
    if as_json:
        print_json(document)
        return
    print_table(
        ["on", "metric", "first", "second", "difference", "95 % interval", "p"], format_comparison(document)
    )
    print()
    print("Differences are first minus second; p of the generators by Holm's correction over all of them.")


@verb
def robustness(
    model: Model,
    manifest: ManifestPath,
    output: Output,
    split: Split = "test",
    suite: Annotated[str, typer.Option("--suite", help="genimage, quick or full.")] = "full",
    degradation: Annotated[
        list[str] | None,
        typer.Option(
            "--degradation",
            help="Only this one of the suite, such as jpeg; may be given several times.",
            show_default=False,
        ),
    ] = None,
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    device: Device = None,
    seed: Seed = 0,
    limit: Limit = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score degraded crops, level by level, and say what each degradation costs.

    Example: faceauth robustness --model runs/first --manifest prepared/ --output robustness/ --suite quick
    """
    check_split(split)

    from faceauth.shortcuts.shortcuts import describe_ruler
    from faceauth.verbs.evaluate import ScoringSettings
    from faceauth.verbs.robustness import format_levels, robustness

    settings = ScoringSettings(batch_size=batch_size, workers=workers, device=device, seed=seed, limit=limit)
    document = robustness(
        model,
        manifest,
        output,
        split=split,
        suite=suite,
        only=tuple(degradation or ()),
        settings=settings,
        overwrite=overwrite,
    )
    if as_json:
        print_json(document)
        return
    print_table(
        ["degradation", "level", "AUROC", "95 % interval", "drop", "95 % interval", "balanced accuracy"],
        format_levels(document),
    )
    print()
    print(describe_ruler(document["shortcuts"]))


@verb
def embed(
    model: Model,
    manifest: ManifestPath,
    output: Output,
    split: Annotated[str, typer.Option("--split", help="train, val, test or all.")] = "test",
    projection: Annotated[
        list[str] | None,
        typer.Option(
            "--projection", help="tsne, umap or pca; may be given several times.", show_default="tsne umap"
        ),
    ] = None,
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    device: Device = None,
    seed: Seed = 0,
    limit: Limit = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Embed crops, draw their maps, and measure how well generators separate.

    Example: faceauth embed --model runs/first --manifest prepared/ --output clusters/
    """
    if split != "all":
        check_split(split)

    from faceauth.verbs.embed import embed
    from faceauth.verbs.evaluate import ScoringSettings

    settings = ScoringSettings(batch_size=batch_size, workers=workers, device=device, seed=seed, limit=limit)
    document = embed(
        model,
        manifest,
        output,
        split=split,
        projections=tuple(projection or ("tsne", "umap")),
        settings=settings,
    )
    if as_json:
        print_json(document)
        return
    print_table(
        ["source", "n", "10-NN purity", "silhouette", "nearest"],
        [
            [
                name,
                str(facts["n"]),
                _value(facts["knn_purity"]),
                _value(facts["silhouette"]),
                str(facts["nearest_folder"] or "-"),
            ]
            for name, facts in document["by_folder"].items()
        ],
    )
    print()
    for name, measure in document["measures"].items():
        print(f"{name}: {_value(measure)} — {measure['meaning']}")


@verb
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that other verbs wrote.")],
    output: Output,
    crops: Annotated[
        Path | None,
        typer.Option(
            "--crops", help="The prepared folder, if the page shall show faces.", show_default=False
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Put all that was measured on one offline page and into one workbook.

    Example: faceauth report prepared/ runs/first results/ clusters/ --output report/
    """
    from faceauth.report.whole_report import write_report

    print(write_report(folders, output, crops_root=crops))


def _value(measure: dict[str, Any]) -> str:
    return "-" if measure["value"] is None else f"{measure['value']:.3f}"

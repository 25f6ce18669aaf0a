"""The command line: one thin function a verb; what it does lives in `faceauth.verbs` and `faceauth.train`.

Data goes to stdout, log and progress to stderr. Exit codes: 0 done; 1 failed; 2 wrong usage; 3 finished, but
some items failed; 130 interrupted. Heavy imports stand inside the functions, so that help comes at once.
"""

import functools
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import faceauth
from faceauth.console import configure_logging, print_table
from faceauth.errors import FaceAuthError, UsageError
from faceauth.memory import keep_freed_memory
from faceauth.options import (
    AsJson,
    BatchSize,
    Device,
    DryRun,
    Limit,
    ManifestPath,
    Model,
    Output,
    Overwrite,
    Quiet,
    Seed,
    Set,
    Split,
    Workers,
)

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

    @functools.wraps(function)
    def guarded(**arguments: Any) -> None:
        as_json = bool(arguments.get("as_json"))
        configure_logging(quiet=bool(arguments.get("quiet")) or as_json)
        keep_freed_memory()
        try:
            code = function(**arguments) or 0
        except (FaceAuthError, OSError) as error:
            # An OSError is a full disk, a missing right, a broken pipe: no traceback would help with it.
            mistake = error if isinstance(error, FaceAuthError) else FaceAuthError(str(error))
            if as_json:
                _print_json({"error": {"message": mistake.message, "hint": mistake.hint}})
            print(f"faceauth: {mistake}", file=sys.stderr)
            code = mistake.exit_code
        except KeyboardInterrupt:
            rest = (
                "; the same command goes on where this one stopped" if function.__name__ in RESUMABLE else ""
            )
            print(f"faceauth: interrupted{rest}", file=sys.stderr)
            code = INTERRUPTED
        raise typer.Exit(code)

    app.command()(guarded)
    return guarded


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


@verb
def quickstart(
    output: Output = Path("faceauth-quickstart"),
    photos: Annotated[
        Path | None,
        typer.Option(
            "--photos",
            help="Your own folder, laid out as for prepare, instead of the sample set.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[str, typer.Option("--config", help="Config of the training.")] = "quickstart",
    set_: Set = None,
    workers: Workers = 2,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole chain, from pictures to a report, in minutes and offline.

    Example: faceauth quickstart
    """
    from faceauth.evaluation.document_text import format_table
    from faceauth.shortcuts.shortcuts import describe_ruler
    from faceauth.verbs.quickstart import quickstart

    done = quickstart(
        output, photos=photos, config=config, overrides=set_, workers=workers, seed=seed, overwrite=overwrite
    )
    if as_json:
        _print_json({"page": str(done.page), "metrics": done.metrics, "audit": done.audit})
        return
    _print_metrics(format_table(done.metrics))
    print()
    print(describe_ruler(done.audit["shortcuts"]))
    if photos is None:
        print("All faces were simulated: this shows that the chain works, and nothing about real generators.")
    print(f"Report: {done.page}")


@verb
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folder with real/<collection>/ and fake/<generator>/; or real:<name>=PATH, "
            "fake:<name>=PATH; or a spreadsheet.",
        ),
    ],
    output: Output,
    groups: Annotated[
        Path | None,
        typer.Option(
            "--groups",
            help="CSV with the columns path, group, identity; neither straddles splits.",
            show_default=False,
        ),
    ] = None,
    balance: Annotated[
        str,
        typer.Option(
            "--balance", help="generator: the same number of each; class: as many fakes as reals; none."
        ),
    ] = "generator",
    splits: Annotated[str, typer.Option("--splits", help="Shares of train, val and test.")] = "0.8,0.1,0.1",
    image_size: Annotated[
        int, typer.Option("--image-size", min=32, max=1024, help="Side of the crops in pixels.")
    ] = 256,
    margin: Annotated[
        float,
        typer.Option("--margin", min=1.0, max=4.0, help="Side of the crop, in longer sides of the face box."),
    ] = 1.3,
    face_detector: Annotated[
        str, typer.Option("--face-detector", help="mtcnn, or whole for images that are face crops already.")
    ] = "mtcnn",
    min_confidence: Annotated[
        float,
        typer.Option("--min-confidence", min=0.0, max=1.0, help="Smallest certainty that counts as a face."),
    ] = 0.9,
    min_face: Annotated[
        int, typer.Option("--min-face", min=1, help="Smallest longer side of a face in pixels.")
    ] = 40,
    device: Annotated[str, typer.Option("--device", help="Torch device of the face detection.")] = "cpu",
    workers: Workers = 2,
    seed: Seed = 0,
    limit: Limit = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Find, crop and record faces; balance, split by group and audit them.

    Example: faceauth prepare photos/ --output prepared/
    """
    from faceauth.intake.collect import CollectSettings
    from faceauth.intake.crop import CropSettings
    from faceauth.splits.assign import parse_ratios
    from faceauth.verbs.prepare import PrepareSettings, prepare

    settings = PrepareSettings(
        collect=CollectSettings(
            face_detector=face_detector,
            min_confidence=min_confidence,
            min_face_px=min_face,
            crop=CropSettings(margin_ratio=margin, image_size=image_size),
        ),
        balance=balance,
        ratios=parse_ratios(splits),
        seed=seed,
        workers=workers,
        device=device,
    )
    done = prepare(sources, output, settings=settings, groups_file=groups, limit=limit, overwrite=overwrite)
    if as_json:
        _print_json(done.summary)
    else:
        _print_prepared(done.summary)
        print()
        print(f"Manifest: {done.manifest.path.with_suffix('.xlsx')}")
    if done.n_failed and not as_json:
        print(f"{done.n_failed} images could not be used; manifest.xlsx says why.", file=sys.stderr)
    return FAILED_ITEMS if done.n_failed else 0


@verb
def audit(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="Prepared folder, or a manifest file.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for audit.json; the manifest's if not given.", show_default=False
        ),
    ] = None,
    equalise: Annotated[
        Path | None,
        typer.Option(
            "--equalise",
            help="Write a prepared folder there, all crops scaled and encoded alike, and say what remains.",
            show_default=False,
        ),
    ] = None,
    workers: Workers = 2,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Look for leaks between splits, and for what plain facts alone tell. Exit code 1 on a leak.

    Example: faceauth audit prepared/
    """
    from faceauth.intake.manifest import read_manifest
    from faceauth.verbs.audit import audit_manifest, write_audit
    from faceauth.verbs.audit_text import print_audit, print_remains

    found = read_manifest(manifest)
    result = audit_manifest(found, seed=seed)
    write_audit(result, output or found.root)
    document = result.to_json()
    if not as_json:
        print_audit(document, result.leaks.describe())
    if equalise is not None:
        from faceauth.verbs.equalise import equalise as equalise_crops

        document["equalised"] = equalise_crops(found, equalise, seed=seed, workers=workers).document
        if not as_json:
            print_remains(document["equalised"])
            print(f"Equalised: {equalise}")
    if as_json:
        _print_json(document)
    return 1 if result.leaks.any else 0


@verb
def train(
    config: Annotated[
        str | None,
        typer.Option(
            "--config", help="YAML file, or the name of a shipped config such as deit.", show_default=False
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="Prepared folder, or a manifest file.", show_default=False),
    ] = None,
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
    overrides = [
        *(set_ or []),
        *(f"{key}={json.dumps(str(value))}" for key, value in flags.items() if value is not None),
    ]
    settings = load_config(TrainSettings, config, overrides)

    from faceauth.train import train

    checkpoint = train(settings, overwrite=overwrite, dry_run=dry_run)
    if not dry_run:
        print(checkpoint)


@verb
def evaluate(
    output: Output,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Checkpoint or run folder of a trained detector.", show_default=False),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="Prepared folder, or a manifest file.", show_default=False),
    ] = None,
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
    ] = "p_fake",
    split: Split = "test",
    threshold_rule: Annotated[
        str,
        typer.Option(
            "--threshold-rule", help="With --scores: half, youden, best_f1, fpr=0.05, cost=5 or value=0.6."
        ),
    ] = "half",
    calibration: Annotated[
        str,
        typer.Option(
            "--calibration", help="With --scores: none, temperature, platt or isotonic, fitted on val."
        ),
    ] = "none",
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
    _check_split(split)
    if scores is None and (model is None or manifest is None):
        raise UsageError("Nothing to evaluate was given.", "Use --model M --manifest F, or --scores FILE.")
    if scores is not None and model is not None:
        raise UsageError("--scores takes the place of --model.", "Leave one of them out.")
    if scores is None and score_column is not None:
        raise UsageError("--score-column belongs to --scores.", "Leave it out.")

    from faceauth.evaluation.document_text import describe_evaluation, format_table
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
        _print_json(document)
    else:
        _print_metrics(format_table(document))
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
    _check_split(split)

    from faceauth.verbs.compare import compare, format_comparison

    document = compare(first, second, output, split=split, seed=seed)
    if as_json:
        _print_json(document)
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
    _check_split(split)

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
        _print_json(document)
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
        _check_split(split)

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
        _print_json(document)
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
def spectra(
    manifest: ManifestPath,
    output: Output,
    split: Annotated[str, typer.Option("--split", help="train, val, test or all.")] = "all",
    on: Annotated[str, typer.Option("--on", help="pixels, residuals or both.")] = "both",
    native: Annotated[
        bool | None,
        typer.Option(
            "--native/--crops",
            help="Patches of the source images, not resampled; or the prepared crops.",
            show_default="native if the source images are there",
        ),
    ] = None,
    patch_px: Annotated[
        int | None,
        typer.Option(
            "--patch-px",
            help="Side of the patches, a multiple of 16; chosen by the faces if not given.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="At most so many of each source.", show_default=False),
    ] = None,
    workers: Workers = 2,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Average the spectra of each source and search them for the peaks that generators leave.

    Example: faceauth spectra --manifest prepared/ --output spectra/
    """
    if split != "all":
        _check_split(split)

    from faceauth.verbs.spectra import SpectraSettings, count_unreadable, format_peaks, spectra

    settings = SpectraSettings(on=on, native=native, patch_px=patch_px, limit=limit, workers=workers)
    document = spectra(manifest, output, split=split, settings=settings)
    n_unreadable = count_unreadable(document)
    if as_json:
        _print_json(document)
    else:
        print_table(
            ["class", "source", "n", "kind", "cycles per px", "fraction", "dB", "z", "what"],
            format_peaks(document),
        )
        if n_unreadable:
            print(f"{n_unreadable} pictures could not be used; spectra.json says why.", file=sys.stderr)
    return FAILED_ITEMS if n_unreadable else 0


@verb
def matrix(
    output: Output,
    config: Annotated[
        str, typer.Option("--config", help="YAML file of a study, or the name of a shipped one.")
    ] = "matrix",
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="Prepared folder, or a manifest file.", show_default=False),
    ] = None,
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
        overrides = [
            *(set_ or []),
            *(f"{key}={json.dumps(str(value))}" for key, value in flags.items() if value is not None),
        ]
        settings = load_config(MatrixSettings, find_study(config), overrides)
        if dry_run:
            described = describe_study(settings, limit=limit)
            if as_json:
                _print_json(described)
            else:
                _print_study(described)
            return 0
        document = matrix(settings, jobs=jobs, launcher=launcher, limit=limit, overwrite=overwrite)
    if as_json:
        _print_json(document)
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


@verb
def models(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List every detector: parameters, input size, default weights, source.

    Example: faceauth models
    """
    from faceauth.verbs.models import describe_detectors

    described = describe_detectors()
    if as_json:
        _print_json(described)
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


def _check_split(split: str) -> None:
    from faceauth.errors import did_you_mean
    from faceauth.labels import SPLITS

    if split not in SPLITS:
        raise UsageError(f"There is no split called '{split}'.", did_you_mean(split, list(SPLITS)))


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def _print_metrics(rows: list[Any]) -> None:
    print_table(
        ["on", "metric", "value", "95 % interval", "faces"],
        [[row.folder, row.metric, row.value, row.interval, row.faces] for row in rows],
    )


def _print_prepared(summary: dict[str, Any]) -> None:
    statuses = list(summary["counts"]["by_status"])
    folders = summary["counts"]["by_folder"]
    rows = [
        [
            facts["target_class"],
            name,
            *(str(facts["status"].get(status, 0)) for status in statuses),
            *(str(facts["split"].get(split, 0)) for split in ("train", "val", "test")),
        ]
        for name, facts in sorted(folders.items(), key=lambda item: (item[1]["target_class"], item[0]))
    ]
    print_table(["class", "source", *statuses, "train", "val", "test"], rows)
    print()
    rate = summary["rates"]["images_per_s"]
    speed = f"{rate:.1f} images a second" if rate else "nothing new to find"
    print(f"{speed}; {summary['groups']['n']:,} groups")


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


def _value(measure: dict[str, Any]) -> str:
    return "-" if measure["value"] is None else f"{measure['value']:.3f}"

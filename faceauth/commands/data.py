"""The verbs that make data and look at it: quickstart, prepare, audit, spectra.

What they do lives in `faceauth.verbs`. Heavy imports stand inside the functions, so that help comes at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from faceauth.command import FAILED_ITEMS, check_split, print_json, verb
from faceauth.console import print_table
from faceauth.options import AsJson, Limit, ManifestPath, Output, Overwrite, Quiet, Seed, Set, Workers


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
    from faceauth.evaluation.document_text import print_metrics
    from faceauth.shortcuts.shortcuts import describe_ruler
    from faceauth.verbs.quickstart import quickstart

    done = quickstart(
        output, photos=photos, config=config, overrides=set_, workers=workers, seed=seed, overwrite=overwrite
    )
    if as_json:
        print_json({"page": str(done.page), "metrics": done.metrics, "audit": done.audit})
        return
    print_metrics(done.metrics)
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
    from faceauth.intake.crop import CropSettings
    from faceauth.intake.engine import CollectSettings
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
        print_json(done.summary)
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
        print_json(document)
    return 1 if result.leaks.any else 0


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
        check_split(split)

    from faceauth.verbs.spectra import SpectraSettings, count_unreadable, format_peaks, spectra

    settings = SpectraSettings(on=on, native=native, patch_px=patch_px, limit=limit, workers=workers)
    document = spectra(manifest, output, split=split, settings=settings)
    n_unreadable = count_unreadable(document)
    if as_json:
        print_json(document)
    else:
        print_table(
            ["class", "source", "n", "kind", "cycles per px", "fraction", "dB", "z", "what"],
            format_peaks(document),
        )
        if n_unreadable:
            print(f"{n_unreadable} pictures could not be used; spectra.json says why.", file=sys.stderr)
    return FAILED_ITEMS if n_unreadable else 0


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

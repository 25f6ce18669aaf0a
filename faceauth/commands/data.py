"""The verbs that make data and look at it: quickstart, prepare, audit, forge, spectra.

What they do lives in `faceauth.verbs`. Heavy imports stand inside the functions, so that help comes at once.
"""

import sys
from pathlib import Path
from typing import Annotated

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
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write to, or a URL such as s3://bucket/folder.",
            show_default=False,
        ),
    ],
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            help="Known data set that each SOURCE is a folder of, such as faceforensics or celeb_df.",
            show_default=False,
        ),
    ] = None,
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
    splits: Annotated[
        str,
        typer.Option(
            "--splits", help="Shares of train, val and test; or official: those that a data set came with."
        ),
    ] = "0.8,0.1,0.1",
    duplicates: Annotated[
        str,
        typer.Option(
            "--duplicates",
            help="Look-alikes of one class: group puts them in one split, drop keeps the largest.",
        ),
    ] = "group",
    same_person: Annotated[
        str | None,
        typer.Option(
            "--same-person",
            metavar="WEIGHTS",
            help="Tie faces of one person: file or folder of weights of InceptionResnetV1, or vggface2 or "
            "casia-webface, a download of 107 MB.",
            show_default=False,
        ),
    ] = None,
    same_person_cosine: Annotated[
        float,
        typer.Option(
            "--same-person-cosine",
            min=-1.0,
            max=1.0,
            help="Smallest cosine of two faces of one person; ties are transitive, so rather too high.",
        ),
    ] = 0.7,
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
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", help="Frames of each video, at even times.", show_default="16, if no --fps is given"
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="Frames a second of each video instead.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Torch device of the face detection.")] = "cpu",
    engine: Annotated[
        str, typer.Option("--engine", help="local: processes of this machine; ray: a Ray cluster.")
    ] = "local",
    staging: Annotated[
        Path | None,
        typer.Option(
            "--staging",
            help="Local folder to work in if --output is a URL; one in the user's cache if not given.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            max=1024,
            help="Processes that work side by side; 0 works without others.",
            show_default="all usable cores",
        ),
    ] = None,
    seed: Seed = 0,
    limit: Limit = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Find, crop and record faces; balance, split by group and audit them.

    Example: faceauth prepare photos/ --output prepared/
    """
    from faceauth.intake.faces.crop import CropSettings
    from faceauth.intake.pipeline.engine import CollectSettings
    from faceauth.intake.pipeline.publish import work_folder
    from faceauth.intake.pipeline.workers import usable_cores
    from faceauth.intake.sources.video_sampling import parse_sampling
    from faceauth.splits.assign import parse_ratios
    from faceauth.splits.duplicates import parse_handling
    from faceauth.splits.people import SamePersonSettings
    from faceauth.verbs.prepare import PrepareSettings, prepare
    from faceauth.verbs.prepare_text import print_prepared

    settings = PrepareSettings(
        layout=layout,
        collect=CollectSettings(
            face_detector=face_detector,
            min_confidence=min_confidence,
            min_face_px=min_face,
            crop=CropSettings(margin_ratio=margin, image_size=image_size),
        ),
        videos=parse_sampling(frames, fps),
        balance=balance,
        ratios=parse_ratios(splits),
        duplicates=parse_handling(duplicates),
        same_person=SamePersonSettings(same_person, same_person_cosine) if same_person else None,
        seed=seed,
        engine=engine,
        workers=usable_cores() if workers is None else workers,
        device=device,
    )
    folder, destination = work_folder(output, staging=staging)
    done = prepare(
        sources,
        folder,
        settings=settings,
        groups_file=groups,
        limit=limit,
        overwrite=overwrite,
        destination=destination,
    )
    if as_json:
        print_json(done.summary)
    else:
        print_prepared(done.summary)
        print()
        manifest = done.manifest.path.with_suffix(".xlsx")
        print(f"Manifest: {manifest if destination is None else destination / manifest.name}")
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
def forge(
    reals: Annotated[
        Path,
        typer.Argument(metavar="REALS", help="Prepared folder, or a manifest file; its reals are forged."),
    ],
    output: Output,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help="Way to make fakes, such as self_blend; several times.", show_default="all"
        ),
    ] = None,
    per_real: Annotated[
        int, typer.Option("--per-real", min=1, max=100, help="Forgeries of each real by each method.")
    ] = 1,
    keep_fakes: Annotated[
        bool, typer.Option("--keep-fakes/--no-keep-fakes", help="Bring the fakes of the manifest along.")
    ] = True,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", help="PNG to draw a few forgeries of each method to.", show_default=False),
    ] = None,
    workers: Workers = 2,
    seed: Seed = 0,
    limit: Limit = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Make labelled fakes from the reals of a prepared folder, without any generator.

    Example: faceauth forge prepared/ --output forged/ --method self_blend --method swap
    """
    from faceauth.verbs.forge import ForgeSettings, read_reals
    from faceauth.verbs.forge import forge as forge_reals
    from faceauth.verbs.forge_text import print_forged

    settings = ForgeSettings(
        methods=tuple(method or ()),
        per_real=per_real,
        seed=seed,
        limit=limit,
        keep_fakes=keep_fakes,
        workers=workers,
    )
    done = forge_reals(read_reals(reals), output, settings=settings, overwrite=overwrite, sheet=sheet)
    if as_json:
        print_json(done.document)
    else:
        print_forged(done.document)
        print()
        print(f"Manifest: {done.manifest.path.with_suffix('.xlsx')}")
    return FAILED_ITEMS if done.n_failed else 0


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

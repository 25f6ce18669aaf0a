"""`faceauth prepare`: from sources to a manifest of crops, balanced, split by group and audited.

find sources, collect faces, drop duplicates, group, balance, split, place crops, record, audit: in this order
"""

import dataclasses
import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from faceauth.console import progress
from faceauth.errors import InputError, UsageError
from faceauth.files import write_json
from faceauth.intake.counts import NewImages, count_rows, n_failed
from faceauth.intake.manifest import (
    FAILED_STATUSES,
    OK,
    PARQUET_NAME,
    SURPLUS,
    XLSX_NAME,
    Manifest,
    ManifestRow,
    edited_by_hand,
    read_manifest,
    write_manifest,
)
from faceauth.intake.pipeline.collect import collect_faces
from faceauth.intake.pipeline.engine import CollectedBatch, CollectSettings, Engine, load_engine
from faceauth.intake.pipeline.places import clear_moved_crops, destination_of, place_crops
from faceauth.intake.pipeline.publish import open_destination, outside, publish
from faceauth.intake.pipeline.store import (
    LOCK_NAME,
    STORE_NAME,
    clear_drafts,
    empty_store,
    refuse_links,
)
from faceauth.intake.sources.find import find_sources
from faceauth.intake.sources.source_file import SourceFile
from faceauth.intake.sources.video_sampling import VideoSampling, expand_videos
from faceauth.labels import CLASSES, SPLITS
from faceauth.locks import hold_alone
from faceauth.shortcuts.shortcuts import describe_ruler
from faceauth.splits.assign import (
    OFFICIAL,
    Ratios,
    SplitShares,
    assign_splits,
    describe_splits,
    official_splits,
    refuse_without_official,
)
from faceauth.splits.balance import BALANCE_RULES, choose_balanced
from faceauth.splits.duplicates import (
    DROP,
    count_duplicates,
    drop_look_alikes,
    drop_same_bytes,
    find_alike_rows,
)
from faceauth.splits.groups import Ties, group_rows
from faceauth.splits.people import FaceEmbedder, People, SamePersonSettings, find_people, load_face_embedder
from faceauth.verbs.audit import AUDIT_NAME, Audit, audit_rows, write_audit
from faceauth.versions import installed_versions

log = logging.getLogger(__name__)

PREPARE_NAME = "prepare.json"
MAX_LISTED_FAILURES = 100


@dataclass(frozen=True)
class PrepareSettings:
    """How images become a manifest.

    Attributes:
        layout: Registered name of the layout of the sources; None for plain folders and other sources.
        collect: How faces are found and cut.
        videos: Which frames of each video are taken.
        balance: Registered name of the balance rule.
        duplicates: What becomes of look-alikes of one class: `group` or `drop`, which keeps one of them.
        same_person: How faces of one person are found and tied; None if they are not.
        ratios: Shares of train, val and test; or `official`, for the splits that a data set came with.
        seed: Of the choice and the split.
        engine: Registered name of what does the work.
        workers: Processes that work side by side.
        device: Torch device of the face detection.
    """

    layout: str | None = None
    collect: CollectSettings = field(default_factory=CollectSettings)
    videos: VideoSampling = field(default_factory=VideoSampling)
    balance: str = "generator"
    duplicates: Literal["group", "drop"] = "group"
    same_person: SamePersonSettings | None = None
    ratios: Ratios | Literal["official"] = (0.8, 0.1, 0.1)
    seed: int = 0
    engine: str = "local"
    workers: int = 2
    device: str = "cpu"


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made.

    Attributes:
        manifest: The manifest, as it is read back.
        summary: The content of `prepare.json`.
        audit: What the audit found.
    """

    manifest: Manifest
    summary: dict[str, Any]
    audit: Audit

    @property
    def n_failed(self) -> int:
        """Images that could not be used; a surplus or a duplicate is no failure."""
        return n_failed(self.summary["counts"]["by_status"])


def prepare(
    sources: list[str],
    output: Path,
    *,
    settings: PrepareSettings,
    groups_file: Path | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    destination: UPath | None = None,
) -> Prepared:
    """Prepares sources; a run that was stopped, or more images, cost only what is missing.

    Args:
        sources: See `faceauth.intake.sources.find.find_sources`.
        output: The folder for crops and manifest.
        settings: How.
        groups_file: Names groups.
        limit: At most so many images or videos of each source, for a trial.
        overwrite: Begin anew.
        destination: A remote folder, to which the finished output is brought.

    Returns:
        The manifest, the numbers and the audit.

    Raises:
        FaceAuthError: Sources or settings cannot be used, or not one face was found. In the latter case
            the manifest is written nevertheless, with the reason of each image.
    """
    BALANCE_RULES.get(settings.balance)
    found = find_sources(sources, layout=settings.layout, groups_file=groups_file)
    files = _outside(output, found)
    if settings.ratios == OFFICIAL:
        refuse_without_official(files)
    files = expand_videos(_limited(files, limit) if limit else files, settings.videos)
    log.info("%d images of %d sources", len(files), len({(file.target, file.folder) for file in files}))
    if destination is not None:
        files = outside(destination, files)
        open_destination(destination, settings.collect, overwrite=overwrite)
    engine = load_engine(
        settings.engine, settings=settings.collect, device=settings.device, workers=settings.workers
    )
    embed = load_face_embedder(settings.same_person, device=settings.device) if settings.same_person else None
    _refuse_foreign(output)
    with hold_alone(
        output / STORE_NAME / LOCK_NAME,
        what=str(output),
        hint="Wait until it is done, stop it, or choose another --output.",
    ):
        _open_output(output, overwrite=overwrite)
        prepared = _prepare(files, output, settings=settings, engine=engine, embed=embed)
        if destination is not None:
            publish(output, destination, settings.collect)
        return prepared


def _prepare(
    files: list[SourceFile],
    output: Path,
    *,
    settings: PrepareSettings,
    engine: Engine,
    embed: FaceEmbedder | None,
) -> Prepared:
    seconds: dict[str, float] = {}
    with _timed(seconds, "collect"), progress("faces", len(files)) as advance:
        new = NewImages()

        def show(batch: CollectedBatch) -> None:
            new.add(batch)
            advance(len(batch.rows), new.describe())

        rows = collect_faces(files, output, settings=settings.collect, engine=engine, progress=show)
    with _timed(seconds, "group_and_split"):
        rows = drop_same_bytes(rows)
        alike = find_alike_rows(rows)
        people = _find_people(rows, output, settings, embed)
        groups, ties = group_rows(files, rows, alike=alike, same_person=people.first_rows if people else None)
        rows = [
            dataclasses.replace(row, group=group, identity=file.identity)
            for row, group, file in zip(rows, groups, files, strict=True)
        ]
        if not any(row.status == OK for row in rows):
            write_manifest(rows, output)
            raise _no_face_error(rows, output)
        _warn_of_one_class(rows)
        settled = rows
        if settings.duplicates == DROP:
            settled = drop_look_alikes(rows, alike, margin_ratio=settings.collect.crop.margin_ratio)
        duplicates = count_duplicates(rows, settled, alike, handling=settings.duplicates)
        rows, shares = _choose_and_split(settled, files, settings)
    with _timed(seconds, "place_crops"):
        place_crops(rows, output)
    with _timed(seconds, "record"):
        write_manifest(rows, output)
        manifest = read_manifest(output)
        clear_moved_crops(rows, output)
    with _timed(seconds, "audit"):
        audit = audit_rows(manifest.rows, seed=settings.seed)
        write_audit(audit, output)
    summary = _summary(rows, ties, seconds, settings, new=new)
    summary |= {
        "duplicates": dataclasses.asdict(duplicates),
        "same_person": people.to_json() if people else None,
        "splits": shares.to_json(),
    }
    write_json(output / PREPARE_NAME, summary)
    log.info("%s", describe_ruler(audit.shortcuts.to_json()))
    return Prepared(manifest, summary, audit)


def _outside(output: Path, files: list[SourceFile]) -> list[SourceFile]:
    # With --output inside a source, a second run would take the crops of the first for photos.
    folder = output.resolve()
    # A spreadsheet may name a path that cannot be resolved: one with a null character.
    parents = {file.address.path.parent for file in files if "\0" not in file.image_path}
    ours = {parent for parent in parents if parent.resolve().is_relative_to(folder)}
    kept = [file for file in files if file.address.path.parent not in ours]
    if not kept:
        raise InputError(f"All images lie inside {output}.", "Choose an --output outside the source.")
    return kept


def _limited(files: list[SourceFile], limit: int) -> list[SourceFile]:
    taken: Counter[tuple[int, str]] = Counter()
    kept = []
    for file in files:
        taken[file.target, file.folder] += 1
        if taken[file.target, file.folder] <= limit:
            kept.append(file)
    return kept


def _refuse_foreign(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file.", "Give a folder as --output.")
    if output.exists() and not (output / STORE_NAME).is_dir() and any(output.iterdir()):
        raise UsageError(
            f"{output} is not empty and was not made by `faceauth prepare`.", "Choose another --output."
        )
    refuse_links(output)


def _open_output(output: Path, *, overwrite: bool) -> None:
    if not overwrite and edited_by_hand(output):
        raise UsageError(
            f"{output / XLSX_NAME} was edited, and preparing again would undo that.",
            "Choose another --output, or give up the edits with --overwrite.",
        )
    clear_drafts(output)
    if overwrite:
        for split in SPLITS:
            shutil.rmtree(output / split, ignore_errors=True)
        for name in (XLSX_NAME, PARQUET_NAME, AUDIT_NAME, PREPARE_NAME):
            (output / name).unlink(missing_ok=True)
        empty_store(output)


def _find_people(
    rows: list[ManifestRow], output: Path, settings: PrepareSettings, embed: FaceEmbedder | None
) -> People | None:
    if embed is None or settings.same_person is None:
        return None
    return find_people(
        rows, output, embed=embed, collect=settings.collect, min_cosine=settings.same_person.min_cosine
    )


def _no_face_error(rows: list[ManifestRow], output: Path) -> InputError:
    counts = ", ".join(f"{n} {status}" for status, n in Counter(row.status for row in rows).items())
    return InputError(
        f"Not one face could be taken from {len(rows)} images: {counts}.",
        f"First reason: {rows[0].image_path}: {rows[0].reason}. {output / XLSX_NAME} has all. "
        "For images that are face crops already use --face-detector whole.",
    )


def _warn_of_one_class(rows: list[ManifestRow]) -> None:
    missing = [
        label for label in CLASSES if not any(row.status == OK and row.target_class == label for row in rows)
    ]
    if missing:
        log.warning(
            "there are no %s faces: such a manifest can be scored, but nothing can be trained or measured "
            "on it",
            missing[0],
        )


def _choose_and_split(
    rows: list[ManifestRow], files: list[SourceFile], settings: PrepareSettings
) -> tuple[list[ManifestRow], SplitShares]:
    good = [i for i, row in enumerate(rows) if row.status == OK]
    keep = choose_balanced([rows[i] for i in good], rule=settings.balance, seed=settings.seed)
    chosen = [i for i, kept in zip(good, keep, strict=True) if kept]
    to_split = [rows[i] for i in chosen]
    if settings.ratios == OFFICIAL:
        splits = official_splits(to_split, [files[i] for i in chosen])
    else:
        splits = assign_splits(to_split, ratios=settings.ratios, seed=settings.seed)
    shares = describe_splits(to_split, splits, ratios=settings.ratios)
    rows = list(rows)
    for i, kept in zip(good, keep, strict=True):
        if not kept:
            rows[i] = dataclasses.replace(
                rows[i], status=SURPLUS, reason=f"left out by --balance {settings.balance}"
            )
    for i, split in zip(chosen, splits, strict=True):
        rows[i] = dataclasses.replace(rows[i], split=split, destination_path=destination_of(rows[i], split))
    return rows, shares


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - started, 3)


def _summary(
    rows: list[ManifestRow],
    ties: Ties,
    seconds: dict[str, float],
    settings: PrepareSettings,
    *,
    new: NewImages,
) -> dict[str, Any]:
    failures = [row for row in rows if row.status in FAILED_STATUSES]
    return {
        "counts": count_rows(rows),
        "groups": {"n": len({row.group for row in rows}), "tied": dataclasses.asdict(ties)},
        "rates": {
            "images_new": new.n,
            "images_per_s": round(new.n / seconds["collect"], 2) if new.n and seconds["collect"] else None,
        },
        "new_images": new.to_json(),
        "seconds": seconds,
        "versions": installed_versions(),
        "settings": dataclasses.asdict(settings),
        "failures": [
            {"image_path": row.image_path, "status": row.status, "reason": row.reason}
            for row in failures[:MAX_LISTED_FAILURES]
        ],
        "failures_not_listed": max(0, len(failures) - MAX_LISTED_FAILURES),
    }

"""`faceauth forge`: a prepared folder with fakes that were made from its own reals.

bring crops along, find faces, pair people off, forge, drop leaks, merge groups, record, audit: in this order
"""

import csv
import hashlib
import io
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from faceauth.console import progress
from faceauth.errors import InputError, UsageError
from faceauth.files import read_json, whole_file, whole_folder, write_json
from faceauth.forgeries.forge import FORGERIES, Portrait, forge_crop, rng_of
from faceauth.forgeries.partners import choose_other, pair_groups
from faceauth.forgeries.reals import RealCrop, look_at_reals
from faceauth.forgeries.rows import (
    MadeForgery,
    bring_along,
    drop_look_alikes_across,
    group_of,
    merge_groups,
    read_crop,
    row_of_forgery,
    save_crop,
)
from faceauth.forgeries.sheet import SHOWN_PER_METHOD, draw_sheet
from faceauth.intake.counts import count_rows
from faceauth.intake.faces.face import FaceDetector, load_face_detector
from faceauth.intake.manifest import (
    DUPLICATE,
    NO_FACE,
    OK,
    TOO_SMALL,
    UNREADABLE,
    Manifest,
    ManifestRow,
    newest_of_pair,
    read_manifest,
    write_manifest,
)
from faceauth.intake.pipeline.collect import FORGED_KEY, SETTINGS_NAME, collected_with
from faceauth.intake.pipeline.store import STORE_NAME
from faceauth.labels import REAL
from faceauth.splits.leaks import refuse_leaks
from faceauth.verbs.audit import audit_manifest, write_audit
from faceauth.verbs.prepare import PREPARE_NAME
from faceauth.versions import installed_versions

log = logging.getLogger(__name__)

TABLE_NAME = "forgeries.csv"
# Why a forgery was not made, besides what may be wrong with the crop.
NO_PARTNER, UNCHANGED, LOOK_ALIKE = "no_partner", "unchanged", "look_alike"
FAILURES = (NO_FACE, TOO_SMALL, UNREADABLE)
SKIP_REASONS = (*FAILURES, NO_PARTNER, UNCHANGED, DUPLICATE, LOOK_ALIKE)
_BATCH = 32


@dataclass(frozen=True)
class ForgeSettings:
    """What is forged, and how often.

    Attributes:
        methods: Names in `FORGERIES`, each once; empty for all.
        per_real: Forgeries of each real by each method.
        seed: Another seed draws otherwise.
        limit: At most so many reals of each collection are forged; None for all.
        keep_fakes: Whether the fakes of the manifest come along.
        workers: Threads.
    """

    methods: tuple[str, ...] = ()
    per_real: int = 1
    seed: int = 0
    limit: int | None = None
    keep_fakes: bool = True
    workers: int = 2


@dataclass(frozen=True)
class Forged:
    """What `forge` made.

    Attributes:
        manifest: The new manifest, as it is read back.
        document: What stands under `forged` in the new folder's `prepare.json`.
    """

    manifest: Manifest
    document: dict[str, Any]

    @property
    def n_failed(self) -> int:
        """Reals that could not be forged by every method, because of what is wrong with their crops."""
        return sum(self.document["reals"][status] for status in FAILURES)


@dataclass(frozen=True)
class _Tried:
    """What came of one real: forgeries, and by method how many were not made and why."""

    made: tuple[MadeForgery, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


def read_reals(path: Path) -> Manifest:
    """Reads the manifest of a prepared folder whose reals are to be forged.

    Raises:
        UsageError: It is a folder of photographs, or not there.
        ManifestError: As for `read_manifest`.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist.", "Give a prepared folder, or a manifest file.")
    if path.is_dir():
        try:
            newest_of_pair(path)
        except InputError as error:
            raise UsageError(
                f"{path} is no prepared folder: it has no manifest.",
                f"Find and crop the faces first: faceauth prepare real:photos={path} --output prepared/",
            ) from error
    return read_manifest(path)


def forge(
    manifest: Manifest,
    output: Path,
    *,
    settings: ForgeSettings,
    overwrite: bool = False,
    sheet: Path | None = None,
) -> Forged:
    """Writes a prepared folder of reals and of forgeries of them, whole or not at all.

    Args:
        manifest: A manifest without leaks, whose crops are there.
        output: The new folder.
        settings: What is forged.
        overwrite: Replace a folder that was forged before.
        sheet: Where to draw a few forgeries of each method, a `.png`; None for nowhere.

    Raises:
        UnknownNameError: There is no such method.
        UsageError: The output is in the way or is the manifest's own folder, or the sheet is no PNG.
        InputError: The manifest leaks or has no usable reals, or not one forgery could be made.
    """
    methods = tuple(dict.fromkeys(settings.methods)) or tuple(FORGERIES.names())
    for method in methods:
        FORGERIES.get(method)
    _check_places(output, manifest, overwrite=overwrite, sheet=sheet)
    chosen = _choose(manifest, settings.limit)
    refuse_leaks(manifest)
    with whole_folder(output) as draft:
        brought = [
            (row.destination_path, bring_along(manifest, row, draft))
            for row in manifest.rows
            if row.target == REAL or settings.keep_fakes
        ]
        reals = look_at_reals(
            [
                RealCrop(row, draft / row.destination_path)
                for path, row in brought
                if path in chosen and row.target == REAL and row.status == OK
            ],
            _load_detector(methods),
            min_confidence=collected_with(manifest.root).min_confidence,
            workers=settings.workers,
        )
        rows = _without_unreadable([row for _, row in brought], reals)
        tried = list(_forge_all(reals, draft, methods, settings))
        made = [forgery for part in tried for forgery in part.made]
        skipped = Counter(skip for part in tried for skip in part.skipped)
        rows, made, dropped = drop_look_alikes_across(rows, made)
        for forgery in dropped:
            (draft / forgery.row.destination_path).unlink()
            skipped[forgery.method, LOOK_ALIKE] += 1
        if not made:
            raise _nothing_made_error(manifest, skipped)
        rows, n_merged = merge_groups(rows, made)
        write_manifest(rows, draft)
        _write_table(draft / TABLE_NAME, made)
        document = _describe(manifest, reals, made, skipped, methods, settings)
        document["n_groups_merged"] = n_merged
        _record(draft, manifest, rows, document)
        write_audit(audit_manifest(read_manifest(draft), seed=settings.seed), draft)
    if sheet is not None:
        draw_sheet(_shown(made, methods, output), sheet)
    return Forged(read_manifest(output), document)


def _check_places(output: Path, manifest: Manifest, *, overwrite: bool, sheet: Path | None) -> None:
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UsageError(f"{sheet} does not end in .png.", "Give --sheet a PNG file, such as sheet.png.")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file.", "Give a folder as --output.")
    if output.resolve() == manifest.root.resolve():
        raise UsageError(f"{output} holds the crops that were to be forged.", "Choose another --output.")
    if not output.exists() or not any(output.iterdir()):
        return
    settings = output / STORE_NAME / SETTINGS_NAME
    if not settings.is_file() or FORGED_KEY not in read_json(settings):
        raise UsageError(
            f"{output} is not empty and was not made by `faceauth forge`.", "Choose another --output."
        )
    if not overwrite:
        raise UsageError(f"{output} has forgeries already.", "Replace them with --overwrite.")


def _choose(manifest: Manifest, limit: int | None) -> set[str]:
    """Returns the destination paths of the reals that are forged: by their hashes, whatever their order."""
    found = defaultdict(list)
    for row in manifest.rows:
        if row.target == REAL and row.status == OK and row.split:
            found[row.folder].append((row.sha256, row.destination_path))
    if not found:
        raise InputError(
            f"{manifest.path} has no usable reals.", "Forgeries are made from real faces that are in a split."
        )
    return {path for keys in found.values() for _, path in sorted(keys)[:limit]}


def _load_detector(methods: Sequence[str]) -> FaceDetector | None:
    needed = any(FORGERIES.get(method).needs_landmarks for method in methods)
    return load_face_detector("mtcnn") if needed else None


def _without_unreadable(rows: list[ManifestRow], reals: Sequence[RealCrop]) -> list[ManifestRow]:
    """Takes crops that could not be decoded out of the splits, as whoever trained on them would fail."""
    broken = {real.row.destination_path: real.path for real in reals if real.status == UNREADABLE}
    for path in broken.values():
        path.unlink()
    return [
        replace(row, status=UNREADABLE, reason="the crop cannot be decoded", split="", destination_path="")
        if row.destination_path in broken
        else row
        for row in rows
    ]


def _forge_all(
    reals: Sequence[RealCrop], folder: Path, methods: Sequence[str], settings: ForgeSettings
) -> Iterator[_Tried]:
    usable = [real for real in reals if real.status in (OK, NO_FACE)]
    candidates = _candidates(usable) if any(FORGERIES.get(name).needs_other for name in methods) else {}

    def forge_one(real: RealCrop) -> _Tried:
        own = candidates.get((real.row.split, group_of(real.row)), [])
        return _forge_real(real, own, folder, methods, settings)

    yield _Tried(skipped=tuple((name, real.status) for real in reals for name in methods if not real.key))
    iterator = iter(usable)
    with (
        ThreadPoolExecutor(max(1, settings.workers)) as pool,
        progress("forgeries", len(usable)) as advance,
    ):
        while batch := list(islice(iterator, _BATCH)):
            yield from pool.map(forge_one, batch)
            advance(len(batch))


def _candidates(reals: Sequence[RealCrop]) -> dict[tuple[str, str], list[RealCrop]]:
    """Returns, for each split and group, the crops of the groups that it swaps with."""
    with_face = [real for real in reals if real.features is not None]
    members = defaultdict(list)
    for real in with_face:
        members[real.row.split, group_of(real.row)].append(real)
    return {
        (split, group): [real for name in names for real in members[split, name]]
        for (split, group), names in pair_groups(with_face).items()
    }


def _forge_real(
    real: RealCrop,
    candidates: Sequence[RealCrop],
    folder: Path,
    methods: Sequence[str],
    settings: ForgeSettings,
) -> _Tried:
    crop = read_crop(real.path)
    made: list[MadeForgery] = []
    skipped: list[tuple[str, str]] = []
    seen = {hashlib.sha256(crop.tobytes()).digest(): UNCHANGED}
    for method in methods:
        part = FORGERIES.get(method)
        if part.needs_landmarks and real.landmarks is None:
            skipped.append((method, real.status))
            continue
        for number in range(settings.per_real):
            other = None
            if part.needs_other:
                rng = rng_of(real.key, f"{method} with", seed=settings.seed, number=number)
                other = choose_other(real, candidates, rng)
                if other is None:
                    skipped.append((method, NO_PARTNER))
                    continue
            forged = forge_crop(
                crop,
                method,
                rng_of(real.key, method, seed=settings.seed, number=number),
                landmarks=real.landmarks,
                other=None if other is None else Portrait(read_crop(other.path), other.landmarks),
            )
            pixels = hashlib.sha256(forged.tobytes()).digest()
            if pixels in seen:
                skipped.append((method, seen[pixels]))
                continue
            seen[pixels] = DUPLICATE
            row = _store(forged, real.row, other.row if other else None, method, folder)
            made.append(MadeForgery(row, method, number, real.row, other.row if other else None))
    return _Tried(tuple(made), tuple(skipped))


def _store(
    crop_rgb_uint8: np.ndarray, real: ManifestRow, other: ManifestRow | None, method: str, folder: Path
) -> ManifestRow:
    stream = io.BytesIO()
    save_crop(crop_rgb_uint8, stream)
    content = stream.getvalue()
    row = row_of_forgery(real, other, method, crop_rgb_uint8, hashlib.sha256(content).hexdigest())
    with whole_file(folder / row.destination_path) as draft:
        draft.write_bytes(content)
    return row


def _nothing_made_error(manifest: Manifest, skipped: Counter[tuple[str, str]]) -> InputError:
    reasons = Counter[str]()
    for (_, reason), n in skipped.items():
        reasons[reason] += n
    counts = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
    return InputError(
        f"Not one forgery could be made from the reals of {manifest.path}: {counts}.",
        "Faces must be found in the crops; --method reconstruct needs none.",
    )


def _write_table(path: Path, made: Sequence[MadeForgery]) -> None:
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("destination_path", "method", "number", "real_path", "other_path"))
        for forgery in made:
            other = forgery.other.destination_path if forgery.other else ""
            real = forgery.real.destination_path
            writer.writerow((forgery.row.destination_path, forgery.method, forgery.number, real, other))


def _describe(
    manifest: Manifest,
    reals: Sequence[RealCrop],
    made: Sequence[MadeForgery],
    skipped: Mapping[tuple[str, str], int],
    methods: Sequence[str],
    settings: ForgeSettings,
) -> dict[str, Any]:
    n_made = Counter(forgery.method for forgery in made)
    statuses = Counter(real.status for real in reals)
    return {
        "of_manifest_sha256": manifest.sha256,
        "seed": settings.seed,
        "per_real": settings.per_real,
        "keep_fakes": settings.keep_fakes,
        "reals": {"n": len(reals), **{status: statuses[status] for status in (OK, *FAILURES)}},
        "methods": {
            method: {
                "n_made": n_made[method],
                "n_skipped": {reason: skipped.get((method, reason), 0) for reason in SKIP_REASONS},
            }
            for method in methods
        },
    }


def _record(folder: Path, manifest: Manifest, rows: Sequence[ManifestRow], document: dict[str, Any]) -> None:
    settings = manifest.root / STORE_NAME / SETTINGS_NAME
    kept = read_json(settings) if settings.is_file() else asdict(collected_with(manifest.root))
    write_json(folder / STORE_NAME / SETTINGS_NAME, {**kept, FORGED_KEY: True})
    of_source = manifest.root / PREPARE_NAME
    summary = read_json(of_source) if of_source.is_file() else {}
    write_json(
        folder / PREPARE_NAME,
        {**summary, "counts": count_rows(rows), "versions": installed_versions(), FORGED_KEY: document},
    )


def _shown(
    made: Sequence[MadeForgery], methods: Sequence[str], folder: Path
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Returns a few pairs of original and forgery for each method, the collections in turns."""
    turns: Counter[tuple[str, str]] = Counter()
    placed = []
    for forgery in sorted(made, key=lambda forgery: forgery.row.sha256):
        turns[forgery.method, forgery.real.folder] += 1
        placed.append((turns[forgery.method, forgery.real.folder], forgery.real.folder, forgery))
    placed.sort(key=lambda item: item[:2])
    shown: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {method: [] for method in methods}
    for _, _, forgery in placed:
        pairs = shown[forgery.method]
        if len(pairs) < SHOWN_PER_METHOD:
            paths = (forgery.real.destination_path, forgery.row.destination_path)
            pairs.append((read_crop(folder / paths[0]), read_crop(folder / paths[1])))
    return shown

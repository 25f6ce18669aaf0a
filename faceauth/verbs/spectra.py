"""`faceauth spectra`: the average spectrum of every source, and the peaks that generators leave in it."""

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceauth.clusters.embeddings import source_names
from faceauth.clusters.spectra import Moments, average_spectra
from faceauth.clusters.spectra_document import (
    CROPS,
    NATIVE,
    SourceSpectra,
    describe_spectra,
    write_spectra,
)
from faceauth.clusters.spectra_figures import draw_spectra_figures
from faceauth.clusters.spectral_patches import KINDS, MISSING, SMALL, PatchSource, measure_patches
from faceauth.console import progress
from faceauth.errors import ManifestError, UsageError, did_you_mean
from faceauth.intake.faces.crop import square_around
from faceauth.intake.manifest import OK, Manifest, ManifestRow, read_manifest
from faceauth.intake.pipeline.collect import collected_with
from faceauth.intake.sources.address import Address, split_fragment
from faceauth.intake.sources.remote import is_url, path_of
from faceauth.labels import ID2LABEL

log = logging.getLogger(__name__)

BOTH = "both"
ALL = "all"
# A whole number of bins for every frequency that is a multiple of 1/16.
PATCH_STEP_PX = 16
SMALLEST_PATCH_PX = 32
LARGEST_PATCH_PX = 1024
USUAL_PATCHES_PX = (256, 128, 64, 32)
PICTURES_AT_ONCE = 32


@dataclass(frozen=True)
class SpectraSettings:
    """How spectra are measured.

    Attributes:
        on: `pixels`, `residuals` or `both`.
        native: Patches of the source images, without resampling; False takes the prepared crops. None takes
            the source images if any of them is still there.
        patch_px: Side of the patches; None chooses it.
        limit: At most so many rows of each source, taken evenly; None for all.
        workers: Processes that read beside this one.
    """

    on: str = BOTH
    native: bool | None = None
    patch_px: int | None = None
    limit: int | None = None
    workers: int = 2


DEFAULT_SPECTRA = SpectraSettings()


def spectra(
    manifest_path: Path, output: Path, *, split: str = ALL, settings: SpectraSettings = DEFAULT_SPECTRA
) -> dict[str, Any]:
    """Measures the average spectrum of every source and searches it for peaks.

    Writes `spectra.json`, `spectra.npz` and figures. Sums run in one order, whatever the number of workers.

    Args:
        manifest_path: A prepared folder or manifest file.
        output: Where results go.
        split: `train`, `val`, `test`, or `all` for every row with a crop that is in a split.
        settings: How spectra are measured.

    Returns:
        The document of `spectra.json`.

    Raises:
        FaceAuthError: The manifest cannot be used, no picture could be read, or a setting is not allowed.
    """
    kinds = _kinds(settings.on)
    _check_patch(settings.patch_px)
    manifest = read_manifest(manifest_path)
    rows_by_source = _rows_by_source(manifest, split, settings.limit)
    is_native = _is_native(manifest, rows_by_source) if settings.native is None else settings.native
    margin_ratio = collected_with(manifest.root).crop.margin_ratio
    rows = [row for rows in rows_by_source.values() for row in rows]
    if settings.patch_px:
        patch_px = settings.patch_px
    elif is_native:
        patch_px = _native_patch_px(rows_by_source, margin_ratio)
    else:
        patch_px = _crop_patch_px(manifest, rows)
    groups_by_source = {
        key: _groups(rows, manifest, margin_ratio if is_native else None)
        for key, rows in rows_by_source.items()
    }
    with progress("spectra", len(rows)) as advance:
        moments = _measure(groups_by_source, patch_px, kinds, settings.workers, advance)
    sources = [
        SourceSpectra(
            folder,
            target,
            {reason: n for reason, n in sorted(found.left_out.items()) if n},
            average_spectra(found, patch_px=patch_px, kinds=kinds) if found.n else {},
        )
        for (target, folder), found in moments.items()
    ]
    _warn_of_left_out(sources, patch_px)
    if not any(source.n for source in sources):
        reasons = sorted({reason for source in sources for reason in source.left_out})
        hint = "Use --crops." if is_native else "Use a smaller --patch-px, or prepare again."
        raise ManifestError(f"{manifest.path}: no picture could be used ({', '.join(reasons)}).", hint)
    document = describe_spectra(sources, patch_px=patch_px, scale=NATIVE if is_native else CROPS, kinds=kinds)
    document = {"split": split, **document}
    write_spectra(document, sources, output)
    draw_spectra_figures(document, sources, output)
    return document


def count_unreadable(document: dict[str, Any]) -> int:
    """Counts the pictures of a document that were missing, changed or could not be read."""
    left_out = [facts["left_out"] for facts in document["sources"].values()]
    return sum(n for reasons in left_out for reason, n in reasons.items() if reason != SMALL)


def _kinds(on: str) -> tuple[str, ...]:
    if on == BOTH:
        return KINDS
    if on not in KINDS:
        raise UsageError(f"There are no spectra on '{on}'.", did_you_mean(on, [*KINDS, BOTH]))
    return (on,)


def _check_patch(patch_px: int | None) -> None:
    if patch_px is None:
        return
    if not SMALLEST_PATCH_PX <= patch_px <= LARGEST_PATCH_PX or patch_px % PATCH_STEP_PX:
        raise UsageError(
            f"--patch-px is {patch_px}.",
            f"Allowed: multiples of {PATCH_STEP_PX} from {SMALLEST_PATCH_PX} to {LARGEST_PATCH_PX}.",
        )


def _rows_by_source(
    manifest: Manifest, split: str, limit: int | None
) -> dict[tuple[int, str], list[ManifestRow]]:
    """Rows of each source, as {(target, folder): rows}, reals first."""
    rows = (
        [row for row in manifest.rows if row.status == OK and row.split]
        if split == ALL
        else manifest.in_split(split)
    )
    if not rows:
        raise ManifestError(f"{manifest.path} has no usable rows.")
    targets = np.array([row.target for row in rows])
    names = source_names(np.array([row.folder for row in rows], dtype=object), targets)
    by_source: dict[tuple[int, str], list[ManifestRow]] = {}
    for row, name in zip(rows, names, strict=True):
        by_source.setdefault((row.target, name), []).append(row)
    ordered = sorted(by_source.items(), key=lambda item: (-item[0][0], item[0][1]))
    return {key: _evenly(rows, limit) for key, rows in ordered}


def _evenly(rows: list[ManifestRow], limit: int | None) -> list[ManifestRow]:
    if limit is None or limit >= len(rows):
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, limit).round().astype(int)]


def _is_native(manifest: Manifest, rows_by_source: dict[tuple[int, str], list[ManifestRow]]) -> bool:
    """Whether any source image is still where it was; says so if not."""
    for rows in rows_by_source.values():
        for row in rows:
            try:
                if row.image_path and _address_of(row, manifest).path.is_file():
                    return True
            except (OSError, ValueError):
                continue
    log.warning(
        "none of the source images is where the manifest says; the prepared crops are measured, in which "
        "resampling has moved and smeared every peak"
    )
    return False


def _native_patch_px(rows_by_source: dict[tuple[int, str], list[ManifestRow]], margin_ratio: float) -> int:
    """The largest usual patch that lies in half of the faces, or more, of every source."""
    for patch_px in USUAL_PATCHES_PX:
        shares = []
        for rows in rows_by_source.values():
            sides = [side for row in rows if (side := _face_side(row, margin_ratio)) is not None]
            if sides:
                shares.append(np.mean([side >= patch_px for side in sides]))
        if not shares or min(shares) >= 0.5:
            return patch_px
    return SMALLEST_PATCH_PX


def _face_side(row: ManifestRow, margin_ratio: float) -> int | None:
    if row.width is None or row.height is None:
        return None
    box_xyxy = row.box or (0.0, 0.0, float(row.width), float(row.height))
    x1, _, x2, _ = square_around(box_xyxy, width=row.width, height=row.height, margin_ratio=margin_ratio)
    return x2 - x1


def _crop_patch_px(manifest: Manifest, rows: list[ManifestRow]) -> int:
    """As much of the crops as there is; all have the size of the first one that opens."""
    for row in rows:
        try:
            with Image.open(manifest.crop_path(row)) as crop:
                side = min(*crop.size, LARGEST_PATCH_PX)
        except (OSError, ValueError):
            continue
        return max(SMALLEST_PATCH_PX, side // PATCH_STEP_PX * PATCH_STEP_PX)
    return SMALLEST_PATCH_PX


def _groups(
    rows: list[ManifestRow], manifest: Manifest, margin_ratio: float | None
) -> list[list[PatchSource]]:
    """Where the patches of a source come from, group by group; without a margin from the crops."""
    groups: dict[str, list[PatchSource]] = {}
    for i, row in enumerate(rows):
        patch = (
            PatchSource(Address(manifest.crop_path(row)))
            if margin_ratio is None
            else PatchSource(_address_of(row, manifest), row.box, margin_ratio, row.sha256)
        )
        # No name of a group holds a null character.
        groups.setdefault(row.group or f"\0{i}", []).append(patch)
    return list(groups.values())


def _address_of(row: ManifestRow, manifest: Manifest) -> Address:
    place, time_s, number = split_fragment(row.image_path)
    return Address(path_of(place) if is_url(place) else manifest.root / place, time_s, number)


def _batches(
    groups_by_source: dict[tuple[int, str], list[list[PatchSource]]],
) -> Iterator[tuple[tuple[int, str], list[list[PatchSource]]]]:
    """Whole groups of one source, of some pictures together; the same for any number of workers."""
    for key, groups in groups_by_source.items():
        batch: list[list[PatchSource]] = []
        for group in groups:
            batch.append(group)
            if sum(map(len, batch)) >= PICTURES_AT_ONCE:
                yield key, batch
                batch = []
        if batch:
            yield key, batch


def _measure(
    groups_by_source: dict[tuple[int, str], list[list[PatchSource]]],
    patch_px: int,
    kinds: tuple[str, ...],
    workers: int,
    advance: Callable[..., None],
) -> dict[tuple[int, str], Moments]:
    moments = {key: Moments() for key in groups_by_source}
    with closing(_measured(groups_by_source, patch_px, kinds, workers)) as measured:
        for key, found in measured:
            moments[key].merge(found)
            advance(found.n + sum(found.left_out.values()))
    return moments


def _measured(
    groups_by_source: dict[tuple[int, str], list[list[PatchSource]]],
    patch_px: int,
    kinds: tuple[str, ...],
    workers: int,
) -> Generator[tuple[tuple[int, str], Moments]]:
    """Yields the sums of each batch in order."""
    if workers == 0:
        for key, batch in _batches(groups_by_source):
            yield key, measure_patches(batch, patch_px, kinds)
        return
    # A fresh interpreter for each worker: a forked one may hang in libraries that have started threads.
    # Ctrl-C reaches all processes; only this one answers it.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        pending: deque[tuple[tuple[int, str], Future[Moments]]] = deque()
        for key, batch in _batches(groups_by_source):
            pending.append((key, pool.submit(measure_patches, batch, patch_px, kinds)))
            # Few batches ahead, so that results do not pile up.
            if len(pending) > 2 * workers:
                first, result = pending.popleft()
                yield first, result.result()
        for first, result in pending:
            yield first, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _warn_of_left_out(sources: list[SourceSpectra], patch_px: int) -> None:
    meanings = {SMALL: f"with a face below {patch_px} px", MISSING: "missing"}
    for source in sources:
        if source.left_out:
            parts = [f"{n} {meanings.get(reason, reason)}" for reason, n in source.left_out.items()]
            log.info("%s: %d measured; left out: %s", source.folder, source.n, ", ".join(parts))
        if source.n == 0:
            log.warning("%s: no picture could be used", source.folder)


def format_peaks(document: dict[str, Any], *, at_most: int = 4) -> list[list[str]]:
    """Writes the strongest peaks and lines of each source as cells of a table.

    Args:
        document: What `spectra` returned.
        at_most: Peaks, and lines, of each source.

    Returns:
        Cells of class, source, n, kind, frequency, fraction, decibels, z, and what is to be known of it.
    """
    table = []
    for folder, facts in document["sources"].items():
        head = [ID2LABEL[facts["target"]], folder, f"{facts['n']:,}"]
        if facts["peaks"] is None:
            table.append([*head, "", "", "", "", "", facts["reason"]])
            continue
        shown = [*facts["peaks"][:at_most], *facts["lines"][:at_most]]
        n_more = len(facts["peaks"]) + len(facts["lines"]) - len(shown)
        if not facts["peaks"]:
            limits = [f"{limit['height_db']:.1f} dB on {kind}" for kind, limit in facts["limits"].items()]
            table.append([*head, "", "", "", "", "", f"no peak above {', '.join(limits)}"])
        for entry in shown:
            grid = "on JPEG's grid; " if entry["on_jpeg_grid"] else ""
            table.append(
                [
                    *head,
                    entry["kind"],
                    _frequency(entry),
                    entry["fraction"] or "-",
                    f"{entry['height_db']:.1f}",
                    f"{entry['z']:.1f}",
                    f"{grid}reals at most {entry['highest_real_db']:.1f} dB ({entry['highest_real']})",
                ]
            )
        if n_more:
            table.append([*head, "", "", "", "", "", f"and {n_more} more in spectra.json"])
    return table


def _frequency(entry: dict[str, Any]) -> str:
    if "axis" not in entry:
        return f"{entry['fx']:.3f}, {entry['fy']:.3f}"
    return f"{entry['frequency']:.3f}, any" if entry["axis"] == "x" else f"any, {entry['frequency']:.3f}"

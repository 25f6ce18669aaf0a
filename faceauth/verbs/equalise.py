"""`faceauth audit --equalise`: a second prepared folder, whose crops were all brought through one chain.

choose the chain, treat every crop, record, audit, and measure what remains: in this order
"""

import hashlib
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceauth.console import progress
from faceauth.errors import InputError, UsageError
from faceauth.files import read_json, whole_file, whole_folder, write_json
from faceauth.intake.counts import count_rows
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.equal import JPEG_SUBSAMPLING, Chain, equalise_crop, own_side_px
from faceauth.intake.faces.looks import look_of
from faceauth.intake.manifest import (
    OK,
    SURPLUS,
    UNREADABLE,
    Manifest,
    ManifestRow,
    read_manifest,
    write_manifest,
)
from faceauth.intake.pipeline.collect import EQUALISED_KEY, SETTINGS_NAME, collected_with
from faceauth.intake.pipeline.places import folder_name
from faceauth.intake.pipeline.store import STORE_NAME, crop_name
from faceauth.shortcuts.plain_facts import CROP_FACTS, facts_of_crop
from faceauth.shortcuts.remains import measure_remains
from faceauth.splits.leaks import refuse_leaks
from faceauth.verbs.audit import audit_manifest, write_audit
from faceauth.verbs.prepare import PREPARE_NAME
from faceauth.versions import installed_versions

log = logging.getLogger(__name__)

# Each source loses at most this share of its crops for being too small, and gives all others its detail.
LOST_SHARE = 0.1
# Sides are drawn from this share of the largest up to it.
SMALLEST_SIDE_SHARE = 0.75
MIN_SIDE_PX = 32
_BATCH = 64


@dataclass(frozen=True)
class Equalised:
    """What `equalise` made.

    Attributes:
        manifest: The new manifest, as it is read back.
        document: What stands under `equalised` in the new folder's `prepare.json`.
    """

    manifest: Manifest
    document: dict[str, Any]


@dataclass(frozen=True)
class _Treated:
    """A row after its treatment, and the `CROP_FACTS` of its crop before and after; none if it failed."""

    row: ManifestRow
    before: list[float] | None = None
    after: list[float] | None = None


def equalise(manifest: Manifest, output: Path, *, seed: int = 0, workers: int = 2) -> Equalised:
    """Writes a folder of equalised crops, with manifest and audit, whole or not at all.

    Args:
        manifest: A manifest without leaks, whose crops are there.
        output: The new folder. One that was equalised before is replaced.
        seed: Of what is drawn for each crop, and of the ruler's folds.
        workers: Threads.

    Raises:
        UsageError: The output is in the way or is the manifest's own folder.
        InputError: The manifest leaks, or not one crop is left.
    """
    _check_output(output, manifest)
    refuse_leaks(manifest)
    crop_settings = collected_with(manifest.root)
    chain, smallest = choose_chain(manifest.rows, crop_settings.crop, seed=seed)
    log.info(
        "every crop is scaled down to %d to %d px and back, and saved as JPEG of quality %d to %d once; "
        "%s has the smallest crops and decides the size",
        *chain.side_px,
        *chain.jpeg_quality,
        smallest,
    )
    with whole_folder(output) as draft:
        treated = list(_treat_all(manifest, draft, chain, crop_settings.crop, workers=workers))
        rows = [item.row for item in treated]
        kept = [item for item in treated if item.before is not None and item.after is not None]
        if not kept:
            raise InputError(
                f"Not one crop of {manifest.path} could be equalised.",
                f"First reason: {next((row.reason for row in rows if row.reason), 'there are no crops')}.",
            )
        write_manifest(rows, draft)
        document = _describe(manifest, rows, chain, smallest)
        remains = measure_remains(
            [item.row for item in kept],
            np.array([item.before for item in kept]),
            np.array([item.after for item in kept]),
            names=CROP_FACTS,
            seed=seed,
        )
        document["remains"] = [part.to_json() for part in remains]
        settings = {**asdict(crop_settings), EQUALISED_KEY: {"chain": asdict(chain)}}
        write_json(draft / STORE_NAME / SETTINGS_NAME, settings)
        write_json(draft / PREPARE_NAME, _summary(manifest, rows, document))
        write_audit(audit_manifest(read_manifest(draft), seed=seed), draft)
    return Equalised(read_manifest(output), document)


def choose_chain(
    rows: Sequence[ManifestRow], crop_settings: CropSettings, *, seed: int = 0
) -> tuple[Chain, str]:
    """Chooses a chain that nine tenths of the crops of every source can go through.

    Args:
        rows: A manifest's rows; only usable ones with a split count.
        crop_settings: How crops were cut.
        seed: Of what is drawn for each crop.

    Returns:
        The chain, and the source whose crops are the smallest and so decide the size.
    """
    sides = defaultdict(list)
    for row in rows:
        if row.status == OK and row.split:
            own = own_side_px(row, crop_settings)
            sides[row.folder].append(crop_settings.image_size if own is None else own)
    if not sides:
        raise InputError("The manifest has no usable rows.", "Prepare images that have faces.")
    # The lower of two neighbours, so that no more than that share lies below it.
    limits = {
        name: int(np.quantile(found, LOST_SHARE, method="lower")) for name, found in sorted(sides.items())
    }
    smallest = min(limits, key=limits.__getitem__)
    largest_px = max(MIN_SIDE_PX, limits[smallest])
    return Chain((math.ceil(SMALLEST_SIDE_SHARE * largest_px), largest_px), seed=seed), smallest


def _check_output(output: Path, manifest: Manifest) -> None:
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file.", "Give a folder to --equalise.")
    if output.resolve() == manifest.root.resolve():
        raise UsageError(f"{output} holds the crops that were to be equalised.", "Choose another folder.")
    if not output.exists() or not any(output.iterdir()):
        return
    settings = output / STORE_NAME / SETTINGS_NAME
    if not settings.is_file() or EQUALISED_KEY not in read_json(settings):
        raise UsageError(
            f"{output} is not empty and was not made by `faceauth audit --equalise`.",
            "Choose another folder.",
        )


def _treat_all(
    manifest: Manifest, draft: Path, chain: Chain, crop_settings: CropSettings, *, workers: int
) -> Iterator[_Treated]:
    def treat(row: ManifestRow) -> _Treated:
        return _treat(row, manifest.crop_path(row), draft, chain, crop_settings)

    iterator = iter(manifest.rows)
    with (
        ThreadPoolExecutor(max(1, workers)) as pool,
        progress("crops", len(manifest.rows)) as advance,
    ):
        while batch := list(islice(iterator, _BATCH)):
            yield from pool.map(treat, batch)
            advance(len(batch))


def _treat(row: ManifestRow, path: Path, draft: Path, chain: Chain, crop_settings: CropSettings) -> _Treated:
    if row.status != OK or not row.split:
        return _Treated(replace(row, split="", destination_path=""))
    left_out = replace(row, split="", destination_path="", status=SURPLUS)
    own = own_side_px(row, crop_settings)
    if own is not None and own < chain.side_px[1]:
        reason = f"its crop has {own} px a side of its own; --equalise wants {chain.side_px[1]}"
        return _Treated(replace(left_out, reason=reason))
    try:
        with Image.open(path) as image:
            crop = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        return _Treated(
            replace(left_out, status=UNREADABLE, reason=f"the crop cannot be read: {error}"[:500])
        )
    if own is None and min(crop.shape[:2]) < chain.side_px[1]:
        reason = f"its crop has {min(crop.shape[:2])} px a side; --equalise wants {chain.side_px[1]}"
        return _Treated(replace(left_out, reason=reason))
    equal = equalise_crop(crop, chain)
    key = crop_name(row) if row.sha256 else hashlib.sha256(row.destination_path.encode()).hexdigest()[:32]
    name = f"{row.split}/{row.target_class}/{folder_name(row.folder)}/{key}.png"
    with whole_file(draft / name) as file:
        Image.fromarray(equal).save(file, format="PNG", compress_level=4)
    look = look_of(equal)
    row = replace(row, destination_path=name, **asdict(look))
    return _Treated(row, facts_of_crop(crop, look_of(crop)), facts_of_crop(equal, look))


def _describe(manifest: Manifest, rows: list[ManifestRow], chain: Chain, smallest: str) -> dict[str, Any]:
    was_used = [old.status == OK and bool(old.split) for old in manifest.rows]
    dropped = Counter(row.folder for row, used in zip(rows, was_used, strict=True) if used and not row.split)
    return {
        "of_manifest_sha256": manifest.sha256,
        "side_px": list(chain.side_px),
        "side_set_by": smallest,
        "jpeg_quality": list(chain.jpeg_quality),
        "jpeg_subsampling": JPEG_SUBSAMPLING,
        "seed": chain.seed,
        "n_kept": sum(bool(row.split) for row in rows),
        "n_left_out": dict(sorted(dropped.items())),
    }


def _summary(manifest: Manifest, rows: list[ManifestRow], document: dict[str, Any]) -> dict[str, Any]:
    of_source = manifest.root / PREPARE_NAME
    kept = read_json(of_source) if of_source.is_file() else {}
    return {
        **kept,
        "counts": count_rows(rows),
        "versions": installed_versions(),
        EQUALISED_KEY: document,
    }

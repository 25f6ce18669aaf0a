"""Turns image files into face crops, restartably: decode, find, cut, encode, and write a line in a journal.

Crops and journal lie in a hidden store inside the output folder (`faceauth.intake.store`); where crops go
from there is decided when all are known (`faceauth.verbs.prepare`). A line of the journal is a whole batch. A
run that was stopped goes on with the first batch that is not in it, so that batches, and with them the last
digits of the boxes, are those of a run that was never stopped.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceauth.errors import UsageError
from faceauth.files import read_json, whole_file, write_json
from faceauth.intake.crop import CropSettings, crop_face, perceptual_hash
from faceauth.intake.faces import FaceDetector, main_face, shrink_for_search
from faceauth.intake.images import UnreadableImageError, read_image
from faceauth.intake.looks import look_of
from faceauth.intake.manifest import NO_FACE, OK, TOO_SMALL, UNREADABLE, ManifestRow
from faceauth.intake.sources import SourceFile
from faceauth.intake.store import (
    JOURNAL_NAME,
    STORE_NAME,
    complete_older_rows,
    journal_line,
    read_journal,
    stamp_of,
    stored_crop,
)
from faceauth.labels import ID2LABEL

log = logging.getLogger(__name__)

SETTINGS_NAME = "settings.json"
# In the settings of a folder whose crops were changed after they were cut: none may be added to it.
EQUALISED_KEY = "equalised"
BATCH_FILES = 32
# Larger images are decoded again when their crop is cut, so that a batch of photographs fits in memory.
KEPT_PIXELS = 2_000_000


@dataclass(frozen=True)
class CollectSettings:
    """What decides how a crop looks. Crops made with other settings are never mixed with these.

    Attributes:
        face_detector: Registered name of the face detector.
        min_confidence: Smallest `p_face` that counts as a face, in [0, 1].
        min_face_px: Smallest longer side of a face box in pixels.
        crop: Margin and size of the crop.
    """

    face_detector: str = "mtcnn"
    min_confidence: float = 0.9
    min_face_px: int = 40
    crop: CropSettings = field(default_factory=CropSettings)


@dataclass(frozen=True)
class _Decoded:
    """A file on its way: its row so far, and what the search and the crop need of its pixels."""

    file: SourceFile
    stamp: str
    row: ManifestRow
    search_rgb_uint8: np.ndarray | None = None
    native_rgb_uint8: np.ndarray | None = None


def collect_faces(
    files: list[SourceFile],
    output: Path,
    *,
    settings: CollectSettings,
    detect: FaceDetector,
    workers: int = 2,
    progress: Callable[[int, int, ManifestRow], None] | None = None,
) -> list[ManifestRow]:
    """Finds and crops the main face of every file, or says why there is none.

    Args:
        files: The images, sorted.
        output: The output folder; crops go to its hidden store.
        settings: What decides how crops look.
        detect: The face detector.
        workers: Threads that decode and encode beside the detection.
        progress: Called after each file with the number done, the number of all and the new row.

    Returns:
        One row a file, in the order of `files`, without split, destination and group.

    Raises:
        UsageError: The output folder holds crops made with other settings.
    """
    store = output / STORE_NAME
    _check_settings(store, settings)
    journal = store / JOURNAL_NAME
    done = read_journal(journal)
    stamps = {file: stamp_of(file) for file in files}
    complete_older_rows(files, stamps, done, journal, workers=workers)
    pending = [file for file in files if stamps[file] not in done]
    if len(pending) < len(files):
        log.info("%d of %d files were done before and are kept", len(files) - len(pending), len(files))
    n_done = len(files) - len(pending)
    with journal.open("a", encoding="utf-8") as lines, ThreadPoolExecutor(max(1, workers)) as pool:
        for batch in _decoded_batches(pending, stamps, pool):
            rows = _crop_batch(batch, store, settings, detect, pool)
            lines.write(journal_line([item.stamp for item in batch], rows))
            lines.flush()
            for item, row in zip(batch, rows, strict=True):
                done[item.stamp] = row
                n_done += 1
                if progress:
                    progress(n_done, len(files), row)
    return [done[stamps[file]] for file in files]


def collected_with(output: Path) -> CollectSettings:
    """Returns the settings that a prepared folder's crops were made with; the defaults if it does not say."""
    path = output / STORE_NAME / SETTINGS_NAME
    if not path.exists():
        return CollectSettings()
    kept = read_json(path)
    kept.pop(EQUALISED_KEY, None)
    return CollectSettings(**{**kept, "crop": CropSettings(**kept["crop"])})


def _decoded_batches(
    pending: list[SourceFile], stamps: dict[SourceFile, str], pool: Executor
) -> Iterator[list[_Decoded]]:
    # One batch is decoded while the one before it is searched for faces.
    iterator: Iterable[SourceFile] = iter(pending)

    def submit() -> list[Future[_Decoded]]:
        return [pool.submit(_decode, file, stamps[file]) for file in islice(iterator, BATCH_FILES)]

    ahead = submit()
    while ahead:
        current, ahead = ahead, submit()
        yield [future.result() for future in current]


def _decode(file: SourceFile, stamp: str) -> _Decoded:
    row = ManifestRow(
        image_path=file.image_path,
        destination_path="",
        folder=file.folder,
        split="",
        target_class=ID2LABEL[file.target],
        target=file.target,
    )
    try:
        image = read_image(file.path)
    except UnreadableImageError as error:
        return _Decoded(file, stamp, replace(row, status=UNREADABLE, reason=str(error)[:500]))
    native = image.image_rgb_uint8
    height, width = native.shape[:2]
    row = replace(
        row,
        reason=image.note,
        sha256=image.sha256,
        width=width,
        height=height,
        format=image.format,
        jpeg_quality=image.jpeg_quality,
        jpeg_subsampling=image.jpeg_subsampling,
        n_bytes=image.n_bytes,
    )
    kept = native if height * width <= KEPT_PIXELS else None
    return _Decoded(file, stamp, row, shrink_for_search(native), kept)


def _crop_batch(
    batch: list[_Decoded], store: Path, settings: CollectSettings, detect: FaceDetector, pool: Executor
) -> list[ManifestRow]:
    readable = [item for item in batch if item.search_rgb_uint8 is not None]
    found = detect([item.search_rgb_uint8 for item in readable if item.search_rgb_uint8 is not None])
    rows = {id(item): item.row for item in batch}
    crops: list[tuple[int, Future[dict[str, Any]]]] = []
    for item, faces in zip(readable, found, strict=True):
        face = main_face(faces, min_confidence=settings.min_confidence)
        assert item.search_rgb_uint8 is not None
        assert item.row.width is not None
        if face is None:
            best = max((other.p_face for other in faces), default=0.0)
            reason = (
                f"best p_face {best:.2f} of at least {settings.min_confidence} wanted"
                if faces
                else "none found"
            )
            rows[id(item)] = replace(item.row, status=NO_FACE, reason=reason)
            continue
        face = face.scaled(item.row.width / item.search_rgb_uint8.shape[1])
        x1, y1, x2, y2 = (round(number, 2) for number in face.box_xyxy)
        row = replace(item.row, box=(x1, y1, x2, y2), p_face=round(face.p_face, 6))
        if face.longer_side_px < settings.min_face_px:
            reason = (
                f"the face is {face.longer_side_px:.0f} px long; at least {settings.min_face_px} are wanted"
            )
            rows[id(item)] = replace(row, status=TOO_SMALL, reason=reason)
            continue
        rows[id(item)] = replace(row, status=OK)
        crops.append((id(item), pool.submit(_save_crop, item, (x1, y1, x2, y2), store, settings.crop)))
    for key, crop in crops:
        try:
            rows[key] = replace(rows[key], **crop.result())
        except UnreadableImageError as error:
            rows[key] = replace(rows[key], status=UNREADABLE, reason=str(error)[:500])
    return [rows[id(item)] for item in batch]


def _save_crop(
    item: _Decoded, box_xyxy: tuple[float, float, float, float], store: Path, settings: CropSettings
) -> dict[str, Any]:
    native = item.native_rgb_uint8
    if native is None:
        image = read_image(item.file.path)
        if image.sha256 != item.row.sha256:
            raise UnreadableImageError("the file was changed while it was read")
        native = image.image_rgb_uint8
    crop = crop_face(native, box_xyxy, settings)
    path = stored_crop(store.parent, item.row.sha256)
    if not path.exists():
        with whole_file(path) as draft:
            # One lossless encoding for both classes; level 4 is near the knee of size against time.
            Image.fromarray(crop).save(draft, format="PNG", compress_level=4)
    return {"phash": perceptual_hash(crop), **asdict(look_of(crop))}


def _check_settings(store: Path, settings: CollectSettings) -> None:
    wanted = asdict(settings)
    path = store / SETTINGS_NAME
    if not path.exists():
        write_json(path, wanted)
        return
    kept = read_json(path)
    if EQUALISED_KEY in kept:
        raise UsageError(
            f"{store.parent} holds equalised crops, and no other crops may be mixed with them.",
            "Choose another --output, or begin anew with --overwrite.",
        )
    changed = [name for name in wanted if wanted[name] != kept.get(name)]
    if changed:
        changes = ", ".join(f"{name} was {kept.get(name)} and is {wanted[name]}" for name in changed)
        raise UsageError(
            f"{store.parent} holds crops made with other settings: {changes}.",
            "Choose another --output, or begin anew with --overwrite.",
        )

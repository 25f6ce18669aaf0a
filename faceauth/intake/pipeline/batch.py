"""The work on one batch of files: decode, find the face, cut, encode. Every engine runs this very code."""

import functools
import io
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
from PIL import Image

from faceauth.errors import FaceAuthError
from faceauth.intake.faces.crop import crop_face, perceptual_hash
from faceauth.intake.faces.face import (
    SEARCH_LONG_SIDE_PX,
    Face,
    FaceDetector,
    certain_faces,
    shrink_for_search,
)
from faceauth.intake.faces.looks import look_of
from faceauth.intake.pipeline.engine import CollectedBatch, CollectSettings
from faceauth.intake.pixels.images import SourceImage, UnreadableImageError, decode_image
from faceauth.intake.pixels.reading import read_each
from faceauth.intake.rows import NO_FACE, OK, TOO_SMALL, UNREADABLE, ManifestRow
from faceauth.intake.sources.source_file import SourceFile
from faceauth.labels import ID2LABEL

STAGES = ("decode", "detect", "crop")
# What a batch keeps from decoding to cropping, as pixels or as the bytes of a large JPEG: enough for 32
# frames of a full-HD video. What does not fit is read again.
KEPT_BYTES = 256 * 2**20
MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class Decoded:
    """A file on its way: what the search and the crop need of its pixels.

    Attributes:
        file: The file.
        row: Its row so far.
        search_rgb_uint8: What is searched for faces; None if the file cannot be read.
        decode: Gives all pixels; None if the file must be read again for them.
        kept_bytes: What `decode` keeps in memory.
    """

    file: SourceFile
    row: ManifestRow
    search_rgb_uint8: np.ndarray | None = None
    decode: Callable[[], np.ndarray] | None = None
    kept_bytes: int = 0


def collect_batch(files: list[SourceFile], settings: CollectSettings, detect: FaceDetector) -> CollectedBatch:
    """Finds and crops the main face of every file of a batch, or says why there is none.

    Args:
        files: The files.
        settings: What decides how crops look.
        detect: The face detector.

    Returns:
        The rows and crops.
    """
    started = time.perf_counter()
    batch = decode_each(files)
    decoded = time.perf_counter()
    searched = search_each(batch, detect)
    detected = time.perf_counter()
    done = crop_each(batch, searched, settings)
    return CollectedBatch(
        files=files,
        rows=[row for row, _ in done],
        crops_png=[crop for _, crop in done],
        n_faces=sum(
            face.p_face >= settings.min_confidence
            for seen in searched
            if not isinstance(seen, Exception)
            for face in seen
        ),
        seconds={
            "decode": decoded - started,
            "detect": detected - decoded,
            "crop": time.perf_counter() - detected,
        },
    )


def decode_each(files: list[SourceFile]) -> list[Decoded]:
    """Reads files, each once; keeps of them what `KEPT_BYTES` allows.

    Args:
        files: n files.

    Returns:
        n items, in the same order.
    """
    batch: list[Decoded] = []
    spare_bytes = KEPT_BYTES
    images = read_each([file.address for file in files], draft_side_px=SEARCH_LONG_SIDE_PX)
    for file, image in zip(files, images, strict=True):
        item = decoded(file, image)
        if item.kept_bytes > spare_bytes:
            item = replace(item, decode=None, kept_bytes=0)
        spare_bytes -= item.kept_bytes
        batch.append(item)
    return batch


def search_each(batch: list[Decoded], detect: FaceDetector) -> list[list[Face] | Exception]:
    """Finds the faces of a batch.

    Args:
        batch: n items.
        detect: The face detector.

    Returns:
        n times the faces of an item, none where there are no pixels, or the error that ended the search.
    """
    readable = [item.search_rgb_uint8 for item in batch if item.search_rgb_uint8 is not None]
    found = iter(_detect_each(readable, detect))
    return [[] if item.search_rgb_uint8 is None else next(found) for item in batch]


def crop_each(
    batch: list[Decoded], searched: list[list[Face] | Exception], settings: CollectSettings
) -> list[tuple[ManifestRow, bytes | None]]:
    """Chooses, cuts and encodes the main face of each item of a batch.

    Args:
        batch: n items.
        searched: What `search_each` found in them.
        settings: What decides how crops look.

    Returns:
        n rows, each with its crop as the bytes of a PNG file where its status is `ok`.
    """
    return [_cropped(item, faces, settings) for item, faces in zip(batch, searched, strict=True)]


def cut_each(
    batch: list[Decoded], searched: list[list[Face] | Exception], settings: CollectSettings
) -> list[list[tuple[ManifestRow, np.ndarray | None]]]:
    """Cuts every face of each item of a batch out, the largest first.

    Args:
        batch: n items.
        searched: What `search_each` found in them.
        settings: What decides how crops look.

    Returns:
        For each of n items a row for each of its faces, with its crop (image_size, image_size, 3) uint8 where
        its status is `ok`; one row alone, with the reason, where no face is found.
    """
    return [_cut(item, faces, settings) for item, faces in zip(batch, searched, strict=True)]


def unreadable_row(file: SourceFile, reason: object) -> ManifestRow:
    """Returns the row of a file that cannot be used.

    Args:
        file: The file.
        reason: Why, for people.
    """
    return _unreadable(_row_of(file), reason)


def given_up(file: SourceFile, reason: str) -> CollectedBatch:
    """Returns what became of a file that no process survived.

    Args:
        file: The file.
        reason: Why it cannot be used, for people.
    """
    return CollectedBatch([file], [unreadable_row(file, reason)], [None], 0, dict.fromkeys(STAGES, 0.0))


def joined(batches: list[CollectedBatch]) -> CollectedBatch:
    """Returns as one batch what was done in parts."""
    return CollectedBatch(
        files=[file for batch in batches for file in batch.files],
        rows=[row for batch in batches for row in batch.rows],
        crops_png=[crop for batch in batches for crop in batch.crops_png],
        n_faces=sum(batch.n_faces for batch in batches),
        seconds={stage: sum(batch.seconds[stage] for batch in batches) for stage in STAGES},
    )


def decoded(file: SourceFile, image: SourceImage | UnreadableImageError) -> Decoded:
    """Makes what was read of a file ready for the search.

    Args:
        file: The file.
        image: Its pixels, or the error that says why there are none.
    """
    row = _row_of(file)
    if isinstance(image, UnreadableImageError):
        return Decoded(file, _unreadable(row, image))
    width, height = image.size
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
        frame=image.frame,
        timestamp_s=image.timestamp_s,
    )
    pixels, content = image.image_rgb_uint8, image.content
    search = shrink_for_search(pixels)
    if content is None:
        return Decoded(file, row, search, lambda: pixels, pixels.nbytes)
    return Decoded(file, row, search, lambda: decode_image(content).image_rgb_uint8, len(content))


def _row_of(file: SourceFile) -> ManifestRow:
    return ManifestRow(
        image_path=file.image_path,
        destination_path="",
        folder=file.folder,
        split="",
        target_class=ID2LABEL[file.target],
        target=file.target,
    )


def _unreadable(row: ManifestRow, reason: object) -> ManifestRow:
    return replace(row, status=UNREADABLE, reason=str(reason)[:MAX_REASON_CHARACTERS])


def _detect_each(images_rgb_uint8: list[np.ndarray], detect: FaceDetector) -> list[list[Face] | Exception]:
    try:
        return list(detect(images_rgb_uint8))
    except FaceAuthError:
        raise
    except Exception as error:
        # Whatever one image does to the networks and their memory, it shall not cost the others their rows.
        if len(images_rgb_uint8) == 1:
            return [error]
        return [seen for image in images_rgb_uint8 for seen in _detect_each([image], detect)]


def _cropped(
    item: Decoded, faces: list[Face] | Exception, settings: CollectSettings
) -> tuple[ManifestRow, bytes | None]:
    row, crop = _cut(item, faces, settings, at_most=1)[0]
    if crop is None:
        return row, None
    return replace(row, phash=perceptual_hash(crop), **asdict(look_of(crop))), _png(crop)


def _cut(
    item: Decoded, faces: list[Face] | Exception, settings: CollectSettings, *, at_most: int | None = None
) -> list[tuple[ManifestRow, np.ndarray | None]]:
    row = item.row
    if item.search_rgb_uint8 is None:
        return [(row, None)]
    if isinstance(faces, Exception):
        return [(_unreadable(row, f"the search for faces failed: {type(faces).__name__}: {faces}"), None)]
    assert row.width is not None
    certain = certain_faces(faces, min_confidence=settings.min_confidence)[:at_most]
    if not certain:
        best = max((other.p_face for other in faces), default=0.0)
        reason = (
            f"best p_face {best:.2f} of at least {settings.min_confidence} wanted" if faces else "none found"
        )
        return [(replace(row, status=NO_FACE, reason=reason), None)]
    # All pixels are read when the first face wants them, and once.
    image_rgb_uint8 = functools.cache(lambda: _all_pixels(item))
    factor = row.width / item.search_rgb_uint8.shape[1]
    return [_cut_one(row, face.scaled(factor), image_rgb_uint8, settings) for face in certain]


def _cut_one(
    row: ManifestRow, face: Face, image_rgb_uint8: Callable[[], np.ndarray], settings: CollectSettings
) -> tuple[ManifestRow, np.ndarray | None]:
    x1, y1, x2, y2 = (round(number, 2) for number in face.box_xyxy)
    row = replace(row, box=(x1, y1, x2, y2), p_face=round(face.p_face, 6))
    if face.longer_side_px < settings.min_face_px:
        reason = f"the face is {face.longer_side_px:.0f} px long; at least {settings.min_face_px} are wanted"
        return replace(row, status=TOO_SMALL, reason=reason), None
    try:
        crop = crop_face(image_rgb_uint8(), (x1, y1, x2, y2), settings.crop)
    except UnreadableImageError as error:
        return _unreadable(row, error), None
    return replace(row, status=OK), crop


def _all_pixels(item: Decoded) -> np.ndarray:
    if item.decode is not None:
        return item.decode()
    (image,) = read_each([item.file.address])
    if isinstance(image, UnreadableImageError):
        raise image
    if image.sha256 != item.row.sha256:
        raise UnreadableImageError("the file was changed while it was read")
    return image.image_rgb_uint8


def _png(crop_rgb_uint8: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    # One lossless encoding for both classes. Runs alone, and no search for longer repeats, which photographs
    # hardly have: in half the time of level 4 a file that is 2 % smaller.
    Image.fromarray(crop_rgb_uint8).save(buffer, format="PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()

"""The work on one batch of files: decode, find the face, cut, encode. Every engine runs this very code."""

import io
import time
from dataclasses import asdict, dataclass, replace

import numpy as np
from PIL import Image

from faceauth.intake.crop import CropSettings, crop_face, perceptual_hash
from faceauth.intake.engine import CollectedBatch, CollectSettings
from faceauth.intake.faces import Face, FaceDetector, main_face, shrink_for_search
from faceauth.intake.images import SourceImage, UnreadableImageError
from faceauth.intake.looks import look_of
from faceauth.intake.manifest import NO_FACE, OK, TOO_SMALL, UNREADABLE, ManifestRow
from faceauth.intake.reading import read_each
from faceauth.intake.sources import SourceFile
from faceauth.labels import ID2LABEL

# Larger images are decoded again when their crop is cut, so that a batch of photographs fits in memory.
KEPT_PIXELS = 2_000_000


@dataclass(frozen=True)
class _Decoded:
    """A file on its way: its row so far, and what the search and the crop need of its pixels."""

    file: SourceFile
    row: ManifestRow
    search_rgb_uint8: np.ndarray | None = None
    native_rgb_uint8: np.ndarray | None = None


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
    batch = [
        _decoded(file, image)
        for file, image in zip(files, read_each([file.address for file in files]), strict=True)
    ]
    decoded = time.perf_counter()
    readable = [item.search_rgb_uint8 for item in batch if item.search_rgb_uint8 is not None]
    found = iter(detect(readable))
    faces = [[] if item.search_rgb_uint8 is None else next(found) for item in batch]
    detected = time.perf_counter()
    done = [_cropped(item, seen, settings) for item, seen in zip(batch, faces, strict=True)]
    return CollectedBatch(
        files=files,
        rows=[row for row, _ in done],
        crops_png=[crop for _, crop in done],
        n_faces=sum(face.p_face >= settings.min_confidence for seen in faces for face in seen),
        seconds={
            "decode": decoded - started,
            "detect": detected - decoded,
            "crop": time.perf_counter() - detected,
        },
    )


def _decoded(file: SourceFile, image: SourceImage | UnreadableImageError) -> _Decoded:
    row = ManifestRow(
        image_path=file.image_path,
        destination_path="",
        folder=file.folder,
        split="",
        target_class=ID2LABEL[file.target],
        target=file.target,
    )
    if isinstance(image, UnreadableImageError):
        return _Decoded(file, replace(row, status=UNREADABLE, reason=str(image)[:500]))
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
        frame=image.frame,
        timestamp_s=image.timestamp_s,
    )
    kept = native if height * width <= KEPT_PIXELS else None
    return _Decoded(file, row, shrink_for_search(native), kept)


def _cropped(
    item: _Decoded, faces: list[Face], settings: CollectSettings
) -> tuple[ManifestRow, bytes | None]:
    row = item.row
    if item.search_rgb_uint8 is None:
        return row, None
    assert row.width is not None
    face = main_face(faces, min_confidence=settings.min_confidence)
    if face is None:
        best = max((other.p_face for other in faces), default=0.0)
        reason = (
            f"best p_face {best:.2f} of at least {settings.min_confidence} wanted" if faces else "none found"
        )
        return replace(row, status=NO_FACE, reason=reason), None
    face = face.scaled(row.width / item.search_rgb_uint8.shape[1])
    x1, y1, x2, y2 = (round(number, 2) for number in face.box_xyxy)
    row = replace(row, box=(x1, y1, x2, y2), p_face=round(face.p_face, 6))
    if face.longer_side_px < settings.min_face_px:
        reason = f"the face is {face.longer_side_px:.0f} px long; at least {settings.min_face_px} are wanted"
        return replace(row, status=TOO_SMALL, reason=reason), None
    try:
        crop = _crop(item, (x1, y1, x2, y2), settings.crop)
    except UnreadableImageError as error:
        return replace(row, status=UNREADABLE, reason=str(error)[:500]), None
    return replace(row, status=OK, phash=perceptual_hash(crop), **asdict(look_of(crop))), _png(crop)


def _crop(item: _Decoded, box_xyxy: tuple[float, float, float, float], settings: CropSettings) -> np.ndarray:
    native = item.native_rgb_uint8
    if native is None:
        (image,) = read_each([item.file.address])
        if isinstance(image, UnreadableImageError):
            raise image
        if image.sha256 != item.row.sha256:
            raise UnreadableImageError("the file was changed while it was read")
        native = image.image_rgb_uint8
    return crop_face(native, box_xyxy, settings)


def _png(crop_rgb_uint8: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    # One lossless encoding for both classes; level 4 is near the knee of size against time.
    Image.fromarray(crop_rgb_uint8).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()

"""The detector as a function, for programs: `detector = load_detector(); detector(image)`."""

import threading
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from faceauth.errors import InputError
from faceauth.intake.faces.face import FaceDetector, load_face_detector
from faceauth.intake.pipeline.batch import Decoded, decoded
from faceauth.intake.pixels.images import (
    SourceImage,
    UnreadableImageError,
    convert_image,
    decode_image,
    read_image,
)
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.source_file import SourceFile
from faceauth.labels import REAL
from faceauth.verdicts.cutting import BATCH_FILES, CutBatch, cut_decoded
from faceauth.verdicts.find import picture
from faceauth.verdicts.judge import Judge, load_judge
from faceauth.verdicts.verdict import Verdict

Picture = Image.Image | np.ndarray | str | Path | bytes
_FROM_MEMORY = SourceFile("", "", REAL, "", "", Address(Path()))


class LoadedDetector:
    """Finds and judges the faces of pictures; several threads may call one at once.

    Args:
        judge: What judges crops.
        batch_size: Crops that pass the network at once.
    """

    def __init__(self, judge: Judge, *, batch_size: int = 32) -> None:
        self.judge = judge
        self.batch_size = batch_size
        self._detect: FaceDetector = load_face_detector(judge.collect.face_detector)
        # Face detectors write to memory of their own.
        self._one_at_a_time = threading.Lock()

    @overload
    def __call__(self, images: Picture) -> list[Verdict]: ...

    @overload
    def __call__(self, images: list[Any] | tuple[Any, ...]) -> list[list[Verdict]]: ...

    def __call__(self, images: Picture | list[Any] | tuple[Any, ...]) -> list[Verdict] | list[list[Verdict]]:
        """Judges every face of a picture, or of each of several.

        Args:
            images: One of: an image of Pillow; RGB pixels, (height, width, 3) uint8; the path of an image
                file; the bytes of one; or a list or tuple of such.

        Returns:
            The verdicts of the picture's faces, the largest first, and of a list a list for each picture. A
            picture without a face, or that cannot be read, has one verdict that says why.

        Raises:
            InputError: A thing is no picture at all, such as an array of another shape or type.
        """
        if isinstance(images, list | tuple):
            return self._judged(list(images))
        return self._judged([images])[0]

    def _judged(self, images: list[Picture]) -> list[list[Verdict]]:
        batches: list[CutBatch] = []
        numbered = list(enumerate(images))
        for start in range(0, len(images), BATCH_FILES):
            # Of a long list only the crops are kept in memory.
            read = [_decoded(image, number) for number, image in numbered[start : start + BATCH_FILES]]
            with self._one_at_a_time:
                batches.append(cut_decoded(read, self.judge.collect, self._detect))
        verdicts = self.judge.verdicts(batches, batch_size=self.batch_size)
        return [[next(verdicts) for _ in faces] for batch in batches for faces in batch]


def load_detector(
    model: str | Path = "embedded", *, device: str | None = None, detect: bool = True, batch_size: int = 32
) -> LoadedDetector:
    """Loads a detector that takes pictures and gives verdicts.

    Args:
        model: A checkpoint or run folder, or `embedded` for the detector that comes with the package.
        device: A torch device; None takes the best there is.
        detect: Whether faces are looked for; False if the pictures are face crops already.
        batch_size: Crops that pass the network at once.

    Raises:
        DetectorError: There is no such checkpoint, or it cannot be loaded.
        UsageError: There is no such device.
    """
    return LoadedDetector(load_judge(model, device=device, is_crops=not detect), batch_size=batch_size)


def _decoded(image: Picture, number: int) -> Decoded:
    file = picture(Path(image)) if isinstance(image, str | Path) else _FROM_MEMORY
    try:
        return decoded(file, _read(image, number))
    except UnreadableImageError as error:
        return decoded(file, error)


def _read(image: Picture, number: int) -> SourceImage:
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, bytes):
        return decode_image(image)
    if isinstance(image, Image.Image):
        return convert_image(image)
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"Picture {number} is a {type(image).__name__}.",
            "Give an image of Pillow, an array of RGB pixels, a path, or bytes.",
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(
            f"Picture {number} is an array of shape {image.shape} and type {image.dtype}.",
            "Give RGB pixels as (height, width, 3) uint8.",
        )
    return convert_image(Image.fromarray(image))

"""The detector as a function, for programs: `detector = load_detector(); detector(image_or_video)`."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from faceauth.errors import InputError
from faceauth.intake.faces.face import FaceDetector, load_face_detector
from faceauth.intake.pipeline.batch import Decoded, decode_each, decoded
from faceauth.intake.pixels.images import (
    SourceImage,
    UnreadableImageError,
    convert_image,
    decode_image,
    read_image,
)
from faceauth.intake.sources.address import VIDEO_SUFFIXES, Address
from faceauth.intake.sources.source_file import SourceFile
from faceauth.intake.sources.video_sampling import VideoSampling, expand_videos, parse_sampling
from faceauth.labels import REAL
from faceauth.verdicts.cutting import BATCH_FILES, CutBatch, cut_decoded
from faceauth.verdicts.find import picture
from faceauth.verdicts.judge import Judge, load_judge
from faceauth.verdicts.people import judge_people
from faceauth.verdicts.verdict import Verdict

if TYPE_CHECKING:
    from faceauth.verdicts.explainer import ExplainedFace, Explainer

Picture = Image.Image | np.ndarray | str | Path | bytes
_FROM_MEMORY = SourceFile("", "", REAL, "", "", Address(Path()))


class LoadedDetector:
    """Finds and judges the faces of pictures and videos; several threads may call one at once.

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
        self._explains: Explainer | None = None

    @overload
    def __call__(
        self, images: Picture, *, frames: int | None = None, fps: float | None = None
    ) -> list[Verdict]: ...

    @overload
    def __call__(
        self, images: list[Any] | tuple[Any, ...], *, frames: int | None = None, fps: float | None = None
    ) -> list[list[Verdict]]: ...

    def __call__(
        self,
        images: Picture | list[Any] | tuple[Any, ...],
        *,
        frames: int | None = None,
        fps: float | None = None,
    ) -> list[Verdict] | list[list[Verdict]]:
        """Judges every face of a picture or video, or of each of several.

        Args:
            images: One of: an image of Pillow; RGB pixels, (height, width, 3) uint8; the path of an image
                file; the bytes of one; the path of a video; or a list or tuple of such.
            frames: Of each video so many frames at even times; 16 if neither this nor `fps` is given.
            fps: Of each video so many frames a second instead.

        Returns:
            The verdicts of the picture's faces, the largest first, and of a list a list for each picture. A
            picture without a face, or that cannot be read, has one verdict that says why. Of a video, the
            verdicts of all its frames as of pictures, one frame after the other, and then a `Person` for each
            of its people, by their numbers; none if no face was judged.

        Raises:
            InputError: A thing is no picture at all, such as an array of another shape or type.
            UsageError: `frames` or `fps` is out of range, or both are given.
            MissingExtraError: There is a video, and PyAV is not installed.
        """
        sampling = parse_sampling(frames, fps)
        if isinstance(images, list | tuple):
            return self._each(list(images), sampling)
        return self._each([images], sampling)[0]

    def explain(
        self, image: Picture, *, method: str | None = None, measure: bool = False
    ) -> list["ExplainedFace"]:
        """Judges every face of a picture, and makes a heat map of each: where it says what speaks for fake.

        The network for it is loaded by the first call; for convolutional ones the package captum is needed.

        Args:
            image: A picture, as for a call of the detector; no video.
            method: A name in `faceauth.explanations.heatmap.HEATMAPS`; None takes what suits the network.
            measure: Whether to measure how far each map can be trusted, which takes longer than the map.

        Returns:
            The verdicts, as a call gives them, with their heat maps; their methods `painted` and `sheet` make
            pictures of them.

        Raises:
            DetectorError: The detector cannot be loaded as a network with gradients.
            InputError: It is no picture, or a video.
            MissingExtraError: The method needs a package that is not installed.
            UsageError: There is no such method, or it is not for this kind of network.
        """
        if _video(image) is not None:
            raise InputError(f"{image!s} is a video.", "Give one of its frames as an image.")
        read = _decoded(image, 0)
        with self._one_at_a_time:
            batch = cut_decoded([read], self.judge.collect, self._detect)
        verdicts = list(self.judge.verdicts([batch], batch_size=self.batch_size))
        explainer = self._explainer()
        explainer.check(method)
        # Where nothing could be read there is nothing to explain, and no pixel is asked for.
        pixels = np.empty((0, 0, 3), np.uint8) if read.decode is None else read.decode()
        return [explainer.explain(pixels, verdict, method=method, measure=measure) for verdict in verdicts]

    def _explainer(self) -> "Explainer":
        # Imports torch, which other calls may do without.
        from faceauth.verdicts.explainer import Explainer

        with self._one_at_a_time:
            if self._explains is None:
                self._explains = Explainer(self.judge.name, self.judge.crop)
            return self._explains

    def _each(self, images: list[Picture], sampling: VideoSampling) -> list[list[Verdict]]:
        videos = [_video(image) for image in images]
        pictures = self._judged([(i, images[i]) for i, video in enumerate(videos) if video is None])
        return [next(pictures) if video is None else list(self._people(video, sampling)) for video in videos]

    def _people(self, video: Path, sampling: VideoSampling) -> Iterator[Verdict]:
        frames = expand_videos([picture(video)], sampling)

        def cut() -> Iterator[CutBatch]:
            for start in range(0, len(frames), BATCH_FILES):
                read = decode_each(frames[start : start + BATCH_FILES])
                with self._one_at_a_time:
                    batch = cut_decoded(read, self.judge.collect, self._detect)
                yield batch

        return judge_people(self.judge, cut(), batch_size=self.batch_size)

    def _judged(self, numbered: list[tuple[int, Picture]]) -> Iterator[list[Verdict]]:
        batches: list[CutBatch] = []
        for start in range(0, len(numbered), BATCH_FILES):
            # Of a long list only the crops are kept in memory.
            read = [_decoded(image, number) for number, image in numbered[start : start + BATCH_FILES]]
            with self._one_at_a_time:
                batches.append(cut_decoded(read, self.judge.collect, self._detect))
        verdicts = self.judge.verdicts(batches, batch_size=self.batch_size)
        return iter([[next(verdicts) for _ in faces] for batch in batches for faces in batch])


def load_detector(
    model: str | Path = "embedded",
    *,
    device: str | None = None,
    runtime: str | None = None,
    detect: bool = True,
    batch_size: int = 32,
) -> LoadedDetector:
    """Loads a detector that takes pictures and videos and gives verdicts.

    Args:
        model: A checkpoint or run folder, an ONNX file of `faceauth export`, an id on the Hugging Face hub,
            or `embedded` for the detector that comes with the package.
        device: A torch device; None takes the best there is.
        runtime: `torch`, `openvino` or `onnxruntime`; None for the fastest that can run the model.
        detect: Whether faces are looked for; False if the pictures are face crops already.
        batch_size: Crops that pass the network at once.

    Raises:
        DetectorError: There is no such model, or it cannot be loaded.
        UsageError: There is no such device or runtime, or they do not go together.
    """
    judge = load_judge(model, runtime=runtime, device=device, is_crops=not detect)
    return LoadedDetector(judge, batch_size=batch_size)


def _video(image: Picture) -> Path | None:
    is_one = isinstance(image, str | Path) and Path(image).suffix.lower() in VIDEO_SUFFIXES
    return Path(str(image)) if is_one else None


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

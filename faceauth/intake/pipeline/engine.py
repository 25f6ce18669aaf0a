"""What runs the preparation: processes of this machine, or a cluster.

An engine takes batches of source files and gives back, in any order, what became of them. It decides nothing:
whatever the engine, a batch ends as the same rows and the same crops.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.rows import ManifestRow
from faceauth.intake.sources.source_file import SourceFile
from faceauth.registry import Registry


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
class CollectedBatch:
    """What became of a batch of files.

    Attributes:
        files: The n files.
        rows: Their n rows, without split, destination and group.
        crops_png: For each row with the status `ok` its crop as the bytes of a PNG file, else None.
        n_faces: Faces found with enough certainty in all images, also those that were not taken.
        seconds: Seconds of work by stage: `decode`, `detect`, `crop`.
    """

    files: list[SourceFile]
    rows: list[ManifestRow]
    crops_png: list[bytes | None]
    n_faces: int
    seconds: dict[str, float]


class Engine(Protocol):
    """Runs batches of files through decoding, face detection and cropping."""

    def __call__(self, batches: Iterable[list[SourceFile]]) -> Generator[CollectedBatch, None, None]:
        """Yields each batch once it is done, in any order; takes new ones only as fast as it works.

        Whoever stops before the end closes the generator, and that ends the work.
        """


ENGINES: Registry[Callable[..., Engine]] = Registry("engine", package="faceauth.intake.pipeline.engines")


def load_engine(name: str, *, settings: CollectSettings, device: str = "cpu", workers: int = 2) -> Engine:
    """Loads an engine by its registered name.

    Args:
        name: `local`, or `ray`.
        settings: What decides how crops look.
        device: Torch device of the face detection.
        workers: Processes that work side by side.

    Raises:
        UnknownNameError: No engine or face detector has that name.
        UsageError: What the engine needs is not installed, or there is no such device.
    """
    return ENGINES.get(name)(settings=settings, device=device, workers=workers)

"""Runs the preparation in processes of this machine."""

from collections.abc import Iterable, Iterator

from faceauth.intake.batch import collect_batch
from faceauth.intake.engine import ENGINES, CollectedBatch, CollectSettings, Engine
from faceauth.intake.faces import FaceDetector, load_face_detector
from faceauth.intake.sources import SourceFile


@ENGINES.register("local")
def load_local(*, settings: CollectSettings, device: str, workers: int) -> Engine:
    """Returns an engine that works on this machine.

    Args:
        settings: What decides how crops look.
        device: Torch device of the face detection.
        workers: Processes that work side by side.
    """
    return in_this_process(settings, load_face_detector(settings.face_detector, device=device))


def in_this_process(settings: CollectSettings, detect: FaceDetector) -> Engine:
    """Returns an engine that does one batch after the other with a face detector at hand."""

    def run(batches: Iterable[list[SourceFile]]) -> Iterator[CollectedBatch]:
        for files in batches:
            yield collect_batch(files, settings, detect)

    return run

"""From files to the crops of all their faces, ahead of the network that judges them.

The work is that of the preparation (`faceauth.intake.pipeline.batch`), in worker processes or in one thread
of this process. Nothing here imports torch, so that a worker starts fast and stays small.
"""

import functools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from queue import LifoQueue

import numpy as np

from faceauth.intake.faces.face import FACE_DETECTORS, FaceDetector, load_face_detector
from faceauth.intake.pipeline.batch import Decoded, cut_each, decode_each, search_each, unreadable_row
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.pipeline.engines.local import BATCHES_IN_RESERVE, do_surely
from faceauth.intake.pipeline.workers import Worker
from faceauth.intake.rows import ManifestRow
from faceauth.intake.sources.source_file import SourceFile
from faceauth.verdicts.glimpses import Glimpse, glimpse_of, scene_of

# Few enough that the first verdict comes soon, and that little waits in memory.
BATCH_FILES = 16


@dataclass(frozen=True, slots=True)
class CutFace:
    """A face that was cut out of a picture, or a picture without one.

    Attributes:
        row: What the intake says of it.
        crop_rgb_uint8: (image_size, image_size, 3) uint8; None unless the row's status is `ok`.
        glimpse: What finds the face again in other frames of its video; None where there is no crop, and for
            images.
        person: Number of its person within the video, from 1; None where there is no glimpse, and until
            somebody follows faces.
    """

    row: ManifestRow
    crop_rgb_uint8: np.ndarray | None = None
    glimpse: Glimpse | None = None
    person: int | None = None


CutBatch = list[list[CutFace]]


def cut_files(files: list[SourceFile], settings: CollectSettings, detect: FaceDetector) -> CutBatch:
    """Cuts all faces out of a batch of files.

    Args:
        files: n files.
        settings: How faces are found and cut.
        detect: The face detector.

    Returns:
        For each of n files its faces, the largest first; at least one entry, which says why there is none.
    """
    return cut_decoded(decode_each(files), settings, detect)


def cut_decoded(batch: list[Decoded], settings: CollectSettings, detect: FaceDetector) -> CutBatch:
    """Cuts all faces out of pictures that were read already; see `cut_files`."""
    searched = search_each(batch, detect)
    cut = cut_each(batch, searched, settings)
    return [_with_glimpses(item, faces) for item, faces in zip(batch, cut, strict=True)]


def cut_ahead(
    files: Iterable[SourceFile], settings: CollectSettings, *, workers: int
) -> Generator[CutBatch, None, None]:
    """Cuts faces out of files, a few batches ahead of whoever takes them.

    Args:
        files: The files.
        settings: How faces are found and cut.
        workers: Processes that work side by side; with 0 one thread of this process, and a file that kills a
            decoder kills it.

    Yields:
        Batches in the order of the files. Whoever stops before the end closes the generator, and that ends
        the work.

    Raises:
        UnknownNameError: No face detector has that name.
        FaceAuthError: No process starts.
    """
    with ExitStack() as team:
        if workers:
            load = functools.partial(
                _load, settings, functools.partial(FACE_DETECTORS.get(settings.face_detector), device="cpu")
            )
            idle: LifoQueue[Worker] = LifoQueue()
            for _ in range(workers):
                worker = Worker(load)
                team.callback(worker.stop)
                idle.put(worker)
            cut = functools.partial(_in_a_process, idle)
        else:
            cut = functools.partial(
                cut_files, settings=settings, detect=load_face_detector(settings.face_detector)
            )
        yield from _ahead(_batches(files), cut, n_at_once=max(1, workers), team=team)


def _with_glimpses(item: Decoded, faces: list[tuple[ManifestRow, np.ndarray | None]]) -> list[CutFace]:
    if item.row.frame is None or item.search_rgb_uint8 is None:
        return [CutFace(row, crop) for row, crop in faces]
    scene = scene_of(item.search_rgb_uint8)
    return [CutFace(row, crop, None if crop is None else glimpse_of(crop, scene)) for row, crop in faces]


def _ahead(
    batches: Iterator[list[SourceFile]],
    cut: Callable[[list[SourceFile]], CutBatch],
    *,
    n_at_once: int,
    team: ExitStack,
) -> Iterator[CutBatch]:
    threads = ThreadPoolExecutor(n_at_once)
    pending: deque[Future[CutBatch]] = deque()
    try:
        for batch in batches:
            pending.append(threads.submit(cut, batch))
            # The oldest first, whichever is done: what is done early waits, and no more is begun for it.
            if len(pending) >= n_at_once + BATCHES_IN_RESERVE:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # Threads that wait for a process are let go by its end.
        team.close()
        threads.shutdown(cancel_futures=True)


def _batches(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    remaining = iter(files)
    while batch := list(islice(remaining, BATCH_FILES)):
        yield batch


def _in_a_process(idle: LifoQueue[Worker], files: list[SourceFile]) -> CutBatch:
    worker = idle.get()
    try:
        return do_surely(worker, files, give_up=_given_up, join=_joined)
    finally:
        idle.put(worker)


def _load(
    settings: CollectSettings, load_detector: Callable[[], FaceDetector]
) -> Callable[[list[SourceFile]], CutBatch]:
    return functools.partial(cut_files, settings=settings, detect=load_detector())


def _given_up(file: SourceFile, reason: str) -> CutBatch:
    return [[CutFace(unreadable_row(file, reason))]]


def _joined(batches: list[CutBatch]) -> CutBatch:
    return [faces for batch in batches for faces in batch]

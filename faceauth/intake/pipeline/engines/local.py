"""Runs the preparation in processes of this machine.

Each worker process does whole batches, from reading to encoding, on one core: pixels never pass between
processes, and cores scale. One thread of this process waits for each worker. What a worker loses is done
again, down to the single file that kills it; so one file never ends a run.
"""

import functools
import logging
import pickle
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from queue import LifoQueue
from typing import TypeVar

from faceauth.errors import UsageError
from faceauth.intake.faces.face import FACE_DETECTORS, FaceDetector, load_face_detector
from faceauth.intake.pipeline.batch import collect_batch, given_up, joined
from faceauth.intake.pipeline.engine import ENGINES, CollectedBatch, CollectSettings, Engine
from faceauth.intake.pipeline.workers import LateWorkError, LostWorkError, Worker
from faceauth.intake.sources.source_file import SourceFile

log = logging.getLogger(__name__)

Done = TypeVar("Done")

# Generous: a photograph takes a fraction of a second, a batch of 32 ten minutes at most.
SECONDS_OF_A_FILE = 120
SECONDS_OF_A_FURTHER_FILE = 15
# Of a process that dies; one that hangs is not waited for again.
ATTEMPTS = 2
# Batches that wait or are ready, beside those in work: enough that no worker waits for the next.
BATCHES_IN_RESERVE = 2


@ENGINES.register("local")
def load_local(*, settings: CollectSettings, device: str, workers: int) -> Engine:
    """Returns an engine that works on this machine.

    Args:
        settings: What decides how crops look.
        device: Torch device of the face detection.
        workers: Processes that work side by side, no more than there are batches; with 0 all is done in this
            process, and a file that kills a decoder kills it.

    Raises:
        UnknownNameError: No face detector has that name.
        UsageError: There is no such device, or the face detector cannot be handed to another process.
    """
    if workers == 0:
        return in_this_process(settings, load_face_detector(settings.face_detector, device=device))
    if device != "cpu":
        # Says now, and once, that there is no such device.
        load_face_detector(settings.face_detector, device=device)
    return in_processes(load_work(settings, device=device), workers=workers)


def load_work(
    settings: CollectSettings, *, device: str
) -> Callable[[], Callable[[list[SourceFile]], CollectedBatch]]:
    """Returns what a worker process calls to get what does a batch; it can be pickled.

    Args:
        settings: What decides how crops look.
        device: Torch device of the face detection, which the worker's machine has.

    Raises:
        UnknownNameError: No face detector has that name.
        UsageError: The face detector cannot be handed to another process.
    """
    # By reference to its module, so that a process imports the one face detector that it needs.
    load_detector = functools.partial(FACE_DETECTORS.get(settings.face_detector), device=device)
    load = functools.partial(_load_work, settings, load_detector)
    try:
        pickle.dumps(load)
    except (pickle.PicklingError, AttributeError) as error:
        raise UsageError(
            f"The face detector '{settings.face_detector}' cannot be handed to worker processes: {error}.",
            "Register a function of a module, not one inside another; or use --workers 0.",
        ) from error
    return load


def in_this_process(settings: CollectSettings, detect: FaceDetector) -> Engine:
    """Returns an engine that does one batch after the other with a face detector at hand."""

    def run(batches: Iterable[list[SourceFile]]) -> Generator[CollectedBatch, None, None]:
        for files in batches:
            yield collect_batch(files, settings, detect)

    return run


def in_processes(load: Callable[[], Callable[[list[SourceFile]], CollectedBatch]], *, workers: int) -> Engine:
    """Returns an engine that does batches in worker processes, and none of its own work in this one.

    Args:
        load: Called once in each worker, to get what does a batch; is pickled.
        workers: Largest number of processes. Each is started when there is a batch for it.
    """

    def run(batches: Iterable[list[SourceFile]]) -> Generator[CollectedBatch, None, None]:
        team = [Worker(load) for _ in range(workers)]
        # The one that was used last comes first, so that a small job starts few processes.
        idle: LifoQueue[Worker] = LifoQueue()
        for worker in team:
            idle.put(worker)

        def collect(files: list[SourceFile]) -> CollectedBatch:
            worker = idle.get()
            try:
                return collect_surely(worker, files)
            finally:
                idle.put(worker)

        threads = ThreadPoolExecutor(workers)
        try:
            pending: set[Future[CollectedBatch]] = set()
            for files in batches:
                pending.add(threads.submit(collect, files))
                while len(pending) >= workers + BATCHES_IN_RESERVE:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for worker in team:
                worker.stop()
            threads.shutdown(cancel_futures=True)

    return run


def collect_surely(worker: Worker, files: list[SourceFile]) -> CollectedBatch:
    """Does a batch in a worker process, whatever the files do to it.

    A batch that is lost with its process is done once more as it is, then file by file; one that exceeds its
    time is done file by file at once.

    Args:
        worker: Has what `load_work` returns.
        files: The files.

    Returns:
        The rows and crops; of a file that ends every process, or that keeps one too long, the reason.

    Raises:
        StoppedError: The worker was stopped.
        FaceAuthError: No process starts.
    """
    batch = do_surely(worker, files, give_up=given_up, join=joined)
    # Their copies that came back would double what the names take.
    return replace(batch, files=files)


def do_surely(
    worker: Worker,
    files: list[SourceFile],
    *,
    give_up: Callable[[SourceFile, str], Done],
    join: Callable[[list[Done]], Done],
) -> Done:
    """Does any work on a batch of files in a worker process, whatever the files do to it.

    Args:
        worker: Has what does a batch.
        files: The files.
        give_up: Makes what stands for a file that cannot be done, from the file and the reason.
        join: Makes one of what was done file by file.

    Returns:
        What the worker returned, or what was joined.

    Raises:
        StoppedError: The worker was stopped.
        FaceAuthError: No process starts.
    """
    limit_s = SECONDS_OF_A_FILE + SECONDS_OF_A_FURTHER_FILE * (len(files) - 1)
    # Twice as one batch: if the process was killed from outside, the rows shall be the same as ever.
    for _ in range(ATTEMPTS):
        try:
            done: Done = worker.do(files, limit_s=limit_s)
            return done
        except LostWorkError as lost:
            log.warning("%d images from %s on: %s", len(files), files[0].image_path, lost)
            if isinstance(lost, LateWorkError):
                break
    return join([_alone(worker, file, give_up) for file in files])


def _load_work(
    settings: CollectSettings, load_detector: Callable[[], FaceDetector]
) -> Callable[[list[SourceFile]], CollectedBatch]:
    return functools.partial(collect_batch, settings=settings, detect=load_detector())


def _alone(worker: Worker, file: SourceFile, give_up: Callable[[SourceFile, str], Done]) -> Done:
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            done: Done = worker.do([file], limit_s=SECONDS_OF_A_FILE)
            return done
        except LostWorkError as lost:
            reason = str(lost)
            if isinstance(lost, LateWorkError):
                break
    log.warning("%s is given up: %s", file.image_path, reason)
    return give_up(file, reason)

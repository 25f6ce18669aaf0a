"""Who does the work: processes that look at uploads, and one thread that judges all faces that they cut.

Whatever waits is worked off in batches: a process takes its share of the waiting pictures and searches them
at once, and the judge takes all crops that are ready. Nobody waits for a batch to fill.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue

import numpy as np

from faceauth.errors import FaceAuthError
from faceauth.intake.pipeline.workers import LostWorkError, StoppedError, Worker
from faceauth.serving.limits import Limits
from faceauth.serving.looking import Look, Seen, load_looking, unseen
from faceauth.serving.refusals import too_busy
from faceauth.verdicts.judge import Judge
from faceauth.verdicts.people import with_people
from faceauth.verdicts.verdict import Verdict

log = logging.getLogger(__name__)

# Pictures that one process searches at once.
BATCH_PICTURES = 8
# Generous: most take a fraction of one. One that takes longer is taken for endless.
SECONDS_OF_A_PICTURE = 15
SECONDS_OF_A_FURTHER_PICTURE = 3
BATCH_CROPS = 32


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of an upload.

    Attributes:
        seen: What was seen in it.
        verdicts: A verdict for each face, or for each frame without one, in the order of `seen.frames`; then,
            of a video, one for each person.
    """

    seen: Seen
    verdicts: list[Verdict]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    look: Look
    answer: Future[Judged] = field(default_factory=Future)


class Team:
    """Takes uploads from any thread and gives verdicts.

    Args:
        judge: What judges crops.
        limits: The limits of the server.
        workers: Processes that look at uploads, at least 1.
    """

    def __init__(self, judge: Judge, limits: Limits, *, workers: int) -> None:
        self._judge = judge
        self._limits = limits
        load = load_looking(judge.collect, limits.max_pixels)
        self._workers = [Worker(load) for _ in range(workers)]
        self._line = _Line(n_takers=workers)
        self._cut: Queue[list[tuple[_Job, Seen]] | None] = Queue(maxsize=workers)

    def start(self) -> None:
        """Starts the processes, waits until they are ready, and begins.

        Raises:
            FaceAuthError: A process does not start.
        """
        with ThreadPoolExecutor(len(self._workers)) as pool:
            started = [pool.submit(worker.do, [], limit_s=self._limits.seconds) for worker in self._workers]
            # The first pass of a network takes several times as long as the others.
            side_px = self._judge.crop.image_size
            self._judge.judge(np.zeros((1, side_px, side_px, 3), np.uint8))
            for future in started:
                future.result()
        for worker in self._workers:
            threading.Thread(target=self._look, args=(worker,), daemon=True).start()
        threading.Thread(target=self._say, daemon=True).start()

    def stop(self) -> None:
        """Ends the processes, also in the midst of their work."""
        self._line.close()
        for worker in self._workers:
            worker.stop()
        with suppress(Exception):
            self._cut.put_nowait(None)

    def submit(self, look: Look) -> "Future[Judged]":
        """Has an upload judged.

        Args:
            look: The upload.

        Returns:
            What will become of it. Whoever waits no longer cancels it.
        """
        job = _Job(look)
        self._line.add(job)
        return job.answer

    def _look(self, worker: Worker) -> None:
        for jobs in self._line:
            try:
                seen = list(self._seen(worker, [job.look for job in jobs]))
            except StoppedError:
                return
            except FaceAuthError as error:
                log.error("%s", error)
                for job in jobs:
                    job.answer.set_exception(too_busy("the processes that read pictures do not start"))
                continue
            self._cut.put(list(zip(jobs, seen, strict=True)))

    def _seen(self, worker: Worker, looks: list[Look]) -> Iterator[Seen]:
        """Looks at uploads in a process, and if they end it or fail, at each alone."""
        is_video = looks[0].video is not None
        limit_s = SECONDS_OF_A_PICTURE + SECONDS_OF_A_FURTHER_PICTURE * (len(looks) - 1)
        try:
            yield from worker.do(looks, limit_s=self._limits.seconds if is_video else limit_s)
        except (StoppedError, FaceAuthError):
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, LostWorkError) else type(error).__name__
            log.warning("%d uploads: %s", len(looks), reason)
            if len(looks) == 1:
                yield unseen(f"it cannot be read: {reason}")
            else:
                for look in looks:
                    yield from self._seen(worker, [look])

    def _say(self) -> None:
        while (batch := self._cut.get()) is not None:
            n_crops = sum(len(faces) for _, seen in batch for faces in seen.frames)
            with suppress(Empty):
                while n_crops < BATCH_CROPS:
                    more = self._cut.get_nowait()
                    if more is None:
                        return
                    batch += more
                    n_crops += sum(len(faces) for _, seen in more for faces in seen.frames)
            try:
                verdicts = self._judge.verdicts((seen.frames for _, seen in batch), batch_size=BATCH_CROPS)
                for job, seen in batch:
                    said = [next(verdicts) for faces in seen.frames for _ in faces]
                    judged = Judged(seen, list(with_people(said, self._judge.decided)))
                    job.answer.set_result(judged)
            except Exception as error:
                log.exception("The detector failed")
                for job, _ in batch:
                    if not job.answer.done():
                        job.answer.set_exception(error)


class _Line:
    """Jobs that wait for a process; whoever takes gets its share of them."""

    def __init__(self, *, n_takers: int) -> None:
        self._n_takers = n_takers
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._is_open = True

    def add(self, job: _Job) -> None:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify_all()

    def __iter__(self) -> Iterator[list[_Job]]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or not self._is_open)
                if not self._is_open:
                    return
                jobs = self._share()
            if jobs:
                yield jobs

    def _share(self) -> list[_Job]:
        """Takes pictures, or one video; what nobody waits for any more falls out."""
        n_most = min(BATCH_PICTURES, -(-len(self._jobs) // self._n_takers))
        jobs: list[_Job] = []
        while self._jobs and len(jobs) < n_most:
            is_video = self._jobs[0].look.video is not None
            if is_video and jobs:
                break
            job = self._jobs.popleft()
            if job.answer.set_running_or_notify_cancel():
                jobs.append(job)
                if is_video:
                    break
        return jobs

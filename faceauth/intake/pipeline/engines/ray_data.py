"""Runs the preparation on a Ray cluster, or on this machine where there is none.

Ray Data hands batches of file names to actors, brings rows and crops back as fast as they are taken, and does
again what was lost with an actor or a machine. An actor has a worker process of its own, the very one of the
local engine; so a file that ends every process that opens it costs one row, and never an actor.
"""

import functools
import logging
import os
import pickle
import re
import socket
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import pyarrow as pa

from faceauth import __version__
from faceauth.errors import FaceAuthError, MissingExtraError, UsageError
from faceauth.intake.pipeline.engine import ENGINES, CollectedBatch, CollectSettings, Engine
from faceauth.intake.pipeline.engines.local import collect_surely, load_work
from faceauth.intake.pipeline.workers import Worker, usable_cores
from faceauth.intake.sources.source_file import SourceFile

log = logging.getLogger(__name__)

_Work = Callable[[list[SourceFile]], CollectedBatch]

# Ray keeps results for the driver here, some 3 MB a batch, and lets actors wait when it fills up.
OBJECT_STORE_BYTES = 256 * 2**20
# So much is sent at once, so that a batch is written to the journal as soon as it is done.
SENT_BYTES = 2**20
# Ray takes some 2 ms for each block before the work begins.
MAX_BLOCKS = 8192

_ADDRESS = re.compile(r"(?:ray://)?(?P<host>[^:/]+):(?P<port>\d+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@ENGINES.register("ray")
def load_ray(*, settings: CollectSettings, device: str, workers: int) -> Engine:
    """Returns an engine that works on the cluster that Ray finds, or else starts Ray on this machine.

    A running cluster is found as Ray finds it: by `RAY_ADDRESS`, or on this machine. Every machine of it
    needs this version of the package, and the sources under the same paths.

    Args:
        settings: What decides how crops look.
        device: Torch device of the face detection; with `cuda` the actors share the cluster's GPUs evenly.
        workers: Actors that work side by side, each on a core of its own.

    Raises:
        MissingExtraError: Ray is not installed.
        UnknownNameError: No face detector has that name.
        UsageError: No actors were asked for, or the face detector cannot be handed to another process.
    """
    if workers < 1:
        raise UsageError("--engine ray with --workers 0 has nobody who works.", "Give --workers 1 or more.")
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "--engine ray needs a package that is not installed.",
            'Install it with: pip install "faceauth[ray]"',
        ) from error
    load = load_work(settings, device=device)

    def run(batches: Iterable[list[SourceFile]]) -> Generator[CollectedBatch, None, None]:
        listed = list(batches)
        if not listed:
            return
        with _connected(workers), _own_context():
            try:
                yield from _on_actors(listed, load, workers=workers, on_gpu=device.startswith("cuda"))
            except _ray_errors() as error:
                raise FaceAuthError(
                    f"Ray gave up: {_in_short(error)}.",
                    "What was done is kept, and the same command goes on. Every machine of the cluster needs "
                    f"the same packages; Ray's own log says more (on this machine {_log_folder()}).",
                ) from error

    return run


class BatchActor:
    """What works on a machine of the cluster: batches in, rows and crops out.

    Args:
        load: See `faceauth.intake.pipeline.engines.local.load_work`.
        version: The driver's version of this package.
    """

    def __init__(self, load: Callable[[], _Work], version: str) -> None:
        self._worker = Worker(load)
        self._version = version

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Does the batches of a block.

        Args:
            block: `number` and `files`, the packed names of one batch a row.

        Yields:
            Once a batch, its `number` and as `answer` what became of it, or the error that ends the run.
        """
        for number, files in zip(block["number"].to_pylist(), block["files"].to_pylist(), strict=True):
            answer = pa.array([self._answer(_unpacked(files))], pa.large_binary())
            yield pa.table({"number": pa.array([number], pa.int64()), "answer": answer})

    def _answer(self, files: list[SourceFile]) -> bytes:
        try:
            self._refuse_other_version()
            # The driver has the files, and they need not travel back.
            return pickle.dumps(replace(collect_surely(self._worker, files), files=[]))
        except Exception as error:
            # As a value: raised here, it would come out as one of Ray's, and be tried again.
            return pickle.dumps(error)

    def _refuse_other_version(self) -> None:
        if self._version != __version__:
            raise UsageError(
                f"A machine of the cluster has faceauth {__version__}, and this one has {self._version}.",
                "Install the same version on all; other versions may cut other crops.",
            )


def packed(files: list[SourceFile]) -> bytes:
    """Returns a batch as it travels to an actor: names, which repeat their folders and shrink well."""
    return zlib.compress(pickle.dumps(files), level=1)


def _on_actors(
    batches: list[list[SourceFile]], load: Callable[[], _Work], *, workers: int, on_gpu: bool
) -> Iterator[CollectedBatch]:
    import ray
    from ray.data import ActorPoolStrategy

    resources = ray.cluster_resources()
    workers = min(workers, len(batches))
    n_now = max(1, min(workers, int(resources.get("CPU", 1))))
    done = ray.data.from_items(
        [{"number": number, "files": packed(files)} for number, files in enumerate(batches)],
        override_num_blocks=min(len(batches), MAX_BLOCKS),
    ).map_batches(
        BatchActor,
        fn_constructor_args=(load, __version__),
        batch_size=None,
        batch_format="pyarrow",
        # A cluster that grows by itself grows until all have a core.
        compute=ActorPoolStrategy(min_size=n_now, max_size=workers),
        num_cpus=1,
        num_gpus=share_of_gpus(resources, n_now) if on_gpu else None,
    )
    # Ray Data restarts lost actors, and hands out again what they had, without being asked.
    answers = done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
    for block in cast(Iterable[pa.Table], answers):
        for number, content in zip(block["number"].to_pylist(), block["answer"].to_pylist(), strict=True):
            answer = pickle.loads(content)
            if isinstance(answer, Exception):
                raise answer
            yield replace(answer, files=batches[number])


def share_of_gpus(resources: dict[str, float], n_actors: int) -> float:
    """Returns how much of a GPU each actor gets.

    Args:
        resources: What the cluster has, by Ray's names.
        n_actors: How many actors share it.

    Returns:
        A number in (0, 1]; an actor does not lie on two GPUs.

    Raises:
        UsageError: There is no GPU.
    """
    n_gpus = int(resources.get("GPU", 0))
    if not n_gpus:
        raise UsageError("The cluster has no GPU for --device cuda.", "Leave --device out, or add one.")
    # Ray counts in steps of 1/10,000.
    return 10_000 // -(-n_actors // n_gpus) / 10_000


@contextmanager
def _connected(workers: int) -> Iterator[None]:
    """Joins a running cluster, or starts Ray here, and leaves it at the end. One that was joined stays."""
    # Before Ray starts: it reads these once.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        yield
        return
    init = functools.partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    try:
        try:
            _knock(os.environ.get("RAY_ADDRESS", ""))
            init(address="auto")
            log.info("joined a Ray cluster with %g cores", ray.cluster_resources().get("CPU", 0))
        except OSError as error:
            if address := os.environ.get("RAY_ADDRESS"):
                raise UsageError(
                    f"There is no Ray cluster at {address}: {error}.",
                    "Start one, or unset RAY_ADDRESS to work on this machine alone.",
                ) from error
            init(
                address="local",
                num_cpus=max(workers, usable_cores()),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
            )
            log.info("started Ray on this machine")
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError if nobody answers at an address; Ray itself would try for minutes."""
    if match := _ADDRESS.fullmatch(address):
        socket.create_connection((match["host"], int(match["port"])), timeout=10).close()


@contextmanager
def _own_context() -> Iterator[None]:
    """Sets what Ray Data sends at once, and keeps its bars and reports off the terminal."""
    from ray.data import DataContext

    context = DataContext.get_current()
    ours = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "target_max_block_size": SENT_BYTES,
    }
    before = {name: getattr(context, name) for name in ours}
    logger = logging.getLogger("ray.data")
    level = logger.level
    try:
        for name, value in ours.items():
            setattr(context, name, value)
        logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        logger.setLevel(level)


def _ray_errors() -> tuple[type[Exception], ...]:
    from ray.exceptions import RayError

    return (RayError,)


def _in_short(error: Exception) -> str:
    # Ray's messages are tracebacks in colours; the first line says what happened, and the last one why.
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    said = dict.fromkeys((lines or [type(error).__name__])[:: max(1, len(lines) - 1)])
    return ": ".join(line.rstrip(".:")[:300] for line in said)


def _log_folder() -> str:
    return os.path.join(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "session_latest", "logs")  # noqa: PTH118


def _unpacked(files: bytes) -> list[SourceFile]:
    batch: list[SourceFile] = pickle.loads(zlib.decompress(files))
    return batch

"""Doing a study's trainings: one after another, or shared by processes that claim them.

A training is done once its scores are written; what is done is not done again, whoever did it. One that fails
leaves its reason, does not end the study, and is tried again by the next start.
"""

import dataclasses
import logging
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import faceauth
from faceauth.config import write_config
from faceauth.console import configure_logging
from faceauth.errors import FaceAuthError, TrainingError
from faceauth.files import read_json, write_json
from faceauth.labels import TEST
from faceauth.locks import claim
from faceauth.memory import keep_freed_memory
from faceauth.scoring.scores import write_scores
from faceauth.train import train
from faceauth.training.plans import Training
from faceauth.training.run_folder import RESUME_NAME
from faceauth.verbs.evaluate import ScoringSettings, count_test_read, score_manifest
from faceauth.verbs.study import MatrixSettings, Study, load_study

POLL_SECONDS = 1.0
# Which of a machine's graphics cards a process sees.
VISIBLE_CARDS = "CUDA_VISIBLE_DEVICES"

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WorkSettings:
    """How trainings are started; nothing of it touches the result.

    Attributes:
        jobs: Processes that share the trainings.
        launcher: What starts a training, such as `accelerate launch`; empty trains in the process itself.
        started: Seconds since the epoch; a failure before then is tried again.
    """

    jobs: int = 1
    launcher: str = ""
    started: float = dataclasses.field(default_factory=time.time)


def do_trainings(study: Study, work: WorkSettings) -> None:
    """Sees to it that every training is done or has failed, together with whoever else works in the folder.

    Raises:
        FaceAuthError: Processes ended before the work was done.
    """
    if work.jobs == 1:
        _share_work(study, work)
        return
    before = torch.get_num_threads()
    threads = max(1, before // work.jobs)
    cards = _visible_cards()
    spawn = multiprocessing.get_context("spawn")
    processes = []
    for number in range(work.jobs):
        card = cards[number % len(cards)] if cards else None
        arguments = (study.settings, study.limit, work, threads, card)
        with _environment(OMP_NUM_THREADS=str(threads)):
            process = spawn.Process(target=_work_in_a_process, args=arguments)
            process.start()
        processes.append(process)
    try:
        n_told = -1
        while any(process.is_alive() for process in processes):
            n_settled = sum(is_settled(study, training, since=work.started) for training in study.trainings)
            if n_settled != n_told:
                log.info("%d of %d trainings are done", n_settled, len(study.trainings))
                n_told = n_settled
            time.sleep(POLL_SECONDS / 2)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    left = [t.name for t in study.trainings if not is_settled(study, t, since=work.started)]
    if left:
        codes = ", ".join(str(process.exitcode) for process in processes)
        raise TrainingError(
            f"{len(left)} trainings are left, and the processes ended with {codes}.",
            "The same command goes on; with fewer --jobs each has more memory.",
        )


def is_done(study: Study, training: Training) -> bool:
    """Tells whether a training's scores are there."""
    return scores_path(study, training).is_file()


def is_settled(study: Study, training: Training, *, since: float) -> bool:
    """Tells whether a training is done, or has failed since a moment in seconds since the epoch."""
    if is_done(study, training):
        return True
    path = _failure_path(study, training)
    # By the clock of whoever wrote it: that of a file server may go otherwise.
    return path.is_file() and bool(read_json(path)["at"] >= since)


def failure_of(study: Study, training: Training) -> str | None:
    """Returns why a training failed; None if it is done or was not tried."""
    path = _failure_path(study, training)
    return None if is_done(study, training) or not path.is_file() else str(read_json(path)["reason"])


def scores_path(study: Study, training: Training) -> Path:
    """Returns where a training's scores are."""
    return study.output / "scores" / f"{study.file_names[training.name]}.csv"


def read_facts(study: Study, training: Training) -> dict[str, Any]:
    """Reads what was written down of a training that is done."""
    facts: dict[str, Any] = read_json(scores_path(study, training).with_suffix(".json"))
    return facts


def _share_work(study: Study, work: WorkSettings) -> None:
    while left := [t for t in study.trainings if not is_settled(study, t, since=work.started)]:
        n_claimed = 0
        for training in left:
            path = study.output / "claims" / f"{study.file_names[training.name]}.lock"
            with claim(path) as is_ours:
                # Somebody may have done it since we looked.
                if is_ours and not is_settled(study, training, since=work.started):
                    n_claimed += 1
                    _try(study, training, work)
        if not n_claimed:
            # Others are at the rest. If one of them dies, its claim falls to us.
            time.sleep(POLL_SECONDS)


def _try(study: Study, training: Training, work: WorkSettings) -> None:
    number = study.trainings.index(training) + 1
    log.info("training %d of %d: %s", number, len(study.trainings), training.name)
    try:
        _train(study, training, work)
        _score(study, training)
    except (FaceAuthError, OSError) as error:
        log.warning("training '%s' failed: %s", training.name, error)
        failure = {"training": training.name, "reason": str(error), "at": time.time()}
        write_json(_failure_path(study, training), failure)


def _train(study: Study, training: Training, work: WorkSettings) -> None:
    settings = study.settings_of(training)
    if not work.launcher:
        train(settings)
        return
    config = study.output / "configs" / f"{study.file_names[training.name]}.yaml"
    write_config(settings, config)
    script = Path(faceauth.__file__).parent / "train.py"
    command = [*shlex.split(work.launcher), str(script), "--config", str(config)]
    code = subprocess.run(command, check=False).returncode
    if code < 0 or code == 130:
        raise KeyboardInterrupt
    if code:
        raise TrainingError(f"{shlex.join(command)} ended with code {code}.")


def _score(study: Study, training: Training) -> None:
    settings = study.settings_of(training)
    run = Path(settings.output)
    scoring = ScoringSettings(
        batch_size=settings.batch_size, workers=settings.data.workers, seed=settings.seed, limit=study.limit
    )
    scores, _, card = score_manifest(run, study.manifest, study.test_rows, settings=scoring)
    n_reads = count_test_read(run, study.manifest) if study.settings.test_split == TEST else 0
    facts = {
        "name": training.name,
        "run": f"runs/{run.name}",
        # As the checkpoint says, not as the plan does.
        "folders": [*card.generators, *card.collections],
        "share": settings.data.share,
        "seed": settings.seed,
        "size": training.size,
        "epochs": settings.epochs,
        "best_epoch": card.epoch,
        "n_train": card.n_train,
        "threshold": card.threshold,
        "val_auroc": card.metrics["auroc"],
        "test_reads": n_reads,
    }
    path = scores_path(study, training)
    write_json(path.with_suffix(".json"), facts)
    # Last: it is what says that the training is done.
    write_scores(scores, path)
    # It takes three times the weights, and nobody goes on with a run that has finished.
    shutil.rmtree((run / RESUME_NAME).parent, ignore_errors=True)


def _failure_path(study: Study, training: Training) -> Path:
    return study.output / "failed" / f"{study.file_names[training.name]}.json"


def _work_in_a_process(
    settings: MatrixSettings, limit: int | None, work: WorkSettings, threads: int, card: str | None
) -> None:
    configure_logging(quiet=True)
    keep_freed_memory()
    torch.set_num_threads(threads)
    if card is not None:
        os.environ[VISIBLE_CARDS] = card
    try:
        _share_work(load_study(settings, limit=limit), work)
    except KeyboardInterrupt:
        sys.exit(130)
    except (FaceAuthError, OSError) as error:
        log.error("%s", error)
        sys.exit(1)


def _visible_cards() -> list[str]:
    named = os.environ.get(VISIBLE_CARDS)
    if named is not None:
        return [card.strip() for card in named.split(",") if card.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Sets variables for the processes that are started in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

"""Resamples all metrics of synthetic scores, beside a plain loop over numpy's choice and scikit-learn.

python benchmarks/intervals.py --faces 100000 --draws 2000
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.metrics
from scipy.special import expit

from faceauth.scoring.intervals import measure_rates
from faceauth.scoring.metrics import METRICS
from faceauth.versions import installed_versions

FACES_A_GROUP = 5
THRESHOLD = 0.5


def main() -> None:
    """Prints seconds of both sides and their ratios, without groups and with them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--loop-draws", type=int, default=5, help="the loop's time is scaled up from these")
    arguments = parser.parse_args()
    n, draws = arguments.faces, arguments.draws
    targets, p_fake, groups = synthetic_scores(n)
    machine = platform.processor() or platform.machine()
    print(
        f"{n:,} faces, {draws:,} draws, {len(METRICS.names())} metrics, {machine}, {os.cpu_count()} cores, "
        f"{installed_versions()}"
    )
    scale = draws / arguments.loop_draws
    loop, loop_cpu = (
        time_taken * scale
        for time_taken in seconds(lambda: loop_over_draws(targets, p_fake, arguments.loop_draws))
    )
    for title, names in (("each face its own", None), (f"groups of {FACES_A_GROUP}", groups)):
        ours, ours_cpu = seconds(
            lambda names=names: measure_rates(targets, p_fake, threshold=THRESHOLD, groups=names, draws=draws)
        )
        print(
            f"{title:18} {ours:6.1f} s, processor {ours_cpu:4.1f} s   13 metrics in a loop, no groups "
            f"{loop:5.0f} s, processor {loop_cpu:4.0f} s   ratio {loop_cpu / ours_cpu:.0f}"
        )


def synthetic_scores(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes targets, scores and group names of n faces; the AUROC is about 0.92."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, n)
    p_fake = expit(rng.normal(size=n) + 2 * (targets == 0) - 1)
    groups = np.array([f"g{number}" for number in rng.integers(0, max(1, n // FACES_A_GROUP), n)])
    return targets, p_fake, groups


def loop_over_draws(targets: np.ndarray, p_fake: np.ndarray, draws: int) -> np.ndarray:
    """The plain way: draws faces of each class, and asks scikit-learn; returns (draws, 13) values."""
    rng = np.random.default_rng(0)
    of_class = [np.flatnonzero(targets == target) for target in (0, 1)]
    values = []
    for _ in range(draws):
        rows = np.concatenate([rng.choice(members, len(members)) for members in of_class])
        is_fake, scores = targets[rows] == 0, p_fake[rows]
        called_fake = scores >= THRESHOLD
        metrics = sklearn.metrics
        fpr, tpr, _ = metrics.roc_curve(is_fake, scores, drop_intermediate=False)
        values.append(
            [
                metrics.accuracy_score(is_fake, called_fake),
                metrics.balanced_accuracy_score(is_fake, called_fake),
                *metrics.precision_recall_fscore_support(is_fake, called_fake, average="binary")[:3],
                metrics.roc_auc_score(is_fake, scores),
                metrics.average_precision_score(is_fake, scores),
                metrics.average_precision_score(~is_fake, -scores),
                fpr[np.argmin(np.abs(fpr - (1 - tpr)))],
                tpr[fpr <= 0.01].max(),
                tpr[fpr <= 0.001].max(),
                metrics.log_loss(is_fake, scores),
                metrics.brier_score_loss(is_fake, scores),
            ]
        )
    return np.array(values)


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Times one call: on the clock, and as processor time, which busy neighbours change less."""
    started, started_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - started_cpu


if __name__ == "__main__":
    main()

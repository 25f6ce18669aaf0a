"""`faceauth matrix`: train the detectors of a plan, test each on every source, and draw what comes out."""

import dataclasses
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from faceauth.errors import FaceAuthError, UsageError
from faceauth.files import read_json, write_json
from faceauth.intake.manifest import ManifestRow
from faceauth.labels import CLASSES
from faceauth.locks import claim
from faceauth.scoring.by_folder import rows_of_split
from faceauth.scoring.intervals import DEFAULT_DRAWS
from faceauth.scoring.score_tables import read_scores
from faceauth.shortcuts.shortcuts import measure_shortcuts
from faceauth.studies.matrix import CELL_METRICS, MatrixRow, find_tests, measure_matrix, write_matrix_csv
from faceauth.studies.matrix_figures import draw_matrix_figures
from faceauth.studies.transfer import correlate_detectors, correlate_generators
from faceauth.training.plans import PLANS
from faceauth.verbs.study import MatrixSettings, Study, load_study, open_study
from faceauth.verbs.study_work import (
    WorkSettings,
    do_trainings,
    failure_of,
    is_done,
    read_facts,
    scores_path,
)

MATRIX_NAME = "matrix.json"

log = logging.getLogger(__name__)


def matrix(
    settings: MatrixSettings,
    *,
    jobs: int = 1,
    launcher: str = "",
    limit: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Trains and tests what a plan says, and measures every pair of a training and a source.

    Writes `matrix.json`, `matrix.csv`, and as PNG and SVG the heat map `matrix`, the maps `correlation` and
    `agreement`, and for plans with sizes `curves`. The same command goes on where another one stopped, and
    shares the work with those that run at the same time.

    Args:
        settings: All that a config can say.
        jobs: Processes that share the trainings.
        launcher: What starts a training, such as `accelerate launch`; empty trains in the process itself.
        limit: At most so many test faces, and about so many training faces.
        overwrite: Begin anew in a folder that holds another study.

    Returns:
        The document of `matrix.json`.

    Raises:
        FaceAuthError: The study cannot be done, or none of its trainings could.
    """
    study = load_study(settings, limit=limit)
    for name, reason in study.untrainable.items():
        log.warning("'%s' is not trained: %s; families can join small generators", name, reason)
    open_study(study, overwrite=overwrite)
    do_trainings(study, WorkSettings(jobs=jobs, launcher=launcher))
    with claim(study.output / "claims" / "results.lock", wait=True):
        return _write_results(study)


def describe_study(settings: MatrixSettings, *, limit: int | None = None) -> list[dict[str, Any]]:
    """Says what a study would train, without writing anything.

    Returns:
        For each training its `name`, `folders`, `share`, `epochs`, `n_train` by class, and `state`: `done`,
        `open`, or why it cannot be done.
    """
    study = load_study(settings, limit=limit)
    described = []
    for training in study.trainings:
        of_training = study.settings_of(training)
        counts = Counter(row.target_class for row in study.train_rows(training))
        described.append(
            {
                "name": training.name,
                "folders": list(training.folders),
                "share": of_training.data.share,
                "epochs": of_training.epochs,
                "n_train": {label: counts[label] for label in CLASSES},
                "state": "done" if is_done(study, training) else "open",
            }
        )
    nothing = {"folders": [], "share": 0.0, "epochs": 0, "n_train": dict.fromkeys(CLASSES, 0)}
    return [*described, *({"name": n, **nothing, "state": why} for n, why in study.untrainable.items())]


def matrix_of_tables(
    tables: list[str], output: Path, *, split: str = "test", draws: int = DEFAULT_DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Makes the same matrix from scores that any tool has written, one row a table, at the threshold 0.5.

    Args:
        tables: `NAME=FILE`, or a file that bears the name; CSV or Parquet.
        output: Where results go.
        split: Which rows to measure; a table without splits is all `test`.
        draws: Resamples for the intervals.
        seed: Of the intervals.

    Returns:
        The document of `matrix.json`.

    Raises:
        FaceAuthError: A table cannot be read, or two bear one name.
    """
    files: dict[str, Path] = {}
    for table in tables:
        name, equals, file = table.partition("=")
        path = Path(file if equals else table)
        name = name if equals else path.stem
        if name in files:
            raise UsageError(f"Two tables are called '{name}'.", "Name them: --scores NAME=FILE.")
        files[name] = path
    rows = [MatrixRow(name, rows_of_split(read_scores(path), split)) for name, path in files.items()]
    trainings = [{"name": name, "file": str(path), "size": None} for name, path in files.items()]
    head: dict[str, Any] = {"plan": None, "axis": "", "split": split, "manifest_sha256": None, "limit": None}
    document = {**head, "trainings": trainings, "untrainable": {}, "failed": {}, "shortcuts": None}
    return _measure(document, rows, output, families={}, metrics=CELL_METRICS, draws=draws, seed=seed)


def format_matrix(document: dict[str, Any]) -> list[list[str]]:
    """Makes the table that people see: a row's mean over generators, seen and not, and its worst.

    Args:
        document: What `matrix` returned.
    """
    rows = []
    for entry in document["summary"]:
        worst = entry["worst_generator"]
        rows.append(
            [
                entry["training"],
                _format_rate(entry["seen_generators"]["mean_auroc"]),
                _format_rate(entry["unseen_generators"]["mean_auroc"]),
                _format_rate(entry["generators"]["mean_auroc"]),
                f"{worst['test']} {_format_rate(worst['auroc'])}" if worst else "-",
                _format_rate(entry["unseen_collections"]["recall_real"]),
            ]
        )
    return rows


def _write_results(study: Study) -> dict[str, Any]:
    rows, trainings, failed = [], [], {}
    for training in study.trainings:
        if is_done(study, training):
            facts = read_facts(study, training)
            trainings.append(facts)
            scores = read_scores(scores_path(study, training))
            learned = frozenset(facts["folders"])
            rows.append(MatrixRow(training.name, scores, facts["threshold"]["value"], learned))
        else:
            reason = f"its training failed: {failure_of(study, training)}"
            failed[training.name] = reason
            rows.append(MatrixRow(training.name, None, folders=frozenset(training.folders), reason=reason))
    if not trainings:
        raise FaceAuthError(f"No training could be done. {next(iter(failed.values()))}")
    settings = study.settings
    document = {
        "plan": dataclasses.asdict(settings.plan),
        "axis": PLANS.get(settings.plan.name).axis,
        "split": settings.test_split,
        "manifest_sha256": study.manifest.sha256,
        "limit": study.limit,
        "trainings": trainings,
        "untrainable": study.untrainable,
        "failed": failed,
        "shortcuts": measure_shortcuts(_measured_rows(study, rows), seed=settings.seed).to_json(),
    }
    return _measure(
        document,
        rows,
        study.output,
        families=settings.plan.families,
        metrics=settings.metrics,
        draws=settings.draws,
        seed=settings.seed,
    )


def _measured_rows(study: Study, rows: list[MatrixRow]) -> list[ManifestRow]:
    """Returns the manifest's rows that the detectors were tested on."""
    scored = {path for row in rows if row.scores is not None for path in row.scores.destination_path}
    of_split = study.manifest.in_split(study.settings.test_split)
    return [row for row in of_split if row.destination_path in scored]


def _measure(
    document: dict[str, Any],
    rows: list[MatrixRow],
    output: Path,
    *,
    families: dict[str, tuple[str, ...]],
    metrics: tuple[str, ...],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    tests = find_tests([row.scores for row in rows if row.scores is not None], families)
    metrics = ("auroc", *(name for name in metrics if name != "auroc"))
    document |= measure_matrix(rows, tests, metrics=metrics, draws=draws, seed=seed)
    document["correlation"] = {
        "generators": correlate_generators(document),
        "trainings": correlate_detectors(rows),
    }
    write_json(output / MATRIX_NAME, document)
    write_matrix_csv(document, output / "matrix.csv")
    draw_matrix_figures(document, output)
    # As it was written: lists, and no tuples.
    written: dict[str, Any] = read_json(output / MATRIX_NAME)
    return written


def _format_rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "-"
    bounds = f" ({rate['ci95'][0]:.3f} to {rate['ci95'][1]:.3f})" if rate["ci95"] else ""
    return f"{rate['value']:.3f}{bounds}"

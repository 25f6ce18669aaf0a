"""`faceauth robustness`: score a split clean and degraded, level by level, and say what each level costs."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from faceauth.console import progress
from faceauth.decisions.calibration import apply_calibration
from faceauth.degradations.degrade import AtLevel
from faceauth.degradations.suites import choose_levels
from faceauth.detectors.devices import best_device
from faceauth.detectors.embedded import checkpoint_of, open_checkpoint
from faceauth.detectors.folder import CARD_NAME, find_weights
from faceauth.errors import UsageError
from faceauth.files import read_json, write_json
from faceauth.intake.manifest import Manifest, read_manifest
from faceauth.labels import TEST
from faceauth.scoring.score import score_rows
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores, write_scores
from faceauth.shortcuts.shortcuts import measure_shortcuts
from faceauth.splits.leaks import refuse_leaks
from faceauth.studies.robustness import CLEAN, measure_robustness, write_robustness_csv
from faceauth.studies.robustness_figures import draw_robustness_figures
from faceauth.verbs.evaluate import (
    DEFAULT_SCORING,
    ScoringSettings,
    count_test_read,
    limit_rows,
    list_test_reads,
)

log = logging.getLogger(__name__)

RUN_NAME = "robustness_run.json"
SCORES_NAME = "scores"


def robustness(
    model: Path,
    manifest_path: Path,
    output: Path,
    *,
    split: str = TEST,
    suite: str = "full",
    only: Sequence[str] = (),
    settings: ScoringSettings = DEFAULT_SCORING,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Scores a split clean and at every level of a suite, and measures what the levels cost.

    Writes `scores/<degradation>_<level>.csv` after each level, and then `robustness.json`, `robustness.csv`
    and figures. Levels that are there already are not scored again.

    Args:
        model: A checkpoint or run folder.
        manifest_path: A prepared folder or manifest file.
        output: Where results go.
        split: `test`, or `val` and `train` for a look at them.
        suite: A name in `SUITES`.
        only: Leave out all other degradations of the suite; empty for none.
        settings: How the detector is run.
        overwrite: Begin anew in a folder that holds scores of another model, manifest or setting.

    Returns:
        The document of `robustness.json`.

    Raises:
        FaceAuthError: The model, the manifest or the suite cannot be used, the manifest leaks, or the folder
            holds other scores.
    """
    levels = choose_levels(suite, only)
    manifest = read_manifest(manifest_path)
    refuse_leaks(manifest)
    detector, card = open_checkpoint(model)
    rows = limit_rows(manifest.in_split(split), settings.limit)
    _bind_folder(output, model, manifest, split=split, levels=levels, settings=settings, overwrite=overwrite)

    wanted: list[tuple[str, float | None]] = [(CLEAN, None)]
    wanted += [(name, level) for name, grid in levels.items() for level in grid]
    missing = [at for at in wanted if not _scores_path(output, *at).exists()]
    if len(missing) < len(wanted):
        log.info("%d of %d levels are there already", len(wanted) - len(missing), len(wanted))
    with progress("degraded crops", len(missing) * len(rows)) as advance:
        for name, level in missing:
            scores, _ = score_rows(
                detector,
                rows,
                manifest,
                batch_size=settings.batch_size,
                workers=settings.workers,
                device=settings.device or best_device(),
                advance=partial(advance, note=name if level is None else f"{name} {level:g}"),
                alter=None if level is None else AtLevel(name, level, settings.seed),
            )
            scores = apply_calibration(scores, card.calibration)
            write_scores(scores, _scores_path(output, name, level))

    # Read back even if they were scored just now: a run that was stopped must end with the same bytes.
    clean = read_scores(_scores_path(output, CLEAN, None))
    degraded: dict[str, dict[float, Scores]] = {
        name: {level: read_scores(_scores_path(output, name, level)) for level in grid}
        for name, grid in levels.items()
    }
    threshold = float(card.threshold["value"])
    with progress("measured levels", len(wanted) - 1) as advance:
        measured = measure_robustness(
            clean, degraded, threshold=threshold, seed=settings.seed, advance=advance
        )
    document = {
        "model": str(model),
        "split": split,
        "suite": suite,
        "threshold": {key: card.threshold[key] for key in ("value", "rule", "chosen_on")},
        "test_reads": len(list_test_reads(model)),
        "shortcuts": measure_shortcuts(rows, seed=settings.seed).to_json(),
        **measured.to_json(),
    }
    write_json(output / "robustness.json", document)
    write_robustness_csv(document, output / "robustness.csv")
    draw_robustness_figures(document, output)
    return document


def format_levels(document: dict[str, Any]) -> list[list[str]]:
    """Makes the table that people see: the clean pictures, each level, and the area of each degradation.

    Args:
        document: The document of `robustness.json`.
    """
    clean = document[CLEAN]
    table = [
        [CLEAN, "", *_cells(clean["auroc"]), "", "", _cells(clean["balanced_accuracy"])[0]],
    ]
    for name, curve in document["degradations"].items():
        for at in curve["levels"]:
            rates = [*_cells(at["auroc"]), *_cells(at["auroc_drop"]), _cells(at["balanced_accuracy"])[0]]
            table.append([name, f"{at['level']:g}", *rates])
        table.append([name, "area", *_cells(curve["area"]), "", "", ""])
    return table


def _cells(rate: dict[str, Any]) -> tuple[str, str]:
    if rate["value"] is None:
        return "-", rate["reason"] or ""
    interval = "-" if rate["ci95"] is None else f"{rate['ci95'][0]:.3f} to {rate['ci95'][1]:.3f}"
    return f"{rate['value']:.3f}", interval


def _scores_path(output: Path, name: str, level: float | None) -> Path:
    return output / SCORES_NAME / (f"{name}.csv" if level is None else f"{name}_{level:g}.csv")


def _bind_folder(
    output: Path,
    model: Path,
    manifest: Manifest,
    *,
    split: str,
    levels: dict[str, tuple[float, ...]],
    settings: ScoringSettings,
    overwrite: bool,
) -> None:
    """Makes sure that all scores in a folder are of one model, manifest and setting, and counts a test read.

    The same command, or one that asks for nothing new, is the same reading of the test split.

    Raises:
        UsageError: The folder holds other scores.
    """
    checkpoint = checkpoint_of(model)
    facts: dict[str, Any] = {
        "checkpoint": _sha256(find_weights(checkpoint)),
        "card": _sha256(checkpoint / CARD_NAME),
        "manifest": manifest.sha256,
        "split": split,
        "seed": settings.seed,
        "limit": settings.limit,
    }
    path = output / RUN_NAME
    kept = {} if overwrite or not path.exists() else read_json(path)
    changed = [key for key in facts if kept and kept.get(key) != facts[key]]
    if changed:
        raise UsageError(
            f"{output} holds scores of a run that differs in: {', '.join(changed)}.",
            "Choose another --output, or begin anew with --overwrite.",
        )
    if not kept:
        path.unlink(missing_ok=True)
        shutil.rmtree(output / SCORES_NAME, ignore_errors=True)
    asked = {name: set(grid) for name, grid in kept.get("asked", {}).items()}
    if all(set(grid) <= asked.get(name, set()) for name, grid in levels.items()) and kept:
        return
    if split == TEST:
        count_test_read(model, manifest)
    for name, grid in levels.items():
        asked[name] = asked.get(name, set()) | set(grid)
    write_json(path, facts | {"asked": {name: sorted(grid) for name, grid in sorted(asked.items())}})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

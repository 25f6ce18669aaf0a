"""`faceauth evaluate`: score a split, or take the scores of any other tool, and say what they are worth."""

import getpass
import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from faceauth.clusters.embeddings import Embeddings, write_embeddings
from faceauth.console import progress
from faceauth.decisions.calibration import NONE, apply_calibration, fit_calibration
from faceauth.decisions.conformal import choose_unsure_band
from faceauth.decisions.decided import read_decided
from faceauth.decisions.threshold_rules import parse_rule
from faceauth.decisions.thresholds import choose_threshold, list_thresholds
from faceauth.detectors.devices import best_device
from faceauth.detectors.embedded import checkpoint_of, is_embedded, open_checkpoint
from faceauth.detectors.folder import TEST_READS_NAME, find_weights
from faceauth.detectors.hub import parse_hub_id
from faceauth.errors import UsageError
from faceauth.evaluation.document import evaluate_scores
from faceauth.evaluation.document_files import write_evaluation
from faceauth.evaluation.figures import draw_evaluation_figures
from faceauth.evaluation.misclassified import write_misclassified
from faceauth.intake.manifest import Manifest, ManifestRow, read_manifest
from faceauth.labels import TEST, VAL
from faceauth.scoring.by_folder import rows_of_split
from faceauth.scoring.score import score_rows
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores
from faceauth.shortcuts.shortcuts import measure_shortcuts
from faceauth.splits.leaks import refuse_leaks

log = logging.getLogger(__name__)

EMBEDDINGS_NAME = "embeddings.parquet"
# Of the unsure band of another tool's scores; a checkpoint has its own.
COVERAGE = 0.9


@dataclass(frozen=True)
class ScoringSettings:
    """How a detector is run over crops.

    Attributes:
        batch_size: Crops a step.
        workers: Processes that read crops.
        device: A torch device; None takes the best there is.
        seed: Of intervals and everything else that is drawn.
        limit: At most so many rows, taken evenly from the manifest; None for all.
    """

    batch_size: int = 32
    workers: int = 2
    device: str | None = None
    seed: int = 0
    limit: int | None = None


DEFAULT_SCORING = ScoringSettings()


def evaluate(
    model: Path,
    manifest_path: Path,
    output: Path,
    *,
    split: str = TEST,
    settings: ScoringSettings = DEFAULT_SCORING,
) -> dict[str, Any]:
    """Scores one split and measures it, at the threshold that was chosen on val.

    Writes `scores.csv`, `metrics.json`, `metrics.xlsx`, figures, and `embeddings.parquet` from the same pass.

    Args:
        model: A checkpoint or run folder.
        manifest_path: A prepared folder or manifest file.
        output: Where results go.
        split: `test`, or `val` and `train` for a look at them.
        settings: How the detector is run.

    Returns:
        The document of `metrics.json`.

    Raises:
        FaceAuthError: The model or the manifest cannot be used, or the manifest leaks.
    """
    manifest = read_manifest(manifest_path)
    refuse_leaks(manifest)
    rows = limit_rows(manifest.in_split(split), settings.limit)
    scores, embeddings, card = score_manifest(model, manifest, rows, settings=settings)
    write_embeddings(embeddings, output / EMBEDDINGS_NAME)
    if split == TEST:
        count_test_read(model, manifest)
    decided = read_decided(card, model)
    return _measure(
        scores,
        output,
        manifest=manifest,
        split=split,
        model=str(model),
        threshold=decided.threshold,
        alternatives=decided.alternatives,
        calibration=decided.calibration,
        unsure=decided.unsure,
        seed=settings.seed,
        test_reads=list_test_reads(model),
        shortcuts=measure_shortcuts(rows, seed=settings.seed),
    )


def evaluate_table(
    scores_path: Path,
    output: Path,
    *,
    split: str = TEST,
    rule: str = "half",
    calibration: str = "none",
    column: str | None = None,
    meaning: str = "p_fake",
    manifest_path: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures scores that any tool has written.

    Args:
        scores_path: CSV or Parquet with a score and the truth, and if known `folder`, `split` and `group`.
        output: Where results go.
        split: Which rows to measure; a table without splits is all `test`.
        rule: How the threshold is chosen: `half` or `value=`, or another rule if the table has val rows.
        calibration: A name in `CALIBRATIONS`; all but `none` are fitted on the table's val rows.
        column: The column that holds the score; None looks for one whose name says what it means.
        meaning: What its numbers are, a name in `SCORE_MEANINGS`.
        manifest_path: A prepared folder or manifest file that knows the truth of each path, its source, split
            and group; then leaks are refused and plain facts alone are measured, too.
        seed: Of the intervals.

    Returns:
        The document of `metrics.json`.

    Raises:
        FaceAuthError: The table cannot be read, the manifest leaks, or a rule needs val rows and there are
            none.
    """
    manifest = None if manifest_path is None else read_manifest(manifest_path)
    if manifest is not None:
        refuse_leaks(manifest)
    scores = read_scores(scores_path, column=column, meaning=meaning, manifest=manifest)
    val = scores.where(scores.split == VAL)
    if not len(val) and (calibration != NONE or parse_rule(rule).rule.fixed is None):
        raise UsageError(
            f"The threshold rule '{rule}' with the calibration '{calibration}' needs val rows, and "
            f"{scores_path} has none.",
            "Use --threshold-rule half or value=0.6 and --calibration none, or add rows with split val.",
        )
    fitted = fit_calibration(val.target, val.p_fake, method=calibration)
    scores, val = apply_calibration(scores, fitted), apply_calibration(val, fitted)
    threshold = choose_threshold(val.target, val.p_fake, rule=rule, groups=val.group, seed=seed)
    shortcuts, alternatives, unsure = None, [], None
    if len(set(val.target.tolist())) == 2:
        alternatives = list_thresholds(val.target, val.p_fake, groups=val.group, seed=seed)
        unsure = choose_unsure_band(
            val.target, val.p_fake, coverage=COVERAGE, threshold=threshold.value, groups=val.group
        )
    if manifest is not None:
        scored = set(scores.destination_path.tolist())
        rows = [row for row in manifest.in_split(split) if row.destination_path in scored]
        shortcuts = measure_shortcuts(rows, seed=seed)
    return _measure(
        scores,
        output,
        manifest=manifest,
        split=split,
        model=str(scores_path),
        threshold=threshold,
        alternatives=alternatives,
        calibration=fitted,
        unsure=unsure,
        seed=seed,
        shortcuts=shortcuts,
    )


def score_manifest(
    model: Path, manifest: Manifest, rows: list[ManifestRow], *, settings: ScoringSettings
) -> tuple[Scores, Embeddings, Any]:
    """Runs a checkpoint over rows, with progress.

    Returns:
        The scores, calibrated; the embeddings of the same pass; and the checkpoint's card.
    """
    detector, card = open_checkpoint(model)
    rows = limit_rows(rows, settings.limit)
    with progress("scores", len(rows)) as advance:
        scores, features = score_rows(
            detector,
            rows,
            manifest,
            batch_size=settings.batch_size,
            workers=settings.workers,
            device=settings.device or best_device(),
            advance=advance,
        )
    scores = apply_calibration(scores, card.calibration)
    assert scores.group is not None
    embeddings = Embeddings(
        destination_path=scores.destination_path,
        folder=scores.folder,
        split=scores.split,
        target=scores.target.astype(np.int8),
        group=scores.group,
        p_fake=scores.p_fake.astype(np.float32),
        features=features,
    )
    return scores, embeddings, card


def limit_rows(rows: list[ManifestRow], limit: int | None) -> list[ManifestRow]:
    """Returns at most `limit` rows, taken evenly from all; all of them if there is no limit."""
    if limit is None or limit >= len(rows):
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, limit).round().astype(int)]


def count_test_read(model: Path, manifest: Manifest) -> int:
    """Writes down that a model was shown the test split, and returns how often that has happened.

    A test split that is read again and again until the figure pleases is no test any more. The embedded
    detector and those of the hub keep no such log: whoever has one cannot train it again.
    """
    if is_embedded(model) or parse_hub_id(model) is not None:
        return 0
    folder = checkpoint_of(model)
    line = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": _user(),
        "checkpoint_sha256": _sha256(find_weights(folder)),
        "manifest_sha256": manifest.sha256,
    }
    with (folder / TEST_READS_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return len(list_test_reads(model))


def list_test_reads(model: Path) -> list[dict[str, str]]:
    """Returns who read the test split for a model, when and with which weights, the earliest first."""
    path = checkpoint_of(model) / TEST_READS_NAME
    reads = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            reads.append(json.loads(line))
        except ValueError:
            # A line that was cut off still stands for a reading.
            reads.append({"when": "unknown", "who": "unknown"})
    return reads


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _measure(
    scores: Scores, output: Path, *, manifest: Manifest | None, split: str, **decided: Any
) -> dict[str, Any]:
    document = evaluate_scores(scores, split=split, **decided)
    write_evaluation(document, scores, output)
    draw_evaluation_figures(document, scores, output)
    write_misclassified(
        rows_of_split(scores, split), output, threshold=document["threshold"]["value"], manifest=manifest
    )
    return document

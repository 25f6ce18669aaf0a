"""`faceauth evaluate`: score a split, or take the scores of any other tool, and say what they are worth."""

import getpass
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from faceauth.clusters.embeddings import Embeddings, write_embeddings
from faceauth.console import progress
from faceauth.detectors.checkpoint import CARD_NAME, TEST_READS_NAME, load_checkpoint
from faceauth.errors import UsageError
from faceauth.intake.manifest import Manifest, ManifestRow, read_manifest
from faceauth.labels import TEST, VAL
from faceauth.scoring.evaluation import evaluate_scores
from faceauth.scoring.evaluation_files import write_evaluation
from faceauth.scoring.figures import draw_evaluation_figures
from faceauth.scoring.intervals import Rate
from faceauth.scoring.score import best_device, score_rows
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores
from faceauth.scoring.shortcuts import measure_shortcuts
from faceauth.scoring.thresholds import Threshold, choose_threshold
from faceauth.splits.leaks import refuse_leaks

log = logging.getLogger(__name__)

EMBEDDINGS_NAME = "embeddings.parquet"


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
    rows = _limited(manifest.in_split(split), settings.limit)
    scores, embeddings, card = score_manifest(model, manifest, rows, settings=settings)
    write_embeddings(embeddings, output / EMBEDDINGS_NAME)
    n_reads = count_test_read(model, manifest) if split == TEST else _test_reads(model)
    value, rule, chosen_on = (card.threshold[name] for name in ("value", "rule", "chosen_on"))
    n_val = {label: int(card.metrics["auroc"][f"n_{label}"]) for label in ("real", "fake")}
    threshold = Threshold(value, rule, chosen_on, n_val["real"], n_val["fake"])
    shortcut = measure_shortcuts(rows, seed=settings.seed).overall
    return _measure(
        scores, output, threshold=threshold, split=split, model=str(model), seed=settings.seed,
        test_reads=n_reads, shortcut_auroc=shortcut,
    )  # fmt: skip


def evaluate_table(
    scores_path: Path, output: Path, *, split: str = TEST, rule: str = "half", seed: int = 0
) -> dict[str, Any]:
    """Measures scores that any tool has written.

    Args:
        scores_path: CSV or Parquet with `p_fake`, `target`, and if known `folder`, `split` and `group`.
        output: Where results go.
        split: Which rows to measure; a table without splits is all `test`.
        rule: How the threshold is chosen: `half`, or another rule if the table has val rows.
        seed: Of the intervals.

    Returns:
        The document of `metrics.json`.

    Raises:
        FaceAuthError: The table cannot be read, or a rule needs val rows and there are none.
    """
    scores = read_scores(scores_path)
    is_val = scores.split == VAL
    if rule != "half" and not is_val.any():
        raise UsageError(
            f"The threshold rule '{rule}' needs val rows, and {scores_path} has none.",
            "Use --threshold-rule half, or add rows with split val.",
        )
    threshold = choose_threshold(scores.target[is_val], scores.p_fake[is_val], rule=rule, chosen_on=VAL)
    return _measure(scores, output, threshold=threshold, split=split, model=str(scores_path), seed=seed)


def score_manifest(
    model: Path, manifest: Manifest, rows: list[ManifestRow], *, settings: ScoringSettings
) -> tuple[Scores, Embeddings, Any]:
    """Runs a checkpoint over rows, with progress.

    Returns:
        The scores, the embeddings of the same pass, and the checkpoint's card.
    """
    detector, card = load_checkpoint(model)
    rows = _limited(rows, settings.limit)
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


def _limited(rows: list[ManifestRow], limit: int | None) -> list[ManifestRow]:
    if limit is None or limit >= len(rows):
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, limit).round().astype(int)]


def count_test_read(model: Path, manifest: Manifest) -> int:
    """Writes down that a model was shown the test split, and returns how often that has happened.

    A test split that is read again and again until the figure pleases is no test any more.
    """
    path = _checkpoint_folder(model) / TEST_READS_NAME
    line = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": _user(),
        "manifest_sha256": manifest.sha256,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return _test_reads(model)


def _test_reads(model: Path) -> int:
    path = _checkpoint_folder(model) / TEST_READS_NAME
    return len(path.read_text("utf-8").splitlines()) if path.exists() else 0


def _checkpoint_folder(model: Path) -> Path:
    return model if (model / CARD_NAME).is_file() else model / "checkpoint"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _measure(
    scores: Scores,
    output: Path,
    *,
    threshold: Threshold,
    split: str,
    model: str,
    seed: int,
    test_reads: int = 0,
    shortcut_auroc: Rate | None = None,
) -> dict[str, Any]:
    document = evaluate_scores(
        scores,
        threshold=threshold,
        split=split,
        model=model,
        seed=seed,
        test_reads=test_reads,
        shortcut_auroc=shortcut_auroc,
    )
    write_evaluation(document, scores, output)
    draw_evaluation_figures(document, scores, output)
    return document

"""All figures of an evaluation, drawn from its document and its scores and written as PNG and SVG."""

from pathlib import Path
from typing import Any

import matplotlib

from faceauth.evaluation.confusion import draw_confusion, draw_confusion_by_source
from faceauth.evaluation.curves import draw_det, draw_roc
from faceauth.evaluation.drawing import SETTINGS, list_sources, save_figure
from faceauth.evaluation.forest import draw_folders
from faceauth.evaluation.histograms import draw_score_histogram, draw_scores_by_source
from faceauth.evaluation.reliability_figures import draw_reliability, draw_reliability_by_folder
from faceauth.scoring.by_folder import rows_of_split
from faceauth.scoring.scores import Scores


def draw_evaluation_figures(document: dict[str, Any], scores: Scores, folder: Path) -> list[Path]:
    """Draws an evaluation; each figure as PNG and as SVG, whole or not at all.

    Without both classes there are no curves and no forest plot.

    Args:
        document: What `evaluate_scores` returned.
        scores: What it was given.
        folder: Where to; made if need be.

    Returns:
        The paths of the files that were written.

    Raises:
        InputError: No score is of the document's split.
    """
    measured = rows_of_split(scores, document["split"])
    threshold = document["threshold"]["value"]
    overall = document["overall"]
    auroc, eer = overall["auroc"], overall["eer"]
    sources, n_left_out = list_sources(measured, document)
    with matplotlib.rc_context(SETTINGS):
        figures = {
            "scores": draw_score_histogram(measured, threshold=threshold),
            "scores_by_source": draw_scores_by_source(sources, threshold=threshold, n_left_out=n_left_out),
            "confusion": draw_confusion(measured, overall, threshold=threshold),
            "confusion_by_source": draw_confusion_by_source(
                sources, threshold=threshold, n_left_out=n_left_out
            ),
        }
        if auroc["value"] is not None:
            figures["roc"] = draw_roc(measured, auroc, eer, threshold=threshold, sources=sources)
            figures["det"] = draw_det(measured, eer, threshold=threshold, sources=sources)
            figures["folders"] = draw_folders(document, sources, n_left_out=n_left_out)
        calibration = document.get("calibration", {})
        if calibration.get("bins"):
            figures["reliability"] = draw_reliability(calibration)
            by_folder = draw_reliability_by_folder(calibration)
            if by_folder is not None:
                figures["reliability_by_source"] = by_folder
    return [path for name, figure in figures.items() for path in save_figure(figure, folder, name)]

"""What the report says of an evaluation: its metrics and figures, its calibration, its thresholds."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from faceauth.labels import FAKE, REAL
from faceauth.report import evaluation_tables, tables
from faceauth.report.collect import Document, Evaluation, evaluated_split
from faceauth.report.faces import thumbnail
from faceauth.report.figures import IntervalRow, interval_chart, score_strips
from faceauth.report.markup import Block, Markup, inline_image, interval, number, paragraph, text
from faceauth.report.tables import as_number, as_rate, sub_document

MISTAKES_SHOWN = 8
_MISTAKE_PX = 96
# In reading order; figures of other names come after them.
CAPTIONS = {
    "folders": "Sources side by side, and what a ruler alone gets",
    "roc": "ROC curve, and the same where false alarms are rare",
    "det": "Both kinds of error against each other (DET)",
    "scores": "Scores by class",
    "scores_by_source": "Scores by source",
    "confusion": "What was called what",
    "confusion_by_source": "What was called fake, by source",
}
CALIBRATION_CAPTIONS = {
    "reliability": "How often faces with a given score are fake",
    "reliability_by_source": "The same by source",
}


def evaluation_blocks(found: Evaluation, audits: Sequence[Document], crops_root: Path | None) -> list[Block]:
    """Returns what is said of one evaluation.

    Args:
        found: The evaluation.
        audits: Say what plain facts alone reach on a source, where the evaluation itself does not.
        crops_root: Folder of the crops if faces may be shown, else None.
    """
    metrics = found.metrics
    by_folder = sub_document(metrics, "by_folder")
    shortcuts: dict[str, object] = {}
    for document in (*(audit.content for audit in audits), metrics):
        shortcuts |= sub_document(document, "shortcuts", "by_folder")
    rows = [
        IntervalRow(
            name,
            as_rate(sub_document(by_folder, name).get("auroc")),
            as_rate(shortcuts[name]) if name in shortcuts else None,
        )
        for name in by_folder
    ]
    rows.sort(key=lambda row: row.rate.value if row.rate.value is not None else -1)
    reads = evaluation_tables.reads_words(metrics)
    blocks: list[Block] = [
        _threshold_words(metrics),
        paragraph(reads) if reads else None,
        tables.overall_table(metrics),
        interval_chart(rows, description="AUROC by source, the hardest first"),
        tables.sources_table(metrics),
    ]
    if found.scores is not None:
        scores = found.scores
        threshold = as_number(sub_document(metrics, "threshold").get("value"))
        blocks.append(score_strips(scores.folder, scores.target, scores.p_fake, threshold=threshold))
        if crops_root is not None and threshold is not None:
            blocks += [_mistakes(found, crops_root, kind=kind, threshold=threshold) for kind in (REAL, FAKE)]
    elsewhere = set(CALIBRATION_CAPTIONS)
    if found.scores is not None:
        # The page draws these itself.
        elsewhere.add("scores_by_source")
    blocks += [
        plates([path for path in found.figures if path.stem not in elsewhere], CAPTIONS, heading="Figures"),
        evaluation_tables.pairs_table(metrics),
        evaluation_tables.pooled_table(metrics),
        evaluation_tables.delong_table(metrics),
        evaluation_tables.reads_table(metrics),
    ]
    return blocks


def calibration_blocks(found: Evaluation) -> list[Block]:
    """Returns what is said of how far scores can be taken at their word; empty if it was not measured."""
    figures = [path for path in found.figures if path.stem in CALIBRATION_CAPTIONS]
    measured = [block for block in evaluation_tables.calibration_tables(found.metrics) if block]
    if not measured and not figures:
        return []
    calibration = sub_document(found.metrics, "calibration")
    words = (
        "Of the faces with a score near 0.8, about 80 of 100 should be fake where fakes and reals are as many"
    )
    method, chosen_on = calibration.get("method"), calibration.get("chosen_on")
    if isinstance(method, str) and method not in ("", "none"):
        words += f". Scores were calibrated by {method.replace('_', ' ')}"
        words += f", fitted on {chosen_on}" if chosen_on else ""
    return [paragraph(f"{words}.", kind="lead"), plates(figures, CALIBRATION_CAPTIONS), *measured]


def threshold_blocks(found: Evaluation) -> list[Block]:
    """Returns what is said of where to cut and of where not to decide; empty if there is one cut only."""
    thresholds = evaluation_tables.thresholds_table(found.metrics)
    unsure = evaluation_tables.unsure_table(found.metrics)
    band = sub_document(found.metrics, "unsure")
    low, high = as_number(band.get("low")), as_number(band.get("high"))
    words = ""
    if unsure is not None and low is not None and high is not None:
        words = f"Scores from {number(low)} up to {number(high)} are called unsure"
        coverage = as_number(band.get("coverage"))
        if coverage is not None:
            words += f", so that the truth is among what was said for {coverage:.0%} of each class"
        words += f"; chosen on {band['chosen_on']}." if band.get("chosen_on") else "."
    return [
        paragraph(_rules_words(found), kind="lead") if thresholds else None,
        thresholds,
        paragraph(words) if words else None,
        unsure,
    ]


def _rules_words(found: Evaluation) -> str:
    split = evaluated_split(found.metrics)
    listed = found.metrics.get("thresholds")
    on_these = [
        str(threshold.get("rule"))
        for threshold in (listed if isinstance(listed, list) else [])
        if isinstance(threshold, dict) and split and threshold.get("chosen_on") == split
    ]
    words = "Each rule weighs the two errors in its own way"
    if on_these:
        return f"{words}. Chosen on these very faces, and so too good here: {', '.join(on_these)}."
    return f"{words}; none was chosen on the faces that are measured here."


def plates(figures: Iterable[Path], captions: Mapping[str, str], *, heading: str = "") -> Markup | None:
    """Returns figures side by side, wide ones alone; None if there are none.

    Args:
        figures: Images.
        captions: What to write below a figure of a name, in reading order; other names come after them.
        heading: What stands above them; empty for nothing.
    """
    order = list(captions)
    ranked = sorted(figures, key=lambda path: order.index(path.stem) if path.stem in captions else len(order))
    if not ranked:
        return None
    images = "".join(
        inline_image(path, captions.get(path.stem, path.stem.replace("_", " "))) for path in ranked
    )
    title = f"<h3>{text(heading)}</h3>" if heading else ""
    return Markup(f'{title}<div class="plates">{images}</div>')


def _threshold_words(metrics: dict[str, object]) -> Markup | None:
    threshold = sub_document(metrics, "threshold")
    value = as_number(threshold.get("value"))
    if value is None:
        return None
    words = f"A face is called fake from a score of {number(value)} on"
    if threshold.get("rule"):
        words += f" (rule: {threshold['rule']}"
        words += f", chosen on {threshold['chosen_on']}" if threshold.get("chosen_on") else ""
        words += _chosen_from(threshold)
        words += ")"
    return paragraph(f"{words}. Small print gives 95 % intervals.", kind="lead")


def _chosen_from(threshold: dict[str, object]) -> str:
    """Says how many faces a threshold was chosen on and where else it might lie."""
    words = ""
    n_real, n_fake = (as_number(threshold.get(key)) for key in ("n_real", "n_fake"))
    if n_real and n_fake:
        words += f" from {number(n_real)} real and {number(n_fake)} fake faces"
    bounds = as_rate(threshold).ci95
    return f"{words}; 95 % interval {interval(bounds)}" if bounds else words


def _mistakes(found: Evaluation, crops_root: Path, *, kind: int, threshold: float) -> Markup | None:
    """Shows the faces of one class on which the detector was most wrong."""
    scores = found.scores
    if scores is None:
        return None
    is_wrong = (scores.target == kind) & ((scores.p_fake >= threshold) == (kind == REAL))
    order = np.argsort(-scores.p_fake if kind == REAL else scores.p_fake, kind="stable")
    cards = []
    for i in order[is_wrong[order]][:MISTAKES_SHOWN]:
        face = thumbnail(crops_root, str(scores.destination_path[i]), side_px=_MISTAKE_PX)
        if face is not None:
            source = text(str(scores.folder[i]))
            cards.append(
                f'<figure><img src="data:image/jpeg;base64,{face}" alt="A face of {source}">'
                f"<figcaption>{source}, {scores.p_fake[i]:.2f}</figcaption></figure>"
            )
    if not cards:
        return None
    title = "Reals that it took for fakes" if kind == REAL else "Fakes that it took for reals"
    count = f"the worst {len(cards)} of {number(int(is_wrong.sum()))}"
    return Markup(f'<h3>{title} <small>{count}</small></h3><div class="faces">{"".join(cards)}</div>')

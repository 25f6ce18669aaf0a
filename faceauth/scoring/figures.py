"""Pictures of an evaluation: ROC curve, scores by class, confusion matrix, generators side by side.

Blue is real and vermilion is fake everywhere (Okabe and Ito's colours, told apart by colour-blind readers);
nothing is said by colour alone. Figures are made without pyplot, so that no state outlives a call.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from faceauth.files import whole_file
from faceauth.labels import FAKE, REAL
from faceauth.scoring.evaluation import format_value, iterate_folders, rows_of_split
from faceauth.scoring.metrics import tally_scores
from faceauth.scoring.scores import Scores

COLOUR_REAL = "#0072B2"
COLOUR_FAKE = "#D55E00"
COLOUR_CURVE = "#222222"
COLOUR_GUIDE = "#8A8A8A"
DOTS_PER_INCH = 150
HISTOGRAM_BINS = 40
MAX_LABEL_CHARACTERS = 32
# A fixed salt and no date: the same scores give the same bytes.
SETTINGS: Any = {"svg.hashsalt": "faceauth", "font.size": 10, "axes.titlesize": 11}


def draw_evaluation_figures(document: dict[str, Any], scores: Scores, folder: Path) -> list[Path]:
    """Draws an evaluation; each figure as PNG and as SVG, whole or not at all.

    Without both classes there is no ROC curve and no comparison of folders.

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
    with matplotlib.rc_context(SETTINGS):
        figures = {
            "scores": draw_score_histogram(measured, threshold=threshold),
            "confusion": draw_confusion(measured, threshold=threshold),
        }
        if overall["auroc"]["value"] is not None:
            figures["roc"] = draw_roc(measured, overall["auroc"], overall["eer"], threshold=threshold)
            figures["folders"] = draw_folders(measured, document)
        paths = []
        for name, figure in figures.items():
            for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
                path = folder / f"{name}{suffix}"
                with whole_file(path) as draft:
                    figure.savefig(draft, dpi=DOTS_PER_INCH, metadata=metadata)
                paths.append(path)
    return paths


def draw_roc(scores: Scores, auroc: dict[str, Any], eer: dict[str, Any], *, threshold: float) -> Figure:
    """Draws the ROC curve with the points of equal error and of the threshold.

    Args:
        scores: Scores of one split, of both classes.
        auroc: The rate, as in `metrics.json`.
        eer: The rate, as in `metrics.json`.
        threshold: A face is called fake from this score on.
    """
    tally = tally_scores(scores.target, scores.p_fake)
    false_fake, true_fake = tally.called_fake(threshold)
    fpr = np.concatenate([[0.0], tally.real_from_here[::-1] / tally.n_real])
    tpr = np.concatenate([[0.0], tally.fake_from_here[::-1] / tally.n_fake])
    figure, axes = _new_figure(5.2, 5.4)
    axes.plot([0, 1], [0, 1], color=COLOUR_GUIDE, linewidth=1, linestyle=":", label="chance")
    axes.plot(fpr, tpr, color=COLOUR_CURVE, linewidth=1.8, label=f"AUROC {_format_rate(auroc)}")
    axes.plot(
        eer["value"],
        1 - eer["value"],
        "o",
        color=COLOUR_FAKE,
        markersize=8,
        label=f"equal error rate {_format_rate(eer)}",
        clip_on=False,
        zorder=4,
    )
    axes.plot(
        false_fake / tally.n_real,
        true_fake / tally.n_fake,
        "D",
        markerfacecolor="white",
        markeredgecolor=COLOUR_REAL,
        markeredgewidth=1.8,
        markersize=7,
        label=f"threshold {threshold:.3f}",
        clip_on=False,
        zorder=5,
    )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        xlabel="share of real faces called fake",
        ylabel="share of fake faces called fake",
        title=f"ROC curve: {_format_counts(scores)}",
    )
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


def draw_score_histogram(scores: Scores, *, threshold: float) -> Figure:
    """Draws how the scores of real and of fake faces are spread, each class as shares of its own.

    Args:
        scores: Scores of one split.
        threshold: A face is called fake from this score on.
    """
    figure, axes = _new_figure(6.4, 4.0)
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    for target, label, colour, hatch in (
        (REAL, "real", COLOUR_REAL, ""),
        (FAKE, "fake", COLOUR_FAKE, "////"),
    ):
        chosen = scores.p_fake[scores.target == target]
        if not len(chosen):
            continue
        shares = np.histogram(chosen, edges)[0] / len(chosen)
        axes.stairs(shares, edges, fill=True, facecolor=colour, alpha=0.25, hatch=hatch, edgecolor=colour)
        axes.stairs(shares, edges, color=colour, linewidth=1.5, label=f"{label}, {len(chosen):,}")
    axes.axvline(
        threshold, color=COLOUR_CURVE, linewidth=1.2, linestyle="--", label=f"threshold {threshold:.3f}"
    )
    axes.set(
        xlim=(0, 1),
        xlabel="p_fake",
        ylabel="share of the class",
        title=f"Scores by class: {_format_counts(scores)}",
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def draw_confusion(scores: Scores, *, threshold: float) -> Figure:
    """Draws how many faces of each class were called what.

    Args:
        scores: Scores of one split.
        threshold: A face is called fake from this score on.
    """
    called_fake = scores.p_fake >= threshold
    is_fake = scores.target == FAKE
    counts = np.array(
        [
            [np.sum((is_fake == truth) & (called_fake == call)) for call in (False, True)]
            for truth in (False, True)
        ]
    )
    of_class = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, of_class, out=np.zeros(counts.shape), where=of_class > 0)
    figure, axes = _new_figure(4.8, 4.6)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i in range(2):
        for j in range(2):
            share = f"{shares[i, j]:.1%}" if of_class[i] else "none"
            axes.text(
                j,
                i,
                f"{counts[i, j]:,}\n{share}",
                ha="center",
                va="center",
                fontsize=13,
                color="white" if shares[i, j] > 0.55 else COLOUR_CURVE,
            )
    axes.set_xticks([0, 1], ["called real", "called fake"])
    axes.set_yticks([0, 1], [f"real\n{of_class[0, 0]:,}", f"fake\n{of_class[1, 0]:,}"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Fake if p_fake ≥ {threshold:.3f}\n{_format_counts(scores)}")
    return figure


def draw_folders(scores: Scores, document: dict[str, Any]) -> Figure:
    """Draws the AUROC of each generator and each real collection with its interval, lowest at the top.

    Args:
        scores: Scores of one split.
        document: What `evaluate_scores` returned for it.
    """
    overall = document["overall"]["auroc"]
    folders = [(folder, document["by_folder"][folder.name]["auroc"]) for folder in iterate_folders(scores)]
    # Generators above collections; within each, what the detector finds hardest comes first.
    folders.sort(key=lambda entry: (entry[0].target, entry[1]["value"]))
    figure, axes = _new_figure(7.4, 1.7 + 0.38 * len(folders))
    lows = [overall["value"]]
    for row, (folder, rate) in enumerate(folders):
        is_real = folder.target == REAL
        colour, marker = (COLOUR_REAL, "s") if is_real else (COLOUR_FAKE, "o")
        if rate["ci95"] is not None:
            axes.plot(
                rate["ci95"], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt", clip_on=False
            )
        what = "a real collection against all fakes" if is_real else "a generator against all reals"
        axes.plot(
            rate["value"],
            row,
            marker,
            color=colour,
            markersize=7,
            clip_on=False,
            zorder=4,
            label=what if what not in axes.get_legend_handles_labels()[1] else None,
        )
        lows.append(rate["ci95"][0] if rate["ci95"] else rate["value"])
        axes.annotate(
            _format_rate(rate),
            (1.035, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axes.axvline(
        overall["value"],
        color=COLOUR_CURVE,
        linewidth=1.2,
        linestyle="--",
        label=f"overall {format_value(overall['value'])}",
    )
    lowest = 0.5 if min(lows) >= 0.5 else 0.0
    if lowest == 0.0:
        axes.axvline(0.5, color=COLOUR_GUIDE, linewidth=1, linestyle=":")
    axes.set(
        xlim=(lowest, 1.0),
        ylim=(len(folders) - 0.4, -0.6),
        xlabel="AUROC with 95 % interval",
        title=f"By source model: {_format_counts(scores)}",
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    axes.set_yticks(
        range(len(folders)), [_label_folder(folder.name, folder.target, rate) for folder, rate in folders]
    )
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure


def _new_figure(width_inch: float, height_inch: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _format_counts(scores: Scores) -> str:
    n_real = int((scores.target == REAL).sum())
    return f"{n_real:,} real, {len(scores) - n_real:,} fake faces"


def _format_rate(rate: dict[str, Any]) -> str:
    value = format_value(rate["value"])
    if rate["ci95"] is None:
        return value
    low, high = (format_value(bound) for bound in rate["ci95"])
    return f"{value} ({low} to {high})"


def _label_folder(name: str, target: int, rate: dict[str, Any]) -> str:
    short = name if len(name) <= MAX_LABEL_CHARACTERS else name[: MAX_LABEL_CHARACTERS - 1] + "…"
    n_own = rate["n_real"] if target == REAL else rate["n_fake"]
    # A dollar sign would start a formula.
    return f"{short}, {n_own:,}".replace("$", r"\$")

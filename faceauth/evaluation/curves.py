"""Curves of all thresholds at once: ROC, also where false alarms are rare, and DET.

Behind the curve of all faces lie those of the single generators, each against all reals.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from scipy.special import ndtri

from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_FAKE,
    COLOUR_GRID,
    COLOUR_GUIDE,
    COLOUR_REAL,
    Source,
    format_counts,
    format_percent_rate,
    format_rate,
    plain,
    short_label,
)
from faceauth.labels import FAKE, REAL
from faceauth.scoring.scores import Scores

# A curve of more points than this looks the same and makes a file that takes seconds to open.
MAX_POINTS = 600
DET_TICKS = (0.00001, 0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)


def roc_points(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of an ROC curve, from (0, 0) to (1, 1).

    The area under the straight lines between them is the AUROC, ties counted half.

    Args:
        real: p_fake of real faces, float64 (n,), n > 0.
        fake: p_fake of fake faces, float64 (m,), m > 0.

    Returns:
        The share of reals and the share of fakes that are called fake, float64 (k,) each, both ascending.
    """
    cuts = np.unique(real)[::-1]
    return _shares_from(real, cuts), _shares_from(fake, cuts)


def draw_roc(
    scores: Scores,
    auroc: dict[str, Any],
    eer: dict[str, Any],
    *,
    threshold: float,
    sources: list[Source] | None = None,
) -> Figure:
    """Draws the ROC curve twice: on plain axes, and with rare false alarms spread out.

    Args:
        scores: Scores of one split, of both classes.
        auroc: The rate, as in `metrics.json`.
        eer: The rate, as in `metrics.json`.
        threshold: A face is called fake from this score on.
        sources: Sources whose generators are drawn behind; None for none.
    """
    real, fake = scores.p_fake[scores.target == REAL], scores.p_fake[scores.target == FAKE]
    generators = [source for source in sources or [] if source.target == FAKE]
    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    plain_axes, log_axes = figure.subplots(1, 2)
    fpr, tpr = _thinned(*roc_points(real, fake))
    # Below one face in all of them nothing was measured.
    finest = 1 / len(real)
    lowest = min(0.1, 10 ** np.floor(np.log10(finest)))
    cut = (float(np.mean(real >= threshold)), float(np.mean(fake >= threshold)))
    for axes, left in ((plain_axes, 0.0), (log_axes, lowest)):
        _draw_generators(axes, generators, real, _as_roc)
        guide = np.geomspace(1e-9, 1, 200)
        axes.plot(guide, guide, color=COLOUR_GUIDE, linewidth=1, linestyle=":", label="chance")
        axes.plot(fpr, tpr, color=COLOUR_CURVE, linewidth=1.9, label=f"AUROC {format_rate(auroc)}", zorder=3)
        _draw_points(
            axes,
            # A logarithmic axis has no place for 0: it is drawn at the axis' end.
            eer=(max(left, eer["value"]), 1 - eer["value"]),
            eer_label=f"equal error rate {format_rate(eer)}",
            cut=(max(left, cut[0]), cut[1]),
            threshold=threshold,
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=COLOUR_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set(ylim=(0, 1), xlabel="share of real faces called fake")
    plain_axes.set(xlim=(0, 1), ylabel="share of fake faces called fake", title="All thresholds")
    log_axes.set(xscale="log", xlim=(lowest, 1), title="Where false alarms are rare")
    log_axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: _percent(share)))
    log_axes.xaxis.set_minor_formatter(NullFormatter())
    if finest > lowest:
        log_axes.axvspan(lowest, finest, facecolor="#EFEFEF", edgecolor="none", zorder=0)
        if finest > 2.5 * lowest:
            log_axes.text(
                (lowest * finest) ** 0.5,
                0.985,
                "less than one real face",
                rotation=90,
                ha="center",
                va="top",
                fontsize=8,
                color=COLOUR_GUIDE,
            )
    figure.suptitle(f"ROC curve: {format_counts(scores)}", fontsize=12)
    handles, labels = plain_axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def draw_det(
    scores: Scores, eer: dict[str, Any], *, threshold: float, sources: list[Source] | None = None
) -> Figure:
    """Draws both kinds of error against each other, on axes where normal scores give a straight line.

    Detection error trade-off: Martin et al., Eurospeech 1997, 1895-1898.

    Args:
        scores: Scores of one split, of both classes.
        eer: The rate, as in `metrics.json`.
        threshold: A face is called fake from this score on.
        sources: Sources whose generators are drawn behind; None for none.
    """
    real, fake = scores.p_fake[scores.target == REAL], scores.p_fake[scores.target == FAKE]
    generators = [source for source in sources or [] if source.target == FAKE]
    # Half a face is as near to none as the axes, which know no 0, can show.
    lowest = float(np.clip(0.5 / max(len(real), len(fake)), 1e-6, 0.01))
    highest = 0.95 if eer["value"] > 0.3 else 0.6
    figure = Figure(figsize=(6.8, 7.3), layout="constrained")
    axes = figure.add_subplot()
    bounds = (float(ndtri(lowest)), float(ndtri(highest)))

    def place(false_fake: Any, true_fake: Any) -> tuple[Any, Any]:
        missed = 1 - np.asarray(true_fake)
        ends = (lowest / 2, 1 - lowest / 2)
        return ndtri(np.clip(false_fake, *ends)), ndtri(np.clip(missed, *ends))

    _draw_generators(axes, generators, real, place)
    axes.plot(bounds, bounds, color=COLOUR_GUIDE, linewidth=1, linestyle=":", label="both errors alike")
    if eer["ci95"] is not None:
        reach = ndtri(np.clip(eer["ci95"], lowest, highest))
        axes.plot(reach, reach, color=COLOUR_FAKE, linewidth=6, alpha=0.35, solid_capstyle="butt")
    axes.plot(
        *place(*_thinned(*roc_points(real, fake))),
        color=COLOUR_CURVE,
        linewidth=1.9,
        label="all faces",
        zorder=3,
    )
    _draw_points(
        axes,
        eer=tuple(ndtri(np.clip([eer["value"]] * 2, lowest, highest)).tolist()),
        eer_label=f"equal error rate {format_percent_rate(eer)}",
        cut=np.clip(place(np.mean(real >= threshold), np.mean(fake >= threshold)), *bounds),
        threshold=threshold,
    )
    ticks = _det_ticks(lowest, highest)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ndtri(ticks).tolist()))
        axis.set_major_formatter(FuncFormatter(lambda _, i: _percent(ticks[i]) if i is not None else ""))
        axis.set_minor_locator(NullLocator())
    axes.set(
        xlim=bounds,
        ylim=bounds,
        aspect="equal",
        xlabel="share of real faces called fake",
        ylabel="share of fake faces called real",
        title=f"Detection error trade-off\n{format_counts(scores)}",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=COLOUR_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _shares_from(p_fake: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Returns 0, then the share strictly above each cut and the share from it on, and 1; cuts descend."""
    ordered, n = np.sort(p_fake), len(p_fake)
    above, from_here = n - np.searchsorted(ordered, cuts, "right"), n - np.searchsorted(ordered, cuts, "left")
    return np.concatenate([[0.0], np.stack([above, from_here], axis=1).ravel() / n, [1.0]])


def _as_roc(false_fake: np.ndarray, true_fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return false_fake, true_fake


def _draw_generators(axes: Axes, generators: list[Source], real: np.ndarray, place: Any) -> None:
    """Draws each generator lightly, and the hardest of several so that it can be told."""
    ranked = [source for source in generators if source.rates["auroc"]["value"] is not None]
    if len(ranked) < 2:
        return
    ranked.sort(key=lambda source: source.rates["auroc"]["value"])
    for i, source in enumerate(ranked):
        curve = place(*_thinned(*roc_points(real, source.p_fake)))
        if i == 0:
            label = f"hardest: {short_label(source.name, characters=22)}"
            axes.plot(*curve, color=COLOUR_FAKE, linewidth=1.3, linestyle=(0, (5, 2)), zorder=2, label=label)
        else:
            # Several hundred curves would still let the one in front be seen.
            alpha = max(0.15, 0.7 / (1 + len(ranked) / 20))
            label = plain(f"the other {len(ranked) - 1} generators") if i == 1 else ""
            axes.plot(*curve, color=COLOUR_FAKE, linewidth=0.9, alpha=alpha, zorder=1, label=label or None)


def _draw_points(axes: Axes, *, eer: Any, eer_label: str, cut: Any, threshold: float) -> None:
    axes.plot(*eer, "o", color=COLOUR_FAKE, markersize=8, label=eer_label, clip_on=False, zorder=4)
    axes.plot(
        *cut,
        "D",
        # Hollow and larger: where both lie in one place, both are seen.
        markerfacecolor="none",
        markeredgecolor=COLOUR_REAL,
        markeredgewidth=1.8,
        markersize=11,
        label=f"threshold {threshold:.3f}",
        clip_on=False,
        zorder=5,
    )


def _thinned(fpr: np.ndarray, tpr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Takes some of many points: as dense at the rare false alarms as a logarithmic axis shows them."""
    if len(fpr) <= MAX_POINTS:
        return fpr, tpr
    last = len(fpr) - 1
    chosen = np.concatenate([np.geomspace(1, last, MAX_POINTS // 2), np.linspace(0, last, MAX_POINTS // 2)])
    rows = np.unique(chosen.round().astype(int))
    return fpr[rows], tpr[rows]


def _det_ticks(lowest: float, highest: float) -> list[float]:
    """Returns the ticks that have room, from the top down: those of rare errors may stand close."""
    kept: list[float] = []
    room = 0.07 * (ndtri(highest) - ndtri(lowest))
    for tick in reversed(DET_TICKS):
        if lowest <= tick <= highest and (not kept or ndtri(kept[-1]) - ndtri(tick) >= room):
            kept.append(tick)
    return kept[::-1]


def _percent(share: float) -> str:
    return f"{100 * share:.6g} %"

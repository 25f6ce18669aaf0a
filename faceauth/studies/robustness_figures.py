"""Pictures of robustness: the curve of each degradation, and all of them side by side."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_FAKE,
    COLOUR_GRID,
    COLOUR_GUIDE,
    COLOUR_REAL,
    SETTINGS,
    format_rate,
    save_figure,
    write_beside,
)

CURVES_NAME = "robustness"
DECISIONS_NAME = "robustness_decisions"
OVERVIEW_NAME = "robustness_overview"
CHANCE = 0.5
PANELS_ACROSS = 4
# Room for the title and the legend, however few panels there are.
MIN_WIDTH_INCH = 7.5


class _Line(NamedTuple):
    """One rate over the levels.

    Attributes:
        metric: Its name in the document.
        label: What the legend calls it.
        colour: Of line and band.
        marker: Of the points.
    """

    metric: str
    label: str
    colour: str
    marker: str


AUROC = (_Line("auroc", "AUROC", COLOUR_CURVE, "o"),)
DECISIONS = (
    _Line("recall_real", "share of reals called real", COLOUR_REAL, "s"),
    _Line("recall_fake", "share of fakes called fake", COLOUR_FAKE, "o"),
)


def draw_robustness_figures(document: dict[str, Any], folder: Path) -> list[Path]:
    """Draws a measurement of robustness; each figure as PNG and as SVG, whole or not at all.

    `robustness` has the AUROC of each degradation over its levels, `robustness_decisions` the two recalls at
    the threshold, `robustness_overview` the degradations side by side. With one class only the second is
    drawn.

    Args:
        document: The content of `robustness.json`.
        folder: Where to; made if need be.

    Returns:
        The paths of the files that were written.
    """
    with matplotlib.rc_context(SETTINGS):
        threshold = document["threshold"]["value"]
        figures = {
            DECISIONS_NAME: draw_curves(document, DECISIONS, f"Calls at the threshold {threshold:.3f}")
        }
        if document["clean"]["auroc"]["value"] is not None:
            figures[CURVES_NAME] = draw_curves(document, AUROC, "AUROC", chance=CHANCE)
            figures[OVERVIEW_NAME] = draw_overview(document)
    return [path for name, figure in figures.items() for path in save_figure(figure, folder, name)]


def draw_curves(
    document: dict[str, Any], lines: tuple[_Line, ...], title: str, *, chance: float | None = None
) -> Figure:
    """Draws one panel a degradation: rates over its levels with their intervals, the clean ones dashed.

    Args:
        document: The content of `robustness.json`.
        lines: Which rates.
        title: What is drawn.
        chance: What a coin would get, as a dotted line; None for none.
    """
    curves = document["degradations"]
    across = min(PANELS_ACROSS, len(curves))
    down = -(-len(curves) // across)
    figure = Figure(
        figsize=(max(1.0 + 2.9 * across, MIN_WIDTH_INCH), 1.1 + 2.35 * down), layout="constrained"
    )
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    bottom = _lowest(document, lines, chance)
    for axes, (name, curve) in zip(panels, curves.items(), strict=False):
        _draw_panel(axes, curve, document["clean"], lines, chance)
        axes.set(ylim=(bottom, 1.0), xlabel=curve["unit"])
        axes.set_title(name.replace("_", " "), loc="left", fontsize=10)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    rate = document["clean"][lines[0].metric]
    counts = f"{rate['n_real']:,} real, {rate['n_fake']:,} fake faces, split {document['split']}"
    figure.suptitle(f"{title} on degraded pictures: {counts}", fontsize=11)
    handles: list[Any] = [
        Line2D([], [], color=line.colour, marker=line.marker, markersize=5, label=line.label)
        for line in lines
    ]
    handles.append(Patch(color=COLOUR_GUIDE, alpha=0.35, linewidth=0, label="95 % interval"))
    handles.append(Line2D([], [], color=COLOUR_GUIDE, linestyle="--", label="clean"))
    if chance is not None:
        handles.append(Line2D([], [], color=COLOUR_GUIDE, linestyle=":", label="chance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def draw_overview(document: dict[str, Any]) -> Figure:
    """Draws each degradation's area and its largest drop with their intervals, the most harmful at the top.

    Args:
        document: The content of `robustness.json`, with an AUROC of the clean pictures.
    """
    worst = {name: _worst(curve) for name, curve in document["degradations"].items()}
    names = sorted(worst, key=lambda name: document["degradations"][name]["area"]["value"])
    clean = document["clean"]["auroc"]
    figure = Figure(figsize=(12.5, 1.8 + 0.36 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, name in enumerate(names):
        area, drop = document["degradations"][name]["area"], worst[name]["auroc_drop"]
        _draw_rate(left, area, row, "o")
        _draw_rate(right, drop, row, "D")
        write_beside(left, row, (format_rate(area), ""))
        write_beside(right, row, (f"{_format_drop(drop)} at {worst[name]['level']:g}", ""))
    _draw_guide(left, clean["value"], "--")
    _draw_guide(left, CHANCE, ":")
    _draw_guide(right, 0.0, "--")
    left.set_title(f"Area under the AUROC over the levels\nclean: {format_rate(clean)}", fontsize=10)
    right.set_title("Largest drop of the AUROC, and at which level", fontsize=10)
    left.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color=COLOUR_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_ylim(len(names) - 0.4, -0.6)
    left.set_xlim(right=1.0)
    left.set_xlabel("area with 95 % interval; dashed: clean, dotted: chance")
    right.set_xlabel("clean minus degraded, paired, with 95 % interval")
    return figure


def _draw_panel(
    axes: Axes,
    curve: dict[str, Any],
    clean: dict[str, Any],
    lines: tuple[_Line, ...],
    chance: float | None,
) -> None:
    place = curve["clean_place"]
    levels = [f"{at['level']:g}" for at in curve["levels"]]
    levels.insert(place, "clean")
    if chance is not None:
        _draw_guide(axes, chance, ":", horizontal=True)
    for line in lines:
        rates = [at[line.metric] for at in curve["levels"]]
        rates.insert(place, clean[line.metric])
        points = [(x, rate) for x, rate in enumerate(rates) if rate["value"] is not None]
        _draw_guide(axes, clean[line.metric]["value"], "--", colour=line.colour, horizontal=True)
        banded = [(x, rate["ci95"]) for x, rate in points if rate["ci95"] is not None]
        axes.fill_between(
            [x for x, _ in banded],
            [bounds[0] for _, bounds in banded],
            [bounds[1] for _, bounds in banded],
            color=line.colour,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(
            [x for x, _ in points],
            [rate["value"] for _, rate in points],
            color=line.colour,
            marker=line.marker,
            markersize=4,
            linewidth=1.5,
            clip_on=False,
            zorder=4,
        )
    axes.set_xticks(range(len(levels)), levels, fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=COLOUR_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(-0.3, len(levels) - 0.7)


def _draw_guide(
    axes: Axes,
    value: float | None,
    style: str,
    *,
    colour: str = COLOUR_GUIDE,
    horizontal: bool = False,
) -> None:
    if value is not None:
        draw = axes.axhline if horizontal else axes.axvline
        draw(value, color=colour, linewidth=1, linestyle=style)


def _draw_rate(axes: Axes, rate: dict[str, Any], row: int, marker: str) -> None:
    if rate["value"] is None:
        return
    is_sure = rate["ci95"] is not None
    if is_sure:
        axes.plot(rate["ci95"], [row, row], color=COLOUR_CURVE, linewidth=2, solid_capstyle="butt")
    face = COLOUR_CURVE if is_sure else "white"
    axes.plot(rate["value"], row, marker, color=COLOUR_CURVE, markerfacecolor=face, markersize=6, zorder=4)


def _worst(curve: dict[str, Any]) -> dict[str, Any]:
    """Returns the level with the largest drop."""
    return max(curve["levels"], key=lambda at: at["auroc_drop"]["value"])


def _format_drop(rate: dict[str, Any]) -> str:
    if rate["ci95"] is None:
        return f"{rate['value']:+.3f}"
    low, high = rate["ci95"]
    return f"{rate['value']:+.3f} ({low:+.3f} to {high:+.3f})"


def _lowest(document: dict[str, Any], lines: tuple[_Line, ...], chance: float | None) -> float:
    """The lower end of the axis: 0, or with a chance a round number below it and below all intervals."""
    if chance is None:
        return 0.0
    lows = [chance - 0.02]
    of_levels = (at for curve in document["degradations"].values() for at in curve["levels"])
    for rates in (document["clean"], *of_levels):
        for line in lines:
            rate = rates[line.metric]
            if rate["value"] is not None:
                lows.append(rate["ci95"][0] if rate["ci95"] else rate["value"])
    return max(0.0, int(min(lows) * 10) / 10)

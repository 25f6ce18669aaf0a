"""Pictures of reliability: the share of fakes over `p_fake`, with counts beneath; overall and by source."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_FAKE,
    COLOUR_GRID,
    COLOUR_GUIDE,
    COLOUR_REAL,
    SETTINGS,
    format_rate,
    plain,
    short_label,
)
from faceauth.labels import FAKE, ID2LABEL

# More panels than this make a figure that no screen shows.
MAX_PANELS = 24
MAX_COLUMNS = 4
TITLE_CHARACTERS = 26


def draw_reliability(calibration: dict[str, Any]) -> Figure:
    """Draws the reliability diagram of a whole split, with a histogram of the scores beneath.

    Args:
        calibration: The part `calibration` of `metrics.json`.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(5.4, 7.0), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        _draw_curve(above, calibration["bins"], COLOUR_CURVE)
        _draw_counts(below, calibration["bins"])
        above.set(ylabel="share of fakes, at even odds")
        above.set_title(
            f"Calibration: {plain(calibration['method'])}\nECE {format_rate(calibration['overall']['ece'])}"
        )
        above.text(
            0.03, 0.97, "more often fake\nthan p_fake says", transform=above.transAxes, va="top", **_NOTE
        )
        above.text(
            0.97, 0.03, "less often fake\nthan p_fake says", transform=above.transAxes, ha="right", **_NOTE
        )
        below.set(xlabel="p_fake", ylabel="faces")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def draw_reliability_by_folder(calibration: dict[str, Any]) -> Figure | None:
    """Draws a small reliability diagram for each source: generators against all reals, and then collections.

    Args:
        calibration: The part `calibration` of `metrics.json`.

    Returns:
        The figure; None if no source has faces of both classes to be measured against.
    """
    measured = [(name, facts) for name, facts in calibration["by_folder"].items() if facts["bins"]]
    if not measured:
        return None
    shown = measured[:MAX_PANELS]
    rows = -(-len(shown) // MAX_COLUMNS)
    columns = -(-len(shown) // rows)
    with matplotlib.rc_context(SETTINGS):
        # Wide enough for the heading.
        figure = Figure(figsize=(max(2.5 * columns, 5.0), 2.6 * rows + 1.0), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, (name, facts) in zip(panels, shown, strict=False):
            is_fake = facts["class"] == ID2LABEL[FAKE]
            _draw_curve(panel, facts["bins"], COLOUR_FAKE if is_fake else COLOUR_REAL)
            ece = facts["ece"]["value"]
            n_own = facts["ece"]["n_fake" if is_fake else "n_real"]
            label = short_label(name, characters=TITLE_CHARACTERS)
            panel.set_title(f"{label}\n{facts['class']}, {n_own:,}; ECE {ece:.3f}", fontsize=9)
            panel.set_aspect("equal")
        for panel in panels[len(shown) :]:
            panel.set_visible(False)
        for panel in panels[: len(shown)][-columns:]:
            panel.tick_params(labelbottom=True)
        left_out = len(measured) - len(shown)
        more = f" ({left_out} more are left out)" if left_out else ""
        figure.suptitle(f"Calibration by source, against all of the other class{more}", fontsize=11)
        figure.supxlabel("p_fake", fontsize=10)
        figure.supylabel("share of fakes, at even odds", fontsize=10)
    return figure


_NOTE: dict[str, Any] = {"fontsize": 8, "color": "#6A6A6A", "style": "italic"}


def _draw_curve(axes: Axes, bins: list[dict[str, Any]], colour: str) -> None:
    axes.plot([0, 1], [0, 1], color=COLOUR_GUIDE, linewidth=1, linestyle=":")
    filled = [one for one in bins if one["n"]]
    x = [one["mean_p_fake"] for one in filled]
    for place, one in zip(x, filled, strict=True):
        axes.plot([place, place], one["ci95"], color=colour, linewidth=1.6, solid_capstyle="butt", alpha=0.6)
    # The more faces, the larger the dot: a small one says little.
    most = max(one["n"] for one in filled)
    sizes = [10 + 50 * one["n"] / most for one in filled]
    axes.plot(x, [one["share_fake"] for one in filled], color=colour, linewidth=0.8, alpha=0.5)
    axes.scatter(x, [one["share_fake"] for one in filled], sizes, color=colour, zorder=3, clip_on=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=COLOUR_GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_counts(axes: Axes, bins: list[dict[str, Any]]) -> None:
    edges = np.array([one["p_from"] for one in bins] + [1.0])
    real, fake = (np.array([one[key] for one in bins]) for key in ("n_real", "n_fake"))
    axes.stairs(real, edges, fill=True, facecolor=COLOUR_REAL, alpha=0.75, label=f"real, {real.sum():,}")
    axes.stairs(
        real + fake,
        edges,
        baseline=real,
        fill=True,
        facecolor=COLOUR_FAKE,
        alpha=0.75,
        hatch="////",
        edgecolor="white",
        label=f"fake, {fake.sum():,}",
    )
    axes.spines[["top", "right"]].set_visible(False)

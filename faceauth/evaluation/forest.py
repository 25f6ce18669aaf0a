"""Sources side by side: the AUROC of each generator, the false alarms of each collection, with intervals."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_FAKE,
    COLOUR_GRID,
    COLOUR_GUIDE,
    COLOUR_REAL,
    Source,
    complement,
    format_percent_rate,
    format_rate,
    lacking_interval,
    plain,
    short_label,
    write_beside,
)
from faceauth.labels import FAKE, REAL

_INCHES_A_ROW = 0.32


def draw_folders(document: dict[str, Any], sources: list[Source], *, n_left_out: int = 0) -> Figure:
    """Draws a forest plot: above the AUROC of each generator, below the false alarms of each collection.

    A value without an interval is an open marker with the reason in words; an undefined one has no marker.
    Where it is known, a hollow diamond says what plain facts alone reach on that generator.

    Args:
        document: What `evaluate_scores` returned; `shortcuts.by_folder`, if it is there, holds the AUROC of
            plain facts alone.
        sources: Of both classes.
        n_left_out: Sources that are not among them, for the title.
    """
    generators = [source for source in sources if source.target == FAKE]
    collections = [source for source in sources if source.target == REAL]
    overall = document["overall"]
    shortcuts = document.get("shortcuts") or {}
    ruler_of = {name: rate.get("value") for name, rate in (shortcuts.get("by_folder") or {}).items()}
    ruler = shortcuts.get("overall") or document.get("shortcut_auroc") or {}
    generators.sort(key=lambda source: _value_or(source.rates["auroc"], 2.0))
    collections.sort(key=lambda source: -_value_or(source.error, -1.0))
    heights = [len(generators) + 1.6, len(collections) + 1.6]
    figure = Figure(figsize=(8.8, 2.5 + _INCHES_A_ROW * sum(heights)), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=heights)
    rows = [("all fakes", overall["auroc"], ruler.get("value"), overall["auroc"]["n_fake"])]
    rows += [
        (source.name, source.rates["auroc"], ruler_of.get(source.name), len(source.p_fake))
        for source in generators
    ]
    _draw_rows(above, rows, colour=COLOUR_FAKE, marker="o", write=format_rate)
    bounds = [
        bound
        for _, rate, hollow, _ in rows
        for bound in (rate["value"], hollow, *(rate["ci95"] or ()))
        if bound is not None
    ]
    lowest = 0.5 if min(bounds) >= 0.5 else 0.0
    above.axvline(0.5, color=COLOUR_GUIDE, linewidth=1.2, linestyle=":")
    above.set(
        xlim=(lowest - 0.02 * (1 - lowest), 1.0),
        xlabel="AUROC (chance is 0.5)",
        title="Each generator against all reals",
    )
    alarms = complement(overall["recall_real"])
    _draw_rows(
        below,
        [
            ("all reals", alarms, None, alarms["n_real"]),
            *((source.name, source.error, None, len(source.p_fake)) for source in collections),
        ],
        colour=COLOUR_REAL,
        marker="s",
        write=format_percent_rate,
    )
    below.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    highest = max(
        (rate["ci95"] or (0, rate["value"] or 0))[1]
        for rate in (alarms, *(each.error for each in collections))
    )
    below.set(
        xlim=(-0.02 * max(0.05, highest), max(0.05, highest) * 1.02),
        xlabel="share called fake",
        title="False alarms of each real collection",
    )
    for axes in (above, below):
        axes.title.set_horizontalalignment("left")
        axes.title.set_x(0)
    rest = f", {n_left_out} more not drawn" if n_left_out else ""
    figure.suptitle(f"By source, with 95 % intervals{rest}", fontsize=12)
    _add_legend(figure, rows, has_open=any(lacking_interval(rate) for _, rate, _, _ in rows))
    return figure


Row = tuple[str, dict[str, Any], float | None, int]


def _draw_rows(axes: Axes, rows: list[Row], *, colour: str, marker: str, write: Any) -> None:
    # The first row sums up the others: black, and set apart.
    places = [0.0, *(i + 0.35 for i in range(1, len(rows)))]
    for place, (_, rate, hollow, n) in zip(places, rows, strict=True):
        ink = COLOUR_CURVE if place == 0 else colour
        if rate["ci95"] is not None:
            axes.plot(
                rate["ci95"], [place] * 2, color=ink, linewidth=2.2, solid_capstyle="butt", clip_on=False
            )
        if hollow is not None:
            axes.plot(
                hollow,
                place,
                "D",
                markerfacecolor="none",
                markeredgecolor="#666666",
                markeredgewidth=1.2,
                markersize=8,
                clip_on=False,
                zorder=3,
            )
        if rate["value"] is not None:
            face = ink if rate["ci95"] is not None else "white"
            axes.plot(
                rate["value"],
                place,
                marker,
                markerfacecolor=face,
                markeredgecolor=ink,
                markeredgewidth=1.5,
                markersize=6.5,
                clip_on=False,
                zorder=4,
            )
        if place == 0 and rate["value"] is not None:
            axes.axvline(rate["value"], color=ink, linewidth=1, linestyle="--", alpha=0.7, zorder=1)
        write_beside(axes, place, (f"n = {n:,}", f"{write(rate)}  {lacking_interval(rate)}".strip()))
    axes.set_yticks(places, [short_label(name) for name, *_ in rows])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color=COLOUR_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _add_legend(figure: Figure, rows: list[Row], *, has_open: bool) -> None:
    axes = figure.axes[0]
    keys: list[tuple[str, dict[str, Any]]] = [
        ("generator", {"marker": "o", "color": COLOUR_FAKE}),
        ("real collection", {"marker": "s", "color": COLOUR_REAL}),
    ]
    if any(hollow is not None for _, _, hollow, _ in rows):
        hollow_style = {"marker": "D", "markerfacecolor": "none", "markeredgecolor": "#666666"}
        keys.append(("a ruler alone: plain facts, no face", hollow_style))
    if has_open:
        keys.append(
            (
                "without an interval",
                {"marker": "o", "markerfacecolor": "white", "markeredgecolor": COLOUR_FAKE},
            )
        )
    for words, style in keys:
        axes.plot([], [], linestyle="", markersize=7, label=plain(words), **style)
    figure.legend(loc="outside lower center", ncols=len(keys), frameon=False, fontsize=9)


def _value_or(rate: dict[str, Any], otherwise: float) -> float:
    return otherwise if rate["value"] is None else float(rate["value"])

"""Pictures of a matrix: heat map, maps of correlation with their trees, curves of plans with sizes.

The colours of the maps are perceptually even and told apart by colour-blind readers (cividis; blue to
vermilion for correlations), and every cell says its figure in words.
"""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter, PercentFormatter

from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_FAKE,
    COLOUR_GRID,
    COLOUR_GUIDE,
    COLOUR_REAL,
    SETTINGS,
    new_figure,
    save_figure,
    short_label,
)
from faceauth.studies.matrix import ALL, COLLECTION, FAMILY, GENERATOR, PARTLY_SEEN, SEEN

HEADING_OF = {ALL: "", FAMILY: "families", GENERATOR: "generators", COLLECTION: "reals"}
CELL_WIDTH, CELL_HEIGHT = 0.78, 0.50
GAP = 0.35
LABEL_CHARACTERS = 22
CHARACTER_INCH = 0.082
# From here on the map of correlations has no room for intervals.
MAX_WITH_INTERVALS = 12
MAPS = {"correlation": "generators", "agreement": "trainings"}
FIGURES = ("matrix", *MAPS, "curves")
CORRELATION_COLOURS = LinearSegmentedColormap.from_list("correlation", [COLOUR_REAL, "#F7F7F7", COLOUR_FAKE])
COLOUR_UNSEEN, COLOUR_SEEN = "#882255", "#117733"


class _Curve(NamedTuple):
    """One line of the curves: its rates by the name of the training."""

    label: str
    colour: str
    line: str
    rates: list[tuple[str, dict[str, Any]]]


def draw_matrix_figures(document: dict[str, Any], folder: Path) -> list[Path]:
    """Draws a matrix; each figure as PNG and as SVG, whole or not at all.

    Without two generators, or two detectors, there is no map of their correlation; without sizes no curve.

    Args:
        document: What `matrix.json` holds.
        folder: Where to; made if need be.

    Returns:
        The paths of the files that were written.
    """
    with matplotlib.rc_context(SETTINGS):
        figures = {"matrix": draw_heat_map(document)}
        for name, part in MAPS.items():
            found = document["correlation"][part]
            if found["tree"] is not None:
                figures[name] = draw_correlation(found, what=part)
        if sum(training["size"] is not None for training in document["trainings"]) > 1:
            figures["curves"] = draw_curves(document)
    return [path for name, figure in figures.items() for path in save_figure(figure, folder, name)]


def draw_heat_map(document: dict[str, Any], *, metric: str = "auroc") -> Figure:
    """Draws every cell with its value and interval; what the detector learned from is framed.

    Args:
        document: What `matrix.json` holds.
        metric: One of its metrics.
    """
    tests, trainings = document["tests"], [entry["training"] for entry in document["summary"]]
    cells = {(cell["training"], cell["test"], cell["kind"]): cell for cell in document["cells"]}
    values = [cell["rates"][metric]["value"] for cell in document["cells"]]
    lowest = min([0.5, *(value for value in values if value is not None)])
    places = _columns(tests)
    width, height = places[-1] + 1, len(trainings)
    left = CHARACTER_INCH * max(len(short_label(name, characters=LABEL_CHARACTERS)) for name in trainings)
    top = CHARACTER_INCH * 0.85 * max(len(_column_label(test)) for test in tests)
    figure, axes = _bare_figure(left + 0.3 + width * CELL_WIDTH + 1.0, top + 1.1 + height * CELL_HEIGHT)
    colours = matplotlib.colormaps["cividis"]
    scale = matplotlib.colors.Normalize(lowest, 1.0)
    for row, training in enumerate(trainings):
        for place, test in zip(places, tests, strict=True):
            cell = cells[training, test["name"], test["kind"]]
            rate = cell["rates"][metric]
            _draw_cell(
                axes,
                place,
                row,
                rate,
                colour=None if rate["value"] is None else colours(scale(rate["value"])),
            )
            if cell["seen"] in (SEEN, PARTLY_SEEN):
                style = "-" if cell["seen"] == SEEN else (0, (1.5, 1.5))
                axes.add_patch(
                    Rectangle(
                        (place - 0.43, row - 0.43), 0.86, 0.86, fill=False, linewidth=2.2, linestyle=style,
                        edgecolor=COLOUR_FAKE,
                    )
                )  # fmt: skip
    for kind in (FAMILY, GENERATOR, COLLECTION):
        of_kind = [place for place, test in zip(places, tests, strict=True) if test["kind"] == kind]
        if of_kind:
            middle = (of_kind[0] + of_kind[-1]) / 2
            axes.text(middle, height - 0.35, HEADING_OF[kind], ha="center", va="top", fontsize=9)
    axes.set(xlim=(-0.55, width - 0.45), ylim=(height - 0.5, -0.5))
    axes.set_xticks(places, [_column_label(test) for test in tests], rotation=50, ha="left", fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks(
        range(height), [short_label(name, characters=LABEL_CHARACTERS) for name in trainings], fontsize=9
    )
    axes.set_ylabel("trained on" if document["plan"] else "scores of")
    bar = figure.colorbar(
        matplotlib.cm.ScalarMappable(scale, colours), ax=axes, fraction=0.03, pad=0.02, aspect=25
    )
    bar.outline.set_visible(False)
    bar.set_label(metric.replace("auroc", "AUROC"))
    frames = "; framed: learned from it, dashed: from a part of it" if document["plan"] else ""
    figure.supxlabel(f"95 % intervals below each value{frames}", fontsize=9)
    return figure


def draw_correlation(found: dict[str, Any], *, what: str) -> Figure:
    """Draws a map of correlations in the order of its tree, with the tree above it.

    Args:
        found: A part of `correlation` in `matrix.json` that has a tree.
        what: `generators` or `trainings`.
    """
    order = found["tree"]["order"]
    n = len(order)
    of_pair = {frozenset((pair["first"], pair["second"])): pair for pair in found["correlations"]}
    label = CHARACTER_INCH * max(len(short_label(name, characters=LABEL_CHARACTERS)) for name in order)
    side = n * 0.62
    tree_height = 1.1
    figure = Figure(
        figsize=(side + label + 1.5, side + label * 0.8 + tree_height + 0.8), layout="constrained"
    )
    above, axes = figure.subplots(2, 1, height_ratios=[tree_height, side + label * 0.8], sharex=True)
    _draw_tree(above, found["tree"])
    for i, first in enumerate(order):
        for j, second in enumerate(order):
            pair = of_pair.get(frozenset((first, second)), {"value": 1.0, "ci95": None})
            colour = CORRELATION_COLOURS((1 - pair["value"]) / 2)
            own = first == second
            rate = {"value": pair["value"], "ci95": pair["ci95"] if n <= MAX_WITH_INTERVALS else None}
            _draw_cell(axes, j, i, rate, colour="#DDDDDD" if own else colour, digits=2, text=not own)
    names = [short_label(name, characters=LABEL_CHARACTERS) for name in order]
    axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    axes.set_xticks(range(n), names, rotation=50, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(n), names, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(-1, 1), CORRELATION_COLOURS.reversed())
    bar = figure.colorbar(scale, ax=axes, fraction=0.05, pad=0.02, aspect=22)
    bar.outline.set_visible(False)
    bar.set_label("correlation")
    n_units = max(pair["n"] for pair in found["correlations"])
    units = f"{n_units:,} {found['unit']}"
    title = {
        "generators": f"Generators that the same detectors find easy\n(AUROCs of {units})",
        "trainings": f"Detectors that rank the same faces alike\n(ranks within sources, {units})",
    }[what]
    above.set_title(title, fontsize=10)
    return figure


def draw_curves(document: dict[str, Any]) -> Figure:
    """Draws the AUROC against the size of the trainings of a plan with sizes.

    One training of each size gives a band of its interval; several give a point with an interval each, and
    a line through their means.

    Args:
        document: What `matrix.json` holds.
    """
    size_of = {
        training["name"]: training["size"]
        for training in document["trainings"]
        if training["size"] is not None
    }
    sizes = sorted(set(size_of.values()))
    # A small step on the logarithmic axis, so that points of one size stand beside each other.
    step = (sizes[-1] / sizes[0]) ** 0.01
    figure, axes = new_figure(6.4, 4.6)
    for number, curve in enumerate(_curves_of(document)):
        by_size = {
            size: [
                rate for name, rate in curve.rates if size_of.get(name) == size and rate["value"] is not None
            ]
            for size in sizes
        }
        measured = [size for size in sizes if by_size[size]]
        means = [float(np.mean([rate["value"] for rate in by_size[size]])) for size in measured]
        axes.plot(
            measured,
            means,
            curve.line,
            color=curve.colour,
            linewidth=1.8,
            markersize=6,
            markerfacecolor="white",
            label=curve.label if measured else None,
        )
        if all(len(by_size[size]) == 1 and by_size[size][0]["ci95"] for size in measured):
            low, high = ([by_size[size][0]["ci95"][end] for size in measured] for end in (0, 1))
            axes.fill_between(measured, low, high, color=curve.colour, alpha=0.15, linewidth=0)
            continue
        for size in measured:
            for place, rate in enumerate(by_size[size]):
                beside = size * step ** (1 + number + 3.5 * place)
                axes.plot(beside, rate["value"], curve.line[-1], color=curve.colour, markersize=3.5)
                if rate["ci95"]:
                    axes.plot([beside, beside], rate["ci95"], color=curve.colour, linewidth=1, alpha=0.7)
    axes.set_xscale("log")
    axes.set_xticks(sizes)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(
        PercentFormatter(1.0, decimals=None)
        if max(sizes) <= 1
        else matplotlib.ticker.FormatStrFormatter("%g")
    )
    axes.set(
        xlabel=document["axis"], ylabel="AUROC with 95 % interval", title="What learning from more gives"
    )
    axes.grid(color=COLOUR_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if axes.get_ylim()[0] < 0.5:
        axes.axhline(0.5, color=COLOUR_GUIDE, linewidth=1, linestyle=":", label="chance")
    axes.set_ylim(top=min(1.005, axes.get_ylim()[1]))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _curves_of(document: dict[str, Any]) -> list[_Curve]:
    overall = [
        (cell["training"], cell["rates"]["auroc"]) for cell in document["cells"] if cell["kind"] == ALL
    ]
    means = {
        key: [(entry["training"], entry[key]["mean_auroc"]) for entry in document["summary"]]
        for key in ("seen_generators", "unseen_generators")
    }
    return [
        _Curve("all fakes against all reals", COLOUR_CURVE, "-o", overall),
        _Curve("mean over generators that were trained on", COLOUR_SEEN, "--s", means["seen_generators"]),
        _Curve("mean over generators that were not", COLOUR_UNSEEN, "-.^", means["unseen_generators"]),
    ]


def _columns(tests: list[dict[str, Any]]) -> list[float]:
    """Places columns from left to right, with a gap between kinds."""
    places, place = [], 0.0
    for before, test in zip([None, *tests], tests, strict=False):
        if before is not None:
            place += 1 + (GAP if before["kind"] != test["kind"] else 0)
        places.append(place)
    return places


def _column_label(test: dict[str, Any]) -> str:
    n_own = test["n_real"] if test["kind"] == COLLECTION else test["n_fake"]
    name = short_label(test["name"], characters=LABEL_CHARACTERS)
    return f"{name}, {n_own:,}" if test["kind"] != ALL else f"all, {test['n_real'] + n_own:,}"


def _bare_figure(width_inch: float, height_inch: float) -> tuple[Figure, Axes]:
    figure, axes = new_figure(width_inch, height_inch)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def _draw_cell(
    axes: Axes, x: float, y: float, rate: dict[str, Any], *, colour: Any, digits: int = 3, text: bool = True
) -> None:
    if rate["value"] is None or colour is None:
        axes.add_patch(
            Rectangle(
                (x - 0.5, y - 0.5), 1, 1, facecolor="white", edgecolor="#BBBBBB", hatch="///", linewidth=0
            )
        )
        return
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=1))
    if not text:
        return
    red, green, blue = matplotlib.colors.to_rgb(colour)
    ink = COLOUR_CURVE if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else "white"
    value = _short_number(rate["value"], digits)
    axes.text(
        x, y + (0 if rate["ci95"] is None else -0.13), value, ha="center", va="center", color=ink, fontsize=9
    )
    if rate["ci95"] is not None:
        # Close to 1 two digits would not tell the bounds apart.
        bounds = " to ".join(_short_number(x, 2 + (rate["value"] >= 0.985)) for x in rate["ci95"])
        axes.text(x, y + 0.22, bounds, ha="center", va="center", color=ink, fontsize=6.5)


def _short_number(value: float, digits: int) -> str:
    """Writes a value without its leading zero; what is not quite 1 is never written as 1."""
    written = f"{value:.{digits}f}"
    if value < 1 and float(written) == 1:
        written = f"{1 - 10**-digits:.{digits}f}"
    if float(written) == 0:
        written = written.removeprefix("-")
    return written.replace("0.", ".", 1).replace("-", "−")


def _draw_tree(axes: Axes, tree: dict[str, Any]) -> None:
    top_of = {frozenset([name]): (float(place), 0.0) for place, name in enumerate(tree["order"])}
    for merge in tree["merges"]:
        (left, left_height), (right, right_height) = (
            top_of[frozenset(members)] for members in merge["members"]
        )
        distance = merge["distance"]
        axes.plot(
            [left, left, right, right],
            [left_height, distance, distance, right_height],
            color=COLOUR_CURVE,
            linewidth=1.2,
        )
        joined = frozenset(name for members in merge["members"] for name in members)
        top_of[joined] = ((left + right) / 2, distance)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("1 − corr.", fontsize=8)
    axes.tick_params(labelsize=8, bottom=False, labelbottom=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)

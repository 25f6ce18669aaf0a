"""Pictures of spectra: a panel for each source, its difference to the reals, and profiles of all sources.

Blue is real and vermilion is fake, as in all figures; maps have one scale in all panels of a figure. Figures
are made without pyplot, so that no state outlives a call.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression
from scipy.stats import t as student_t

from faceauth.clusters.spectra import AverageSpectrum, mean_of_sources, whole_plane
from faceauth.clusters.spectra_document import SourceSpectra, reference_for
from faceauth.clusters.spectral_patches import MIDDLE_BAND
from faceauth.clusters.spectral_peaks import MIN_GROUPS
from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_GRID,
    COLOUR_GUIDE,
    COLOUR_OF,
    SETTINGS,
    save_figure,
    short_label,
)
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.scoring.bounds import TAIL

PANELS_A_ROW = 5
PANEL_INCH = 2.15
# The least width, for the title of one or two panels in two lines.
TITLE_INCH = 4.6
# Blue is less and vermilion is more than the reals.
DIFFERENCE_COLOURS = LinearSegmentedColormap.from_list(
    "difference", ["#00345c", COLOUR_OF[REAL], "#f7f7f7", COLOUR_OF[FAKE], "#5e2900"]
)
LEVEL_COLOURS = "cividis"
DASHES = ("-", "--", ":", "-.")
# Distance of two names beside a plot, as a share of its height.
LABEL_STEP = 0.04
# A peak of one bin must neither fill the scale nor be cut off by it unseen: colours end here, and say so.
SHOWN_QUANTILES = (0.005, 0.995)
KIND_TITLES = {"pixels": "pixels", "residuals": "noise residuals"}


def draw_spectra_figures(document: dict[str, Any], sources: list[SourceSpectra], folder: Path) -> list[Path]:
    """Draws all spectra; each figure as PNG and as SVG, whole or not at all.

    The first kind has `spectra`, `differences` and `azimuthal`; a second one has its name behind. Without
    reals to hold anything against there are no differences.

    Args:
        document: What `describe_spectra` returned.
        sources: What it was given.
        folder: Where to; made if need be.

    Returns:
        The paths of the files that were written.
    """
    measured = [source for source in sources if source.n]
    with matplotlib.rc_context(SETTINGS):
        figures = {}
        for kind in document["kinds"]:
            ending = "" if kind == document["kinds"][0] else f"_{kind}"
            figures[f"spectra{ending}"] = draw_levels(measured, document, kind)
            compared = [
                source for source in measured if document["sources"][source.folder]["peaks"] is not None
            ]
            if compared:
                figures[f"differences{ending}"] = draw_differences(compared, measured, document, kind)
            figures[f"azimuthal{ending}"] = draw_profiles(measured, kind)
    return [path for name, figure in figures.items() for path in save_figure(figure, folder, name)]


def draw_levels(sources: list[SourceSpectra], document: dict[str, Any], kind: str) -> Figure:
    """Draws the average log spectrum of each source, with its own peaks circled.

    Args:
        sources: Those that were measured.
        document: What `describe_spectra` returned.
        kind: Which kind.
    """
    planes = [whole_plane(source.by_kind[kind].log_power_db) for source in sources]
    low, high = np.quantile(planes, SHOWN_QUANTILES)
    return _draw_panels(
        sources,
        planes,
        [_marks(document, source, "own_", kind) for source in sources],
        colours=LEVEL_COLOURS,
        limits=(float(low), float(high)),
        ring="#ffffff",
        unit="dB",
        title=f"Average log spectrum of {KIND_TITLES[kind]}; circles: its own peaks, triangles: lines",
    )


def draw_differences(
    compared: list[SourceSpectra], sources: list[SourceSpectra], document: dict[str, Any], kind: str
) -> Figure:
    """Draws how the spectrum of each source differs from that of the reals, with the peaks circled.

    Args:
        compared: Those that could be held against reals.
        sources: All that were measured.
        document: What `describe_spectra` returned.
        kind: Which kind.
    """
    planes = []
    for source in compared:
        reference = mean_of_sources(reference_for(source, sources, kind))
        difference = source.by_kind[kind].log_power_db - reference.log_power_db
        # The level as such says how much contrast the pictures have; the shape is what is looked at.
        planes.append(whole_plane(difference - np.median(difference)))
    reach = float(np.quantile(np.abs(planes), SHOWN_QUANTILES[1]))
    return _draw_panels(
        compared,
        planes,
        [_marks(document, source, "", kind) for source in compared],
        colours=DIFFERENCE_COLOURS,
        limits=(-reach, reach),
        ring=COLOUR_CURVE,
        unit="dB more than reals, median at 0",
        title=f"Difference to the (other) reals, {KIND_TITLES[kind]}; circles: peaks, triangles: lines",
    )


def draw_profiles(sources: list[SourceSpectra], kind: str) -> Figure:
    """Draws the mean log power over the radius, and how it differs from the reals, each with its 95 % band.

    Profiles are brought to 0 dB between 1/8 and 1/4 cycle per pixel: brightness and contrast of pictures
    would cover the shapes otherwise. Below 1/16 the faces' own shapes decide; it is not drawn.

    Args:
        sources: Those that were measured.
        kind: Which kind.
    """
    figure = Figure(figsize=(12.4, 1.6 + max(4.2, 0.24 * len(sources))), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends: dict[Axes, list[tuple[float, str, str]]] = {left: [], right: []}
    for i, source in enumerate(sources):
        spectrum = source.by_kind[kind]
        colour, dashes = COLOUR_OF[source.target], DASHES[i % len(DASHES)]
        profile = _levelled(spectrum)
        lines = [(left, profile, spectrum.profile_error_db)]
        others = reference_for(source, sources, kind)
        if others:
            reference = mean_of_sources(others)
            error_db = np.hypot(spectrum.profile_error_db, reference.profile_error_db)
            lines.append((right, profile - _levelled(reference), error_db))
        for axes, line, error_db in lines:
            _draw_band(axes, line, _reach(spectrum, error_db), colour, dashes)
            ends[axes].append((float(line[-1]), _label(source), colour))
    for axes, ylabel in (
        (left, "log power, dB (0 from 1/8 to 1/4)"),
        (right, "difference to the mean of (other) real collections, dB"),
    ):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(xlim=(1 / 16, 0.5), xlabel="cycles per pixel", ylabel=ylabel)
        axes.set_xticks([1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2], ["1/16", "1/8", "1/4", "3/8", "1/2"])
        axes.grid(axis="x", color=COLOUR_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_visible(bool(ends[axes]))
        if ends[axes]:
            _fit_heights(axes)
            _label_ends(axes, ends[axes])
    right.axhline(0, color=COLOUR_GUIDE, linewidth=1)
    left.set_title(f"Power over the radius, {KIND_TITLES[kind]}", loc="left")
    right.set_title(f"The same against the reals; bands: 95 %, from {MIN_GROUPS} groups on", loc="left")
    return figure


def _draw_panels(
    sources: list[SourceSpectra],
    planes: list[np.ndarray],
    marks: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]],
    *,
    colours: Any,
    limits: tuple[float, float],
    ring: str,
    unit: str,
    title: str,
) -> Figure:
    n_columns = min(PANELS_A_ROW, len(sources))
    n_rows = -(-len(sources) // n_columns)
    figure = Figure(
        figsize=(max(PANEL_INCH * n_columns + 1.3, TITLE_INCH), (PANEL_INCH + 0.35) * n_rows + 0.75),
        layout="constrained",
    )
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    shown = None
    for axes in grid.ravel()[len(sources) :]:
        axes.set_visible(False)
    for i, (source, plane, (peaks, lines)) in enumerate(zip(sources, planes, marks, strict=True)):
        axes = grid.ravel()[i]
        p = len(plane)
        # Half a bin more on either side, so that each frequency is the middle of its pixel.
        edges = (-0.5 - 0.5 / p, 0.5 - 0.5 / p)
        shown = axes.imshow(
            np.fft.fftshift(plane),
            cmap=colours,
            vmin=limits[0],
            vmax=limits[1],
            extent=(*edges, *edges),
            origin="lower",
            interpolation="nearest",
        )
        x = [sign * peak["fx"] for peak in peaks for sign in (1, -1, 1, -1)]
        y = [sign * peak["fy"] for peak in peaks for sign in (1, -1, -1, 1)]
        axes.scatter(x, y, s=46, facecolors="none", edgecolors=ring, linewidths=1.1, clip_on=False, zorder=4)
        for line in lines:
            # Outside the panel, so that the line itself stays visible.
            ends = [sign * line["frequency"] for sign in (1, -1)]
            place = (ends, [0.53, 0.53]) if line["axis"] == "x" else ([0.53, 0.53], ends)
            axes.plot(*place, "v" if line["axis"] == "x" else "<", color=COLOUR_CURVE, ms=3, clip_on=False)
        colour = COLOUR_OF[source.target]
        axes.set_title(_label(source, per_line=True), color=colour, fontsize=9, pad=9)
        axes.set_xticks([-0.5, -0.25, 0, 0.25, 0.5], ["−1/2", "", "0", "", "1/2"])
        axes.set_yticks([-0.5, -0.25, 0, 0.25, 0.5], ["−1/2", "", "0", "", "1/2"])
        # The lowest panel of each column, which need not be in the last row.
        axes.tick_params(labelsize=8, labelbottom=i + n_columns >= len(sources))
        axes.set(xlim=(-0.5, 0.5), ylim=(-0.5, 0.5))
    if shown is not None:
        bar = figure.colorbar(shown, ax=grid, extend="both", shrink=0.8 if n_rows == 1 else 0.5, pad=0.015)
        bar.set_label(unit, fontsize=9)
    across, down = "cycles per pixel, left to right", "cycles per pixel, top to bottom"
    if grid.size == 1:
        grid[0, 0].set_xlabel(across, fontsize=9)
        grid[0, 0].set_ylabel(down, fontsize=9)
    else:
        figure.supxlabel(across, fontsize=9)
        figure.supylabel(down, fontsize=9)
    figure.suptitle(title.replace("; ", "\n") if n_columns < 3 else title, fontsize=11, x=0.01, ha="left")
    return figure


def _marks(
    document: dict[str, Any], source: SourceSpectra, whose: str, kind: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Peaks and lines of one source and kind: `own_` ones, or with an empty text those against the reals."""
    facts = document["sources"][source.folder]
    found = (facts[f"{whose}{name}"] or [] for name in ("peaks", "lines"))
    peaks, lines = ([entry for entry in entries if entry["kind"] == kind] for entries in found)
    return peaks, lines


def _levelled(spectrum: AverageSpectrum) -> np.ndarray:
    profile = spectrum.profile_db
    frequency = np.arange(len(profile)) / (2 * (len(profile) - 1))
    return profile - profile[(frequency >= MIDDLE_BAND[0]) & (frequency < MIDDLE_BAND[1])].mean()


def _reach(spectrum: AverageSpectrum, error_db: np.ndarray) -> np.ndarray | None:
    # With few groups a band covers all others and says no more than that they are few.
    if spectrum.n_groups < MIN_GROUPS:
        return None
    return float(student_t.isf(TAIL, spectrum.n_groups - 1)) * error_db


def _draw_band(axes: Axes, line: np.ndarray, reach: np.ndarray | None, colour: str, dashes: str) -> None:
    frequency = np.arange(len(line)) / (2 * (len(line) - 1))
    axes.plot(frequency, line, color=colour, linewidth=1.4, linestyle=dashes)
    if reach is not None:
        axes.fill_between(frequency, line - reach, line + reach, color=colour, alpha=0.12, linewidth=0)


def _fit_heights(axes: Axes) -> None:
    """Fits the axis to the lines where they are shown; a band of three groups may reach far beyond."""
    shown = [
        np.asarray(line.get_ydata())[np.asarray(line.get_xdata()) >= axes.get_xlim()[0]]
        for line in axes.get_lines()
    ]
    low, high = min(y.min() for y in shown), max(y.max() for y in shown)
    spare = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - spare, high + spare)


def _label_ends(axes: Axes, entries: list[tuple[float, str, str]]) -> None:
    """Writes each line's name behind its end, moved apart where they would cover one another."""
    low, high = axes.get_ylim()
    entries = sorted(entries)
    # Least squares under the condition that each is a step above the one before.
    steps = np.arange(len(entries)) * min(LABEL_STEP, 1 / len(entries))
    wanted = np.array([(value - low) / (high - low) for value, _, _ in entries])
    places = np.clip(isotonic_regression(wanted - steps).x, 0, 1 - steps[-1]) + steps
    for (value, label, colour), place in zip(entries, places, strict=True):
        axes.annotate(
            label,
            xy=(0.5, value),
            xytext=(1.06, place),
            textcoords="axes fraction",
            fontsize=8,
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _label(source: SourceSpectra, *, per_line: bool = False) -> str:
    between = "\n" if per_line else ", "
    return f"{short_label(source.folder)}{between}{ID2LABEL[source.target]}, {source.n:,}"

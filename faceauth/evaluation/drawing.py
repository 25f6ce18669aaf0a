"""What figures of this stage share: colours, how a source and a rate are written, how files are saved.

Blue is real and vermilion is fake everywhere (Okabe and Ito's colours, told apart by colour-blind readers);
nothing is said by colour alone. Figures are made without pyplot, so that no state outlives a call.
"""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceauth.evaluation.document_text import format_value
from faceauth.files import whole_file
from faceauth.labels import FAKE, REAL
from faceauth.scoring.by_folder import iterate_folders
from faceauth.scoring.scores import Scores

COLOUR_REAL = "#0072B2"
COLOUR_FAKE = "#D55E00"
COLOUR_CURVE = "#222222"
COLOUR_GUIDE = "#8A8A8A"
COLOUR_GRID = "#E4E4E4"
COLOUR_OF = {REAL: COLOUR_REAL, FAKE: COLOUR_FAKE}
DOTS_PER_INCH = 150
MAX_LABEL_CHARACTERS = 32
# More sources than this make a figure that no screen shows; those the detector finds easiest are left out.
MAX_SOURCES = 80
# A fixed salt and no date: the same scores give the same bytes.
SETTINGS: Any = {"svg.hashsalt": "faceauth", "font.size": 10, "axes.titlesize": 11}


class Source(NamedTuple):
    """One source of an evaluation, as figures need it.

    Attributes:
        name: As in `by_folder` of `metrics.json`.
        target: 1 for a real collection, 0 for a generator.
        p_fake: Scores of its own faces, float64 (n,).
        rates: Its metrics, as in `metrics.json`.
    """

    name: str
    target: int
    p_fake: np.ndarray
    rates: dict[str, Any]

    @property
    def called_fake(self) -> dict[str, Any]:
        """The share of its faces that was called fake, as a rate."""
        return self.rates["recall_fake"] if self.target == FAKE else complement(self.rates["recall_real"])

    @property
    def error(self) -> dict[str, Any]:
        """The share of its faces that was called wrongly, as a rate."""
        return self.called_fake if self.target == REAL else complement(self.called_fake)


def list_sources(scores: Scores, document: dict[str, Any]) -> tuple[list[Source], int]:
    """Returns generators and then real collections, in each the one with most mistakes first.

    Args:
        scores: Scores of one split.
        document: What `evaluate_scores` returned for it.

    Returns:
        At most `MAX_SOURCES` sources, and how many were left out.
    """
    sources = []
    for folder in iterate_folders(scores):
        own = folder.keep & (scores.target == folder.target)
        sources.append(
            Source(folder.name, folder.target, scores.p_fake[own], document["by_folder"][folder.name])
        )
    sources.sort(key=lambda source: -_badness(source))
    kept = sources[:MAX_SOURCES]
    kept.sort(key=lambda source: source.target)
    return kept, len(sources) - len(kept)


def complement(rate: dict[str, Any]) -> dict[str, Any]:
    """Returns the rate of what a share leaves over: 1 - value, with the bounds turned round."""
    bounds = rate["ci95"]
    return rate | {
        "value": None if rate["value"] is None else 1 - rate["value"],
        "ci95": None if bounds is None else [1 - bounds[1], 1 - bounds[0]],
    }


def new_figure(width_inch: float, height_inch: float) -> tuple[Figure, Axes]:
    """Makes a figure with one pair of axes, open at the top and at the right."""
    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def write_beside(axes: Axes, y: float, cells: tuple[str, str], *, widest: int = 11) -> None:
    """Writes a count and a rate in two columns to the right of the axes.

    Args:
        axes: Beside which.
        y: Height of the line, in the axes' data.
        cells: What stands in the columns.
        widest: Characters of the longest text in the first column.
    """
    # In points, so that the layout knows how much room to leave.
    for offset, cell in zip((12, 18 + 5.6 * widest), cells, strict=True):
        axes.annotate(
            cell,
            (1, y),
            xytext=(offset, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=COLOUR_CURVE,
            annotation_clip=False,
        )


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes a figure as PNG and as SVG, each whole or not at all; the same figure gives the same bytes.

    Args:
        figure: Made under `SETTINGS`.
        folder: Where to; made if need be.
        name: File name without suffix.

    Returns:
        The two paths.
    """
    paths = []
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; that is no news for the terminal.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # The layout takes most of the time; both files share one.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            path = folder / f"{name}{suffix}"
            with whole_file(path) as draft:
                figure.savefig(draft, dpi=DOTS_PER_INCH, metadata=metadata)
            paths.append(path)
    return paths


def plain(text: str) -> str:
    """Keeps matplotlib from reading a dollar sign as the start of a formula, or control characters at all."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    ).replace("$", r"\$")


def short_label(name: str, *, characters: int = MAX_LABEL_CHARACTERS) -> str:
    """Writes a source's name so that it fits: a long one loses its middle, since ends tell most apart."""
    if len(name) > characters:
        tail = (characters - 1) // 3
        name = f"{name[: characters - 1 - tail]}…{name[-tail:]}"
    return plain(name)


def format_counts(scores: Scores) -> str:
    """Writes how many faces of each class there are."""
    n_real = int((scores.target == REAL).sum())
    return f"{n_real:,} real, {len(scores) - n_real:,} fake faces"


def format_rate(rate: dict[str, Any]) -> str:
    """Writes a rate with its interval, or says why there is none."""
    if rate["value"] is None:
        return plain(f"undefined: {rate['reason']}")
    value = format_value(rate["value"])
    if rate["ci95"] is None:
        return value
    low, high = (format_value(bound) for bound in rate["ci95"])
    return f"{value} ({low} to {high})"


def format_percent(value: float) -> str:
    """Writes a share in percent with one decimal; only an exact 0 or 1 is written as such."""
    if 0 < value < 0.0005:
        return "<0.1 %"
    if 0.9995 < value < 1:
        return ">99.9 %"
    return f"{100 * value:.0f} %" if value in (0.0, 1.0) else f"{100 * value:.1f} %"


def format_percent_rate(rate: dict[str, Any]) -> str:
    """Writes a share in percent with its interval, or says why there is none."""
    if rate["value"] is None:
        return plain(f"undefined: {rate['reason']}")
    value = format_percent(rate["value"])
    if rate["ci95"] is None:
        return value
    low, high = (format_percent(bound).removesuffix(" %") for bound in rate["ci95"])
    return f"{value} ({low} to {high})"


def lacking_interval(rate: dict[str, Any]) -> str:
    """Says why a value stands without an interval; an empty text where it has one or is undefined."""
    if rate["value"] is None or rate["ci95"] is not None:
        return ""
    reason = (rate["reason"] or "no interval").removeprefix("no interval: ")
    return plain(f"no interval: {reason}" if reason != "no interval" else reason)


def _badness(source: Source) -> float:
    error = source.error["value"]
    return -1.0 if error is None else float(error)

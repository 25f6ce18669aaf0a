"""How scores are spread: by class in one figure, by source in many small ones."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_GUIDE,
    COLOUR_OF,
    Source,
    format_counts,
    format_percent,
    new_figure,
    short_label,
)
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.scoring.scores import Scores

BINS = 40
BINS_OF_A_SOURCE = 20
# So few faces are drawn one by one too: their bars say little.
FEW_FACES = 40
HATCH_OF = {REAL: "", FAKE: "////"}


def draw_score_histogram(scores: Scores, *, threshold: float) -> Figure:
    """Draws how the scores of real and of fake faces are spread, each class as shares of its own.

    Args:
        scores: Scores of one split.
        threshold: A face is called fake from this score on.
    """
    figure, axes = new_figure(6.4, 4.0)
    for target in (REAL, FAKE):
        chosen = scores.p_fake[scores.target == target]
        if len(chosen):
            _draw_shares(axes, chosen, target, BINS, label=f"{ID2LABEL[target]}, {len(chosen):,}")
    axes.axvline(
        threshold, color=COLOUR_CURVE, linewidth=1.2, linestyle="--", label=f"threshold {threshold:.3f}"
    )
    axes.set(
        xlim=(0, 1),
        xlabel="p_fake",
        ylabel="share of the class",
        title=f"Scores by class: {format_counts(scores)}",
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def draw_scores_by_source(sources: list[Source], *, threshold: float, n_left_out: int = 0) -> Figure:
    """Draws a small histogram of each source, generators first, in each class the worst first.

    Args:
        sources: At least one.
        threshold: A face is called fake from this score on.
        n_left_out: Sources that are not among them, for the title.
    """
    n_columns = next(
        columns for columns, most in ((1, 1), (2, 4), (3, 9), (4, 16), (5, 10**9)) if len(sources) <= most
    )
    n_rows = -(-len(sources) // n_columns)
    width, height = max(5.0, 2.35 * n_columns), 1.4 * n_rows + 1.3
    figure = Figure(figsize=(width, height))
    # Margins by hand: to work them out for a hundred panels takes many seconds.
    grid = figure.add_gridspec(
        n_rows,
        n_columns,
        left=0.35 / width,
        right=1 - 0.25 / width,
        bottom=0.85 / height,
        top=1 - 0.78 / height,
        hspace=0.8,
        wspace=0.16,
    )
    for i, source in enumerate(sources):
        axes = figure.add_subplot(grid[divmod(i, n_columns)])
        _draw_shares(axes, source.p_fake, source.target, BINS_OF_A_SOURCE)
        axes.axvline(threshold, color=COLOUR_CURVE, linewidth=1, linestyle="--")
        top = axes.get_ylim()[1]
        axes.set(xlim=(0, 1), ylim=(-0.14 * top if len(source.p_fake) <= FEW_FACES else 0, top), yticks=[])
        if len(source.p_fake) <= FEW_FACES:
            heights = np.full(len(source.p_fake), -0.07 * top)
            axes.plot(source.p_fake, heights, "|", color=COLOUR_OF[source.target], markersize=5, alpha=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        is_last_in_column = i + n_columns >= len(sources)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"] if is_last_in_column else [])
        axes.tick_params(labelsize=8, length=2.5)
        name = short_label(source.name, characters=26 if n_columns > 1 else 40)
        axes.set_title(name, fontsize=9, color=COLOUR_OF[source.target], loc="left", pad=15)
        share = format_percent(float(np.mean(source.p_fake >= threshold)))
        axes.annotate(
            f"{ID2LABEL[source.target]}, n = {len(source.p_fake):,}: {share} called fake",
            (0, 1),
            xytext=(0, 3),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=7.5,
            color="#555555",
            annotation_clip=False,
        )
    rest = f" ({n_left_out} more not drawn)" if n_left_out else ""
    figure.suptitle(f"Scores by source{rest}", fontsize=12, y=1 - 0.12 / height, va="top")
    figure.text(0.5, 0.42 / height, "p_fake", ha="center", va="center", fontsize=9)
    figure.legend(
        handles=[
            *(
                Patch(
                    facecolor=(COLOUR_OF[target], 0.3),
                    edgecolor=COLOUR_OF[target],
                    hatch=HATCH_OF[target],
                    label=ID2LABEL[target],
                )
                for target in (FAKE, REAL)
                if any(source.target == target for source in sources)
            ),
            Line2D(
                [], [], color=COLOUR_CURVE, linewidth=1, linestyle="--", label=f"threshold {threshold:.3f}"
            ),
        ],
        loc="lower center",
        bbox_to_anchor=(0.5, 0.02 / height),
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    return figure


def _draw_shares(axes: Axes, p_fake: np.ndarray, target: int, bins: int, *, label: str | None = None) -> None:
    edges = np.linspace(0, 1, bins + 1)
    shares = np.histogram(p_fake, edges)[0] / len(p_fake)
    colour, hatch = COLOUR_OF[target], HATCH_OF[target]
    axes.stairs(shares, edges, fill=True, facecolor=colour, alpha=0.25, hatch=hatch, edgecolor=colour)
    axes.stairs(shares, edges, color=colour, linewidth=1.5, label=label)
    axes.axhline(0, color=COLOUR_GUIDE, linewidth=0.8)

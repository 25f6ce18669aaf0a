"""What was called what: by class as a matrix, by source as the share that was called fake."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_FAKE,
    COLOUR_GUIDE,
    COLOUR_OF,
    COLOUR_REAL,
    Source,
    complement,
    format_counts,
    format_percent,
    format_percent_rate,
    lacking_interval,
    new_figure,
    plain,
    short_label,
    write_beside,
)
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.scoring.scores import Scores

# Where white letters on the shade become easier to read than dark ones.
_DARK_FROM = 0.55


def draw_confusion(scores: Scores, overall: dict[str, Any], *, threshold: float) -> Figure:
    """Draws how many faces of each class were called what, with the share of the class and its interval.

    Args:
        scores: Scores of one split.
        overall: All rates over its faces, as in `metrics.json`.
        threshold: A face is called fake from this score on.
    """
    called_fake = scores.p_fake >= threshold
    # In the order of the rows (real, fake) and of the columns (called real, called fake).
    rates = (
        (overall["recall_real"], complement(overall["recall_real"])),
        (complement(overall["recall_fake"]), overall["recall_fake"]),
    )
    figure, axes = new_figure(5.4, 4.9)
    shares = np.array([[rate["value"] or 0.0 for rate in row] for row in rates])
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    titles = []
    for i, target in enumerate((REAL, FAKE)):
        of_class = scores.target == target
        titles.append(f"{ID2LABEL[target]}\n{int(of_class.sum()):,}")
        for j, call in enumerate((False, True)):
            rate = rates[i][j]
            colour = "white" if shares[i, j] > _DARK_FROM else COLOUR_CURVE
            n = int((of_class & (called_fake == call)).sum())
            axes.text(j, i - 0.14, f"{n:,}", ha="center", va="center", fontsize=17, color=colour)
            share = "none" if rate["value"] is None else format_percent(rate["value"])
            axes.text(j, i + 0.12, share, ha="center", va="center", fontsize=12, color=colour)
            detail = lacking_interval(rate)
            if rate["ci95"] is not None:
                low, high = (format_percent(bound).removesuffix(" %") for bound in rate["ci95"])
                detail = f"{low} to {high}"
            axes.text(j, i + 0.3, _wrapped(detail, 22), ha="center", va="center", fontsize=8.5, color=colour)
            is_right = (target == FAKE) == call
            axes.text(
                j,
                i - 0.4,
                "right" if is_right else "wrong",
                ha="center",
                va="center",
                fontsize=8.5,
                color=colour,
            )
    axes.set_xticks([0, 1], ["called real", "called fake"])
    axes.set_yticks([0, 1], titles)
    axes.set_xticks([0.5], minor=True)
    axes.set_yticks([0.5], minor=True)
    axes.grid(which="minor", color="white", linewidth=3)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"Fake if p_fake ≥ {threshold:.3f}: {format_counts(scores)}\nshares of the class, 95 % intervals"
    )
    return figure


def draw_confusion_by_source(sources: list[Source], *, threshold: float, n_left_out: int = 0) -> Figure:
    """Draws what share of each source was called fake, with interval and n, in each class the worst first.

    Args:
        sources: At least one.
        threshold: A face is called fake from this score on.
        n_left_out: Sources that are not among them, for the title.
    """
    figure, axes = new_figure(8.6, 1.75 + 0.33 * (len(sources) + 1))
    # A gap of one row between the classes.
    n_generators = sum(source.target == FAKE for source in sources)
    gap = 0.6 if 0 < n_generators < len(sources) else 0.0
    rows = [i + (gap if source.target == REAL else 0.0) for i, source in enumerate(sources)]
    n_widest = max(len(f"{len(source.p_fake):,}") for source in sources) * 2 + 4
    for row, source in zip(rows, sources, strict=True):
        rate = source.called_fake
        colour = COLOUR_OF[source.target]
        axes.barh(row, 1, height=0.72, color="#F1F1F1", linewidth=0)
        if rate["value"] is not None:
            axes.barh(
                row,
                rate["value"],
                height=0.72,
                color=colour,
                alpha=0.35,
                hatch="////" if source.target == FAKE else "",
                edgecolor=colour,
                linewidth=0,
            )
            axes.plot([rate["value"]] * 2, [row - 0.36, row + 0.36], color=colour, linewidth=2)
        if rate["ci95"] is not None:
            axes.plot(rate["ci95"], [row, row], color=COLOUR_CURVE, linewidth=1.4, solid_capstyle="butt")
        n_called = int(np.sum(source.p_fake >= threshold))
        written = f"{format_percent_rate(rate)}  {lacking_interval(rate)}".strip()
        write_beside(axes, row, (f"{n_called:,} of {len(source.p_fake):,}", written), widest=n_widest)
    axes.axvline(0.5, color=COLOUR_GUIDE, linewidth=0.8, linestyle=":")
    axes.set_yticks(rows, [short_label(source.name) for source in sources])
    for text, source in zip(axes.get_yticklabels(), sources, strict=True):
        text.set_color(COLOUR_OF[source.target])
    axes.set(xlim=(0, 1), ylim=(rows[-1] + 0.6, -0.6), xlabel="share called fake, with 95 % interval")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    rest = f"; {n_left_out} more sources not drawn" if n_left_out else ""
    axes.set_title(plain(f"What was called fake, by source (p_fake ≥ {threshold:.3f}{rest})"), loc="left")
    for target, words, colour in (
        (FAKE, "fakes: all should be called fake", COLOUR_FAKE),
        (REAL, "reals: none should be called fake", COLOUR_REAL),
    ):
        if any(source.target == target for source in sources):
            hatch = "////" if target == FAKE else ""
            axes.barh(0, 0, color=colour, alpha=0.35, hatch=hatch, edgecolor=colour, linewidth=0, label=words)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _wrapped(text: str, characters: int) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= characters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)

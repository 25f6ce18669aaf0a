"""The picture of a comparison: by how much the AUROC of two detectors differs, overall and by generator."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from faceauth.evaluation.drawing import (
    COLOUR_CURVE,
    COLOUR_FAKE,
    COLOUR_GRID,
    COLOUR_GUIDE,
    SETTINGS,
    lacking_interval,
    new_figure,
    short_label,
    write_beside,
)

ALPHA = 0.05
# More generators make a figure that no screen shows; those with the smallest differences are left out.
MAX_GENERATORS = 60
_INCHES_A_ROW = 0.32
_LOWEST_REACH = 0.01


def draw_comparison(document: dict[str, Any]) -> Figure:
    """Draws differences in AUROC with their intervals: the overall one at the top, then the generators.

    Filled markers are differences whose p-value, corrected over the generators, is below 0.05. A difference
    without an interval has the reason in words.

    Args:
        document: What `compare_scores` returned.
    """
    generators = [
        (name, entry["auroc"])
        for name, entry in document["by_folder"].items()
        if entry["auroc"]["difference"]["value"] is not None
    ]
    generators.sort(key=lambda row: -abs(row[1]["difference"]["value"]))
    n_left_out = max(0, len(generators) - MAX_GENERATORS)
    generators = sorted(generators[:MAX_GENERATORS], key=lambda row: row[1]["difference"]["value"])
    rows = [("all fakes", document["overall"]["auroc"]), *generators]
    rows = [row for row in rows if row[1]["difference"]["value"] is not None]
    places = [i + (0.35 if name != "all fakes" else 0.0) for i, (name, _) in enumerate(rows)]
    with matplotlib.rc_context(SETTINGS):
        figure, axes = new_figure(8.8, 2.3 + _INCHES_A_ROW * len(rows))
        axes.axvline(0, color=COLOUR_GUIDE, linewidth=1.2, linestyle=":")
        bounds = [_LOWEST_REACH]
        for place, (name, compared) in zip(places, rows, strict=True):
            difference = compared["difference"]
            ink = COLOUR_CURVE if name == "all fakes" else COLOUR_FAKE
            p_value = compared.get("p_holm", compared["p_value"])
            is_clear = p_value is not None and p_value < ALPHA
            if difference["ci95"] is not None:
                axes.plot(
                    difference["ci95"],
                    [place] * 2,
                    color=ink,
                    linewidth=2.2,
                    solid_capstyle="butt",
                    clip_on=False,
                )
            axes.plot(
                difference["value"],
                place,
                "o",
                markerfacecolor=ink if is_clear else "white",
                markeredgecolor=ink,
                markeredgewidth=1.5,
                markersize=6.5,
                clip_on=False,
                zorder=4,
            )
            bounds += [abs(bound) for bound in (difference["value"], *(difference["ci95"] or ()))]
            cells = (f"n = {difference['n_fake']:,}", _describe(compared))
            write_beside(axes, place, cells, widest=9)
        reach = 1.04 * max(bounds)
        axes.set(
            xlim=(-reach, reach),
            ylim=((places[-1] if places else 0) + 0.6, -0.6),
            xlabel="AUROC of the first minus AUROC of the second, with 95 % interval\n"
            "◂ the second is better      the first is better ▸",
        )
        axes.set_yticks(places, [short_label(name) for name, _ in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=COLOUR_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        rest = f", {n_left_out} more not drawn" if n_left_out else ""
        first, second = (_name_side(document, side) for side in ("first", "second"))
        figure.suptitle(
            f"{first} and {second}\non the same faces, {document['n_real']:,} real{rest}", fontsize=12
        )
        for face, words in ((COLOUR_FAKE, f"p < {ALPHA}"), ("white", "not clear, or no interval")):
            axes.plot(
                [],
                [],
                "o",
                markerfacecolor=face,
                markeredgecolor=COLOUR_FAKE,
                markeredgewidth=1.5,
                label=words,
            )
        figure.legend(
            loc="outside lower center",
            ncols=2,
            frameon=False,
            fontsize=9,
            title="generators against all reals; p by Holm's correction, each interval by itself",
            title_fontsize=9,
        )
    return figure


def _name_side(document: dict[str, Any], side: str) -> str:
    """Names a detector by the folder of its scores, or by the file where no folder says more."""
    scores = document[side].get("scores")
    if scores is None:
        return f"the {side}"
    path = Path(scores)
    name = path.parent.name if path.stem == "scores" and path.parent.name else path.name
    return f"{short_label(name)} ({side})"


def _describe(compared: dict[str, Any]) -> str:
    difference = compared["difference"]
    text = f"{difference['value']:+.3f}"
    if difference["ci95"] is not None:
        low, high = difference["ci95"]
        text += f" ({low:+.3f} to {high:+.3f})"
    p_value = compared.get("p_holm", compared["p_value"])
    if p_value is not None:
        text += f"  p {format_p(p_value)}"
    return f"{text}  {lacking_interval(difference)}".strip()


def format_p(p_value: float) -> str:
    """Writes a p-value with three decimals, or as `< 0.001`."""
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"

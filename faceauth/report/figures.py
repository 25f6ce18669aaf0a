"""The page's own figures, drawn as HTML and SVG so that they follow its colours and its width."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceauth.labels import FAKE
from faceauth.report.markup import Markup, interval, number, text
from faceauth.report.tables import Rate, as_number

_WIDTH, _HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 34
N_BINS = 40


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One line of an interval chart.

    Attributes:
        label: What was measured, such as a generator's name.
        rate: The figure.
        shortcut: What plain facts alone reach there, if it was measured.
    """

    label: str
    rate: Rate
    shortcut: Rate | None = None


def interval_chart(rows: Sequence[IntervalRow], *, description: str, subject: str = "detector") -> Markup:
    """Draws figures between 0 and 1 as dots on lines, with their intervals as bars.

    The scale begins at 0.5, where a coin would be, or lower if a figure or an interval does.

    Args:
        rows: Those without a value are left out.
        description: What the chart shows.
        subject: Whose figures these are, for the key.

    Returns:
        A figure, or nothing if no row has a value.
    """
    shown = [row for row in rows if row.rate.value is not None]
    if not shown:
        return Markup("")
    lowest = min(
        bound
        for row in shown
        for rate in (row.rate, row.shortcut)
        if rate is not None and rate.value is not None
        for bound in (rate.value, *(rate.ci95 or ()))
    )
    start = 0.5 if lowest >= 0.5 else math.floor(lowest * 10) / 10

    def place(value: float) -> str:
        return f"{100 * (min(1.0, max(start, value)) - start) / (1 - start):.2f}%"

    ticks = [tick / 10 for tick in range(round(start * 10), 11)]
    if len(ticks) > 6:
        ticks = ticks[::-2]
    lines = []
    for row in shown:
        value = row.rate.value or 0.0
        bar = ""
        if row.rate.ci95:
            low, high = row.rate.ci95
            width = 100 * (min(1.0, high) - max(start, low)) / (1 - start)
            bar = f'<i class="span" style="left:{place(low)};width:{width:.2f}%"></i>'
        ruler = ""
        if row.shortcut is not None and row.shortcut.value is not None:
            ruler = (
                f'<i class="ruler" style="left:{place(row.shortcut.value)}" '
                f'title="a ruler alone: {number(row.shortcut.value)}"></i>'
            )
        lines.append(
            f'<li><span class="label">{text(row.label)}</span>'
            f'<span class="track">{bar}{ruler}<i class="dot" style="left:{place(value)}"></i></span>'
            f'<span class="figure">{number(value)} <small>{text(interval(row.rate.ci95))}</small></span></li>'
        )
    axis = "".join(f'<i style="left:{place(tick)}">{tick:.1f}</i>' for tick in ticks)
    has_ruler = any(row.shortcut is not None and row.shortcut.value is not None for row in shown)
    key = f'<b class="dot"></b> {text(subject)}, with its 95 % interval'
    key += ' <b class="ruler"></b> a ruler alone: plain facts, no face' if has_ruler else ""
    chart = f"<ol>{''.join(lines)}</ol>{_axis(axis)}"
    return Markup(f'<figure class="intervals">{_caption(description, key)}{chart}</figure>')


def score_strips(
    folder: np.ndarray, target: np.ndarray, p_fake: np.ndarray, *, threshold: float | None
) -> Markup:
    """Draws how scores of each source are distributed, one strip a source, reals first.

    Args:
        folder: Source of each face; (n,) of str.
        target: 1 for real, 0 for fake; (n,) of int.
        p_fake: In [0, 1]; (n,) float.
        threshold: From which score on a face is called fake; None if there is none.
    """
    sources = sorted({(int(kind) == FAKE, str(name)) for name, kind in zip(folder, target, strict=True)})
    lines = []
    for is_fake, name in sources:
        of_source = (folder == name) & ((target == FAKE) == is_fake)
        counts, _ = np.histogram(p_fake[of_source], bins=N_BINS, range=(0, 1))
        heights = counts / max(1, counts.max())
        bars = "".join(
            f'<rect x="{i}" y="{1 - height:.3f}" width="0.92" height="{height:.3f}"/>'
            for i, height in enumerate(heights)
            if height > 0
        )
        share = "" if threshold is None else f"{np.mean(p_fake[of_source] >= threshold):.0%} called fake"
        line = "" if threshold is None else f'<i class="threshold" style="left:{100 * threshold:.2f}%"></i>'
        lines.append(
            f'<li class="{"fake" if is_fake else "real"}"><span class="label">{text(name)}</span>'
            f'<span class="track"><svg viewBox="0 0 {N_BINS} 1" preserveAspectRatio="none" role="img" '
            f'aria-label="Scores of {text(name)}">{bars}</svg>{line}</span>'
            f'<span class="figure">{share} <small>n = {number(int(of_source.sum()))}</small></span></li>'
        )
    axis = "".join(f'<i style="left:{100 * tick:.0f}%">{tick:g}</i>' for tick in (0, 0.25, 0.5, 0.75, 1))
    key = '<b class="block real"></b> real <b class="block fake"></b> fake'
    key += "" if threshold is None else f' <b class="line"></b> threshold {number(threshold)}'
    caption = _caption("Scores by source: how fake the detector holds each face to be", key)
    return Markup(f'<figure class="strips">{caption}<ol>{"".join(lines)}</ol>{_axis(axis)}</figure>')


def training_curves(epochs: tuple[dict[str, Any], ...]) -> Markup:
    """Draws loss, and AUROC on val if it was measured, over epochs; the best epoch is marked."""
    best = [epoch["epoch"] for epoch in epochs if epoch.get("best") is True]
    panels = [
        _curves(
            epochs, {"train_loss": "train", "val_loss": "val"}, title="Loss", best=best[-1] if best else None
        ),
        _curves(epochs, {"val_auroc": "val"}, title="AUROC on val", best=best[-1] if best else None),
    ]
    return Markup(f'<div class="panels">{"".join(panel for panel in panels if panel)}</div>')


def _curves(epochs: tuple[dict[str, Any], ...], keys: dict[str, str], *, title: str, best: int | None) -> str:
    series = {
        label: [
            (epoch["epoch"], float(epoch[key])) for epoch in epochs if as_number(epoch.get(key)) is not None
        ]
        for key, label in keys.items()
    }
    series = {label: points for label, points in series.items() if points}
    if not series:
        return ""
    numbers = [number for points in series.values() for number, _ in points]
    values = [value for points in series.values() for _, value in points]
    first, last = min(numbers), max(numbers)
    ticks = _ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def x_of(epoch: float) -> float:
        share = (epoch - first) / (last - first) if last > first else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y_of(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y_of(tick):.1f}" y2="{y_of(tick):.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y_of(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        for tick in ticks
    ]
    step = max(1, math.ceil((last - first) / 8))
    parts += [
        f'<text x="{x_of(epoch):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{epoch}</text>'
        for epoch in range(first, last + 1, step)
    ]
    if best is not None and first <= best <= last:
        parts.append(
            f'<line class="best" x1="{x_of(best):.1f}" x2="{x_of(best):.1f}" y1="{_TOP}" y2="{bottom}">'
            f"<title>best epoch: {best}</title></line>"
        )
    for label, points in series.items():
        path = " ".join(f"{x_of(epoch):.1f},{y_of(value):.1f}" for epoch, value in points)
        parts.append(f'<polyline class="line {label}" points="{path}"/>')
        radius = 2.6 if len(points) < 40 else 1.2
        parts += [
            f'<circle class="dot {label}" cx="{x_of(epoch):.1f}" cy="{y_of(value):.1f}" r="{radius}">'
            f"<title>{label}, epoch {epoch}: {value:.4g}</title></circle>"
            for epoch, value in points
        ]
    key = " ".join(f'<b class="line {label}"></b> {label}' for label in series)
    key += ' <b class="line best"></b> best epoch' if best is not None else ""
    described = f'role="img" aria-label="{text(title)} over epochs"'
    drawing = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" {described}>{"".join(parts)}</svg>'
    return f'<figure class="curve">{_caption(title, key)}{drawing}</figure>'


def _caption(title: str, key: str) -> str:
    return f'<figcaption>{text(title)} <span class="key">{key}</span></figcaption>'


def _axis(ticks: str) -> str:
    # Empty cells to its left and right keep it under the tracks.
    track = f'<span></span><span class="track">{ticks}</span><span></span>'
    return f'<div class="axis" aria-hidden="true">{track}</div>'


def _ticks(low: float, high: float) -> list[float]:
    """Returns about five round numbers that enclose the values."""
    span = high - low or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if span / (step * factor) <= 5)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [round(number * step, 10) for number in range(first, last + 1)]

"""Maps as still figures, for papers and for readers without a browser."""

import numpy as np
from matplotlib.figure import Figure

from faceauth.clusters.palette import source_styles

TITLES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
# A vector file with a shape for every point of a large map takes a minute to open.
RASTER_ABOVE = 2_000
_LEGEND_ROWS = 24


def projection_title(name: str) -> str:
    """Returns how people write a projection's name."""
    return TITLES.get(name, name)


def draw_projection(coordinates: np.ndarray, *, names: np.ndarray, target: np.ndarray, title: str) -> Figure:
    """Draws a map, coloured by source: reals as circles, fakes as triangles.

    Args:
        coordinates: (n, 2) float32.
        names: Source of each face; (n,) of str.
        target: 1 for real, 0 for fake; (n,) of int.
        title: What the figure is called; n is added.

    Returns:
        A figure that is bound to no window.
    """
    styles = source_styles(names, target)
    n = len(coordinates)
    size = float(np.clip(6_000 / n, 4, 36))
    n_columns = -(-len(styles) // _LEGEND_ROWS)
    figure = Figure(figsize=(6.6 + 1.9 * n_columns, 6.0), layout="constrained")
    axes = figure.add_subplot()
    rows_by_source = {source: np.flatnonzero(names == source) for source in styles}
    # The most numerous source first, so that it does not cover the small ones.
    for source in sorted(styles, key=lambda source: -len(rows_by_source[source])):
        style, rows = styles[source], rows_by_source[source]
        axes.scatter(
            coordinates[rows, 0],
            coordinates[rows, 1],
            s=size,
            c=style.colour,
            marker=style.marker,
            alpha=0.75,
            linewidths=0,
            rasterized=n > RASTER_ABOVE,
            label=f"{_plain(source)} ({len(rows):,})",
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#c8c4bb")
    axes.set_title(f"{_plain(title)}, n = {n:,}", loc="left", fontsize=12)
    handles, labels = axes.get_legend_handles_labels()
    order = [labels.index(f"{_plain(source)} ({len(rows):,})") for source, rows in rows_by_source.items()]
    legend = figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside right upper",
        ncols=n_columns,
        frameon=False,
        fontsize=9,
        title="real ●   fake ▲",
        alignment="left",
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
            handle.set_sizes([36])  # type: ignore[attr-defined]
    return figure


def _plain(text: str) -> str:
    """Keeps matplotlib from reading a dollar sign as mathematics, or a leading underscore as 'no label'."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text

"""The map that answers: t-SNE or UMAP, sources that can be hidden, a face under the pointer."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from faceauth.clusters.embeddings import source_names
from faceauth.clusters.palette import source_styles
from faceauth.clusters.plots import projection_title
from faceauth.clusters.sampling import stratified_rows
from faceauth.report.collect import Clusters
from faceauth.report.faces import thumbnail
from faceauth.report.markup import Markup, inline_image, number, script_json, text

# More drawn points than this make a phone stutter, and no eye tells them apart.
POINTS_MAX = 8_000
THUMBNAILS_MAX = 1_500
_DECIMALS = 3


def plotly_source() -> str:
    """Returns the drawing library's own script, which goes into the page once."""
    return files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")


def interactive_map(
    clusters: Clusters, *, number_on_page: int, crops_root: Path | None, seed: int = 0
) -> Markup:
    """Returns the map of one set of clusters, as an element that the page's script brings to life.

    Args:
        clusters: With points.
        number_on_page: Tells several maps on one page apart.
        crops_root: Folder of the crops if faces shall be shown, else None.
        seed: Seed of the choice of points, where there are too many.
    """
    points = clusters.points
    if points is None:
        return Markup("")
    names = source_names(points.folder, points.target)
    drawn = stratified_rows(names, POINTS_MAX, seed=seed)
    styles = source_styles(names, points.target)
    numbers = {name: i for i, name in enumerate(styles)}
    document: dict[str, Any] = {
        "projections": [
            {
                "title": projection_title(name),
                "x": _rounded(places[drawn, 0]),
                "y": _rounded(places[drawn, 1]),
            }
            for name, places in _in_reading_order(points.coordinates).items()
        ],
        "sources": [
            {"name": name, "colour": style.colour, "symbol": style.plotly_symbol, "real": style.is_real}
            for name, style in styles.items()
        ],
        "source": [numbers[name] for name in names[drawn]],
        "split": [str(split) for split in points.split[drawn]],
        "path": [str(path) for path in points.destination_path[drawn]],
        "p_fake": [None if np.isnan(score) else round(float(score), 4) for score in points.p_fake[drawn]],
        "faces": {},
    }
    if crops_root is not None:
        for i in stratified_rows(names[drawn], THUMBNAILS_MAX, seed=seed):
            face = thumbnail(crops_root, str(points.destination_path[drawn[i]]))
            if face is not None:
                document["faces"][str(i)] = face
    remark = f"{number(len(drawn))} faces"
    if len(drawn) < len(names):
        remark = f"{number(len(drawn))} of {number(len(names))} faces, of which every source has its share"
    if crops_root is not None:
        remark += f"; {number(len(document['faces']))} with a picture"
    still = "".join(
        inline_image(path, f"{projection_title(path.stem)} of {clusters.name}") for path in clusters.plots
    )
    fallback = f"<noscript>{still}</noscript>" if still else ""
    element = f"map-{number_on_page}"
    return Markup(
        f'<div class="map" id="{element}" data-source="{element}-points">'
        '<div class="controls">'
        '<div class="choice" role="group" aria-label="Map" data-role="projections"></div>'
        '<div class="choice" role="group" aria-label="Colour" data-role="colours"></div>'
        f'<span class="remark">{text(remark)}</span></div>'
        '<div class="canvas"><div class="plot"></div><div class="hover" hidden></div></div>'
        '<div class="legend" data-role="legend"></div></div>'
        f'{fallback}<script type="application/json" id="{element}-points">{script_json(document)}</script>'
    )


def _in_reading_order(coordinates: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Puts the map that people look for first in front."""
    first = [name for name in ("tsne", "umap") if name in coordinates]
    return {
        name: coordinates[name] for name in [*first, *(name for name in coordinates if name not in first)]
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), _DECIMALS) for value in values]

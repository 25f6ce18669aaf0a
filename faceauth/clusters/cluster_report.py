"""From embeddings to all that is said of them: figures, maps and pictures of maps."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.clusters.embeddings import Embeddings, check_embeddings, source_names
from faceauth.clusters.faithfulness import measure_continuity, measure_stability, measure_trustworthiness
from faceauth.clusters.measures import (
    N_NEIGHBOURS,
    Measure,
    feature_space,
    measure_separation,
    measure_sources,
    unit_length,
)
from faceauth.clusters.plane import PROJECTIONS
from faceauth.clusters.plots import draw_projection, projection_title
from faceauth.clusters.sampling import stratified_rows
from faceauth.files import whole_file, write_json
from faceauth.labels import ID2LABEL, REAL

# All distances between this many faces take 100 MB, and ranking them for the maps three times as much.
MEASURED_MAX = 5_000

_LOG = logging.getLogger(__name__)


def measure_clusters(
    embeddings: Embeddings, *, projections: Sequence[str] = ("tsne", "umap"), layer: str, seed: int = 0
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measures how sources separate, and lays them out on maps.

    Features are brought to unit length first, for the figures and for the maps alike. What takes the
    square of n is measured on at most 5,000 faces, of which every source has its share.

    Args:
        embeddings: At least 5 faces.
        projections: Names of projections in the registry.
        layer: Which layer the features come from, for the record.
        seed: Seed of samples, intervals and maps.

    Returns:
        The document for `clusters.json`, and coordinates by projection, (n, 2) float32.

    Raises:
        InputError: The embeddings contradict themselves, are too few or all alike.
        UnknownNameError: There is no projection of a given name.
    """
    check_embeddings(embeddings)
    methods = {name: PROJECTIONS.get(name) for name in projections}
    names = source_names(embeddings.folder, embeddings.target)
    rows = stratified_rows(names, MEASURED_MAX, seed=seed)
    features = unit_length(embeddings.features)
    space = feature_space(
        features[rows],
        names=names[rows],
        is_real=embeddings.target[rows] == REAL,
        group=embeddings.group[rows],
    )
    _LOG.info("Measuring clusters on %d of %d faces", len(rows), len(embeddings))
    measures = measure_separation(space, seed=seed)
    by_folder = {}
    for name, source in measure_sources(space, seed=seed).items():
        of_source = names == name
        by_folder[name] = {
            "n": int(of_source.sum()),
            "target_class": ID2LABEL[int(embeddings.target[of_source][0])],
            "nearest_folder": source["nearest"],
            "nearest_distance": source["nearest_distance"],
            "medoid": str(embeddings.destination_path[rows[source["medoid"]]]),
            "spread": source["spread"].as_json(),
            "knn_purity": source["knn_purity"].as_json(),
            "silhouette": source["silhouette"].as_json(),
        }
    coordinates, faithfulness = {}, {}
    for name, project in methods.items():
        _LOG.info("Laying out %d faces by %s", len(features), projection_title(name))
        coordinates[name] = project(features, seed=seed)
        on_map = coordinates[name][rows]
        measured: dict[str, Measure] = {
            "trustworthiness": measure_trustworthiness(space.features, on_map),
            "continuity": measure_continuity(space.features, on_map),
            "stability": measure_stability(project, features, coordinates[name], seed=seed),
        }
        faithfulness[name] = {measure: value.as_json() for measure, value in measured.items()}
    document = {
        "n": len(embeddings),
        "n_measured": len(rows),
        "layer": layer,
        "seed": seed,
        "measures": {name: measure.as_json() for name, measure in measures.items()},
        "by_folder": by_folder,
        "projections": faithfulness,
        "notes": _notes(names, n_measured=len(rows)),
    }
    return document, coordinates


def write_clusters(
    embeddings: Embeddings, document: dict[str, Any], coordinates: dict[str, np.ndarray], folder: Path
) -> None:
    """Writes `clusters.json`, `projections.parquet`, and each map as `<projection>.png` and `.svg`.

    Args:
        embeddings: What was measured.
        document: What `measure_clusters` returned.
        coordinates: The maps it returned with it.
        folder: Where to write; made if need be.
    """
    p_fake = embeddings.p_fake.astype(np.float32)
    columns = {
        "destination_path": pa.array(embeddings.destination_path, pa.string()),
        "folder": pa.array(embeddings.folder, pa.string()),
        "split": pa.array(embeddings.split, pa.string()),
        "target": pa.array(embeddings.target.astype(np.int8), pa.int8()),
        "p_fake": pa.array(p_fake, pa.float32(), mask=np.isnan(p_fake)),
    }
    for name, places in coordinates.items():
        columns[f"{name}_x"] = pa.array(places[:, 0], pa.float32())
        columns[f"{name}_y"] = pa.array(places[:, 1], pa.float32())
    with whole_file(folder / "projections.parquet") as draft:
        pq.write_table(pa.table(columns), draft, compression="zstd")

    names = source_names(embeddings.folder, embeddings.target)
    for name, places in coordinates.items():
        figure = draw_projection(
            places,
            names=names,
            target=embeddings.target,
            title=f"{projection_title(name)} of {document['layer']}",
        )
        with whole_file(folder / f"{name}.png") as draft:
            figure.savefig(draft, dpi=160)
        # A fixed salt and no date: the same map gives the same file.
        with whole_file(folder / f"{name}.svg") as draft, matplotlib.rc_context({"svg.hashsalt": "faceauth"}):
            figure.savefig(draft, dpi=160, metadata={"Date": None})
    # Last, so that its presence says that the rest is there.
    write_json(folder / "clusters.json", document)


def _notes(names: np.ndarray, *, n_measured: int) -> list[str]:
    """Says in sentences what a reader of the figures has to know."""
    notes = ["Features were brought to unit length; figures are measured between features, never on a map."]
    if n_measured < len(names):
        notes.append(
            f"Figures were measured on a sample of {n_measured:,} of {len(names):,} faces; "
            "every source has its share of them."
        )
    sources, counts = np.unique(names.astype(str), return_counts=True)
    small = [
        f"{source} ({count})" for source, count in zip(sources, counts, strict=True) if count <= N_NEIGHBOURS
    ]
    if small:
        notes.append(
            f"Neighbour purity looks at {N_NEIGHBOURS} neighbours; too few faces to reach 1 have: "
            f"{', '.join(small)}."
        )
    return notes

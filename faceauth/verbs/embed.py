"""`faceauth embed`: embeddings, their maps, and how well sources separate in them."""

from pathlib import Path
from typing import Any

from faceauth.clusters.cluster_report import measure_clusters, write_clusters
from faceauth.clusters.embeddings import Embeddings, write_embeddings
from faceauth.errors import ManifestError
from faceauth.intake.manifest import OK, read_manifest
from faceauth.labels import TEST
from faceauth.verbs.evaluate import (
    DEFAULT_SCORING,
    EMBEDDINGS_NAME,
    ScoringSettings,
    count_test_read,
    score_manifest,
)

DEFAULT_PROJECTIONS = ("tsne", "umap")


def embed(
    model: Path,
    manifest_path: Path,
    output: Path,
    *,
    split: str = TEST,
    projections: tuple[str, ...] = DEFAULT_PROJECTIONS,
    settings: ScoringSettings = DEFAULT_SCORING,
) -> dict[str, Any]:
    """Embeds a split and reports on its clusters.

    Writes `embeddings.parquet`, `clusters.json`, `projections.parquet`, and a picture of each map.

    Args:
        model: A checkpoint or run folder.
        manifest_path: A prepared folder or manifest file.
        output: Where results go.
        split: `train`, `val`, `test`, or `all` for every usable row.
        projections: Registered names.
        settings: How the detector is run.

    Returns:
        The document of `clusters.json`.

    Raises:
        FaceAuthError: The model or the manifest cannot be used.
    """
    manifest = read_manifest(manifest_path)
    rows = (
        [row for row in manifest.rows if row.status == OK and row.split]
        if split == "all"
        else manifest.in_split(split)
    )
    if not rows:
        raise ManifestError(f"{manifest.path} has no usable rows.")
    _, embeddings, card = score_manifest(model, manifest, rows, settings=settings)
    if any(row.split == TEST for row in rows):
        count_test_read(model, manifest)
    write_embeddings(embeddings, output / EMBEDDINGS_NAME)
    return map_embeddings(
        embeddings, output, detector=card.detector, projections=projections, seed=settings.seed
    )


def map_embeddings(
    embeddings: Embeddings,
    output: Path,
    *,
    detector: str,
    projections: tuple[str, ...] = DEFAULT_PROJECTIONS,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures and maps embeddings that are there already, such as those that `evaluate` kept.

    Args:
        embeddings: The embeddings.
        output: Where results go.
        detector: Name of the detector that made them, for titles.
        projections: Registered names.
        seed: Of samples, intervals and maps.

    Returns:
        The document of `clusters.json`.
    """
    layer = f"{detector}, penultimate layer"
    document, coordinates = measure_clusters(embeddings, projections=projections, layer=layer, seed=seed)
    write_clusters(embeddings, document, coordinates, output)
    return document

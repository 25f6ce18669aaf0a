"""UMAP: a layout by neighbourhood graphs, which keeps a little more of the large-scale order than t-SNE."""

import numpy as np

from faceauth.clusters.plane import PROJECTIONS, principal_components

N_NEIGHBOURS = 15
MIN_DISTANCE = 0.1


@PROJECTIONS.register("umap")
def project_umap(features: np.ndarray, *, seed: int) -> np.ndarray:
    """Lays out features by UMAP (arXiv:1802.03426) with umap-learn, starting from the PCA.

    The start decides more about large-scale structure than the method does (Kobak and Linderman 2021,
    doi:10.1038/s41587-020-00809-z), so that both layouts get the same one.

    Args:
        features: (n, d) float32, n at least 5. A neighbourhood has 15 faces, or n - 1 if that is less.
        seed: Seed of the layout; a seeded layout runs on one thread.

    Returns:
        (n, 2) float32.

    Raises:
        InputError: Too few faces, values that are not finite, or faces that are all alike.
    """
    components = principal_components(features, seed=seed)
    # Compiles for seconds at import, so only those wait for it who ask for it.
    from umap import UMAP

    n, n_components = components.shape
    layout = UMAP(
        n_neighbors=min(N_NEIGHBOURS, n - 1),
        min_dist=MIN_DISTANCE,
        init="pca" if n_components > 1 else "random",
        random_state=seed,
        n_jobs=1,
    ).fit_transform(components)
    return np.asarray(layout, dtype=np.float32)

"""t-SNE: neighbours stay neighbours; distances between clusters and their sizes mean little."""

import numpy as np

from faceauth.clusters.plane import PROJECTIONS, principal_components

PERPLEXITY = 30
EARLY_ITERATIONS = 250
ITERATIONS = 500
# Below this, two threads wait for each other longer than they work.
ONE_THREAD_MAX = 1_000
# Above this the interpolated gradient is the faster one, and approximate neighbours are good enough.
EXACT_MAX = 5_000


@PROJECTIONS.register("tsne")
def project_tsne(features: np.ndarray, *, seed: int) -> np.ndarray:
    """Lays out features by t-SNE (van der Maaten and Hinton 2008) with openTSNE.

    The start is the PCA and the learning rate n / 12, which keep large-scale structure
    (Kobak and Berens 2019, doi:10.1038/s41467-019-13056-x; Belkina et al. 2019,
    doi:10.1038/s41467-019-13055-y); large inputs use the interpolated gradient of FIt-SNE
    (arXiv:1712.09005).

    Args:
        features: (n, d) float32, n at least 5. Perplexity is 30, or a third of n - 1 if that is less.
        seed: Seed of the approximate steps.

    Returns:
        (n, 2) float32.

    Raises:
        InputError: Too few faces, values that are not finite, or faces that are all alike.
    """
    from openTSNE import TSNE, affinity, nearest_neighbors

    components = principal_components(features, seed=seed)
    n, n_components = components.shape
    is_large = n > EXACT_MAX
    perplexity = min(PERPLEXITY, (n - 1) / 3)
    n_jobs = 1 if n <= ONE_THREAD_MAX else 2
    # Named outright, for openTSNE's own choice first imports a compiler, which takes ten seconds.
    search = nearest_neighbors.Annoy if is_large else nearest_neighbors.Sklearn
    neighbours = search(components, k=min(n - 1, int(3 * perplexity)), n_jobs=n_jobs, random_state=seed)
    affinities = affinity.PerplexityBasedNN(perplexity=perplexity, knn_index=neighbours, n_jobs=n_jobs)
    layout = TSNE(
        # openTSNE's PCA start needs two dimensions to begin with.
        initialization="pca" if n_components > 1 else "random",
        learning_rate="auto",
        early_exaggeration_iter=EARLY_ITERATIONS,
        n_iter=ITERATIONS,
        negative_gradient_method="fft" if is_large else "bh",
        n_jobs=n_jobs,
        random_state=seed,
    ).fit(components, affinities=affinities)
    return np.asarray(layout, dtype=np.float32)

"""The two directions in which faces differ most: a linear map, whose distances can be taken at their word."""

import numpy as np

from faceauth.clusters.plane import PROJECTIONS, principal_components


@PROJECTIONS.register("pca")
def project_pca(features: np.ndarray, *, seed: int) -> np.ndarray:
    """Projects on the first two principal components.

    Args:
        features: (n, d) float32, n at least 5.
        seed: Seed of the randomised solver that large inputs use.

    Returns:
        (n, 2) float32; the second column is 0 if features have one dimension only.

    Raises:
        InputError: Too few faces, values that are not finite, or faces that are all alike.
    """
    components = principal_components(features, 2, seed=seed)
    return np.pad(components, ((0, 0), (0, 2 - components.shape[1])))

"""The registry of projections, and what all of them ask of their input."""

from typing import Protocol

import numpy as np
from sklearn.decomposition import PCA

from faceauth.errors import InputError
from faceauth.registry import Registry

MIN_IMAGES = 5
# Distances in the first 50 principal components are nearly those in all of them, at a fraction of the cost
# (Kobak and Berens 2019, doi:10.1038/s41467-019-13056-x, "Methods").
PCA_DIMENSIONS = 50


class Projection(Protocol):
    """A way from features to a plane."""

    def __call__(self, features: np.ndarray, *, seed: int) -> np.ndarray:
        """Lays out (n, d) float32 features as (n, 2) float32, the same for the same seed."""


PROJECTIONS: Registry[Projection] = Registry("projection", "faceauth.clusters.projections")


def principal_components(
    features: np.ndarray, n_components: int = PCA_DIMENSIONS, *, seed: int
) -> np.ndarray:
    """Rotates features onto their main directions and keeps the first few.

    Args:
        features: (n, d) float32.
        n_components: At most how many directions to keep; fewer if n or d has fewer.
        seed: Seed of the randomised solver that large inputs use.

    Returns:
        (n, min(n_components, d, n - 1)) float32.

    Raises:
        InputError: Fewer than 5 faces, values that are not finite, or faces that are all alike.
    """
    if features.ndim != 2:
        raise InputError(f"Features have the shape {features.shape}.", "They must be (images, dimensions).")
    n, d = features.shape
    if n < MIN_IMAGES:
        raise InputError(
            f"A map needs at least {MIN_IMAGES} faces, there are {n}.", "Take a split with more rows."
        )
    if not np.isfinite(features).all():
        raise InputError(
            "Features hold NaN or infinity.", "The detector has diverged, or ran in too low a precision."
        )
    if not np.ptp(features, axis=0).any():
        raise InputError(
            f"All {n} features are the same, so there is nothing to map.", "The detector sees no difference."
        )
    return PCA(min(n_components, d, n - 1), random_state=seed).fit_transform(features).astype(np.float32)

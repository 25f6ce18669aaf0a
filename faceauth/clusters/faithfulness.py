"""What a map may be trusted for: how true it is to the features, and whether a second one looks alike."""

import numpy as np
from scipy.spatial import procrustes
from sklearn.manifold import trustworthiness

from faceauth.clusters.measures import Measure
from faceauth.clusters.plane import MIN_IMAGES, Projection

N_NEIGHBOURS = 10
STABILITY_MAX = 2_000
STABILITY_SHARE = 0.9


def measure_trustworthiness(features: np.ndarray, coordinates: np.ndarray) -> Measure:
    """Measures whether neighbours on the map are neighbours in truth (Venna and Kaski 2001).

    Args:
        features: (n, d) float32, n at least 5.
        coordinates: Their places on the map; (n, 2) float32.
    """
    meaning = (
        "Whether faces that lie together on the map are alike in truth, up to 1; low means false neighbours."
    )
    agreement = trustworthiness(features, coordinates, n_neighbors=_neighbours(len(features)))
    return Measure(float(agreement), None, meaning)


def measure_continuity(features: np.ndarray, coordinates: np.ndarray) -> Measure:
    """Measures whether neighbours in truth are neighbours on the map: the same with the roles exchanged.

    Args:
        features: (n, d) float32, n at least 5.
        coordinates: Their places on the map; (n, 2) float32.
    """
    meaning = (
        "Whether faces that are alike in truth lie together on the map, up to 1; low means torn clusters."
    )
    agreement = trustworthiness(coordinates, features, n_neighbors=_neighbours(len(features)))
    return Measure(float(agreement), None, meaning)


def measure_stability(
    project: Projection, features: np.ndarray, coordinates: np.ndarray, *, seed: int
) -> Measure:
    """Compares the map with a second one, of another seed and without a tenth of the faces.

    A map that starts from the PCA hardly depends on its seed, so that the seed alone would always find it
    stable. The two are laid over each other by Procrustes analysis: moved, turned, mirrored and scaled.

    Args:
        project: What made the map.
        features: What it was made from; (n, d) float32.
        coordinates: The map; (n, 2) float32.
        seed: Seed of the map.
    """
    meaning = (
        "How well a second map, of another seed and nine tenths of the faces, covers this one; at best 1."
    )
    n = len(features)
    if n > STABILITY_MAX:
        return Measure(
            None, None, meaning, f"Not measured above {STABILITY_MAX:,} faces: it would take a second map."
        )
    n_kept = int(n * STABILITY_SHARE)
    if n_kept < MIN_IMAGES:
        return Measure(None, None, meaning, f"{n} faces are too few to leave some out.")
    kept = np.sort(np.random.default_rng(seed).choice(n, n_kept, replace=False))
    if not np.ptp(features[kept], axis=0).any() or not np.ptp(coordinates[kept], axis=0).any():
        return Measure(None, None, meaning, "Without a tenth of the faces, all are the same.")
    second = project(features[kept], seed=seed + 1)
    _, _, disparity = procrustes(coordinates[kept].astype(np.float64), second.astype(np.float64))
    return Measure(float(1 - disparity), None, meaning)


def _neighbours(n: int) -> int:
    """Returns how many neighbours to look at: both measures are defined below half of all only."""
    return max(1, min(N_NEIGHBOURS, (n - 1) // 2))

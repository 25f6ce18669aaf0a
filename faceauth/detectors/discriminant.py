"""A discriminant for readings of a frozen network: made to hold beyond the sources that it was found on.

What tells the known fakes from the known reals best lies in directions of little variance, and these are the
ones that tell one collection from another: on a source that nobody has seen, they mislead. What generalised
best in trainings without one source each was close to the plain difference between the means of the classes,
in a space where directions of large variance count less, but still count: principal components divided by
a power of their spread, below 1, and ridge regression so strong that little more than the means matters.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.extmath import randomized_svd

from faceauth.labels import FAKE

# Chosen among 0 to 1, 64 to 1,024, and 0.0001 to 0.1, in trainings without one generator, and without one
# generator and one collection, each (docs/embedded.md).
WHITENING = 0.5
COMPONENTS = 512
RIDGE = 0.1


@dataclass(frozen=True)
class Directions:
    """Directions in the space of d standardised readings.

    Attributes:
        mean: (d,) float32 of each reading.
        scale: (d,) float32, the spread of each reading.
        directions: (k, d) float32; first the discriminant, which grows towards fakes, then principal
            components. On what they were found on, each has a spread of 1.
    """

    mean: np.ndarray
    scale: np.ndarray
    directions: np.ndarray


def find_directions(
    readings: np.ndarray, targets: np.ndarray, weights: np.ndarray, *, n_directions: int
) -> Directions:
    """Finds the discriminant and the principal components.

    Args:
        readings: (n, d) of any float type.
        targets: (n,) 1 for real, 0 for fake.
        weights: (n,) how much each row counts, above 0.
        n_directions: How many directions, the discriminant among them; where there are fewer, the rest is 0.
    """
    mean = readings.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = readings.std(axis=0, dtype=np.float64).astype(np.float32) + np.float32(1e-6)
    standardised = (readings.astype(np.float32) - mean) / scale
    n, d = standardised.shape
    rank = max(1, min(COMPONENTS, n - 1, d))
    components = _principal_components(standardised, rank)
    points = standardised @ components.T
    # Measured, not taken from the decomposition, which is rough where variance is small.
    spread = np.maximum(points.std(axis=0), 1e-6)
    stretch = spread**-WHITENING
    stretch /= np.sqrt(((spread * stretch) ** 2).sum())
    points *= stretch

    share = weights / weights.sum()
    is_fake = np.where(targets == FAKE, 1.0, -1.0)
    centre = share @ points
    centred = points - centre
    covariance = (centred * share[:, None]).T @ centred
    covariance[np.diag_indices(rank)] += RIDGE
    slope = np.linalg.solve(covariance, (centred * share[:, None]).T @ (is_fake - share @ is_fake))
    slope /= max(float(np.std(points @ slope)), 1e-12)

    directions = np.zeros((n_directions, d), dtype=np.float32)
    directions[0] = (components.T * stretch) @ slope
    n_more = min(n_directions - 1, rank)
    directions[1 : 1 + n_more] = components[:n_more] / spread[:n_more, None]
    return Directions(mean, scale, directions)


def _principal_components(standardised: np.ndarray, rank: int) -> np.ndarray:
    """Returns the first `rank` principal components (rank, d) of (n, d) centred readings."""
    if min(standardised.shape) <= 2 * rank:
        return np.linalg.svd(standardised, full_matrices=False)[2][:rank]
    return randomized_svd(standardised, rank, n_iter=4, random_state=0)[2]

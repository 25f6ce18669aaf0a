"""Sources that are normal distributions of a shape of their own, and how far a point lies from the nearest.

A shape that is common to all sources is that of the widest: augmented crops of one spread over where those of
another lie, and nothing is far away. Of few faces a shape is rough, so it is drawn towards the common one, in
its own size.
"""

import numpy as np

# A source's own shape counts as much as the common one as soon as it has so many faces.
COMMON_FACES = 16
# Faces that are all the same have no size.
_SMALLEST = 1e-6


def find_whitenings(residuals: np.ndarray, number: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Finds what makes distances of Euclid's out of Mahalanobis', for each source.

    Args:
        residuals: Points less the mean of their source, float64 (n, k).
        number: Which source each is of, int (n,) from 0.
        common: Covariance (k, k) that is common to all.

    Returns:
        A square for each source, stacked, float64 (sources * k, k).
    """
    found = []
    for i in range(int(number.max()) + 1):
        own = residuals[number == i]
        spread = own.T @ own
        # How large the source is, measured by the common shape.
        size = max(float(np.trace(np.linalg.solve(common, spread))) / len(common) / len(own), _SMALLEST)
        covariance = (spread + COMMON_FACES * size * common) / (len(own) + COMMON_FACES)
        found.append(np.linalg.inv(np.linalg.cholesky(covariance)).T)
    return np.vstack(found)


def nearest_distances(points: np.ndarray, means: np.ndarray, whitenings: np.ndarray) -> np.ndarray:
    """Measures how far points lie from the nearest source.

    Args:
        points: Float64 (n, k).
        means: Of the sources, float64 (sources, k).
        whitenings: What `find_whitenings` found.

    Returns:
        Mahalanobis' distance, float64 (n,).
    """
    n, k = means.shape
    nearest = np.full(len(points), np.inf)
    for mean, whitening in zip(means, whitenings.reshape(n, k, k), strict=True):
        nearest = np.minimum(nearest, (((points - mean) @ whitening) ** 2).sum(axis=1))
    return np.sqrt(nearest)


def most_directions(at_most: int, *, d: int, n_sources: int, n_numbers: int) -> int:
    """Returns how many directions can be kept so that projection, means and shapes are few enough numbers.

    Args:
        at_most: No more than these.
        d: Length of an embedding.
        n_sources: Number of sources.
        n_numbers: No more numbers than these, if one direction alone does not take more.
    """
    while at_most > 1 and at_most * (d + n_sources * (at_most + 1)) > n_numbers:
        at_most -= 1
    return at_most

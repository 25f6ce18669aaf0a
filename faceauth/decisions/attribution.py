"""Attribution: which known generator made a fake, or none of them, by the detector's embedding.

Embeddings are projected to at most 32 directions: first those of linear discriminant analysis, which tell the
known generators apart; then those in which fakes of one generator differ most among themselves, since a
generator that nobody has seen may lie far away in directions that tell known ones nothing. There, each known
generator is a normal distribution around its own mean. A fake goes to the nearest mean, by distances of one
shape for all (the Mahalanobis detector of arXiv 1807.03888). If it lies farther from all generators, each of
its own shape, than 95 % of the fakes of known generators on val do, it is called `unknown`.
"""

from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from faceauth.decisions.number_tables import unpack_table
from faceauth.decisions.own_shapes import nearest_distances

UNKNOWN = "unknown"


def attribute(features: np.ndarray, entry: dict[str, Any]) -> list[tuple[str, float]]:
    """Names the generator of each fake.

    Args:
        features: Embeddings of n faces, float (n, d).
        entry: What `faceauth.decisions.attribution_fit.fit_attribution` returned, with generators in it.

    Returns:
        n times a known generator with the probability that, of all known ones, it is this one; or `unknown`
        with the share of the fakes of known generators on val that are nearer to a known one, 0.95 at least.
        Both in [0, 1].
    """
    distances = squared_distances(np.asarray(features, dtype=np.float64), entry)
    logits = -distances / (2 * entry["temperature"])
    probabilities = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    nearest, farness = distances.argmin(axis=1), farness_of(features, entry)
    shares = np.linspace(0, 1, len(entry["val_distances"]))
    nearer = np.maximum(np.interp(farness, entry["val_distances"], shares), entry["kept"])
    return [
        (UNKNOWN, float(nearer[i]))
        if farness[i] > entry["farthest"]
        else (entry["generators"][best], float(probabilities[i, best]))
        for i, best in enumerate(nearest)
    ]


def farness_of(features: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """Measures how far each embedding lies from the nearest generator, each of its own shape.

    Args:
        features: Embeddings, float (n, d).
        entry: With `projection`, `means` and `whitenings`; in older cards all generators have one shape.

    Returns:
        float64 (n,).
    """
    features = np.asarray(features, dtype=np.float64)
    if entry.get("whitenings") is None:
        return np.sqrt(squared_distances(features, entry).min(axis=1))
    projection, means, whitenings = (
        unpack_table(entry[part]) for part in ("projection", "means", "whitenings")
    )
    return nearest_distances(features @ projection, means, whitenings)


def check_attribution(entry: dict[str, Any]) -> None:
    """Makes sure that a card's entry is one that `attribute` can use, or says that there is none.

    Raises:
        ValueError, KeyError, TypeError: It was damaged or written by something else.
    """
    if not entry.get("generators"):
        return
    n = len(entry["generators"])
    projection, means, whitening = (
        unpack_table(entry[part]) for part in ("projection", "means", "whitening")
    )
    k = projection.shape[1]
    if (means.shape, whitening.shape) != ((n, k), (k, k)):
        raise ValueError(
            f"the parts of the attribution have shapes {projection.shape}, {means.shape}, {whitening.shape}"
        )
    if entry.get("whitenings") is not None and unpack_table(entry["whitenings"]).shape != (n * k, k):
        raise ValueError("the shapes of the generators do not fit their means")
    numbers = [entry["farthest"], entry["temperature"], entry["kept"], *entry["val_distances"]]
    if not np.isfinite(np.array(numbers, dtype=np.float64)).all() or entry["temperature"] <= 0:
        raise ValueError("the attribution holds a number out of range")


def squared_distances(features: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """Returns the squared Mahalanobis distance of each embedding to each known generator.

    Args:
        features: Embeddings, float64 (n, d).
        entry: Of what `fit_attribution` returns, `projection`, `means` and `whitening`.

    Returns:
        float64 (n, generators).
    """
    projected = features @ unpack_table(entry["projection"])
    means, whitening = unpack_table(entry["means"]), unpack_table(entry["whitening"])
    # Of a long table no cube of differences is made.
    points, centres = (solve_triangular(whitening, table.T, lower=True).T for table in (projected, means))
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * points @ centres.T
    return np.maximum(squares, 0.0)

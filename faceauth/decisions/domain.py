"""The training domain: whether a face looks, to the detector, like any source that it learnt from.

Embeddings are projected to at most 32 directions. There each source of the training, a generator or a
collection of reals, is a normal distribution with a shape of its own, and a face lies as far away as from the
nearest of them in Mahalanobis' distance. On val a distance was chosen within which a stated share of faces
lies; what is farther away is outside the domain, and nobody has measured how good the detector is there.

That a face lies inside is no promise: a detector sees what it learnt to see, and a new source can look to it
like a known one.
"""

from typing import Any

import numpy as np

from faceauth.decisions.number_tables import unpack_table
from faceauth.decisions.own_shapes import nearest_distances


def is_outside(features: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """Tells which faces lie outside the domain.

    Args:
        features: Embeddings of n faces, float (n, d).
        entry: What `faceauth.decisions.domain_fit.fit_domain` returned, with sources in it.

    Returns:
        bool (n,).
    """
    return domain_distances(features, entry) > entry["farthest"]


def domain_distances(features: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """Measures how far faces lie from the nearest source.

    Args:
        features: Embeddings of n faces, float (n, d).
        entry: Of what `fit_domain` returns, `sources`, `projection`, `means` and `whitenings`.

    Returns:
        Mahalanobis' distance to the nearest source, float64 (n,).
    """
    projected = np.asarray(features, dtype=np.float64) @ unpack_table(entry["projection"])
    means, whitenings = unpack_table(entry["means"]), unpack_table(entry["whitenings"])
    return nearest_distances(projected, means, whitenings)


def check_domain(entry: dict[str, Any]) -> None:
    """Makes sure that a card's entry is one that `is_outside` can use, or says that there is none.

    Raises:
        ValueError, KeyError, TypeError: It was damaged or written by something else.
    """
    if not entry.get("sources"):
        return
    n = len(entry["sources"])
    parts = ("projection", "means", "whitenings")
    projection, means, whitenings = (unpack_table(entry[part]) for part in parts)
    k = projection.shape[1]
    if (means.shape, whitenings.shape) != ((n, k), (n * k, k)):
        raise ValueError(
            f"the parts of the domain have shapes {projection.shape}, {means.shape}, {whitenings.shape}"
        )
    if not np.isfinite(np.array([entry["farthest"], entry["kept"]], dtype=np.float64)).all():
        raise ValueError("the domain holds a number out of range")

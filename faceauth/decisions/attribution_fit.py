"""Fits the attribution: which directions tell the known generators apart, and how far their fakes lie.

Apart from `faceauth.decisions.attribution`, which applies what is fitted here, so that a verdict need not
wait for scikit-learn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from faceauth.decisions.attribution import farness_of, squared_distances
from faceauth.decisions.number_tables import pack_table, unpack_table
from faceauth.decisions.own_shapes import find_whitenings, most_directions
from faceauth.errors import InputError

MAX_DIRECTIONS = 32
# Of the fakes of known generators on val, so many keep a known name.
KEPT = 0.95
# Fewer fakes say nothing of where a generator's others lie.
FEWEST_FAKES = 10

# More than that many numbers would make a card that is slow to read.
_MAX_NUMBERS = 60_000
# Discriminants of thousands of features would take minutes, and fit the noise.
_FIRST_DIRECTIONS = 768
_QUANTILES = 101
# Distances are divided by one of these, so that the probabilities of names fit val.
_TEMPERATURES = np.geomspace(0.5, 256, 55)


def fit_attribution(
    features: np.ndarray,
    generators: Sequence[str] | np.ndarray,
    val_features: np.ndarray,
    val_generators: Sequence[str] | np.ndarray,
) -> dict[str, Any]:
    """Fits what `faceauth.decisions.attribution.attribute` needs.

    Args:
        features: Embeddings of fakes of the training split, float (n, d).
        generators: Who made each, n names.
        val_features: Embeddings of fakes of the val split, float (m, d).
        val_generators: Who made each, m names; those of generators that training never saw are left aside.

    Returns:
        For the field `attribution` of a checkpoint's card, and less than 200 kB of JSON. `generators`: the
        known names; `projection` (d, k): to k directions; `means` (generators, k); `whitening` (k, k):
        makes distances of Euclid's out of Mahalanobis', for names; `temperature`; `whitenings`
        (generators * k, k): the same by the shape of each generator; `farthest`: the distance by these from
        which on a fake is `unknown`; `val_distances`: quantiles of the distances on val; `kept`, `n_fake`,
        `n_val_fake`, `chosen_on`. Only `generators`, empty, and `reason` where there is too little to learn
        from.

    Raises:
        InputError: The shapes do not fit together, or a feature is no finite number.
    """
    features, val_features = (np.asarray(table, dtype=np.float64) for table in (features, val_features))
    generators, val_generators = (np.asarray(names, dtype=object) for names in (generators, val_generators))
    for table, names, split in ((features, generators, "train"), (val_features, val_generators, "val")):
        if table.ndim != 2 or len(table) != len(names) or not np.isfinite(table).all():
            raise InputError(
                f"The features of {split}, of shape {table.shape}, do not fit {len(names)} names, or hold "
                "what is no finite number.",
                "Give one row of finite numbers a fake.",
            )
    names, counts = np.unique(generators.astype(str), return_counts=True)
    known = [str(name) for name, n in zip(names, counts, strict=True) if n >= FEWEST_FAKES]
    is_used, is_val = np.isin(generators, known), np.isin(val_generators, known)
    if not known or is_val.sum() < FEWEST_FAKES:
        return {
            "generators": [],
            "reason": f"attribution needs {FEWEST_FAKES} fakes of a generator to learn from, and as many on "
            f"val; there are {max(counts, default=0)} and {is_val.sum()}",
        }
    features, generators = features[is_used], generators[is_used]
    number = np.searchsorted(known, generators.astype(str))
    packed = pack_table(_projection(features, number))
    # What will be used later is what was packed, so everything else is fitted to that.
    projected = features @ unpack_table(packed)
    means = np.stack([projected[number == i].mean(axis=0) for i in range(len(known))])
    covariance, _ = ledoit_wolf(projected - means[number])
    whitening = np.linalg.cholesky(covariance)
    entry: dict[str, Any] = {
        "generators": known,
        "projection": packed,
        "means": pack_table(means),
        "whitening": pack_table(whitening),
    }
    distances = squared_distances(val_features[is_val], entry)
    truth = np.searchsorted(known, val_generators[is_val].astype(str))
    entry |= {"temperature": _temperature(distances, truth), "chosen_on": "val", "n_fake": len(features)}
    return entry | choose_farthest(entry, features, number, val_features[is_val])


def choose_farthest(
    entry: dict[str, Any], features: np.ndarray, number: np.ndarray, val_features: np.ndarray
) -> dict[str, Any]:
    """Fits the shape of each generator, and chooses from which distance on a fake is `unknown`.

    Args:
        entry: With `projection` and `means`.
        features: Embeddings of fakes of train, float64 (n, d).
        number: Which of the known generators made each, int (n,).
        val_features: Embeddings of fakes of known generators of val, float64 (m, d).

    Returns:
        `whitenings`, `farthest`, `val_distances`, `kept` and `n_val_fake`, for the entry.
    """
    residuals = features @ unpack_table(entry["projection"]) - unpack_table(entry["means"])[number]
    common, _ = ledoit_wolf(residuals)
    shapes = {"whitenings": pack_table(find_whitenings(residuals, number, common))}
    farness = farness_of(val_features, entry | shapes)
    return shapes | {
        "farthest": float(np.quantile(farness, KEPT)),
        "val_distances": np.quantile(farness, np.linspace(0, 1, _QUANTILES)).round(5).tolist(),
        "kept": KEPT,
        "n_val_fake": len(val_features),
    }


def _projection(features: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Returns directions (d, k); in each, fakes of one generator have a variance near 1."""
    n, d = features.shape
    n_known = int(number.max()) + 1
    pca = PCA(min(_FIRST_DIRECTIONS, d, n - 1), random_state=0).fit(features)
    reduced = pca.transform(features)
    at_most = min(MAX_DIRECTIONS, reduced.shape[1])
    at_most = most_directions(at_most, d=d, n_sources=n_known, n_numbers=_MAX_NUMBERS)
    found = np.empty((reduced.shape[1], 0))
    if n_known > 1:
        lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(reduced, number)
        found = lda.scalings_[:, : min(n_known - 1, at_most)]
    n_more = at_most - found.shape[1]
    if n_more > 0:
        means = np.stack([reduced[number == i].mean(axis=0) for i in range(n_known)])
        within = reduced - means[number]
        basis, _ = np.linalg.qr(found)
        within -= within @ basis @ basis.T
        _, sizes, directions = np.linalg.svd(within, full_matrices=False)
        is_more = sizes > 1e-6 * max(sizes[0], 1e-12)
        spread = sizes[:n_more] / np.sqrt(n)
        more = (directions[:n_more] / np.maximum(spread, 1e-12)[:, None])[is_more[:n_more]]
        found = np.hstack([found, more.T])
    return pca.components_.T @ found


def _temperature(distances: np.ndarray, truth: np.ndarray) -> float:
    """Returns what distances are to be divided by so that the probabilities of names fit val best."""
    _, weights_of, counts = np.unique(truth, return_inverse=True, return_counts=True)
    weights = 1 / counts[weights_of]

    def loss(temperature: float) -> float:
        logits = -distances / (2 * temperature)
        right = logits[np.arange(len(truth)), truth] - logsumexp(logits, axis=1)
        return float(-(weights * right).sum())

    return float(min(_TEMPERATURES, key=loss))

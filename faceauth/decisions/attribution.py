"""Attribution: which known generator made a fake, or none of them, by the detector's embedding.

Embeddings are projected to at most 32 directions: first those of linear discriminant analysis, which tell the
known generators apart; then those in which fakes of one generator differ most among themselves, since a
generator that nobody has seen may lie far away in directions that tell known ones nothing. There, each known
generator is a normal distribution around its own mean, all of one shape (the Mahalanobis detector of
arXiv 1807.03888). A fake goes to the nearest mean. If it lies farther away than 95 % of the fakes of known
generators on val do, it is called `unknown`.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from faceauth.errors import InputError

UNKNOWN = "unknown"
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
    """Fits what `attribute` needs.

    Args:
        features: Embeddings of fakes of the training split, float (n, d).
        generators: Who made each, n names.
        val_features: Embeddings of fakes of the val split, float (m, d).
        val_generators: Who made each, m names; those of generators that training never saw are left aside.

    Returns:
        For the field `attribution` of a checkpoint's card, and less than 200 kB of JSON. `generators`: the
        known names; `projection` (d, k): to k directions; `means` (generators, k); `whitening` (k, k):
        makes distances of Euclid's out of Mahalanobis'; `farthest`: the distance from which on a fake is
        `unknown`; `temperature`; `val_distances`: quantiles of the distances on val; `kept`, `n_fake`,
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
    packed = _pack(_projection(features, number))
    # What will be used later is what was packed, so everything else is fitted to that.
    projected = features @ _unpack(packed)
    means = np.stack([projected[number == i].mean(axis=0) for i in range(len(known))])
    covariance, _ = ledoit_wolf(projected - means[number])
    whitening = np.linalg.cholesky(covariance)
    entry = {
        "generators": known,
        "projection": packed,
        "means": _pack(means),
        "whitening": _pack(whitening),
    }
    distances = _squared_distances(val_features[is_val], entry)
    nearest = np.sqrt(distances.min(axis=1))
    truth = np.searchsorted(known, val_generators[is_val].astype(str))
    return entry | {
        "farthest": float(np.quantile(nearest, KEPT)),
        "temperature": _temperature(distances, truth),
        "val_distances": np.quantile(nearest, np.linspace(0, 1, _QUANTILES)).round(5).tolist(),
        "kept": KEPT,
        "chosen_on": "val",
        "n_fake": len(features),
        "n_val_fake": int(is_val.sum()),
    }


def attribute(features: np.ndarray, entry: dict[str, Any]) -> list[tuple[str, float]]:
    """Names the generator of each fake.

    Args:
        features: Embeddings of n faces, float (n, d).
        entry: What `fit_attribution` returned, with generators in it.

    Returns:
        n times a known generator with the probability that, of all known ones, it is this one; or `unknown`
        with the share of the fakes of known generators on val that are nearer to a known one, 0.95 at least.
        Both in [0, 1].
    """
    distances = _squared_distances(np.asarray(features, dtype=np.float64), entry)
    logits = -distances / (2 * entry["temperature"])
    probabilities = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    nearest, farness = distances.argmin(axis=1), np.sqrt(distances.min(axis=1))
    shares = np.linspace(0, 1, len(entry["val_distances"]))
    nearer = np.maximum(np.interp(farness, entry["val_distances"], shares), entry["kept"])
    return [
        (UNKNOWN, float(nearer[i]))
        if farness[i] > entry["farthest"]
        else (entry["generators"][best], float(probabilities[i, best]))
        for i, best in enumerate(nearest)
    ]


def check_attribution(entry: dict[str, Any]) -> None:
    """Makes sure that a card's entry is one that `attribute` can use, or says that there is none.

    Raises:
        ValueError, KeyError, TypeError: It was damaged or written by something else.
    """
    if not entry.get("generators"):
        return
    n = len(entry["generators"])
    projection, means, whitening = (_unpack(entry[part]) for part in ("projection", "means", "whitening"))
    k = projection.shape[1]
    if (means.shape, whitening.shape) != ((n, k), (k, k)):
        raise ValueError(
            f"the parts of the attribution have shapes {projection.shape}, {means.shape}, {whitening.shape}"
        )
    numbers = [entry["farthest"], entry["temperature"], entry["kept"], *entry["val_distances"]]
    if not np.isfinite(np.array(numbers, dtype=np.float64)).all() or entry["temperature"] <= 0:
        raise ValueError("the attribution holds a number out of range")


def _projection(features: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Returns directions (d, k); in each, fakes of one generator have a variance near 1."""
    n, d = features.shape
    n_known = int(number.max()) + 1
    pca = PCA(min(_FIRST_DIRECTIONS, d, n - 1), random_state=0).fit(features)
    reduced = pca.transform(features)
    at_most = max(1, min(MAX_DIRECTIONS, _MAX_NUMBERS // d, reduced.shape[1]))
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


def _squared_distances(features: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """Returns the squared Mahalanobis distance of n embeddings to each known generator, (n, generators)."""
    projected = features @ _unpack(entry["projection"])
    means, whitening = _unpack(entry["means"]), _unpack(entry["whitening"])
    # Of a long table no cube of differences is made.
    points, centres = (solve_triangular(whitening, table.T, lower=True).T for table in (projected, means))
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * points @ centres.T
    return np.maximum(squares, 0.0)


def _temperature(distances: np.ndarray, truth: np.ndarray) -> float:
    """Returns what distances are to be divided by so that the probabilities of names fit val best."""
    _, weights_of, counts = np.unique(truth, return_inverse=True, return_counts=True)
    weights = 1 / counts[weights_of]

    def loss(temperature: float) -> float:
        logits = -distances / (2 * temperature)
        right = logits[np.arange(len(truth)), truth] - logsumexp(logits, axis=1)
        return float(-(weights * right).sum())

    return float(min(_TEMPERATURES, key=loss))


def _pack(table: np.ndarray) -> dict[str, Any]:
    """Packs a table of numbers for JSON: float16 in Base64, each column scaled to its largest number."""
    scales = np.maximum(np.abs(table).max(axis=0), 1e-30)
    numbers = base64.b64encode((table / scales).astype("<f2").tobytes()).decode("ascii")
    packed_scales = base64.b64encode(scales.astype("<f4").tobytes()).decode("ascii")
    return {"shape": list(table.shape), "float16": numbers, "scales_float32": packed_scales}


def _unpack(packed: dict[str, Any]) -> np.ndarray:
    """Returns the float64 table that `_pack` packed.

    Raises:
        ValueError, KeyError, TypeError: It did not.
    """
    try:
        numbers = np.frombuffer(base64.b64decode(packed["float16"], validate=True), "<f2")
        scales = np.frombuffer(base64.b64decode(packed["scales_float32"], validate=True), "<f4")
    except binascii.Error as error:
        raise ValueError(f"the attribution is no Base64: {error}") from error
    table = numbers.reshape(packed["shape"]).astype(np.float64) * scales
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError("the attribution holds what is no table of finite numbers")
    return table

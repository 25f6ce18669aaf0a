"""Fits the training domain: where the sources of a training lie, and how far from them faces of val do.

Apart from `faceauth.decisions.domain`, which applies what is fitted here, so that a verdict need not wait
for scikit-learn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.covariance import ledoit_wolf

from faceauth.decisions.domain import domain_distances
from faceauth.decisions.number_tables import pack_table, unpack_table
from faceauth.decisions.own_shapes import find_whitenings, most_directions
from faceauth.errors import InputError

MAX_DIRECTIONS = 32
# So much of val lies inside, if its sources count alike.
KEPT = 0.95
# Fewer faces say nothing of where a source's others lie.
FEWEST_FACES = 10
# A source of val counts in full from so many groups on.
FULL_GROUPS = 20

# More than that many numbers would make a card that is slow to read.
_MAX_NUMBERS = 60_000


def fit_domain(
    features: np.ndarray,
    sources: Sequence[str] | np.ndarray,
    val_features: np.ndarray,
    val_sources: Sequence[str] | np.ndarray,
    val_groups: Sequence[str] | np.ndarray | None = None,
    *,
    kept: float = KEPT,
) -> dict[str, Any]:
    """Fits what `faceauth.decisions.domain.is_outside` needs.

    The distance is chosen so that of val at least `kept` lies inside where every source counts the same,
    whatever its number of faces, and so does every group of a source (a person, a video); a source of fewer
    than 20 groups counts less. As in the unsure band, one more group stands for the face to come.

    Args:
        features: Embeddings of faces of the training split, real and fake, float (n, d).
        sources: Where each comes from, n names, such as `fake/sdxl`.
        val_features: Embeddings of faces of the val split, float (m, d).
        val_sources: Where each comes from, m names; those that training never saw are left aside.
        val_groups: What must not be counted twice, m names; an empty name is a group of its own. None: each
            face is one.
        kept: Share of val that lies inside, in (0, 1).

    Returns:
        For the field `domain` of a checkpoint's card. `sources`: the known names; `projection` (d, k): to k
        directions; `means` (sources, k); `whitenings` (sources * k, k): makes distances of Euclid's out of
        Mahalanobis', a square for each source; `farthest`: the largest distance inside; `kept`, `chosen_on`,
        `n_of_sources`, `n_val`, `n_val_groups`. Only `sources`, empty, and `reason` where there is too
        little to learn from.

    Raises:
        InputError: The shapes do not fit together, or a feature is no finite number.
    """
    features, val_features = (np.asarray(table, dtype=np.float64) for table in (features, val_features))
    sources, val_sources = (np.asarray(names, dtype=object).astype(str) for names in (sources, val_sources))
    for table, names, split in ((features, sources, "train"), (val_features, val_sources, "val")):
        if table.ndim != 2 or len(table) != len(names) or not np.isfinite(table).all():
            raise InputError(
                f"The features of {split}, of shape {table.shape}, do not fit {len(names)} names, or hold "
                "what is no finite number.",
                "Give one row of finite numbers a face.",
            )
    groups = np.full(len(val_sources), "") if val_groups is None else np.asarray(val_groups, dtype=object)
    names, counts = np.unique(sources, return_counts=True)
    known = names[counts >= FEWEST_FACES].tolist()
    is_used, is_val = np.isin(sources, known), np.isin(val_sources, known)
    val_features, val_sources, groups = val_features[is_val], val_sources[is_val], groups[is_val].astype(str)
    n_groups, weights = _weigh(val_sources, groups)
    # With fewer groups, what lies inside would have no end.
    needed = int(np.ceil(kept / (1 - kept)))
    if not known or n_groups < needed:
        return {
            "sources": [],
            "reason": f"the domain needs {FEWEST_FACES} faces of a source to learn from, and {needed} groups "
            f"on val; there are {max(counts, default=0)} and {n_groups}",
        }
    features, number = features[is_used], np.searchsorted(known, sources[is_used])
    packed = pack_table(_projection(features, n_sources=len(known)))
    # What will be used later is what was packed, so everything else is fitted to that.
    projected = features @ unpack_table(packed)
    means = np.stack([projected[number == i].mean(axis=0) for i in range(len(known))])
    residuals = projected - means[number]
    common, _ = ledoit_wolf(residuals)
    entry = {
        "sources": known,
        "projection": packed,
        "means": pack_table(means),
        "whitenings": pack_table(find_whitenings(residuals, number, common)),
    }
    return entry | {
        "farthest": _farthest(domain_distances(val_features, entry), weights, kept=kept, n_groups=n_groups),
        "kept": kept,
        "chosen_on": "val",
        "n_of_sources": np.bincount(number).tolist(),
        "n_val": len(val_features),
        "n_val_groups": n_groups,
    }


def _projection(features: np.ndarray, *, n_sources: int) -> np.ndarray:
    """Returns the directions (d, k) in which faces differ most, each with a spread of 1."""
    d = features.shape[1]
    centred = features - features.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    k = min(MAX_DIRECTIONS, int((sizes > 1e-6 * max(sizes[0], 1e-12)).sum()) or 1)
    k = most_directions(k, d=d, n_sources=n_sources, n_numbers=_MAX_NUMBERS)
    spread = np.maximum(sizes[:k] / np.sqrt(len(features)), 1e-12)
    return (directions[:k] / spread[:, None]).T


def _weigh(sources: np.ndarray, groups: np.ndarray) -> tuple[int, np.ndarray]:
    """Returns the number of groups, and how much each face of val counts, which sums to 1."""
    alone = np.char.add("face ", np.arange(len(groups)).astype(str))
    groups = np.where(groups == "", alone, np.char.add("group ", groups.astype(str)))
    weights = np.zeros(len(groups))
    for source in np.unique(sources):
        rows = sources == source
        _, group_of, counts = np.unique(groups[rows], return_inverse=True, return_counts=True)
        weights[rows] = min(1.0, len(counts) / FULL_GROUPS) / (len(counts) * counts[group_of])
    return len(np.unique(groups)), weights / max(weights.sum(), 1e-12)


def _farthest(distances: np.ndarray, weights: np.ndarray, *, kept: float, n_groups: int) -> float:
    """Returns the least distance within which the share lies, a further group counted as outside."""
    order = np.argsort(distances)
    share = np.cumsum(weights[order]) * n_groups / (n_groups + 1)
    return float(distances[order][min(int(np.searchsorted(share, kept)), len(order) - 1)])

"""How well sources separate in feature space, in figures with intervals.

All of it is measured in the space of the features themselves, brought to unit length, and never on a
map: a map may tear apart what is close and join what is far. Distances between features of unit length
order pairs as the cosine does, and are not ruled by how strongly a face activates the detector.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_samples
from sklearn.metrics.pairwise import euclidean_distances

N_NEIGHBOURS = 10
N_RESAMPLES = 1_000
_CHUNK_ROWS = 1_024
_RESAMPLES_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure, and what it says.

    Attributes:
        value: The figure; None if it is undefined.
        ci95: Bounds of the 95 % interval; None where there is none.
        meaning: One sentence on how to read it.
        reason: Why the value or its interval is None, empty otherwise.
    """

    value: float | None
    ci95: tuple[float, float] | None
    meaning: str
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns a document without NaN."""
        document = asdict(self)
        document["ci95"] = list(self.ci95) if self.ci95 is not None else None
        return document


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpace:
    """Faces as points, with all the distances between them.

    Attributes:
        features: Features of unit length; (n, d) float32.
        distances: Euclidean distances in [0, 2]; (n, n) float32.
        names: Source of each face; (n,) of str.
        is_real: (n,) bool.
        groups: Number of each face's group; (n,) int64. A face without a group is a group of its own.
    """

    features: np.ndarray
    distances: np.ndarray
    names: np.ndarray
    is_real: np.ndarray
    groups: np.ndarray


def unit_length(features: np.ndarray) -> np.ndarray:
    """Scales each row to length 1; a row of zeros stays as it is.

    Args:
        features: (n, d) float32.

    Returns:
        (n, d) float32.
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def feature_space(
    features: np.ndarray, *, names: np.ndarray, is_real: np.ndarray, group: np.ndarray
) -> FeatureSpace:
    """Measures all distances, which takes 4 n² bytes.

    Args:
        features: (n, d) float32, of any length.
        names: Source of each face; (n,) of str.
        is_real: (n,) bool.
        group: Name of each face's group, empty if it has none; (n,) of str.
    """
    unit = unit_length(features)
    return FeatureSpace(
        features=unit,
        distances=euclidean_distances(unit),
        names=names.astype(str),
        is_real=is_real,
        groups=_group_numbers(group),
    )


def mean_measure(values: np.ndarray, groups: np.ndarray, meaning: str, *, seed: int, reason: str) -> Measure:
    """Averages values over faces, with a 95 % interval from drawing whole groups anew.

    Faces of one person or one video resemble each other; drawing single faces would make the interval
    too narrow.

    Args:
        values: One value a face, NaN where it is undefined; (n,) float.
        groups: Number of each face's group; (n,) int.
        meaning: One sentence on how to read the figure.
        seed: Seed of the draws.
        reason: What to say if no face has a value.
    """
    defined = ~np.isnan(values)
    if not defined.any():
        return Measure(None, None, meaning, reason)
    mean = float(values[defined].mean())
    _, group_of_value = np.unique(groups[defined], return_inverse=True)
    n_groups = int(group_of_value.max()) + 1
    if n_groups < 2:
        return Measure(mean, None, meaning, "All faces are of one group, so there is no interval.")
    sums = np.bincount(group_of_value, values[defined], n_groups)
    counts = np.bincount(group_of_value, minlength=n_groups)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(N_RESAMPLES // _RESAMPLES_AT_ONCE):
        drawn = rng.integers(0, n_groups, size=(_RESAMPLES_AT_ONCE, n_groups))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Measure(mean, (float(low), float(high)), meaning)


def neighbour_purity(
    space: FeatureSpace, labels: np.ndarray, *, n_neighbours: int = N_NEIGHBOURS, seed: int
) -> np.ndarray:
    """Returns which share of each face's nearest neighbours bears its label.

    Faces of its own group are no neighbours: that two frames of one video lie together says nothing of
    the generator.

    Args:
        space: The faces.
        labels: What to compare, such as sources or classes; (n,).
        n_neighbours: How many neighbours count; all there are, if there are fewer.
        seed: Seed of the order in which faces at equal distance are taken.

    Returns:
        Shares in [0, 1], NaN where a face has no neighbour outside its group; (n,) float64.
    """
    n = len(labels)
    k = min(n_neighbours, n - 1)
    shuffled = np.random.default_rng(seed).permutation(n)
    purity = np.full(n, np.nan)
    for start in range(0, n if k else 0, _CHUNK_ROWS):
        rows = np.arange(start, min(start + _CHUNK_ROWS, n))[:, None]
        # Each face meets the others in an order of its own: in a common one, the same few would always be
        # the neighbours of all that lie in one place.
        others = shuffled[(rows + np.arange(n)) % n]
        distances = space.distances[rows, others]
        distances[space.groups[rows] == space.groups[others]] = np.inf
        nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
        counts = np.isfinite(np.take_along_axis(distances, nearest, axis=1))
        agrees = (labels[np.take_along_axis(others, nearest, axis=1)] == labels[rows]) & counts
        with np.errstate(invalid="ignore"):
            purity[rows[:, 0]] = agrees.sum(axis=1) / counts.sum(axis=1)
    return purity


def chance_purity(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns the purity to expect of each face if labels were dealt out at random.

    Args:
        labels: (n,).
        groups: Number of each face's group; (n,) int.

    Returns:
        Shares in [0, 1], NaN where a face has no neighbour outside its group; (n,) float64.
    """
    _, label, label_counts = np.unique(labels, return_inverse=True, return_counts=True)
    _, group, group_counts = np.unique(groups, return_inverse=True, return_counts=True)
    pair = label.astype(np.int64) * len(group_counts) + group
    _, pair, pair_counts = np.unique(pair, return_inverse=True, return_counts=True)
    n_others = len(labels) - group_counts[group]
    n_alike = label_counts[label] - pair_counts[pair]
    return np.divide(n_alike, n_others, out=np.full(len(labels), np.nan), where=n_others > 0)


def measure_separation(space: FeatureSpace, *, seed: int) -> dict[str, Measure]:
    """Measures how well sources separate as a whole.

    Returns:
        Measures by name: `knn_purity`, `knn_purity_chance`, `class_purity`, `class_purity_chance`,
        `silhouette`, `davies_bouldin`.
    """
    lonely = "No face has a neighbour outside its own group."
    one_source = "There is one source only, so there is nothing to separate."
    is_one_source = len(np.unique(space.names)) < 2
    is_one_class = len(np.unique(space.is_real)) < 2

    def purity(labels: np.ndarray, meaning: str, undefined: str | None) -> Measure:
        if undefined:
            return Measure(None, None, meaning, undefined)
        return mean_measure(
            neighbour_purity(space, labels, seed=seed), space.groups, meaning, seed=seed, reason=lonely
        )

    def chance(labels: np.ndarray, meaning: str, undefined: str | None) -> Measure:
        shares = chance_purity(labels, space.groups)
        if undefined or np.isnan(shares).all():
            return Measure(None, None, meaning, undefined or lonely)
        return Measure(float(np.nanmean(shares)), None, meaning)

    no_sources = one_source if is_one_source else None
    no_classes = "All faces are of one class." if is_one_class else None
    return {
        "knn_purity": purity(
            space.names,
            f"Share of a face's {N_NEIGHBOURS} nearest neighbours outside its own group that are of its "
            "source; 1 is perfect, and chance is given beside it.",
            no_sources,
        ),
        "knn_purity_chance": chance(
            space.names,
            "The same share if sources were dealt out at random; a purity no higher found nothing.",
            no_sources,
        ),
        "class_purity": purity(
            space.is_real,
            f"Share of a face's {N_NEIGHBOURS} nearest neighbours outside its own group that are of its "
            "class, real or fake; 1 is perfect, and chance is given beside it.",
            no_classes,
        ),
        "class_purity_chance": chance(
            space.is_real,
            "The same share if classes were dealt out at random; a purity no higher found nothing.",
            no_classes,
        ),
        "silhouette": mean_measure(
            face_silhouettes(space),
            space.groups,
            "How much closer a face is to its own source than to the next one, from -1 to 1; "
            "0 means that sources overlap.",
            seed=seed,
            reason=one_source if is_one_source else "Every source has one face only.",
        ),
        "davies_bouldin": _davies_bouldin(space),
    }


def face_silhouettes(space: FeatureSpace) -> np.ndarray:
    """Returns the silhouette of each face among sources (Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7).

    Returns:
        (n,) float64 in [-1, 1]; NaN for the only face of its source, and for all if there is one source.
    """
    sources, source, counts = np.unique(space.names, return_inverse=True, return_counts=True)
    if not 2 <= len(sources) < len(space.names):
        return np.full(len(space.names), np.nan)
    silhouettes = silhouette_samples(space.distances, source, metric="precomputed").astype(np.float64)
    silhouettes[counts[source] == 1] = np.nan
    return silhouettes


def measure_sources(space: FeatureSpace, *, seed: int) -> dict[str, dict[str, Any]]:
    """Measures each source by itself and against its nearest neighbour.

    Returns:
        For each source, the rows that `members` are, and what was measured: `nearest` (name or None),
        `nearest_distance` (between centroids), `medoid` (row of the most central face), and measures
        `spread`, `knn_purity`, `silhouette`.
    """
    sources, centroids = _centroids(space)
    between = euclidean_distances(centroids)
    np.fill_diagonal(between, np.inf)
    purity = neighbour_purity(space, space.names, seed=seed)
    silhouettes = face_silhouettes(space)
    is_alone = len(sources) < 2
    alone = "There is no other source to compare with."
    if is_alone:
        purity[:] = np.nan
    measured: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(sources):
        members = np.flatnonzero(space.names == name)
        groups = space.groups[members]
        from_centre = np.linalg.norm(space.features[members] - centroids[i], axis=1)
        measured[str(name)] = {
            "members": members,
            "nearest": None if is_alone else str(sources[np.argmin(between[i])]),
            "nearest_distance": None if is_alone else float(between[i].min()),
            "medoid": int(members[np.argmin(space.distances[np.ix_(members, members)].sum(axis=1))]),
            "spread": mean_measure(
                from_centre if len(members) > 1 else np.full(1, np.nan),
                groups,
                "Mean distance of its faces from their centre; small means alike.",
                seed=seed,
                reason="One face has no spread.",
            ),
            "knn_purity": mean_measure(
                purity[members],
                groups,
                f"Share of its faces' {N_NEIGHBOURS} nearest neighbours of other groups that are its own.",
                seed=seed,
                reason=alone if is_alone else "No face has a neighbour outside its own group.",
            ),
            "silhouette": mean_measure(
                silhouettes[members],
                groups,
                "How much closer its faces are to this source than to the next one, from -1 to 1.",
                seed=seed,
                reason=alone if is_alone else "One face has no silhouette.",
            ),
        }
    return measured


def _davies_bouldin(space: FeatureSpace) -> Measure:
    """Measures after Davies and Bouldin 1979 (doi:10.1109/TPAMI.1979.4766909)."""
    meaning = (
        "Spread of sources against the distance between their centres, averaged over each one's worst case; "
        "lower is better."
    )
    sources, centroids = _centroids(space)
    if len(sources) < 2:
        return Measure(None, None, meaning, "There is one source only, so there is nothing to separate.")
    spreads = np.array(
        [
            np.linalg.norm(space.features[space.names == name] - centre, axis=1).mean()
            for name, centre in zip(sources, centroids, strict=True)
        ]
    )
    between = euclidean_distances(centroids)
    np.fill_diagonal(between, np.inf)
    if between.min() <= 0:
        return Measure(None, None, meaning, "Two sources have the same centre.")
    ratios = (spreads[:, None] + spreads[None, :]) / between
    return Measure(float(ratios.max(axis=1).mean()), None, meaning, "No interval: it is no mean over faces.")


def _centroids(space: FeatureSpace) -> tuple[np.ndarray, np.ndarray]:
    sources = np.unique(space.names)
    return sources, np.stack([space.features[space.names == name].mean(axis=0) for name in sources])


def _group_numbers(group: np.ndarray) -> np.ndarray:
    names, numbers = np.unique(group.astype(str), return_inverse=True)
    without_group = group.astype(str) == ""
    numbers = numbers.astype(np.int64)
    numbers[without_group] = len(names) + np.arange(int(without_group.sum()))
    return numbers

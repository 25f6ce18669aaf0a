"""Which generators transfer alike, and which detectors judge alike: correlations, and a tree made of them.

Two maps come from one matrix. Generators are alike if the same detectors find them easy: their columns of
AUROCs correlate, once each detector's own mean has been taken off. Detectors are alike if they rank the same
faces alike: their scores correlate within each source, so that neither the class nor an easy source does it.

Each correlation has its n and a 95 % interval by Fisher's transformation; with the few detectors of a study
the intervals of the first map are wide, and the tree is a help for the eye and no finding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from faceauth.scoring.resampling import number_groups
from faceauth.scoring.scores import Scores
from faceauth.studies.matrix import GENERATOR, MatrixRow

Z_95 = 1.959964
# Below this, values differ by rounding alone and have no correlation.
CONSTANT = 1e-9


def correlate_generators(document: dict[str, Any]) -> dict[str, Any]:
    """Correlates the generators' columns of AUROCs over detectors (Pearson).

    Args:
        document: `tests`, `cells` and `summary`, as `measure_matrix` returns them.

    Returns:
        `{"names", "unit", "correlations", "tree"}`. Each of `correlations` has `first`, `second`, `value`,
        `ci95`, `n` and `reason`; `tree` has `order` and `merges`, or is None with fewer than two generators
        or an undefined correlation.
    """
    names = [test["name"] for test in document["tests"] if test["kind"] == GENERATOR]
    trainings = [entry["training"] for entry in document["summary"]]
    auroc_of = {
        (cell["training"], cell["test"]): cell["rates"]["auroc"]["value"]
        for cell in document["cells"]
        if cell["kind"] == GENERATOR and "auroc" in cell["rates"]
    }
    values = np.array(
        [[auroc_of.get((training, name)) for name in names] for training in trainings], dtype=np.float64
    ).reshape(len(trainings), len(names))
    values = values[~np.isnan(values).any(axis=1)]
    # A detector that is good at everything would make all generators look alike.
    values = values - values.mean(axis=1, keepdims=True) if len(values) else values
    return _correlation_map(names, list(values.T), n=len(values), unit="detectors", needed=3)


def correlate_detectors(rows: Sequence[MatrixRow]) -> dict[str, Any]:
    """Correlates detectors by the ranks of their scores within each source (Spearman).

    Faces are matched by path; only those that all detectors scored count. The n of a correlation is the
    number of groups: faces of one group are no independent evidence.

    Args:
        rows: The detectors.

    Returns:
        The shape of `correlate_generators`.
    """
    scored = [row for row in rows if row.scores is not None and len(row.scores)]
    aligned = _align([row.scores for row in scored if row.scores is not None])
    names = [row.name for row in scored]
    if not aligned:
        reason = "the tables have no paths in common" if len(scored) > 1 else "there is one detector"
        return {"names": names, "unit": "groups", "correlations": [], "tree": None, "reason": reason}
    first = aligned[0]
    n_groups = len(np.unique(number_groups(first.group, len(first))))
    ranks = []
    for scores in aligned:
        rank = np.empty(len(scores))
        for source in {*zip(first.target.tolist(), first.folder.tolist(), strict=True)}:
            inside = (first.target == source[0]) & (first.folder == source[1])
            of_source = rankdata(scores.p_fake[inside])
            rank[inside] = (of_source - of_source.mean()) / len(of_source)
        ranks.append(rank)
    return _correlation_map(names, ranks, n=n_groups, unit="groups", needed=4)


def _align(tables: list[Scores]) -> list[Scores]:
    """Returns the tables with the rows that all of them have, in one order; nothing if there are none."""
    if len(tables) < 2:
        return []
    places = []
    for scores in tables:
        of_table = {path: i for i, path in enumerate(scores.destination_path.tolist()) if path}
        places.append(of_table)
    common = sorted(set.intersection(*(set(of_table) for of_table in places)))
    if not common:
        return []
    return [
        scores.where(np.array([of_table[path] for path in common]))
        for scores, of_table in zip(tables, places, strict=True)
    ]


def _correlation_map(
    names: list[str], columns: list[np.ndarray], *, n: int, unit: str, needed: int
) -> dict[str, Any]:
    correlations: list[dict[str, Any]] = []
    matrix = np.eye(len(names))
    for i, first in enumerate(names):
        for j in range(i):
            value, ci95, reason = _correlate(columns[i], columns[j], n=n, unit=unit, needed=needed)
            matrix[i, j] = matrix[j, i] = np.nan if value is None else value
            correlations.append(
                {"first": names[j], "second": first, "value": value, "ci95": ci95, "n": n, "reason": reason}
            )
    return {
        "names": names,
        "unit": unit,
        "correlations": correlations,
        "tree": _grow_tree(names, matrix),
        "reason": None if len(names) > 1 else "there is nothing to compare",
    }


def _correlate(
    x: np.ndarray, y: np.ndarray, *, n: int, unit: str, needed: int
) -> tuple[float | None, list[float] | None, str | None]:
    if n < needed:
        return None, None, f"it takes {needed} {unit}, and there are {n}"
    x, y = x - x.mean(), y - y.mean()
    if min(np.abs(x).max(), np.abs(y).max()) < CONSTANT:
        return None, None, "all values are the same"
    value = float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))
    if n < 4:
        return value, None, f"no interval: it takes 4 {unit}, and there are {n}"
    # At exactly 1 the transformation has no end; the interval then begins just below.
    z = np.arctanh(np.clip(value, -1 + CONSTANT, 1 - CONSTANT))
    low, high = np.tanh(z + np.array([-1, 1]) * Z_95 / np.sqrt(n - 3))
    return value, [min(float(low), value), max(float(high), value)], None


def _grow_tree(names: list[str], correlations: np.ndarray) -> dict[str, Any] | None:
    """Joins what is closest, again and again, by the mean of 1 - correlation (average linkage).

    Returns:
        `order`, the leaves from end to end; and `merges`, each with its two `members` (lists of names) and
        the `distance` at which they were joined, in [0, 2]. None if a correlation is undefined.
    """
    if len(names) < 2 or np.isnan(correlations).any():
        return None
    distances = np.clip(1 - correlations, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    joined = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    clusters = [[name] for name in names]
    merges = []
    for left, right, distance, _ in joined.tolist():
        members = [clusters[int(left)], clusters[int(right)]]
        merges.append({"members": members, "distance": distance})
        clusters.append([*members[0], *members[1]])
    leaves = dendrogram(joined, no_plot=True)["leaves"]
    return {"order": [names[i] for i in leaves], "merges": merges}

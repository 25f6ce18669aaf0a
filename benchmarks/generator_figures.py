"""What scores say of a detector, by generator: the figures of `peers.py` and `embedded_figures.py`.

A generator is measured on a part of its own: its fakes, and the reals that the same detector scored. Where
each generator was scored by the detector that had never seen it, every part has a detector of its own, and
one real face has a score in each. All of them are resampled together, by groups, so that a mean over
generators knows that their reals are the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from faceauth.labels import FAKE, REAL
from faceauth.scoring.bounds import TAIL, bounds_of_recall_at_fpr, interval_of_draws
from faceauth.scoring.intervals import DEFAULT_DRAWS, Rate, measure_rates, reason_for_no_interval
from faceauth.scoring.metric_kinds.rankings import recall_at_fpr
from faceauth.scoring.metrics import METRICS, Metric, value_or_reason
from faceauth.scoring.resampling import GroupDraws, count_groups, draw_groups, number_groups
from faceauth.scoring.scores import Scores
from faceauth.scoring.tally import Ranking, Tally, tally_scores

MAX_FPR = 0.05
TPR_AT_FPR_5 = Metric(
    lambda tally, threshold: recall_at_fpr(tally, MAX_FPR),
    "largest share of fakes found while at most 5 % of reals are called fake",
    needs_real=True,
    needs_fake=True,
    max_fpr=MAX_FPR,
)
# Of a generator's fakes, how many have a real of a collection in their group if that collection is its own.
OWN_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Part:
    """One generator with the reals that it is measured against.

    Attributes:
        generator: Its folder.
        scores: Its fakes and all reals, as one detector scored them.
        threshold: That detector's; a face is called fake from this score on. None if it has none.
    """

    generator: str
    scores: Scores
    threshold: float | None


def parts_of(scores: Scores, threshold: float | None) -> list[Part]:
    """Cuts the scores of one detector into a part for each generator, in alphabetical order."""
    is_real = scores.target == REAL
    return [
        Part(name, scores.where(is_real | ((scores.folder == name) & ~is_real)), threshold)
        for name in sorted(set(scores.folder[~is_real].tolist()))
    ]


def units_of(scores: Scores) -> np.ndarray:
    """Returns what is independent evidence, object (n,) of str: the group, or else the face by its path."""
    groups = np.full(len(scores), "", dtype=object) if scores.unit is None else scores.unit
    return np.where(groups == "", scores.destination_path, groups)


def find_own_collections(scores: Scores) -> dict[str, tuple[str, ...]]:
    """Finds the collections whose photographs fakes were made from, by their common groups.

    Returns:
        For each generator the collections of reals of which at least half of its fakes have one in their
        group; none for a generator that makes its faces from nothing.
    """
    own = {}
    units = units_of(scores)
    is_real = scores.target == REAL
    collections = sorted(set(scores.folder[is_real].tolist()))
    of_collection = {name: set(units[is_real & (scores.folder == name)].tolist()) for name in collections}
    for generator in sorted(set(scores.folder[~is_real].tolist())):
        used = units[~is_real & (scores.folder == generator)].tolist()
        own[generator] = tuple(
            name
            for name in collections
            if sum(unit in of_collection[name] for unit in used) >= OWN_SHARE * len(used)
        )
    return own


def measure_parts(
    parts: Sequence[Part],
    *,
    own: Mapping[str, tuple[str, ...]],
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures each generator and their means; each generator weighs the same.

    Args:
        parts: One a generator, at least one.
        own: Collections of reals that belong to a generator, which is measured against these alone as well.
        draws: Number of resamples.
        seed: The same seed gives the same intervals.

    Returns:
        `generators` with `auroc`, `tpr_at_fpr_5`, `recall_fake` at the threshold, `own_collections` and
        `auroc_own`; `mean_auroc`, `mean_tpr_at_fpr_5`, and `worst`, the generator with the lowest AUROC.
    """
    generators = {}
    for part in parts:
        collections = own.get(part.generator, ())
        is_own = (part.scores.target == FAKE) | np.isin(
            part.scores.folder, np.array(collections, dtype=object)
        )
        auroc_own = measure_auroc(part.scores.where(is_own), draws=draws, seed=seed) if collections else None
        generators[part.generator] = {
            "auroc": measure_auroc(part.scores, draws=draws, seed=seed).to_json(),
            "own_collections": list(collections),
            "auroc_own": auroc_own and auroc_own.to_json(),
            "tpr_at_fpr_5": measure_tpr_at_fpr_5(part.scores).to_json(),
            "recall_fake": measure_share_called(part, FAKE, draws=draws, seed=seed).to_json(),
        }
    known = [name for name in generators if generators[name]["auroc"]["value"] is not None]
    worst = min(known, key=lambda name: generators[name]["auroc"]["value"], default=None)
    return {
        "generators": generators,
        "mean_auroc": mean_over(parts, METRICS.get("auroc"), draws=draws, seed=seed).to_json(),
        "mean_tpr_at_fpr_5": mean_over(parts, TPR_AT_FPR_5, draws=draws, seed=seed).to_json(),
        "worst": worst and {"generator": worst, "auroc": generators[worst]["auroc"]},
    }


def measure_auroc(scores: Scores, *, draws: int = DEFAULT_DRAWS, seed: int = 0) -> Rate:
    """Measures the AUROC of some scores."""
    groups = units_of(scores)
    return measure_rates(
        scores.target, scores.p_fake, groups=groups, metrics=("auroc",), draws=draws, seed=seed
    )["auroc"]


def measure_tpr_at_fpr_5(scores: Scores) -> Rate:
    """Measures the largest share of fakes found while at most 5 % of reals are called fake."""
    tally = tally_scores(scores.target, scores.p_fake)
    n_real, n_fake = int(tally.n_real), int(tally.n_fake)
    value, reason = value_or_reason(TPR_AT_FPR_5, tally, None)
    if value is None:
        return Rate(None, None, n_real, n_fake, reason)
    is_real, group_of = scores.target == REAL, number_groups(units_of(scores), len(scores))
    if reason := reason_for_no_interval(~is_real, group_of):
        return Rate(value, None, n_real, n_fake, reason)
    bounds = bounds_of_recall_at_fpr(is_real, scores.p_fake, group_of, max_fpr=MAX_FPR)
    return Rate(value, bounds, n_real, n_fake)


def measure_share_called(part: Part, target: int, *, draws: int = DEFAULT_DRAWS, seed: int = 0) -> Rate:
    """Measures which share of one class is called fake: found fakes, or false alarms.

    Args:
        part: Scores with their threshold.
        target: 0 for the share of fakes that are found, 1 for that of reals that give a false alarm.
        draws: Number of resamples.
        seed: The same seed gives the same interval.
    """
    rows = part.scores.where(part.scores.target == target)
    if part.threshold is None:
        n_real = len(rows) if target == REAL else 0
        return Rate(None, None, n_real, len(rows) - n_real, "the detector has no threshold")
    return share_called(rows, rows.p_fake >= part.threshold, draws=draws, seed=seed)


def share_called(rows: Scores, called_fake: np.ndarray, *, draws: int = DEFAULT_DRAWS, seed: int = 0) -> Rate:
    """Measures which share of faces of one class is called fake.

    Args:
        rows: Faces of one class; a face may be there several times, once for each detector that scored it.
        called_fake: What became of each, bool (n,).
        draws: Number of resamples.
        seed: The same seed gives the same interval.

    Returns:
        The share. Faces are counted once, however many detectors scored them.
    """
    n_faces = len(set(rows.destination_path.tolist()))
    if not len(rows):
        return Rate(None, None, 0, 0, "there are no such faces")
    is_real = bool(rows.target[0] == REAL)
    metric = "recall_real" if is_real else "recall_fake"
    rate = measure_rates(
        rows.target,
        called_fake.astype(np.float64),
        threshold=0.5,
        groups=units_of(rows),
        metrics=(metric,),
        draws=draws,
        seed=seed,
    )[metric]
    counts = (n_faces, 0) if is_real else (0, n_faces)
    if not is_real or rate.value is None:
        return Rate(rate.value, rate.ci95, *counts, rate.reason)
    turned = None if rate.ci95 is None else (1 - rate.ci95[1], 1 - rate.ci95[0])
    return Rate(1 - rate.value, turned, *counts, rate.reason)


def measure_false_alarms(
    parts: Sequence[Part], *, draws: int = DEFAULT_DRAWS, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Measures the share of each collection that is called fake, and of `all` together.

    Args:
        parts: Scores with their thresholds. Where a collection is in several, it is the mean over their
            detectors, and a face's scores count as one.
        draws: Number of resamples.
        seed: The same seed gives the same intervals.
    """
    with_threshold = [part for part in parts if part.threshold is not None]
    if not with_threshold:
        return {}
    reals = [part.scores.where(part.scores.target == REAL) for part in with_threshold]
    rows = stack_scores(reals)
    called = np.concatenate(
        [one.p_fake >= part.threshold for one, part in zip(reals, with_threshold, strict=True)]
    )
    alarms = {}
    for name in (*sorted(set(rows.folder.tolist())), "all"):
        keep = rows.folder == name if name != "all" else np.ones(len(rows), dtype=bool)
        alarms[name] = share_called(rows.where(keep), called[keep], draws=draws, seed=seed).to_json()
    return alarms


def mean_over(parts: Sequence[Part], metric: Metric, *, draws: int = DEFAULT_DRAWS, seed: int = 0) -> Rate:
    """Measures the mean of a metric over generators, with an interval from resampled groups.

    As `faceauth.studies.mean_auroc`, for any metric of rankings, and for parts that were scored by different
    detectors. The interval says what other faces of the same generators would give, and nothing of others.

    Args:
        parts: One a generator.
        metric: A metric between 0 and 1.
        draws: Number of resamples.
        seed: The same seed gives the same interval.
    """
    n_real, n_fake = _count(parts)
    value, reason = _value_of_mean(parts, metric)
    if value is None:
        return Rate(None, None, n_real, n_fake, reason)
    drawn, reason = _draws_of(parts, draws=draws, seed=seed)
    if drawn is None:
        return Rate(value, None, n_real, n_fake, reason)
    resampled = np.concatenate(list(_resampled_means(parts, metric, drawn)))
    groups_of_class = _groups_of_class(parts)
    # Where no resample differs: as in `faceauth.studies.mean_auroc`.
    kept = float(np.prod([TAIL ** (1 / n_groups) for n_groups in groups_of_class]))
    ci95, reason = interval_of_draws(
        value,
        resampled,
        highest=1.0,
        n_groups=min(groups_of_class),
        if_all_agree=(value * kept, 1 - (1 - value) * kept),
    )
    return Rate(value, ci95, n_real, n_fake, reason)


def gain_in_mean(
    first: Sequence[Part],
    second: Sequence[Part],
    metric: Metric,
    *,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> Rate:
    """Measures by how much one detector's mean over generators is above another's, on the same faces.

    Args:
        first: Parts of the one detector.
        second: Parts of the other, of the same faces in the same order.
        metric: A metric between 0 and 1.
        draws: Number of resamples; both detectors are measured on each.
        seed: The same seed gives the same interval.

    Returns:
        The difference of the means, first minus second, in [-1, 1].
    """
    n_real, n_fake = _count(first)
    (value_of_first, why_not), (value_of_second, why_no_second) = (
        _value_of_mean(parts, metric) for parts in (first, second)
    )
    if value_of_first is None or value_of_second is None:
        return Rate(None, None, n_real, n_fake, why_not or why_no_second)
    value = value_of_first - value_of_second
    drawn, reason = _draws_of(first, draws=draws, seed=seed)
    if drawn is None:
        return Rate(value, None, n_real, n_fake, reason)
    ours, theirs = (np.concatenate(list(_resampled_means(parts, metric, drawn))) for parts in (first, second))
    n_groups = min(_groups_of_class(first))
    deviation = float(np.nanstd(ours - theirs)) * np.sqrt(n_groups / (n_groups - 1))
    reach = -float(stdtrit(n_groups - 1, TAIL)) * deviation
    return Rate(value, (max(value - reach, -1.0), min(value + reach, 1.0)), n_real, n_fake)


def stack_scores(tables: Sequence[Scores]) -> Scores:
    """Puts tables below each other; their groups become units of evidence."""
    columns = ("destination_path", "folder", "split", "target", "p_fake")
    return Scores(
        **{name: np.concatenate([getattr(table, name) for table in tables]) for name in columns},
        group=np.concatenate([units_of(table) for table in tables]),
    )


def _count(parts: Sequence[Part]) -> tuple[int, int]:
    """Counts the different real and fake faces of all parts."""
    paths = {
        target: {
            path for part in parts for path in part.scores.destination_path[part.scores.target == target]
        }
        for target in (REAL, FAKE)
    }
    return len(paths[REAL]), len(paths[FAKE])


def _value_of_mean(parts: Sequence[Part], metric: Metric) -> tuple[float | None, str | None]:
    """Returns the mean and None; or None and why it is undefined."""
    if not parts:
        return None, "there are no generators"
    values = []
    for part in parts:
        tally = tally_scores(part.scores.target, part.scores.p_fake)
        value, reason = value_or_reason(metric, tally, None)
        if value is None:
            return None, f"{part.generator}: {reason}"
        values.append(value)
    return float(np.mean(values)), None


def _numbered(parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows of all parts together are real, and the number of each row's group."""
    is_real = np.concatenate([part.scores.target == REAL for part in parts])
    units = np.concatenate([units_of(part.scores) for part in parts])
    return is_real, number_groups(units, len(units))


def _groups_of_class(parts: Sequence[Part]) -> tuple[int, int]:
    is_real, group_of = _numbered(parts)
    return count_groups(group_of[is_real]), count_groups(group_of[~is_real])


def _draws_of(parts: Sequence[Part], *, draws: int, seed: int) -> tuple[GroupDraws | None, str | None]:
    """Draws the groups of all parts together, or says why there can be no interval."""
    is_real, group_of = _numbered(parts)
    if reason := reason_for_no_interval(~is_real, group_of):
        return None, reason
    return draw_groups(is_real, group_of, draws=draws, seed=seed), None


def _resampled_means(parts: Sequence[Part], metric: Metric, drawn: GroupDraws) -> Iterator[np.ndarray]:
    """Yields the mean over parts in the resamples of each block; NaN where a generator was not drawn."""
    columns = drawn.column_of_group[_numbered(parts)[1]]
    starts = np.cumsum([0, *(len(part.scores) for part in parts)])
    tallies = [
        _tally_maker(part.scores, columns[first : first + len(part.scores)])
        for part, first in zip(parts, starts[:-1], strict=True)
    ]
    for block in range(drawn.n_blocks):
        times = drawn.times(block)
        yield np.mean([metric.compute(tally(times), 0.5) for tally in tallies], axis=0)


def _tally_maker(scores: Scores, columns: np.ndarray) -> Callable[[np.ndarray], Tally]:
    """Prepares a part: from how often each group was drawn, int64 (some draws, g), to its tally."""
    distinct, firsts, ordered = [], [], []
    for target in (REAL, FAKE):
        rows = np.flatnonzero(scores.target == target)
        rows = rows[np.argsort(scores.p_fake[rows], kind="stable")]
        values, first = np.unique(scores.p_fake[rows], return_index=True)
        distinct.append(values)
        firsts.append(first)
        ordered.append(columns[rows])
    ranking = Ranking(distinct[0], distinct[1])

    def tally(times: np.ndarray) -> Tally:
        real, fake = (
            np.add.reduceat(np.take(times, column, axis=1), first, axis=1).astype(np.float64)
            for column, first in zip(ordered, firsts, strict=True)
        )
        return Tally(ranking, real, fake)

    return tally

"""DeLong's and Obuchowski's variance of the AUROC, against their definitions and against simulated truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from faceauth.scoring.delong import auroc_components, auroc_covariance, delong_auroc
from faceauth.scoring.intervals import measure_rates
from faceauth.scoring.resampling import number_groups

SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])


@st.composite
def grouped_scores(draw):
    """Scores of two detectors with ties, each class in two groups at least."""
    n = draw(st.integers(6, 30))
    targets = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    groups = draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))
    scores = draw(st.lists(st.tuples(SCORES, SCORES), min_size=n, max_size=n))
    targets, groups = [*targets, 0, 0, 1, 1], [*groups, 0, 1, 0, 1]
    scores += [(0.1, 0.5), (0.75, 0.25), (0.25, 0.1), (0.5, 0.0)]
    return np.array(targets), np.array(groups), np.array(scores).T


def compare_all_pairs(is_fake, p_fake):
    """The definition: for each fake and each real whether they are in order, ties half, shape (m, n)."""
    fake, real = p_fake[is_fake], p_fake[~is_fake]
    return (fake[:, None] > real) + 0.5 * (fake[:, None] == real)


def obuchowski_by_definition(is_fake, scores, groups):
    """Sums over groups as in the paper, with loops: S10 / m + S01 / n + S11 / (m n) + its transpose."""
    n_fake, n_real = is_fake.sum(), (~is_fake).sum()
    all_groups = sorted(set(groups.tolist()))
    with_fake, with_real = set(groups[is_fake].tolist()), set(groups[~is_fake].tolist())
    pairs = [compare_all_pairs(is_fake, p_fake) for p_fake in scores]
    x = [
        [sum((each.mean(axis=1) - each.mean())[groups[is_fake] == group]) for group in all_groups]
        for each in pairs
    ]
    y = [
        [sum((each.mean(axis=0) - each.mean())[groups[~is_fake] == group]) for group in all_groups]
        for each in pairs
    ]

    def products(left, right, n_groups):
        return n_groups / (n_groups - 1) * sum(a * b for a, b in zip(left, right, strict=True))

    covariance = np.empty((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            covariance[r, s] = (
                products(x[r], x[s], len(with_fake)) / n_fake**2
                + products(y[r], y[s], len(with_real)) / n_real**2
                + products(x[r], y[s], len(all_groups)) / (n_fake * n_real)
                + products(x[s], y[r], len(all_groups)) / (n_fake * n_real)
            )
    return covariance


@settings(max_examples=80, deadline=None)
@given(grouped_scores())
def test_covariance_is_that_of_the_definition_with_groups_and_ties(drawn):
    targets, groups, scores = drawn
    is_fake = targets == 0
    components = np.stack([auroc_components(is_fake, p_fake) for p_fake in scores])
    group_of = np.unique(groups, return_inverse=True)[1]
    covariance = auroc_covariance(components, is_fake, group_of)
    assert covariance == pytest.approx(obuchowski_by_definition(is_fake, scores, groups), abs=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > -1e-12


@settings(max_examples=80, deadline=None)
@given(grouped_scores())
def test_without_groups_it_is_delongs_variance(drawn):
    targets, _, (p_fake, _) = drawn
    is_fake = targets == 0
    pairs = compare_all_pairs(is_fake, p_fake)
    delong = sum(pairs.mean(axis=axis).var(ddof=1) / pairs.shape[1 - axis] for axis in (0, 1))
    components = auroc_components(is_fake, p_fake)
    own = number_groups(None, len(targets))
    assert auroc_covariance(components[None], is_fake, own)[0, 0] == pytest.approx(delong, abs=1e-12)
    assert components[is_fake] == pytest.approx(pairs.mean(axis=1))
    assert components[~is_fake] == pytest.approx(pairs.mean(axis=0))


@settings(max_examples=60, deadline=None)
@given(grouped_scores())
def test_the_interval_holds_the_value_and_turns_round_with_the_scores(drawn):
    targets, groups, (p_fake, _) = drawn
    names = np.array([f"g{group}" for group in groups])
    rate = delong_auroc(targets, p_fake, names)
    assert rate.value == pytest.approx(roc_auc_score(targets == 0, p_fake))
    assert 0 <= rate.ci95[0] <= rate.value <= rate.ci95[1] <= 1
    assert rate.ci95[0] < rate.ci95[1]
    turned = delong_auroc(targets, 1 - p_fake, names)
    assert turned.value == pytest.approx(1 - rate.value)
    assert turned.ci95 == pytest.approx((1 - rate.ci95[1], 1 - rate.ci95[0]))


def test_groups_whose_faces_cancel_out_have_bounds_all_the_same():
    # Within each group the gain of one class is the loss of the other: the variance is 0 but for rounding.
    targets = np.array([0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 1])
    groups = np.array([f"g{i}" for i in (0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1)])
    p_fake = np.array([0.5, 0.75, 0, 0.75, 0.5, 0.5, 0.5, 0.5, 0.1, 0.75, 0.25, 0.5])
    for scores in (p_fake, 1 - p_fake):
        rate = delong_auroc(targets, scores, groups)
        assert 0 <= rate.ci95[0] < rate.value < rate.ci95[1] <= 1


def test_a_rounding_error_is_no_variance():
    # As above, but what is left of the variance is 1e-17 for these scores and 0 for those turned round.
    targets = np.array([0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1])
    groups = np.array([f"g{i}" for i in (0, 0, 0, 0, 0, 0, 1, *[0] * 7, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1)])
    p_fake = np.array([0.1, 0.25, 0.25, 0.75, 0.75, 1, 1, 1, 1, 0, 0.25, 0.25, 1, 0.1, 0.1, 0.25, 0.5, 1,
                       0.1, 0.25, 0.75, 0.1, 0.75, 0.25, 0.5])  # fmt: skip
    first, turned = delong_auroc(targets, p_fake, groups), delong_auroc(targets, 1 - p_fake, groups)
    assert turned.ci95 == pytest.approx((1 - first.ci95[1], 1 - first.ci95[0]))


def test_copies_of_faces_in_their_group_change_nothing():
    rng = np.random.default_rng(0)
    targets, p_fake = np.repeat([0, 1], 40), rng.uniform(size=80).round(2)
    groups = np.array([f"g{i}" for i in range(80)])
    single = delong_auroc(targets, p_fake, groups)
    copied = delong_auroc(*(np.repeat(column, 7) for column in (targets, p_fake, groups)))
    assert copied.value == pytest.approx(single.value)
    assert copied.ci95 == pytest.approx(single.ci95)
    independent = delong_auroc(np.repeat(targets, 7), np.repeat(p_fake, 7))
    assert independent.ci95[1] - independent.ci95[0] < 0.6 * (single.ci95[1] - single.ci95[0])


@pytest.mark.parametrize("with_groups", [False, True])
def test_it_agrees_with_resampling(with_groups):
    rng = np.random.default_rng(0)
    targets = np.tile(np.repeat([0, 1], 3), 120)
    p_fake = 1 / (
        1 + np.exp(-(rng.normal(size=720) + np.repeat(rng.normal(size=120), 6) + 2 * (targets == 0)))
    )
    groups = np.repeat([f"photo{i}" for i in range(120)], 6) if with_groups else None
    rate = delong_auroc(targets, p_fake, groups)
    resampled = measure_rates(targets, p_fake, groups=groups, metrics=["auroc"], draws=2000)["auroc"]
    assert rate.value == pytest.approx(resampled.value)
    assert rate.ci95 == pytest.approx(resampled.ci95, abs=0.1 * (resampled.ci95[1] - resampled.ci95[0]))


@pytest.mark.parametrize(("shift", "n_groups", "faces_a_group"), [(1.0, 60, 1), (3.0, 60, 1), (2.0, 40, 4)])
def test_the_interval_holds_the_truth_as_often_as_it_says(shift, n_groups, faces_a_group):
    rng = np.random.default_rng(1)
    truth = 0.5 * math.erfc(-shift / 2)
    targets = np.repeat([0, 1], n_groups * faces_a_group)
    groups = np.array([f"g{i // faces_a_group}" for i in range(len(targets))])
    held = 0
    for _ in range(400):
        of_group = np.repeat(rng.normal(size=2 * n_groups), faces_a_group)
        logits = math.sqrt(0.5) * (of_group + rng.normal(size=len(targets))) + shift * (targets == 0)
        low, high = delong_auroc(targets, 1 / (1 + np.exp(-logits)), groups).ci95
        held += low <= truth <= high
    # Four standard errors of 400 trials around 0.95, and the logit scale errs on the wide side near 1.
    assert 0.906 <= held / 400 <= 0.995


def test_perfect_scores_are_as_sure_as_there_are_groups():
    def low(n, groups=None):
        return delong_auroc(np.repeat([0, 1], n), np.repeat([0.9, 0.1], n), groups).ci95[0]

    assert low(20) < low(100) < 1
    # 200 faces in 40 groups are worth no more than 40 faces.
    assert low(100, np.array([f"g{i // 5}" for i in range(200)])) == pytest.approx(low(20))


def test_scores_that_are_all_the_same_say_nothing():
    rate = delong_auroc(np.repeat([0, 1], 30), np.full(60, 0.5))
    assert rate.value == 0.5
    assert rate.ci95[0] < 0.45
    assert rate.ci95[1] > 0.55


def test_what_is_undefined_is_none_with_a_reason():
    no_real = delong_auroc(np.array([0, 0]), np.array([0.1, 0.2]))
    assert (no_real.value, no_real.ci95, no_real.reason) == (None, None, "there are no real faces")
    one_video = delong_auroc(
        np.array([0, 0, 1, 1]), np.array([0.9, 0.4, 0.2, 0.5]), np.array(["v", "v", "", ""])
    )
    assert one_video.value == 0.75
    assert one_video.ci95 is None
    assert "all fake faces are of one group" in one_video.reason

"""The unsure band: that it covers as often as it says, for single faces and for groups of them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom

from faceauth.decisions.conformal import UnsureBand, choose_unsure_band, measure_unsure
from faceauth.errors import InputError


def faces(n, rng, *, distance=2.0, targets=None):
    targets = np.repeat([1, 0], n) if targets is None else targets
    return targets, expit(rng.normal(np.where(targets == 0, distance / 2, -distance / 2), 1.0))


def covered(targets, p_fake, band):
    """The shares of reals and of fakes that are not surely called the other class."""
    return (p_fake[targets == 1] < band.high).mean(), (p_fake[targets == 0] >= band.low).mean()


@pytest.mark.parametrize(("n", "coverage"), [(12, 0.9), (60, 0.9), (60, 0.8)])
def test_each_class_is_covered_as_often_as_stated_and_hardly_more(n, coverage):
    rng = np.random.default_rng(0)
    repetitions = 3000
    hits = np.zeros(2)
    for _ in range(repetitions):
        # One new face of each class for each val split: coverage is over both draws.
        # So close that the bounds never cross.
        targets, p_fake = faces(n + 1, rng, distance=0.5)
        is_new = np.zeros(len(targets), dtype=bool)
        is_new[[0, n + 1]] = True
        band = choose_unsure_band(targets[~is_new], p_fake[~is_new], coverage=coverage)
        hits += covered(targets[is_new], p_fake[is_new], band)
    # Without ties the chance is exactly that of the finite-sample quantile.
    exact = np.ceil((n + 1) * coverage - 1e-9) / (n + 1)
    low, high = binom.ppf([1e-4, 1 - 1e-4], repetitions, exact)
    assert exact >= coverage
    assert low <= hits[0] <= high
    assert low <= hits[1] <= high


def grouped_faces(n_groups, rng):
    """Groups of 1 to 12 faces that are much alike; large groups also score higher, to make it hard."""
    sizes = rng.integers(1, 13, n_groups)
    of_group = rng.normal(0.05 * sizes, 1.0)
    group = np.repeat(np.arange(n_groups), sizes)
    return group, expit(of_group[group] + rng.normal(0, 0.2, len(group)))


def test_a_face_of_a_new_group_is_covered_where_single_faces_would_promise_too_much():
    rng = np.random.default_rng(1)
    repetitions, n_groups = 1500, 19
    hits = {"groups": 0, "single faces": 0}
    for _ in range(repetitions):
        group, reals = grouped_faces(n_groups + 1, rng)
        is_new = group == n_groups
        # Fakes are far away; the bound of the reals is what is tested.
        targets = np.concatenate([np.ones((~is_new).sum()), np.zeros(200)])
        p_fake = np.concatenate([reals[~is_new], np.full(200, 0.001)])
        names = np.concatenate([group[~is_new].astype(str), [f"fake {i}" for i in range(200)]])
        new_face = rng.choice(reals[is_new])
        for name, groups in (("groups", names), ("single faces", None)):
            band = choose_unsure_band(targets, p_fake, coverage=0.9, threshold=0.0, groups=groups)
            hits[name] += new_face < band.high
    assert hits["groups"] >= binom.ppf(1e-4, repetitions, 0.9)
    assert hits["single faces"] < hits["groups"]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(9, 60),
    distance=st.floats(-2, 8),
    threshold=st.floats(0, 1),
    coverage=st.sampled_from([0.5, 0.8, 0.9]),
)
def test_val_itself_is_covered_and_the_band_touches_the_threshold(seed, n, distance, threshold, coverage):
    targets, p_fake = faces(n, np.random.default_rng(seed), distance=distance)
    band = choose_unsure_band(targets, p_fake, coverage=coverage, threshold=threshold)
    assert min(covered(targets, p_fake, band)) >= coverage
    assert band.low <= threshold <= band.high
    # Who is sure is called what the threshold calls it.
    assert (p_fake[p_fake < band.low] < threshold).all()
    assert (p_fake[p_fake >= band.high] >= threshold).all()


def test_a_strictly_rising_change_of_all_scores_changes_nobody():
    targets, p_fake = faces(50, np.random.default_rng(3))
    band = choose_unsure_band(targets, p_fake, coverage=0.9)
    cubed = choose_unsure_band(targets, p_fake**3, coverage=0.9, threshold=0.5**3)
    assert np.array_equal(band.is_unsure(p_fake), cubed.is_unsure(p_fake**3))
    assert 0 < band.is_unsure(p_fake).mean() < 1


def test_higher_coverage_never_makes_anybody_surer():
    targets, p_fake = faces(300, np.random.default_rng(4))
    bands = [choose_unsure_band(targets, p_fake, coverage=c) for c in (0.6, 0.8, 0.9, 0.97)]
    assert [band.low for band in bands] == sorted((band.low for band in bands), reverse=True)
    assert [band.high for band in bands] == sorted(band.high for band in bands)
    assert bands[0].low > bands[-1].low


@pytest.mark.parametrize(
    ("threshold", "low", "high"),
    [(0.5, 0.5, 0.5), (0.2, 0.2, "above the reals"), (0.9, "fakes", 0.9)],
)
def test_where_the_bounds_cross_nobody_is_unsure_but_for_a_threshold_beside(threshold, low, high):
    reals, fakes = np.linspace(0.1, 0.3, 40), np.linspace(0.7, 0.9, 40)
    targets, p_fake = np.repeat([1, 0], 40), np.concatenate([reals, fakes])
    band = choose_unsure_band(targets, p_fake, coverage=0.9, threshold=threshold)
    # The 37th of 40 in each class: ceil(41 * 0.9).
    real_bound, fake_bound = reals[36], fakes[3]
    assert band.low == (fake_bound if low == "fakes" else low)
    assert band.high == (np.nextafter(real_bound, 2) if high == "above the reals" else high)
    assert min(covered(targets, p_fake, band)) >= 0.9


def test_reals_with_a_score_of_one_leave_no_face_that_is_surely_fake():
    targets = np.repeat([1, 0], 30)
    band = choose_unsure_band(targets, np.ones(60), coverage=0.9)
    assert band.high > 1
    assert band.is_unsure(np.array([0.4, 0.5, 1.0])).tolist() == [False, True, True]
    json.dumps(band.to_json(), allow_nan=False)


@pytest.mark.parametrize(("n", "coverage", "enough"), [(8, 0.9, False), (9, 0.9, True), (18, 0.95, False)])
def test_too_few_groups_for_the_coverage_give_no_band_with_the_number_that_is_needed(n, coverage, enough):
    targets, p_fake = faces(n, np.random.default_rng(0))
    groups = np.tile(np.arange(n), 2).astype(str)
    band = choose_unsure_band(*(np.repeat(c, 3) for c in (targets, p_fake)), coverage=coverage,
                              groups=np.repeat(groups, 3))  # fmt: skip
    assert (band.low is not None) == enough
    assert (band.groups_real, band.n_real) == (n, 3 * n)
    if not enough:
        assert band.is_unsure(p_fake) is None
        assert f"needs {9 if coverage == 0.9 else 19} groups" in band.reason
        rates = measure_unsure(targets, p_fake, band=band, threshold=0.5)
        assert all(rate.value is None and rate.reason == band.reason for rate in rates.values())


def test_a_class_that_is_not_there_gives_no_band():
    assert choose_unsure_band(np.ones(20), np.linspace(0, 1, 20), coverage=0.9).low is None


def test_what_is_measured_is_what_is_counted():
    rng = np.random.default_rng(5)
    band = choose_unsure_band(*faces(200, rng), coverage=0.9, threshold=0.45)
    targets, p_fake = faces(100, rng)
    groups = (np.arange(200) // 2).astype(str)
    rates = measure_unsure(targets, p_fake, band=band, threshold=0.45, groups=groups, draws=200)
    unsure = (p_fake >= band.low) & (p_fake < band.high)
    wrong = (p_fake >= 0.45) != (targets == 0)
    of_reals, of_fakes = covered(targets, p_fake, band)
    assert rates["covered_real"].value == of_reals
    assert rates["covered_fake"].value == of_fakes
    assert rates["share_unsure"].value == unsure.mean()
    assert rates["error_of_the_sure"].value == pytest.approx(wrong[~unsure].mean())
    assert wrong[~unsure].mean() < wrong.mean()
    assert (rates["share_unsure"].n_real, rates["share_unsure"].n_fake) == (100, 100)
    assert rates["error_of_the_sure"].n_real + rates["error_of_the_sure"].n_fake == (~unsure).sum()
    assert all(rate.ci95[0] <= rate.value <= rate.ci95[1] for rate in rates.values())


def test_if_all_are_unsure_the_error_of_the_sure_is_undefined():
    band = UnsureBand(0.0, 1.5, 0.9, "val", 9, 9, 9, 9)
    rates = measure_unsure(np.array([1, 0]), np.array([0.2, 0.7]), band=band, threshold=0.5)
    assert rates["share_unsure"].value == 1.0
    assert rates["error_of_the_sure"].value is None
    assert rates["error_of_the_sure"].reason


def test_a_band_comes_back_from_json_and_older_cards_have_none():
    band = choose_unsure_band(*faces(30, np.random.default_rng(0)), coverage=0.9)
    assert UnsureBand.from_json(json.loads(json.dumps(band.to_json(), allow_nan=False))) == band
    for facts in (None, {}):
        assert UnsureBand.from_json(facts).low is None
        assert "without" in UnsureBand.from_json(facts).reason


def test_the_test_split_and_an_impossible_coverage_are_refused():
    targets, p_fake = faces(30, np.random.default_rng(0))
    with pytest.raises(InputError, match="test split"):
        choose_unsure_band(targets, p_fake, coverage=0.9, chosen_on="test")
    for coverage in (0.0, 1.0, 90.0):
        with pytest.raises(InputError, match="between 0 and 1"):
            choose_unsure_band(targets, p_fake, coverage=coverage)

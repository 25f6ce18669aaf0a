"""Calibration and reliability: what p_fake says is what happens, at even odds."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from faceauth.decisions.calibration import (
    CALIBRATIONS,
    Calibration,
    apply_calibration,
    fit_calibration,
)
from faceauth.errors import DetectorError, InputError, UnknownNameError
from faceauth.evaluation.drawing import save_figure
from faceauth.evaluation.reliability import describe_reliability, measure_reliability
from faceauth.evaluation.reliability_figures import MAX_PANELS, draw_reliability, draw_reliability_by_folder
from faceauth.scoring.even_odds import even_odds_weights, measure_even_odds, rate_even_odds
from faceauth.scoring.metrics import compute_metric
from faceauth.scoring.scores import Scores

FITTED = [name for name in CALIBRATIONS.names() if name != "none"]


def faces(n_real, n_fake, *, slope=1.0, offset=0.0, seed=0):
    """Faces whose true logit at even odds is `slope * logit(p_fake) + offset`."""
    rng = np.random.default_rng(seed)
    targets = np.repeat([1, 0], [n_real, n_fake])
    # With normal evidence of this mean and variance, the evidence is its own logit at even odds.
    evidence = rng.normal(np.where(targets == 0, 2.0, -2.0), 2.0)
    return targets, expit((evidence - offset) / slope)


def table(targets, p_fake, folders, groups=None):
    n = len(targets)
    return Scores(
        destination_path=np.array([f"{i}.png" for i in range(n)], dtype=object),
        folder=np.asarray(folders, dtype=object),
        split=np.full(n, "test", dtype=object),
        target=np.asarray(targets),
        p_fake=np.asarray(p_fake, dtype=np.float64),
        group=groups,
    )


def test_the_temperature_and_the_line_that_were_planted_are_found():
    sure = fit_calibration(*faces(4000, 4000, slope=0.4), method="temperature")
    assert sure.parameters["temperature"] == pytest.approx(2.5, rel=0.06)
    line = fit_calibration(*faces(4000, 4000, slope=0.4, offset=-0.7), method="platt")
    assert line.parameters["slope"] == pytest.approx(0.4, rel=0.06)
    assert line.parameters["offset"] == pytest.approx(-0.7, abs=0.1)


@pytest.mark.parametrize("method", FITTED)
def test_other_faces_are_calibrated_by_it(method):
    calibration = fit_calibration(*faces(3000, 3000, slope=0.3), method=method)
    targets, p_fake = faces(3000, 3000, slope=0.3, seed=1)
    before, after = (measure_even_odds(targets, p) for p in (p_fake, calibration.apply(p_fake)))
    assert before["ece"] > 0.05
    assert after["ece"] < 0.025
    assert after["log_loss"] < before["log_loss"] - 0.05
    # What the card says of the val faces is what is measured on them.
    assert calibration.figures["ece_after"] < calibration.figures["ece_before"]


@pytest.mark.parametrize("method", FITTED)
def test_the_share_of_fakes_in_val_does_not_move_a_calibration(method):
    targets, p_fake = faces(3000, 3000, slope=0.4)
    fake = targets == 0
    rare = np.concatenate([targets, np.ones(12_000, dtype=int)]), np.append(p_fake, np.tile(p_fake[~fake], 4))
    grid = np.linspace(0.02, 0.98, 25)
    even, uneven = (fit_calibration(*data, method=method).apply(grid) for data in ((targets, p_fake), rare))
    np.testing.assert_allclose(even, uneven, atol=0.01)


@pytest.mark.parametrize("method", CALIBRATIONS.names())
@settings(max_examples=40, deadline=None)
@given(
    p_fake=st.lists(st.floats(0, 1), min_size=2, max_size=30),
    extra=st.lists(st.floats(0, 1), min_size=2, max_size=10),
    seed=st.integers(0, 9),
)
def test_no_calibration_turns_the_order_of_two_faces_round(method, p_fake, extra, seed):
    targets = np.random.default_rng(seed).integers(0, 2, len(p_fake))
    targets[:2] = [0, 1]
    calibration = fit_calibration(targets, np.array(p_fake), method=method)
    ascending = np.sort(np.array([*p_fake, *extra, 0.0, 1.0]))
    calibrated = calibration.apply(ascending)
    assert np.isfinite(calibrated).all()
    assert (np.diff(calibrated) >= 0).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_a_line_keeps_the_auroc_to_the_last_digit(method):
    targets, p_fake = faces(300, 300, slope=0.2)
    calibrated = fit_calibration(targets, p_fake, method=method).apply(p_fake)
    assert roc_auc_score(targets, calibrated) == roc_auc_score(targets, p_fake)


def test_scores_that_a_float32_would_have_tied_stay_apart():
    p_fake = expit(np.array([18.0, 25.0, 33.0]))
    calibration = Calibration("temperature", {"temperature": 4.0}, "val", 5, 5, {})
    np.testing.assert_allclose(logit(calibration.apply(p_fake)), [18 / 4, 25 / 4, 33 / 4], rtol=1e-2)


@pytest.mark.parametrize("method", FITTED)
def test_faces_told_apart_without_a_mistake_are_not_made_certainties(method):
    targets, p_fake = np.repeat([1, 0], 20), np.repeat([0.4, 0.6], 20)
    calibrated = fit_calibration(targets, p_fake, method=method).apply(np.array([0.0, 0.4, 0.6, 1.0]))
    # 21 of 22, as if one face of each class had been the other way round.
    np.testing.assert_allclose(calibrated[1:3], [1 / 22, 21 / 22], atol=1e-3)
    if method == "isotonic":
        np.testing.assert_allclose(calibrated, [1 / 22, 1 / 22, 21 / 22, 21 / 22])


@pytest.mark.parametrize("method", FITTED)
def test_a_detector_that_ranks_the_wrong_way_becomes_shy_and_is_not_turned_round(method):
    targets, p_fake = faces(200, 200)
    calibrated = fit_calibration(targets, 1 - p_fake, method=method).apply(np.array([0.01, 0.99]))
    assert calibrated[0] <= calibrated[1]
    np.testing.assert_allclose(calibrated, 0.5, atol=0.1)


def test_none_changes_nothing_at_all():
    targets, p_fake = faces(50, 50)
    calibration = fit_calibration(targets, p_fake, method="none")
    assert np.array_equal(calibration.apply(p_fake), p_fake)
    assert calibration.to_json() == {
        "method": "none", "chosen_on": None, "parameters": {}, "n_real": 0, "n_fake": 0,
    }  # fmt: skip


@pytest.mark.parametrize("method", CALIBRATIONS.names())
def test_a_calibration_comes_back_from_json_and_calibrates_a_table(method):
    targets, p_fake = faces(100, 60, slope=0.5)
    calibration = fit_calibration(targets, p_fake, method=method)
    facts = json.loads(json.dumps(calibration.to_json(), allow_nan=False))
    assert Calibration.from_json(facts) == calibration
    scores = table(targets, p_fake, np.where(targets, "camera", "gan"))
    calibrated = apply_calibration(scores, facts)
    assert np.array_equal(calibrated.p_fake, calibration.apply(p_fake))
    assert calibrated.folder is scores.folder
    if method != "none":
        assert (facts["chosen_on"], facts["n_real"], facts["n_fake"]) == ("val", 100, 60)
        assert set(facts) >= {"log_loss_before", "log_loss_after", "ece_before", "ece_after"}


@pytest.mark.parametrize("facts", [None, {}, {"method": "none"}])
def test_an_older_card_means_no_calibration(facts):
    scores = table([1, 0], [0.2, 0.7], ["camera", "gan"])
    assert np.array_equal(apply_calibration(scores, facts).p_fake, scores.p_fake)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("temperature", {}),
        ("temperature", {"temperature": -1.0}),
        ("temperature", {"temperature": "hot"}),
        ("platt", {"slope": float("inf"), "offset": 0.0}),
        ("platt", {"slope": -2.0, "offset": 0.0}),
        ("isotonic", {"logits": [0.0, 1.0], "p_fake": [0.9, 0.1]}),
        ("isotonic", {"logits": [1.0, 1.0], "p_fake": [0.1, 0.9]}),
        ("isotonic", {"logits": [], "p_fake": []}),
        ("isotonic", {"logits": [0.0], "p_fake": [0.1, 0.2]}),
    ],
)
def test_parameters_that_no_fit_has_made_are_refused(method, parameters):
    facts = {"method": method, "parameters": parameters}
    with pytest.raises(DetectorError, match=rf"calibration '{method}'"):
        apply_calibration(table([1, 0], [0.2, 0.7], ["camera", "gan"]), facts)


def test_a_method_that_is_not_known_is_answered_with_the_close_match():
    with pytest.raises(UnknownNameError, match="Did you mean 'isotonic'"):
        fit_calibration(*faces(5, 5), method="isotonik")


@pytest.mark.parametrize("method", FITTED)
def test_the_test_split_and_a_single_class_are_refused(method):
    with pytest.raises(InputError, match="test split"):
        fit_calibration(*faces(5, 5), method=method, chosen_on="test")
    with pytest.raises(InputError, match=r"0 real and 5 fake.*'none'"):
        fit_calibration(*faces(0, 5), method=method)


def test_figures_at_even_odds_are_those_of_scikit_learn_with_weights():
    targets, p_fake = faces(300, 40)
    weights = even_odds_weights(targets)
    assert weights[targets == 1].sum() == pytest.approx(0.5)
    ours = measure_even_odds(targets, p_fake)
    assert ours["brier"] == pytest.approx(brier_score_loss(1 - targets, p_fake, sample_weight=weights))
    assert ours["log_loss"] == pytest.approx(log_loss(1 - targets, p_fake, sample_weight=weights))
    assert ours["mean_p_fake_of_fakes"] == pytest.approx(p_fake[targets == 0].mean())


def test_the_ece_at_even_odds_is_the_common_one_where_classes_are_equal():
    targets, p_fake = faces(200, 200)
    assert measure_even_odds(targets, p_fake)["ece"] == pytest.approx(
        compute_metric("ece", targets, p_fake)[0]
    )


def test_rates_hold_their_values_and_say_why_they_have_none():
    targets, p_fake = faces(80, 80)
    rates = rate_even_odds(targets, p_fake, draws=100)
    assert all(rate.ci95[0] < rate.value < rate.ci95[1] for rate in rates.values())
    groups = np.where(targets == 1, "one", np.arange(160).astype(str))
    assert all(r.ci95 is None and "one group" in r.reason for r in
               rate_even_odds(targets, p_fake, groups=groups, draws=10).values())  # fmt: skip
    assert all(r.value is None and "no fake" in r.reason for r in
               rate_even_odds(np.ones(3), np.full(3, 0.2), draws=10).values())  # fmt: skip


def test_bins_are_those_of_scikit_learn_where_classes_are_equal():
    targets, p_fake = faces(500, 500)
    bins = measure_reliability(targets, p_fake)
    shares, means = calibration_curve(1 - targets, p_fake, n_bins=len(bins))
    np.testing.assert_allclose([one.share_fake for one in bins if one.n], shares)
    np.testing.assert_allclose([one.mean_p_fake for one in bins if one.n], means)
    assert sum(one.n_real for one in bins) == sum(one.n_fake for one in bins) == 500
    assert (bins[0].p_from, bins[-1].p_to) == (0.0, 1.0)


def test_a_bin_is_taken_at_even_odds_whatever_the_share_of_fakes():
    targets, p_fake = faces(20_000, 500)
    bins = measure_reliability(targets, p_fake)
    # The scores are calibrated at even odds: every bin's interval should hold its mean score, nearly always.
    held = [one.ci95[0] <= one.mean_p_fake <= one.ci95[1] for one in bins]
    assert sum(held) >= len(bins) - 1
    assert max(abs(one.share_fake - one.mean_p_fake) for one in bins) < 0.12


def test_intervals_of_bins_hold_the_truth_about_as_often_as_they_say():
    held = []
    for seed in range(60):
        for one in measure_reliability(*faces(150, 150, seed=seed)):
            held.append(one.ci95 is not None and one.ci95[0] <= one.mean_p_fake <= one.ci95[1])
    assert np.mean(held) >= 0.94


def test_copies_of_a_face_in_one_group_do_not_narrow_a_bin():
    targets, p_fake = faces(150, 150)
    groups = np.arange(300).astype(str)
    once = measure_reliability(targets, p_fake, groups=groups)
    copied = measure_reliability(*(np.repeat(c, 6) for c in (targets, p_fake)), groups=np.repeat(groups, 6))
    for one, other in zip(once, copied, strict=True):
        assert other.n == 6 * one.n
        assert other.ci95[1] - other.ci95[0] >= 0.95 * (one.ci95[1] - one.ci95[0])


def test_one_face_falls_into_the_last_bin_at_one_and_empty_bins_are_null():
    bins = measure_reliability(np.array([1, 0]), np.array([0.0, 1.0]))
    assert [one.n for one in bins] == [1, 0, 0, 0, 1]
    assert bins[1].share_fake is bins[1].mean_p_fake is bins[1].ci95 is None
    assert bins[-1].share_fake == 1.0
    assert bins[-1].ci95 == (pytest.approx(0.025), 1.0)
    assert measure_reliability(np.ones(3), np.full(3, 0.2)) == []


def described(n_generators):
    targets, p_fake = faces(120, 40 * n_generators)
    names = np.array([f"generator_{i % n_generators}" for i in range(len(targets))])
    scores = table(targets, p_fake, np.where(targets == 1, "camera", names))
    calibration = Calibration("temperature", {"temperature": 1.0}, "val", 9, 9, {})
    return describe_reliability(scores, calibration, draws=20)


def test_the_description_measures_each_generator_against_all_reals():
    document = json.loads(json.dumps(described(3), allow_nan=False))
    assert (document["method"], document["chosen_on"]) == ("temperature", "val")
    assert set(document["by_folder"]) == {"camera", "generator_0", "generator_1", "generator_2"}
    one = document["by_folder"]["generator_1"]
    assert one["class"] == "fake"
    assert (one["ece"]["n_real"], one["ece"]["n_fake"]) == (120, 40)
    assert set(one) == {"class", "bins", "ece", "brier", "mean_p_fake_of_fakes", "mean_p_fake_of_reals"}
    assert sum(entry["n"] for entry in document["bins"]) == 240


@pytest.mark.parametrize("n_generators", [1, MAX_PANELS + 3])
def test_the_diagrams_are_drawn(n_generators, tmp_path):
    document = described(n_generators)
    figure = draw_reliability(document)
    curve, counts = figure.axes
    drawn = curve.lines[-1].get_ydata()
    np.testing.assert_allclose(drawn, [one["share_fake"] for one in document["bins"] if one["n"]])
    assert counts.get_ylim()[1] >= max(one["n"] for one in document["bins"])
    by_folder = draw_reliability_by_folder(document)
    shown = [axes.get_title() for axes in by_folder.axes if axes.get_visible()]
    assert len(shown) == min(n_generators + 1, MAX_PANELS)
    assert ("left out" in by_folder.get_suptitle()) == (n_generators + 1 > MAX_PANELS)
    if n_generators == 1:
        paths = [
            *save_figure(figure, tmp_path, "reliability"),
            *save_figure(by_folder, tmp_path, "by_folder"),
        ]
        assert all(path.stat().st_size > 5000 for path in paths)


def test_without_both_classes_there_is_nothing_to_compare():
    document = described(1)
    for facts in document["by_folder"].values():
        facts["bins"] = []
    assert draw_reliability_by_folder(document) is None

import math
import os

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from faceauth.errors import InputError, UnknownNameError
from faceauth.scoring.intervals import measure_rates
from faceauth.scoring.metrics import METRICS, compute_metric, compute_metrics, tally_scores

# Few distinct values, so that ties are common.
SCORES = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1, width=32))


@st.composite
def both_classes(draw):
    rows = draw(st.lists(st.tuples(st.integers(0, 1), SCORES), min_size=2, max_size=40))
    rows += [(0, draw(SCORES)), (1, draw(SCORES))]
    targets, p_fake = zip(*rows, strict=True)
    return np.array(targets), np.array(p_fake, dtype=np.float64)


def value(name, targets, p_fake, threshold=0.5):
    return compute_metric(name, targets, p_fake, threshold=threshold)[0]


def random_scores(n, *, seed=0, decimals=2, shift=0.2):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, n)
    p_fake = np.clip(rng.uniform(size=n) + shift * (0.5 - targets), 0, 1)
    return targets, np.round(p_fake, decimals)


@settings(max_examples=80, deadline=None)
@given(both_classes(), st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]))
def test_metrics_agree_with_scikit_learn_with_ties(scores, threshold):
    targets, p_fake = scores
    is_fake, called_fake = targets == 0, p_fake >= threshold
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(is_fake, called_fake),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(is_fake, called_fake),
        "recall_fake": sklearn.metrics.recall_score(is_fake, called_fake),
        "recall_real": sklearn.metrics.recall_score(~is_fake, ~called_fake),
        "f1_fake": sklearn.metrics.f1_score(is_fake, called_fake),
        "f1_real": sklearn.metrics.f1_score(~is_fake, ~called_fake),
        "auroc": sklearn.metrics.roc_auc_score(is_fake, p_fake),
        "ap_fake": sklearn.metrics.average_precision_score(is_fake, p_fake),
        "ap_real": sklearn.metrics.average_precision_score(~is_fake, -p_fake),
        "log_loss": sklearn.metrics.log_loss(is_fake, p_fake, labels=[False, True]),
        "brier": sklearn.metrics.brier_score_loss(is_fake, p_fake, pos_label=True),
    }
    if called_fake.any():
        expected["precision_fake"] = sklearn.metrics.precision_score(is_fake, called_fake)
    if not called_fake.all():
        expected["precision_real"] = sklearn.metrics.precision_score(~is_fake, ~called_fake)
    measured = compute_metrics(targets, p_fake, threshold=threshold)
    for name, wanted in expected.items():
        assert measured[name] == pytest.approx(wanted, abs=1e-9), name


@settings(max_examples=100, deadline=None)
@given(both_classes())
def test_rank_metrics_do_not_change_under_a_strictly_rising_map(scores):
    targets, p_fake = scores
    rank = np.unique(p_fake, return_inverse=True)[1]
    stretched = ((rank + 1) / (rank.max() + 2)) ** 3
    for name in ("auroc", "eer", "ap_fake", "ap_real"):
        assert value(name, targets, stretched) == pytest.approx(value(name, targets, p_fake), abs=1e-12), name


@settings(max_examples=100, deadline=None)
@given(both_classes())
def test_swapping_classes_and_scores_mirrors_each_metric(scores):
    targets, p_fake = scores
    # Small distinct numbers keep ties intact under 1 - p.
    p_fake = np.round(p_fake, 3)
    mirrored = np.round(1 - p_fake, 3)
    assert value("auroc", targets, mirrored) == pytest.approx(1 - value("auroc", targets, p_fake))
    assert value("eer", targets, mirrored) == pytest.approx(1 - value("eer", targets, p_fake), abs=1e-9)
    for name, mirror in (("auroc", "auroc"), ("eer", "eer"), ("ap_fake", "ap_real"), ("brier", "brier")):
        assert value(mirror, 1 - targets, mirrored) == pytest.approx(value(name, targets, p_fake)), name


@settings(max_examples=100, deadline=None)
@given(both_classes())
def test_equal_error_rate_lies_on_the_roc_curve(scores):
    targets, p_fake = scores
    fpr, tpr, _ = sklearn.metrics.roc_curve(targets == 0, p_fake, drop_intermediate=False)
    eer = value("eer", targets, p_fake)
    assert 0 <= eer <= 1
    # Vertical stretches of the curve make np.interp ambiguous: the point must lie between its two ends.
    tolerance = 1e-9
    at = np.interp([eer - tolerance, eer + tolerance], fpr, tpr)
    ends = np.concatenate([at, tpr[np.abs(fpr - eer) < tolerance]])
    assert ends.min() - 1e-6 <= 1 - eer <= ends.max() + 1e-6


def test_equal_error_rate_of_known_curves():
    assert value("eer", [0, 0, 1, 1], [0.9, 0.8, 0.2, 0.1]) == 0
    assert value("eer", [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == 1
    assert value("eer", [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]) == 0.5
    assert value("eer", [0, 0, 0, 0, 1, 1, 1, 1], [0.9, 0.8, 0.7, 0.2, 0.1, 0.1, 0.1, 0.75]) == 0.25


def test_equal_error_rate_of_two_normal_distributions():
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], 40_000)
    logits = rng.normal(size=80_000) + 2.0 * (targets == 0)
    closed_form = 0.5 * math.erfc(1 / math.sqrt(2))
    assert value("eer", targets, 1 / (1 + np.exp(-logits))) == pytest.approx(closed_form, abs=0.004)


def test_calibration_error_in_closed_form():
    # 10 faces at 0.2 of which 5 are fake, 30 at 0.9 of which 27 are: (10 * 0.3 + 30 * 0) / 40.
    targets = [0] * 5 + [1] * 5 + [0] * 27 + [1] * 3
    assert value("ece", targets, [0.2] * 10 + [0.9] * 30) == pytest.approx(0.075)


def test_calibration_error_of_calibrated_scores_is_small():
    rng = np.random.default_rng(1)
    p_fake = rng.uniform(size=50_000)
    targets = (rng.uniform(size=50_000) >= p_fake).astype(int)
    assert value("ece", targets, p_fake) < 0.01
    assert value("ece", targets, p_fake**3) > 0.1


def test_a_score_on_the_threshold_is_called_fake():
    assert value("recall_fake", [0, 0, 1], [0.5, 0.4, 0.1], threshold=0.5) == 0.5
    assert value("recall_real", [0, 1, 1], [0.9, 0.5, 0.4], threshold=0.5) == 0.5


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_is_defined_exactly_when_it_has_what_it_declares(name):
    metric = METRICS.get(name)
    reals, fakes = ([1, 1], [0.2, 0.7]), ([0, 0], [0.3, 0.9])
    both = ([*reals[0], *fakes[0]], [*reals[1], *fakes[1]])
    assert (compute_metric(name, *both)[0] is None) == metric.needs_threshold
    assert compute_metric(name, *both, threshold=0.5)[0] is not None
    for scores, missing, needed in ((reals, "fake", metric.needs_fake), (fakes, "real", metric.needs_real)):
        measured, reason = compute_metric(name, *scores, threshold=0.5)
        assert (measured is None) == needed
        assert (reason is not None and missing in reason) == needed
    assert compute_metric(name, [], [], threshold=0.5) == (None, "there are no scores")


def test_precision_is_undefined_with_a_reason_if_nothing_was_called():
    assert compute_metric("precision_fake", [0, 1], [0.1, 0.2], threshold=0.5) == (
        None,
        "no face was called fake",
    )
    assert compute_metric("precision_real", [0, 1], [0.8, 0.9], threshold=0.5) == (
        None,
        "no face was called real",
    )


@pytest.mark.parametrize(
    ("targets", "p_fake", "word"),
    [
        ([0, 1], [0.1], "shape"),
        ([0, 2], [0.1, 0.2], "Target"),
        ([0, 1], [0.1, math.nan], "nan"),
        ([0, 1], [0.1, 1.5], "1.5"),
    ],
)
def test_scores_that_cannot_be_measured_are_refused(targets, p_fake, word):
    with pytest.raises(InputError, match=word):
        tally_scores(np.array(targets), np.array(p_fake))


def test_a_misspelt_metric_is_answered_with_the_close_match():
    with pytest.raises(UnknownNameError, match="auroc"):
        compute_metric("aurocc", [0, 1], [0.9, 0.1])


@pytest.mark.parametrize("seed", [0, 1])
def test_every_interval_holds_its_value_and_stays_on_its_scale(seed):
    targets, p_fake = random_scores(120, seed=seed)
    for name, rate in measure_rates(targets, p_fake, threshold=0.5, draws=200).items():
        low, high = rate.ci95
        assert 0 <= low <= rate.value <= high <= METRICS.get(name).highest, name
        assert low < high, name
        assert (rate.n_real, rate.n_fake) == (int(targets.sum()), int((1 - targets).sum()))


def test_values_with_intervals_are_those_without():
    targets, p_fake = random_scores(90)
    rates = measure_rates(targets, p_fake, threshold=0.4, draws=20)
    assert {name: rate.value for name, rate in rates.items()} == pytest.approx(
        compute_metrics(targets, p_fake, threshold=0.4)
    )


def test_intervals_depend_on_the_seed_alone_and_not_on_the_order_of_rows():
    # No ties: rows of one score may be drawn in another order.
    targets, p_fake = random_scores(80, decimals=12)
    shuffled = np.random.default_rng(0).permutation(80)
    rates = measure_rates(targets, p_fake, threshold=0.5, draws=50, seed=3)
    assert rates == measure_rates(targets[shuffled], p_fake[shuffled], threshold=0.5, draws=50, seed=3)
    assert rates["auroc"] != measure_rates(targets, p_fake, threshold=0.5, draws=50, seed=4)["auroc"]


def test_intervals_narrow_with_the_root_of_the_number_of_faces():
    widths = {}
    for n in (200, 3200):
        targets, p_fake = random_scores(n, shift=0.6)
        ci95 = measure_rates(targets, p_fake, metrics=["auroc"], draws=400)["auroc"].ci95
        widths[n] = ci95[1] - ci95[0]
    assert widths[200] / widths[3200] == pytest.approx(4, rel=0.3)


def test_interval_of_the_auroc_agrees_with_delong():
    targets, p_fake = random_scores(800, shift=0.6, decimals=2)
    rate = measure_rates(targets, p_fake, metrics=["auroc"], draws=2000)["auroc"]
    fake, real = p_fake[targets == 0], p_fake[targets == 1]
    ordered = (fake[:, None] > real) + 0.5 * (fake[:, None] == real)
    variance = ordered.mean(axis=1).var(ddof=1) / len(fake) + ordered.mean(axis=0).var(ddof=1) / len(real)
    assert (rate.ci95[1] - rate.ci95[0]) / (2 * 1.96) == pytest.approx(math.sqrt(variance), rel=0.08)


@pytest.mark.parametrize(("name", "needed"), [("auroc", 0.9), ("recall_fake", 0.9), ("eer", 0.9)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(name, needed):
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], 60)
    shift = 3.0
    logits_of = lambda n: rng.normal(size=2 * n) + shift * (np.repeat([0, 1], n) == 0) - shift / 2  # noqa: E731
    large = value(name, np.repeat([0, 1], 200_000), 1 / (1 + np.exp(-logits_of(200_000))))
    held = 0
    for seed in range(120):
        p_fake = 1 / (1 + np.exp(-logits_of(60)))
        low, high = measure_rates(targets, p_fake, threshold=0.5, metrics=[name], draws=200, seed=seed)[
            name
        ].ci95
        held += low <= large <= high
    assert held / 120 >= needed


def test_copies_of_a_face_in_one_group_are_no_new_evidence():
    targets, p_fake = random_scores(100, decimals=9)
    groups = np.array([f"g{i}" for i in range(100)])
    copied = [np.repeat(column, 8) for column in (targets, p_fake, groups)]

    def width(targets, p_fake, groups, name):
        ci95 = measure_rates(targets, p_fake, groups=groups, threshold=0.5, metrics=[name], draws=1000)[
            name
        ].ci95
        return ci95[1] - ci95[0]

    for name in ("auroc", "accuracy", "balanced_accuracy"):
        single = width(targets, p_fake, groups, name)
        assert width(*copied, name) == pytest.approx(single, rel=0.15), name
        assert width(copied[0], copied[1], None, name) < 0.6 * single, name


def test_a_photo_and_the_fakes_made_from_it_are_resampled_together():
    # Each group's real and fake share one offset: how they compare is much surer than rows alone tell.
    rng = np.random.default_rng(0)
    offset = rng.uniform(0, 0.8, 100)
    targets = np.repeat([1, 0], 100)
    p_fake = np.concatenate([offset, offset + 0.1])
    groups = np.tile([f"photo{i}" for i in range(100)], 2)
    widths = []
    for names in (groups, None):
        low, high = measure_rates(targets, p_fake, groups=names, metrics=["auroc"])["auroc"].ci95
        widths.append(high - low)
    assert widths[0] < 0.6 * widths[1]


def test_rows_without_a_group_are_each_their_own():
    targets, p_fake = random_scores(60, decimals=9)
    nameless = np.array([""] * 60, dtype=object)
    with_names = measure_rates(targets, p_fake, groups=nameless, threshold=0.5, draws=50)
    assert with_names == measure_rates(targets, p_fake, threshold=0.5, draws=50)


def test_group_names_in_any_order_keep_each_row_in_its_class():
    targets, p_fake = random_scores(100, decimals=9, shift=0.9)
    names = np.array([f"{i:03d}" for i in np.random.default_rng(0).permutation(100)])
    plain = measure_rates(targets, p_fake, threshold=0.5, draws=1000)["auroc"]
    named = measure_rates(targets, p_fake, threshold=0.5, draws=1000, groups=names)["auroc"]
    assert named.ci95 == pytest.approx(plain.ci95, abs=0.02)


def test_perfect_scores_get_an_interval_that_depends_on_how_many_were_seen():
    lows = {}
    for n in (20, 100):
        rates = measure_rates(np.repeat([0, 1], n), np.repeat([0.9, 0.1], n), threshold=0.5, draws=50)
        for name in (
            "accuracy",
            "recall_fake",
            "precision_real",
            "auroc",
            "ap_fake",
            "f1_fake",
            "balanced_accuracy",
        ):
            assert rates[name].value == 1
            assert rates[name].ci95[1] == 1
            assert 0.5 < rates[name].ci95[0] < 1, name
        assert rates["eer"].ci95[0] == 0
        assert rates["eer"].ci95[1] > 1 / (2 * n)
        lows[n] = {name: rates[name].ci95[0] for name in ("recall_fake", "auroc")}
        # Clopper-Pearson with no miss: all n would be hits with a chance of 2.5 %.
        assert lows[n]["recall_fake"] ** n == pytest.approx(0.025)
        # No AUROC below it leaves n disjoint pairs in order with more than that chance.
        assert lows[n]["auroc"] ** n < 0.025
    assert lows[20]["auroc"] < lows[100]["auroc"]


def test_scores_that_are_all_the_same_say_nothing():
    low, high = measure_rates(np.repeat([0, 1], 30), np.full(60, 0.5), metrics=["auroc"])["auroc"].ci95
    assert low < 0.4
    assert high > 0.6


def test_a_perfect_recall_does_not_hide_the_doubt_in_balanced_accuracy():
    targets = np.repeat([0, 1], [10, 1000])
    p_fake = np.concatenate([np.full(10, 0.9), np.full(900, 0.1), np.full(100, 0.8)])
    rates = measure_rates(targets, p_fake, threshold=0.5, draws=200)
    assert rates["balanced_accuracy"].value == pytest.approx(0.95)
    assert rates["balanced_accuracy"].ci95[0] < (rates["recall_fake"].ci95[0] + 0.95) / 2 + 0.03


def test_an_interval_that_cannot_be_computed_is_none_with_a_reason():
    targets, p_fake = random_scores(40)
    one_group = np.where(targets == 0, "video", [f"g{i}" for i in range(40)])
    rates = measure_rates(targets, p_fake, groups=one_group, threshold=0.5, draws=50)
    assert rates["auroc"].value is not None
    assert rates["auroc"].ci95 is None
    assert "one group" in rates["auroc"].reason
    assert rates["recall_real"].ci95 is not None
    single = measure_rates([0, 1, 1], [0.9, 0.2, 0.6], threshold=0.5, draws=50)["recall_fake"]
    assert (single.value, single.ci95) == (1.0, None)
    assert "one fake face" in single.reason


def test_a_rate_without_a_value_says_why_in_json():
    rate = measure_rates([1, 1], [0.1, 0.2], metrics=["auroc"])["auroc"]
    assert rate.to_json() == {
        "value": None,
        "ci95": None,
        "n_real": 2,
        "n_fake": 0,
        "reason": "there are no fake faces",
    }


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_evaluate_metric_gives_the_same_numbers_and_none_for_undefined(in_memory, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    from faceauth.scoring.detection_metric import DetectionMetric

    metric = DetectionMetric(keep_in_memory=in_memory, cache_dir=str(tmp_path))
    targets, p_fake = random_scores(50, decimals=12)
    expected = compute_metrics(targets, p_fake, threshold=0.3)
    assert metric.compute(predictions=p_fake, references=targets, threshold=0.3) == expected
    metric.add_batch(predictions=p_fake[:20], references=targets[:20])
    metric.add_batch(predictions=p_fake[20:], references=targets[20:])
    assert metric.compute(threshold=0.3) == expected
    one_class = metric.compute(predictions=[0.2, 0.9], references=[0, 0])
    assert one_class["auroc"] is None
    assert one_class["recall_fake"] == 0.5

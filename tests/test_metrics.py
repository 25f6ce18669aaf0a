import math
import os

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from faceauth.errors import InputError, UnknownNameError
from faceauth.scoring import resampling
from faceauth.scoring.intervals import measure_rates
from faceauth.scoring.metric_kinds.rankings import recall_at_fpr
from faceauth.scoring.metrics import METRICS, compute_metric, compute_metrics
from faceauth.scoring.resampling import draw_tallies, number_groups
from faceauth.scoring.tally import tally_scores

# Few distinct values, so that ties are common.
SCORES = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1, width=32))


@st.composite
def both_classes(draw):
    rows = draw(st.lists(st.tuples(st.integers(0, 1), SCORES), min_size=2, max_size=40))
    rows += [(0, draw(SCORES)), (1, draw(SCORES))]
    targets, p_fake = zip(*rows, strict=True)
    return np.array(targets), np.array(p_fake, dtype=np.float64)


def resample_tallies(targets, p_fake, group_of, *, draws, seed):
    tallies = draw_tallies(targets, p_fake, group_of, draws=draws, seed=seed)
    return [tallies.tally(block) for block in range(tallies.groups.n_blocks)]


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


@settings(max_examples=80, deadline=None)
@given(both_classes(), st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_recall_at_a_limit_is_the_highest_point_of_scikit_learns_roc_curve(scores, limit):
    targets, p_fake = scores
    fpr, tpr, _ = sklearn.metrics.roc_curve(targets == 0, p_fake, drop_intermediate=False)
    tally = tally_scores(targets, p_fake)
    assert float(recall_at_fpr(tally, limit)) == pytest.approx(tpr[fpr <= limit].max())


def test_recall_at_a_limit_by_hand():
    # 200 reals: at most two of them may be called fake, so that the threshold lies above the third highest.
    reals = np.concatenate([np.linspace(0, 0.4, 197), [0.5, 0.6, 0.7]])
    fakes = np.array([0.1, 0.45, 0.55, 0.58, 0.9])
    targets = np.repeat([1, 0], [200, 5])
    p_fake = np.concatenate([reals, fakes])
    assert value("tpr_at_fpr_1", targets, p_fake) == 3 / 5
    # A fake that ties with that real is not found.
    assert value("tpr_at_fpr_1", targets, np.where(p_fake == 0.55, 0.5, p_fake)) == 2 / 5


@pytest.mark.parametrize(("name", "needed"), [("tpr_at_fpr_1", 100), ("tpr_at_fpr_01", 1000)])
def test_a_false_positive_rate_too_rare_to_be_seen_is_undefined(name, needed):
    def measure(n_real):
        return compute_metric(name, np.repeat([1, 0], [n_real, 5]), np.linspace(0, 1, n_real + 5))

    assert measure(needed) == (1.0, None)
    measured, reason = measure(needed - 1)
    assert measured is None
    assert f"{needed:,}" in reason
    assert f"{needed - 1}" in reason


def test_a_score_on_the_threshold_is_called_fake():
    assert value("recall_fake", [0, 0, 1], [0.5, 0.4, 0.1], threshold=0.5) == 0.5
    assert value("recall_real", [0, 1, 1], [0.9, 0.5, 0.4], threshold=0.5) == 0.5


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_is_defined_exactly_when_it_has_what_it_declares(name):
    metric = METRICS.get(name)
    # As many reals as the rarest false alarm needs.
    reals, fakes = ([1, 1] * 500, [0.2, 0.7] * 500), ([0, 0], [0.3, 0.9])
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
    targets, p_fake = random_scores(3000, seed=seed)
    for name, rate in measure_rates(targets, p_fake, threshold=0.5, draws=100).items():
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


def test_threads_change_no_digit(monkeypatch):
    targets, p_fake = random_scores(400)
    groups = np.array([f"g{i // 3}" for i in range(400)])
    monkeypatch.setattr(resampling, "COUNTS_AT_ONCE", 2000)
    measured = {}
    for worth in (1, 10**9):
        monkeypatch.setattr(resampling, "COUNTS_WORTH_THREADS", worth)
        measured[worth] = measure_rates(targets, p_fake, groups=groups, threshold=0.5, draws=83, seed=5)
    assert measured[1] == measured[10**9]


def test_no_two_blocks_of_resamples_are_the_same(monkeypatch):
    targets, p_fake = random_scores(60)
    monkeypatch.setattr(resampling, "COUNTS_AT_ONCE", 120)
    tallies = resample_tallies(targets, p_fake, number_groups(None, 60), draws=7, seed=0)
    assert [len(tally.real) for tally in tallies] == [2, 2, 2, 1]
    drawn = np.concatenate([tally.real for tally in tallies])
    assert len(np.unique(drawn, axis=0)) == 7


@pytest.mark.parametrize("n_groups", [2, 7, 30])
def test_all_faces_of_a_group_are_drawn_equally_often(n_groups):
    # No ties, so that each face has a count of its own.
    targets, p_fake = random_scores(60, decimals=12, shift=0)
    group_of = np.random.default_rng(n_groups).permutation(np.arange(60) % n_groups)
    (tally,) = resample_tallies(targets, p_fake, group_of, draws=9, seed=1)
    of_face = {
        score: counts
        for scores, drawn in (
            (tally.ranking.real_scores, tally.real),
            (tally.ranking.fake_scores, tally.fake),
        )
        for score, counts in zip(scores.tolist(), drawn.T, strict=True)
    }
    counts = np.array([of_face[score] for score in p_fake.tolist()])
    for group in range(n_groups):
        assert (counts[group_of == group] == counts[group_of == group][0]).all()
    assert len(np.unique(counts, axis=0)) > 1


def test_each_kind_of_group_is_drawn_as_often_as_there_are():
    targets = np.array([1] * 6 + [0] * 9)
    p_fake = np.linspace(0, 1, 15)
    tallies = resample_tallies(targets, p_fake, number_groups(None, 15), draws=50, seed=0)
    assert all((tally.n_real == 6).all() and (tally.n_fake == 9).all() for tally in tallies)
    assert np.concatenate([tally.real for tally in tallies]).mean() == pytest.approx(1)
    assert np.concatenate([tally.fake for tally in tallies]).mean(axis=0) == pytest.approx(1, abs=0.6)


def test_values_of_resamples_are_those_of_scikit_learn_on_the_drawn_faces():
    targets, p_fake = random_scores(60)
    (tally,) = resample_tallies(targets, p_fake, number_groups(None, 60), draws=5, seed=0)
    is_fake = np.repeat([False, True], [tally.real.shape[1], tally.fake.shape[1]])
    scores = np.concatenate([tally.ranking.real_scores, tally.ranking.fake_scores])
    for row, counts in enumerate(np.concatenate([tally.real, tally.fake], axis=1)):
        for name, wanted in (
            ("auroc", sklearn.metrics.roc_auc_score(is_fake, scores, sample_weight=counts)),
            ("ap_fake", sklearn.metrics.average_precision_score(is_fake, scores, sample_weight=counts)),
            ("ap_real", sklearn.metrics.average_precision_score(~is_fake, -scores, sample_weight=counts)),
            ("brier", sklearn.metrics.brier_score_loss(is_fake, scores, sample_weight=counts)),
        ):
            assert METRICS.get(name).compute(tally, 0.5)[row] == pytest.approx(wanted), name


@pytest.mark.parametrize(("n_real", "faces_a_group"), [(400, 1), (1500, 5)])
def test_the_interval_of_recall_at_a_limit_holds_the_truth(n_real, faces_a_group):
    rng = np.random.default_rng(0)
    shift, n_fake = 3.0, 200
    truth = 0.5 * math.erfc((2.3263478740408408 - shift) / math.sqrt(2))
    targets = np.repeat([1, 0], [n_real, n_fake])
    groups = np.array([f"{target}-{i // faces_a_group}" for i, target in enumerate(targets)])
    held = 0
    for _ in range(150):
        shared = np.repeat(rng.normal(size=len(targets) // faces_a_group), faces_a_group)
        logits = math.sqrt(0.5) * (shared + rng.normal(size=len(targets))) + shift * (targets == 0)
        low, high = measure_rates(
            targets, 1 / (1 + np.exp(-logits)), groups=groups, metrics=["tpr_at_fpr_1"]
        )["tpr_at_fpr_1"].ci95
        held += low <= truth <= high
    assert held / 150 >= 0.92


@pytest.mark.parametrize("n_real", [100, 300, 700])
def test_the_interval_of_recall_at_a_limit_is_around_the_value_that_is_reported(n_real):
    rng = np.random.default_rng(n_real)
    targets = np.repeat([1, 0], [n_real, 50])
    for decimals in (2, 12):
        p_fake = np.round(np.concatenate([rng.beta(2, 4, n_real), rng.beta(4, 2, 50)]), decimals)
        rate = measure_rates(targets, p_fake, metrics=["tpr_at_fpr_1"])["tpr_at_fpr_1"]
        assert rate.value == float(recall_at_fpr(tally_scores(targets, p_fake), 0.01))
        assert rate.ci95[0] <= rate.value <= rate.ci95[1]
        # At least as unsure as if the threshold were known.
        called = np.sort(p_fake[targets == 0]) > np.sort(p_fake[targets == 1])[-(n_real // 100) - 1]
        known = binomtest(int(called.sum()), 50).proportion_ci(method="exact")
        assert rate.value == called.mean()
        assert rate.ci95[0] <= known.low + 1e-9
        assert rate.ci95[1] >= known.high - 1e-9


def test_so_few_reals_that_no_threshold_is_sure_leave_the_recall_at_a_limit_open():
    def low(n_real):
        targets, p_fake = np.repeat([1, 0], [n_real, 500]), np.repeat([0.1, 0.9], [n_real, 500])
        return measure_rates(targets, p_fake, metrics=["tpr_at_fpr_1"])["tpr_at_fpr_1"].ci95[0]

    # 1 - 0.025 ** (1 / n) is at most 1 % from 368 on: then no alarm among n says enough.
    assert low(367) == 0
    assert low(368) > 0.98


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

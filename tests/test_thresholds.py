import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceauth.decisions.threshold_rules import THRESHOLD_RULES, parse_rule
from faceauth.decisions.thresholds import (
    DEFAULT_RULES,
    Threshold,
    choose_threshold,
    list_thresholds,
    refuse_too_few_faces,
)
from faceauth.errors import InputError, UnknownNameError, UsageError
from faceauth.scoring.metrics import compute_metric

# How each registered rule is written.
WRITTEN = {
    "half": "half", "value": "value=0.6", "youden": "youden", "best_f1": "best_f1", "fpr": "fpr=0.25",
    "cost": "cost=5",
}  # fmt: skip
LEARNED = [WRITTEN[name] for name in THRESHOLD_RULES.names() if THRESHOLD_RULES.get(name).looks_at_scores]


def negative_cost(weight):
    """What a rule of costs makes as large as it can: minus the cost of both errors at even odds."""

    def worth(targets, p_fake, threshold):
        recall_fake, recall_real = (
            compute_metric(name, targets, p_fake, threshold=threshold)[0]
            for name in ("recall_fake", "recall_real")
        )
        return -(weight * (1 - recall_fake) + (1 - recall_real))

    return worth


def metric(name):
    return lambda targets, p_fake, threshold: compute_metric(name, targets, p_fake, threshold=threshold)[0]


WORTH = {
    "youden": metric("balanced_accuracy"),
    "best_f1": metric("f1_fake"),
    "cost=5": negative_cost(5),
    "cost=0.2": negative_cost(0.2),
}


@st.composite
def both_classes(draw):
    scores = st.one_of(st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.floats(0, 1))
    rows = draw(st.lists(st.tuples(st.integers(0, 1), scores), max_size=25))
    rows += [(0, draw(scores)), (1, draw(scores))]
    targets, p_fake = zip(*rows, strict=True)
    return np.array(targets), np.array(p_fake, dtype=np.float64)


def overlapping(n, *, seed=0):
    rng = np.random.default_rng(seed)
    targets = np.repeat([0, 1], n)
    return targets, 1 / (1 + np.exp(-rng.normal(np.where(targets == 0, 1.0, -1.0), 1.5)))


def test_every_registered_rule_is_written_here_and_every_default_rule_can_be_read():
    assert set(WRITTEN) == set(THRESHOLD_RULES.names())
    assert all(parse_rule(text).name == name for name, text in WRITTEN.items())
    assert [parse_rule(text).text for text in DEFAULT_RULES] == list(DEFAULT_RULES)


@pytest.mark.parametrize("rule", sorted(WORTH))
@settings(max_examples=60, deadline=None)
@given(scores=both_classes())
def test_no_other_threshold_is_better(rule, scores):
    targets, p_fake = scores
    chosen = choose_threshold(targets, p_fake, rule=rule, draws=10).value
    # Above 1 no face is called fake; no rule may promise such a threshold.
    possible = [t for t in [*p_fake, np.nextafter(p_fake.max(), 2)] if t <= 1]
    best = max(WORTH[rule](targets, p_fake, t) for t in possible)
    assert WORTH[rule](targets, p_fake, chosen) == pytest.approx(best)
    assert 0 <= chosen <= 1


@settings(max_examples=100, deadline=None)
@given(scores=both_classes(), limit=st.sampled_from([0.1, 0.25, 0.5]))
def test_a_limit_on_false_alarms_is_kept_by_the_lowest_threshold_that_does(scores, limit):
    targets, p_fake = scores
    reals = p_fake[targets == 1]
    assert_kept = (reals >= 1).mean() <= limit and len(reals) * limit >= 1
    try:
        chosen = choose_threshold(targets, p_fake, rule=f"fpr={limit}", draws=10).value
    except InputError:
        assert not assert_kept
        return
    assert assert_kept
    assert (reals >= chosen).mean() <= limit
    # One score further down the limit is broken, or there is none.
    below = p_fake[p_fake < chosen]
    assert not len(below) or (reals >= below.max()).mean() > limit


def test_cost_one_is_youden_and_a_dearer_miss_lowers_the_threshold():
    targets, p_fake = overlapping(400)
    cuts = [choose_threshold(targets, p_fake, rule=f"cost={c}", draws=10).value for c in (0.2, 1, 5, 50)]
    assert cuts[1] == choose_threshold(targets, p_fake, rule="youden", draws=10).value
    assert cuts == sorted(cuts, reverse=True)
    assert len(set(cuts)) == 4


def test_costs_are_shares_and_not_counts():
    targets, p_fake = overlapping(300)
    fake = targets == 0
    more_reals = (
        np.concatenate([targets, np.ones(900, dtype=int)]),
        np.append(p_fake, np.tile(p_fake[~fake], 3)),
    )
    assert (
        choose_threshold(*more_reals, rule="cost=5", draws=10).value
        == choose_threshold(targets, p_fake, rule="cost=5", draws=10).value
    )


@pytest.mark.parametrize("rule", LEARNED)
def test_a_threshold_lies_halfway_between_neighbouring_scores(rule):
    targets, p_fake = np.repeat([1, 0], 4), np.repeat([0.1, 0.2, 0.6, 0.9], 2)
    threshold = choose_threshold(targets, p_fake, rule=rule)
    assert threshold.value == pytest.approx(0.4)
    assert (threshold.rule, threshold.chosen_on) == (rule, "val")
    assert (threshold.n_real, threshold.n_fake, threshold.n_groups) == (4, 4, 8)


# Halfway between two neighbouring floats is rounded up for one of these and down for the other.
@pytest.mark.parametrize("low", [0.3, float(np.nextafter(0.3, 1))])
def test_neighbouring_floats_are_still_told_apart(low):
    high = float(np.nextafter(low, 1))
    chosen = choose_threshold([1, 0], [low, high], rule="youden").value
    assert low < chosen <= high


def test_of_equally_good_thresholds_the_one_closest_to_a_half_is_taken():
    targets, p_fake = [0, 1, 0, 1], [0.9, 0.55, 0.5, 0.1]
    # Halfway 0.725 and 0.3 both have recalls that sum to 1.5.
    assert choose_threshold(targets, p_fake, rule="youden").value == pytest.approx(0.3)


def test_the_rules_differ_where_one_class_is_rare():
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], [30, 970])
    p_fake = np.clip(rng.normal(np.where(targets == 0, 0.6, 0.4), 0.1), 0, 1)
    youden, best_f1 = (choose_threshold(targets, p_fake, rule=rule).value for rule in ("youden", "best_f1"))
    assert best_f1 > youden


@pytest.mark.parametrize(("rule", "value"), [("half", 0.5), ("value=0.6", 0.6), ("value=1", 1.0)])
def test_a_fixed_rule_needs_no_scores_and_says_that_it_was_fixed(rule, value):
    threshold = choose_threshold(np.array([]), np.array([]), rule=rule, chosen_on="test")
    assert (threshold.value, threshold.rule, threshold.chosen_on) == (value, rule, "fixed")
    assert threshold.ci95 is None
    assert "no interval" in threshold.reason


@pytest.mark.parametrize("rule", LEARNED)
def test_the_test_split_is_refused(rule):
    with pytest.raises(InputError, match="test split"):
        choose_threshold([1, 0], [0.1, 0.9], rule=rule, chosen_on="test")


@pytest.mark.parametrize("rule", LEARNED)
@pytest.mark.parametrize("targets", [[1, 1], [0, 0], []])
def test_one_class_is_refused_with_a_way_out(rule, targets):
    with pytest.raises(InputError, match="half"):
        choose_threshold(np.array(targets), np.full(len(targets), 0.4), rule=rule)


def test_too_few_reals_for_a_limit_are_refused_with_the_number_that_is_needed():
    targets, p_fake = overlapping(99)
    with pytest.raises(InputError, match=r"at least 100 real faces.*there are 99"):
        choose_threshold(targets, p_fake, rule="fpr=0.01")
    refuse_too_few_faces("fpr=0.01", n_real=100)
    refuse_too_few_faces("youden", n_real=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fpr", "needs a number.*'fpr=0.01'"),
        ("fpr=", "needs a number"),
        ("fpr=low", "'low'.*no number"),
        ("fpr=0", "out of range"),
        ("fpr=1", "out of range"),
        ("fpr=nan", "out of range"),
        ("cost=-1", "out of range"),
        ("cost=inf", "out of range"),
        ("value=1.2", "out of range.*0 to 1"),
        ("youden=3", "takes no number"),
    ],
)
def test_a_rule_that_cannot_be_read_is_explained(text, says):
    with pytest.raises(UsageError, match=says):
        parse_rule(text)


@pytest.mark.parametrize(("text", "meant"), [("yuoden", "youden"), ("vlaue=0.6", "value")])
def test_a_misspelt_rule_is_answered_with_the_close_match(text, meant):
    with pytest.raises(UnknownNameError, match=f"Did you mean '{meant}'"):
        choose_threshold([1, 0], [0.1, 0.9], rule=text)


@pytest.mark.parametrize("rule", ["youden", "fpr=0.1", "cost=3"])
def test_an_interval_holds_its_threshold_and_shrinks_with_more_faces(rule):
    widths = []
    for n in (60, 2000):
        threshold = choose_threshold(*overlapping(n), rule=rule, draws=300)
        low, high = threshold.ci95
        assert low <= threshold.value <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_interval_of_a_limit_holds_the_limit_of_all_faces_about_as_often_as_it_says():
    # The 95th percentile of all reals' scores, known from their distribution.
    truth = 1 / (1 + np.exp(-(-1.0 + 1.5 * 1.6448536)))
    held = []
    for seed in range(150):
        low, high = choose_threshold(*overlapping(200, seed=seed), rule="fpr=0.05", draws=200).ci95
        held.append(low <= truth <= high)
    assert 0.86 <= np.mean(held) <= 0.995


def test_faces_of_one_group_are_no_independent_evidence():
    targets, p_fake = overlapping(60)
    groups = np.arange(120).astype(str)
    repeated = [np.repeat(column, 8) for column in (targets, p_fake, groups)]
    widths = {}
    for name, (t, p, g) in {
        "once": (targets, p_fake, groups),
        "grouped": repeated,
        "ungrouped": (*repeated[:2], None),
    }.items():
        low, high = choose_threshold(t, p, rule="fpr=0.1", groups=g, draws=1000).ci95
        widths[name] = high - low
    assert widths["grouped"] == pytest.approx(widths["once"], rel=0.15)
    assert widths["ungrouped"] < 0.7 * widths["once"]


def test_one_group_of_a_class_gives_a_threshold_without_an_interval():
    targets, p_fake = overlapping(20)
    groups = np.where(targets == 1, "one person", np.arange(40).astype(str))
    threshold = choose_threshold(targets, p_fake, rule="youden", groups=groups)
    assert threshold.ci95 is None
    assert threshold.reason == "no interval: all real faces are of one group"
    assert threshold.n_groups == 21


def test_a_threshold_comes_back_from_json_and_an_older_card_is_read():
    threshold = choose_threshold(*overlapping(50), rule="youden", draws=50)
    assert Threshold.from_json(json.loads(json.dumps(threshold.to_json()))) == threshold
    old = Threshold.from_json({"value": 0.4, "rule": "youden", "chosen_on": "val"})
    assert (old.value, old.ci95) == (0.4, None)
    assert "no interval" in old.reason


def test_the_list_has_every_rule_and_null_with_a_reason_for_one_that_cannot_answer():
    targets, p_fake = overlapping(50)
    listed = {entry["rule"]: entry for entry in list_thresholds(targets, p_fake, draws=50)}
    assert list(listed) == list(DEFAULT_RULES)
    assert listed["fpr=0.01"]["value"] is None
    assert "100 real faces" in listed["fpr=0.01"]["reason"]
    assert [listed["fpr=0.01"][name] for name in ("n_real", "n_fake", "n_groups")] == [50, 50, 100]
    for rule in ("youden", "fpr=0.05"):
        assert listed[rule] == choose_threshold(targets, p_fake, rule=rule, draws=50).to_json()
    json.dumps(listed, allow_nan=False)


def test_reals_that_all_score_one_leave_no_limit_to_keep():
    targets = np.repeat([0, 1], 20)
    with pytest.raises(InputError, match="highest score, 1"):
        choose_threshold(targets, np.ones(40), rule="fpr=0.1")


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    targets, p_fake = overlapping(100)
    first, again, other = (
        choose_threshold(targets, p_fake, rule="youden", draws=100, seed=seed).ci95 for seed in (0, 0, 1)
    )
    assert first == again != other

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceauth.errors import InputError, UnknownNameError
from faceauth.scoring.metrics import compute_metric
from faceauth.scoring.thresholds import THRESHOLD_RULES, choose_threshold

LEARNED = [name for name in THRESHOLD_RULES.names() if THRESHOLD_RULES.get(name).looks_at_scores]
WORTH = {"youden": "balanced_accuracy", "best_f1": "f1_fake"}


@st.composite
def both_classes(draw):
    scores = st.one_of(st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.floats(0, 1))
    rows = draw(st.lists(st.tuples(st.integers(0, 1), scores), max_size=25))
    rows += [(0, draw(scores)), (1, draw(scores))]
    targets, p_fake = zip(*rows, strict=True)
    return np.array(targets), np.array(p_fake, dtype=np.float64)


def test_every_learned_rule_is_tested_for_what_it_maximises():
    assert set(WORTH) == set(LEARNED)


@pytest.mark.parametrize("rule", sorted(WORTH))
@settings(max_examples=80, deadline=None)
@given(scores=both_classes())
def test_no_other_threshold_is_better(rule, scores):
    targets, p_fake = scores
    chosen = choose_threshold(targets, p_fake, rule=rule).value
    best = max(compute_metric(WORTH[rule], targets, p_fake, threshold=t)[0] for t in [*p_fake, 1.1])
    assert compute_metric(WORTH[rule], targets, p_fake, threshold=chosen)[0] == pytest.approx(best)
    assert 0 <= chosen <= 1


@pytest.mark.parametrize("rule", LEARNED)
def test_a_threshold_lies_halfway_between_neighbouring_scores(rule):
    threshold = choose_threshold([1, 1, 0, 0], [0.1, 0.2, 0.6, 0.9], rule=rule)
    assert threshold.value == pytest.approx(0.4)
    assert threshold.to_json() == {"value": threshold.value, "rule": rule, "chosen_on": "val"}
    assert (threshold.n_real, threshold.n_fake) == (2, 2)


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


def test_half_needs_no_scores_and_says_that_it_was_fixed():
    threshold = choose_threshold(np.array([]), np.array([]), rule="half", chosen_on="test")
    assert threshold.to_json() == {"value": 0.5, "rule": "half", "chosen_on": "fixed"}


@pytest.mark.parametrize("rule", LEARNED)
def test_the_test_split_is_refused(rule):
    with pytest.raises(InputError, match="test split"):
        choose_threshold([1, 0], [0.1, 0.9], rule=rule, chosen_on="test")


@pytest.mark.parametrize("rule", LEARNED)
@pytest.mark.parametrize("targets", [[1, 1], [0, 0], []])
def test_one_class_is_refused_with_a_way_out(rule, targets):
    with pytest.raises(InputError, match="half"):
        choose_threshold(np.array(targets), np.full(len(targets), 0.4), rule=rule)


def test_a_misspelt_rule_is_answered_with_the_close_match():
    with pytest.raises(UnknownNameError, match="youden"):
        choose_threshold([1, 0], [0.1, 0.9], rule="yuoden")

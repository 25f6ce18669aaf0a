"""Generators of a shape of their own: what is far for a narrow one is unknown; older cards still answer."""

import json

import numpy as np
import pytest

from faceauth.decisions.attribution import UNKNOWN, attribute, check_attribution
from faceauth.decisions.attribution_fit import fit_attribution
from faceauth.decisions.own_shapes import find_whitenings, most_directions, nearest_distances


def draw(n, *, seed):
    """Fakes of a generator of little variety and of one of much, (2n, 6), with names."""
    rng = np.random.default_rng(seed)
    narrow = rng.normal(size=(n, 6)) * 0.3
    wide = rng.normal(size=(n, 6)) * 3 + 25
    return np.concatenate([narrow, wide]), np.repeat(["narrow", "wide"], n)


@pytest.fixture(scope="module")
def entry():
    return fit_attribution(*draw(300, seed=0), *draw(300, seed=1))


def named(features, entry):
    return [name for name, _ in attribute(features, entry)]


def test_what_lies_beside_a_narrow_generator_is_unknown_and_beside_a_wide_one_is_not(entry):
    check_attribution(entry)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    away = np.array([[3.0, 0, 0, 0, 0, 0]])
    assert named(away, entry) == [UNKNOWN]
    assert named(25 + away, entry) == ["wide"]
    features, names = draw(400, seed=2)
    kept = np.array(named(features, entry)) != UNKNOWN
    # Neither pays for the other.
    assert kept[names == "narrow"].mean() > 0.88
    assert kept[names == "wide"].mean() > 0.88


def test_an_older_card_of_one_shape_is_read_as_before(entry):
    older = {key: value for key, value in entry.items() if key != "whitenings"}
    check_attribution(older)
    away = np.array([[3.0, 0, 0, 0, 0, 0]])
    # Its one shape is that of the wide generator.
    assert named(away, older | {"farthest": 5.0}) == ["narrow"]


@pytest.mark.parametrize(
    "damaged", ["x", [1.0], {"shape": [1, 1], "float16": "AAA=", "scales_float32": "AAAAAA=="}]
)
def test_damaged_shapes_are_refused(entry, damaged):
    with pytest.raises((ValueError, KeyError, TypeError)):
        check_attribution(entry | {"whitenings": damaged})


def test_of_few_faces_a_shape_is_the_common_one_in_its_own_size():
    rng = np.random.default_rng(0)
    common = np.array([[4.0, 0.0], [0.0, 1.0]])
    number = np.repeat([0, 1, 2], [3, 4000, 5])
    residuals = rng.normal(size=(len(number), 2)) * np.where(number == 0, 0.01, 1.0)[:, None]
    residuals[number == 2] = 0.0
    few, many, none = find_whitenings(residuals, number, common).reshape(3, 2, 2)
    assert few[1, 1] / few[0, 0] == pytest.approx(2.0, rel=0.3)
    assert few[1, 1] > 50
    np.testing.assert_allclose(many, np.eye(2), atol=0.1)
    assert np.isfinite(none).all()


def test_distances_are_to_the_nearest_by_its_own_measure():
    means = np.array([[0.0, 0.0], [10.0, 0.0]])
    whitenings = np.vstack([np.eye(2), np.eye(2) / 5])
    found = nearest_distances(np.array([[2.0, 0], [5.0, 0], [10.0, 10.0]]), means, whitenings)
    np.testing.assert_allclose(found, [1.6, 1.0, 2.0])


def test_many_sources_leave_room_for_fewer_directions():
    assert most_directions(32, d=32, n_sources=16, n_numbers=60_000) == 32
    few = most_directions(32, d=1280, n_sources=100, n_numbers=60_000)
    assert 1 < few < 32
    assert few * (1280 + 100 * (few + 1)) <= 60_000
    assert most_directions(32, d=10**6, n_sources=2, n_numbers=60_000) == 1

"""The discriminant of frozen readings: what it finds, and what it does not fall for."""

import numpy as np
import pytest

from faceauth.detectors.discriminant import find_directions
from faceauth.labels import FAKE, REAL


def planted(*, n=400, d=40, seed=0):
    """Readings in which fakes differ in direction 0, and sources of either class in many others."""
    rng = np.random.default_rng(seed)
    targets = np.where(np.arange(n) % 2, REAL, FAKE)
    readings = rng.normal(size=(n, d))
    readings[:, 0] += np.where(targets == FAKE, 1.5, -1.5)
    return readings, targets


def auroc(scores, targets):
    fakes, reals = scores[targets == FAKE], scores[targets == REAL]
    return (fakes[:, None] > reals).mean() + (fakes[:, None] == reals).mean() / 2


def test_the_first_direction_grows_towards_fakes():
    readings, targets = planted()
    found = find_directions(readings, targets, np.ones(len(targets)), n_directions=4)
    scores = ((readings - found.mean) / found.scale) @ found.directions[0]
    assert auroc(scores, targets) > 0.95
    swapped = find_directions(readings, 1 - targets, np.ones(len(targets)), n_directions=4)
    assert swapped.directions[0] @ found.directions[0] < 0


def test_each_direction_has_a_spread_of_one():
    readings, targets = planted()
    found = find_directions(readings * 7 + 3, targets, np.ones(len(targets)), n_directions=6)
    embedded = ((readings * 7 + 3 - found.mean) / found.scale) @ found.directions.T
    np.testing.assert_allclose(embedded.std(axis=0), 1, rtol=1e-3)


def test_scale_and_place_of_readings_change_nothing():
    readings, targets = planted()
    rng = np.random.default_rng(1)
    moved = readings * rng.uniform(0.1, 10, 40) + rng.normal(size=40)
    scores = []
    for table in (readings, moved):
        found = find_directions(table, targets, np.ones(len(targets)), n_directions=1)
        scores.append(((table - found.mean) / found.scale) @ found.directions[0])
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-2, atol=1e-2)


def test_a_weight_of_two_counts_like_two_crops():
    readings, targets = planted(n=60, d=8)
    weights = np.ones(60)
    weights[:10] = 2
    twice = np.concatenate([np.arange(60), np.arange(10)])
    weighted = find_directions(readings, targets, weights, n_directions=1)
    repeated = find_directions(readings[twice], targets[twice], np.ones(70), n_directions=1)
    a, b = (found.directions[0] / found.scale for found in (weighted, repeated))
    # Mean, spread and components know no weights, so the two are near, not equal.
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99


def test_what_tells_two_known_sources_apart_in_little_variance_is_not_leant_on():
    """A cue of tiny variance that is perfect on the known sources is worth no more than an honest one."""
    rng = np.random.default_rng(0)
    n = 400
    targets = np.where(np.arange(n) % 2, REAL, FAKE)
    sign = np.where(targets == FAKE, 1.0, -1.0)
    base = rng.normal(size=(n, 30))
    base[:, 0] += 1.5 * sign
    # Correlated readings whose difference gives the class away.
    shared = rng.normal(size=n)
    cue = np.stack([shared, shared + 0.02 * sign], axis=1)
    readings = np.hstack([base, cue])
    found = find_directions(readings, targets, np.ones(n), n_directions=1)
    standardised = (readings - found.mean) / found.scale
    plain = np.linalg.solve(
        np.cov(standardised.T) + 1e-9 * np.eye(32), (standardised * sign[:, None]).mean(axis=0)
    )
    # How much of the distance between the classes each way owes to the cue, and to the honest reading.
    between = standardised[targets == FAKE].mean(axis=0) - standardised[targets == REAL].mean(axis=0)
    owed = [(d[-2:] @ between[-2:]) / (d[0] * between[0]) for d in (found.directions[0], plain)]
    assert owed[0] < 1
    assert owed[1] > 10


@pytest.mark.parametrize("n_directions", [1, 3, 50])
def test_there_are_as_many_directions_as_asked_for(n_directions):
    readings, targets = planted(n=20, d=10)
    found = find_directions(readings, targets, np.ones(20), n_directions=n_directions)
    assert found.directions.shape == (n_directions, 10)
    assert np.isfinite(found.directions).all()
    assert not found.directions[11:].any()


def test_the_same_readings_give_the_same_directions():
    readings, targets = planted()
    first, second = (
        find_directions(readings.astype(np.float32), targets, np.ones(len(targets)), n_directions=5)
        for _ in range(2)
    )
    assert np.array_equal(first.directions, second.directions)

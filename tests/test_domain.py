"""The training domain: what lies inside as often as was said, what lies outside, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
from planted import write_planted_manifest
from test_detectors import some_card

from faceauth.decisions.decided import read_decided
from faceauth.decisions.domain import check_domain, domain_distances, is_outside
from faceauth.decisions.domain_fit import FEWEST_FACES, fit_domain
from faceauth.decisions.known_sources import some_of_each_source
from faceauth.errors import DetectorError, InputError
from faceauth.intake.manifest import read_manifest
from faceauth.runtimes.network import Pass
from faceauth.verdicts.judge import Judge
from faceauth.verdicts.verdict import OUTSIDE_DOMAIN, WARNINGS

SOURCES = 6
D = 24


def draw(number, n, *, seed=0, d=D):
    """Embeddings of a planted source, float64 (n, d): each has a centre and a shape of its own."""
    own = np.random.default_rng([7, number])
    centre, shape = own.normal(size=d) * 3, np.exp(own.normal(size=d) * 0.4)
    return centre + np.random.default_rng([seed, number]).normal(size=(n, d)) * shape


def draw_all(n, *, seed=0, d=D, sources=SOURCES):
    """Embeddings of all planted sources and their names."""
    features = np.concatenate([draw(number, n, seed=seed, d=d) for number in range(sources)])
    return features, np.repeat([f"real/{number}" for number in range(sources)], n)


@pytest.fixture(scope="module")
def entry():
    return fit_domain(*draw_all(150), *draw_all(150, seed=1))


def test_as_many_new_faces_of_known_sources_lie_inside_as_was_said(entry):
    check_domain(entry)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    features, _ = draw_all(500, seed=2)
    assert 0.03 < is_outside(features, entry).mean() < 0.075
    assert entry["kept"] == 0.95


def test_other_shares_can_be_asked_for():
    entry = fit_domain(*draw_all(150), *draw_all(150, seed=1), kept=0.99)
    features, _ = draw_all(500, seed=2)
    assert 0.002 < is_outside(features, entry).mean() < 0.02


def test_a_source_that_nobody_has_seen_lies_outside(entry):
    assert is_outside(draw(SOURCES, 300), entry).mean() > 0.95
    # And what is like two known ones at once is like neither.
    between = (draw(0, 300, seed=3) + draw(1, 300, seed=4)) / 2
    assert is_outside(between, entry).mean() > 0.95


def test_each_source_has_a_shape_of_its_own():
    rng = np.random.default_rng(0)

    def two(n):
        narrow, wide = rng.normal(size=(n, 4)) * 0.2, rng.normal(size=(n, 4)) * 2 + 30
        return np.concatenate([narrow, wide]), np.repeat(["real/narrow", "real/wide"], n)

    entry = fit_domain(*two(400), *two(400))
    # As far from the middle of its source as others of the wide one are, but not of the narrow one.
    away = np.array([[3.0, 0, 0, 0]])
    assert not is_outside(30 + away, entry).any()
    assert is_outside(away, entry).all()


def test_a_large_source_does_not_decide_for_a_small_one():
    # Val of the first source is as its train, and has twenty times the faces; that of the second is wider.
    features, names = draw_all(150, sources=2)
    val = np.concatenate([draw(0, 2000, seed=1), draw(1, 100, seed=1) * 1.5])
    entry = fit_domain(features, names, val, ["real/0"] * 2000 + ["real/1"] * 100)
    outside = is_outside(val, entry)
    inside_of_both = 1 - (outside[:2000].mean() + outside[2000:].mean()) / 2
    assert inside_of_both == pytest.approx(0.95, abs=0.01)


def test_faces_of_one_group_count_as_one():
    features, names = draw_all(150)
    val, val_names = draw_all(60, seed=1)
    groups = np.array([f"person {i}" for i in range(len(val))])
    far = int(domain_distances(val, fit_domain(features, names, val, val_names)).argmax())
    once = fit_domain(features, names, val, val_names, groups)
    copies = [far] * 300
    many = fit_domain(
        features,
        names,
        np.concatenate([val, val[copies]]),
        np.concatenate([val_names, val_names[copies]]),
        np.concatenate([groups, groups[copies]]),
    )
    assert many["farthest"] == pytest.approx(once["farthest"])
    assert many["n_val_groups"] == once["n_val_groups"] == len(val)
    alone = fit_domain(
        features,
        names,
        np.concatenate([val, val[copies]]),
        np.concatenate([val_names, val_names[copies]]),
        np.concatenate([groups, [""] * 300]),
    )
    assert alone["farthest"] > once["farthest"]


def test_over_many_splits_the_share_of_new_groups_inside_is_kept():
    shares = []
    for seed in range(60):
        features, names = draw_all(60, seed=1000 + seed, d=5, sources=3)
        val, val_names = draw_all(21, seed=2000 + seed, d=5, sources=3)
        entry = fit_domain(features, names, val, val_names)
        shares.append(1 - is_outside(draw_all(100, seed=3000 + seed, d=5, sources=3)[0], entry).mean())
    assert 0.95 - 0.004 < np.mean(shares) < 0.975


@pytest.mark.parametrize(("d", "sources"), [(1500, 4), (40, 60)])
def test_an_entry_stays_small_whatever_there_is_to_hold(d, sources):
    entry = fit_domain(*draw_all(12, d=d, sources=sources), *draw_all(10, d=d, sources=sources, seed=1))
    check_domain(entry)
    assert len(json.dumps(entry)) < 200_000


def test_too_few_faces_are_no_ground_and_the_entry_says_so():
    features, names = draw_all(FEWEST_FACES - 1)
    for entry in (
        fit_domain(features, names, *draw_all(50, seed=1)),
        fit_domain(*draw_all(50), *draw_all(3, seed=1)),
        fit_domain(*draw_all(50), draw(0, 0), []),
    ):
        assert entry["sources"] == []
        assert "the domain needs" in entry["reason"]
        check_domain(entry)


def test_small_sources_and_those_of_val_alone_are_left_aside():
    features, names = draw_all(50)
    names[names == "real/5"] = ["real/5"] * 3 + ["real/0"] * 47
    val, val_names = draw_all(40, seed=1)
    entry = fit_domain(features, names, val, val_names)
    assert entry["sources"] == [f"real/{number}" for number in range(5)]
    assert entry["n_val"] == 200


def test_features_that_do_not_fit_their_names_are_refused():
    features, names = draw_all(20)
    for wrong in (features[:-1], np.full_like(features, np.nan), features[:, 0]):
        with pytest.raises(InputError, match="of train"):
            fit_domain(wrong, names, features, names)
        with pytest.raises(InputError, match="of val"):
            fit_domain(features, names, wrong, names)


@pytest.mark.parametrize("part", ["projection", "means", "whitenings", "farthest", "kept", "sources"])
def test_a_damaged_entry_is_refused_with_its_card(entry, part):
    for damaged in ("x", {"shape": [1, 1], "float16": "!", "scales_float32": ""}, [float("nan")]):
        card = dataclasses.replace(some_card("vit"), domain=entry | {part: damaged})
        with pytest.raises(DetectorError, match="cannot be read"):
            read_decided(card, "planted")


class Planted:
    """A network whose embedding is the crop's first pixels."""

    runs_on = "the test"

    def __call__(self, crops_rgb_uint8):
        embedding = crops_rgb_uint8.reshape(len(crops_rgb_uint8), -1)[:, :D].astype(np.float32) / 4 - 30
        return Pass(np.zeros((len(embedding), 2), np.float32), embedding)


def crops_of(features):
    """Crops, (n, 3, 3, 3) uint8, which `Planted` embeds as these features, nearly."""
    pixels = np.zeros((len(features), 27), np.uint8)
    pixels[:, :D] = np.clip((features + 30) * 4, 0, 255).round()
    return pixels.reshape(-1, 3, 3, 3)


def test_a_judge_warns_of_faces_outside_and_one_without_a_domain_of_none(entry):
    crops = np.concatenate([crops_of(draw(0, 20, seed=5)), crops_of(draw(SOURCES, 20))])
    opinions = Judge(Planted(), dataclasses.replace(some_card("vit"), domain=entry), name="planted").judge(
        crops
    )
    warned = [opinion.warnings == (OUTSIDE_DOMAIN,) for opinion in opinions]
    assert np.mean(warned[:20]) < 0.3
    assert np.mean(warned[20:]) > 0.9
    assert OUTSIDE_DOMAIN in WARNINGS
    older = Judge(Planted(), some_card("vit"), name="planted").judge(crops)
    assert {opinion.warnings for opinion in older} == {()}


def test_forgeries_are_no_source_and_no_source_is_embedded_without_end(tmp_path, monkeypatch):
    manifest = read_manifest(write_planted_manifest(tmp_path / "prepared", groups=30, splits=("train",)))
    rows = [*manifest.rows]
    for row in rows[:8]:
        object.__setattr__(row, "folder", "forged_swap")
    monkeypatch.setattr("faceauth.decisions.known_sources.MOST_FACES", 7)
    taken = some_of_each_source(rows)
    names = [(row.target_class, row.folder) for row in taken]
    assert {name: names.count(name) for name in names} == {
        ("fake", "gan"): 7, ("fake", "swap"): 7, ("real", "camera"): 7, ("real", "phone"): 7
    }  # fmt: skip
    assert names == sorted(names)

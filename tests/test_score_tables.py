"""Scores of other tools: whatever they call their columns, what a score means is stated and never guessed."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import write_planted_manifest
from scipy.special import logit

from faceauth.errors import FaceAuthError, InputError
from faceauth.intake.manifest import read_manifest
from faceauth.scoring.score_tables import SCORE_MEANINGS, read_scores


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return read_manifest(write_planted_manifest(tmp_path_factory.mktemp("planted") / "prepared", groups=12))


def write_table(path, header, rows):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "of_a_fake"),
    [("p_fake", 0.9), ("p_real", 0.1), ("logit_fake", logit(0.9)), ("logit_real", logit(0.1))],
)
def test_the_name_of_a_column_says_what_its_numbers_mean(tmp_path, header, of_a_fake):
    path = write_table(tmp_path / "theirs.csv", f"path,{header},target", [("a.png", of_a_fake, 0)])
    scores = read_scores(path)
    assert scores.p_fake == pytest.approx([0.9])
    assert scores.destination_path.tolist() == ["a.png"]


@pytest.mark.parametrize("meaning", sorted(SCORE_MEANINGS))
def test_any_column_can_be_named_with_its_meaning(tmp_path, meaning):
    number = {"p_fake": 0.8, "p_real": 0.2, "logit_fake": logit(0.8), "logit_real": logit(0.2)}[meaning]
    path = write_table(tmp_path / "theirs.csv", "score,target", [(number, 0)])
    assert read_scores(path, column="score", meaning=meaning).p_fake == pytest.approx([0.8])


@given(st.floats(-30, 30))
def test_a_logit_of_fake_and_the_opposite_logit_of_real_say_the_same(number):
    numbers = np.array([number])
    assert SCORE_MEANINGS["logit_fake"](numbers) == SCORE_MEANINGS["logit_real"](-numbers)


def test_our_own_score_is_taken_where_a_table_holds_others_too(tmp_path):
    path = write_table(tmp_path / "both.csv", "p_real,p_fake,target", [(0.3, 0.6, 0)])
    assert read_scores(path).p_fake.tolist() == [0.6]


@pytest.mark.parametrize(
    ("header", "row", "options", "words"),
    [
        ("score,target", (0.3, 0), {}, ["'p_fake'", "--score-column"]),
        ("p_real,logit_real,target", (0.3, 1.0, 0), {}, ["p_real, logit_real", "--score-column"]),
        ("score,target", (0.3, 0), {"column": "scores"}, ["'scores'", "'score'"]),
        ("score,target", (0.3, 0), {"column": "score", "meaning": "logit"}, ["'logit'", "logit_"]),
        ("logit_fake,target", ("inf", 0), {}, ["row 2", "inf", "logit"]),
        ("p_real,target", (1.5, 0), {}, ["p_real in row 2", "1.5"]),
    ],
)
def test_a_score_without_a_stated_meaning_is_refused(tmp_path, header, row, options, words):
    path = write_table(tmp_path / "theirs.csv", header, [row])
    with pytest.raises(FaceAuthError) as caught:
        read_scores(path, **options)
    for word in words:
        assert word in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("key", ["image_path", "destination_path", "crop"])
def test_the_manifest_knows_the_truth_of_a_path(tmp_path, manifest, key):
    rows = manifest.in_split("test")
    paths = [manifest.crop_path(row) if key == "crop" else getattr(row, key) for row in rows]
    path = write_table(
        tmp_path / "theirs.csv", "path,logit_fake", [(path, i / 10) for i, path in enumerate(paths)]
    )
    scores = read_scores(path, manifest=manifest)
    for name in ("destination_path", "folder", "split", "target", "group"):
        assert getattr(scores, name).tolist() == [getattr(row, name) for row in rows], name


def test_faces_that_another_tool_left_out_are_counted(tmp_path, manifest, caplog):
    row, *others = manifest.in_split("test")
    path = write_table(tmp_path / "theirs.csv", "path,p_fake", [(row.destination_path, 0.5)])
    with caplog.at_level(logging.WARNING):
        read_scores(path, manifest=manifest)
    assert f"1 of the {len(others) + 1} faces" in caplog.text


def test_a_path_that_the_manifest_does_not_know_is_refused(tmp_path, manifest):
    row = manifest.in_split("test")[0]
    path = write_table(tmp_path / "x.csv", "path,p_fake", [(row.destination_path, 0.5), ("gone.png", 0.5)])
    with pytest.raises(InputError, match=r"1 of 2 paths .* 'gone.png' in row 3"):
        read_scores(path, manifest=manifest)


def test_a_face_cannot_have_two_scores(tmp_path, manifest):
    row = manifest.in_split("test")[0]
    path = write_table(
        tmp_path / "x.csv", "path,p_fake", [(row.destination_path, 0.5), (row.image_path, 0.6)]
    )
    with pytest.raises(InputError, match=r"Rows 2 and 3 .* same face"):
        read_scores(path, manifest=manifest)


def test_a_table_and_a_manifest_that_disagree_are_refused(tmp_path, manifest):
    row = manifest.in_split("test")[0]
    table = [(row.destination_path, 0.5, 1 - row.target)]
    path = write_table(tmp_path / "x.csv", "path,p_fake,target", table)
    with pytest.raises(InputError, match="Row 2"):
        read_scores(path, manifest=manifest)

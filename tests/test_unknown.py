"""Sources left out of names and domain (`benchmarks/unknown_generators.py`), on planted embeddings."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceauth.clusters.embeddings import Embeddings
from faceauth.decisions.attribution import UNKNOWN
from faceauth.errors import InputError

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from unknown_figures import derive, format_figures, read_said, write_said
from unknown_generators import judge_all

D = 8
FAKES, REALS = ("gan", "diffusion", "swap", "rare"), ("camera", "film")
SPLITS = ["train"] * 120 + ["val"] * 60 + ["test"] * 60


def planted():
    """Six sources of their own kind; swaps share groups with film, and `rare` has three groups in train."""
    rng = np.random.default_rng(0)
    rows = []
    for number, name in enumerate((*FAKES, *REALS)):
        centre = np.random.default_rng([5, number]).normal(size=D) * 6
        splits = ["train"] * 36 if name == "rare" else SPLITS
        for i, split in enumerate(splits):
            group = {"swap": f"film {i}", "film": f"film {i}", "rare": f"pair {i % 3}"}.get(name, "")
            face = f"{split}/{name}/{i}.png"
            rows.append((face, name, split, int(name in REALS), group, centre + rng.normal(size=D)))
    path, folder, split, target, group, features = zip(*rows, strict=True)
    return Embeddings(
        *(np.array(column, dtype=object) for column in (path, folder, split)),
        target=np.array(target, dtype=np.int8),
        group=np.array(group, dtype=object),
        p_fake=np.full(len(rows), np.nan, np.float32),
        features=np.array(features, dtype=np.float32),
    )


@pytest.fixture(scope="module")
def said():
    table = planted()
    return judge_all(table, np.zeros(len(table), bool), ["swap+film"], n_directions=None)


@pytest.fixture(scope="module")
def document(said, tmp_path_factory):
    path = tmp_path_factory.mktemp("said") / "unknown.parquet"
    write_said(said, path)
    return derive(path)


def test_what_was_left_out_is_unknown_and_outside_and_what_was_not_keeps_its_name(document):
    for name in ("gan", "diffusion"):
        figures = document["names"][name]
        assert figures["unseen_unknown"]["value"] > 0.95
        assert figures["known_right"]["value"] > 0.85
        assert document["domain"][name]["unseen_outside"]["value"] > 0.95
        assert document["domain"][name]["known_outside"]["value"] < 0.15
    assert document["names"]["gan"]["unseen_unknown"]["n_fake"] == 240
    assert document["names"]["gan"]["known_right"]["n_fake"] == 60


def test_nothing_is_judged_by_a_fit_that_saw_its_group(said, document):
    # Each swap of train and val has its film in the fit; only those of test have not.
    assert document["names"]["swap"]["unseen_unknown"]["n_fake"] == 60
    together = said.where(said.left_out == "swap+film")
    assert len(together.face) == 480
    assert document["together"]["swap+film"]["fakes_outside"]["value"] > 0.95


def test_a_source_without_a_test_split_is_judged_by_folds_each_face_once(said, document):
    for left_out in ("", "rare"):
        own = said.where((said.left_out == left_out) & (said.folder == "rare"))
        assert len(set(own.face.tolist())) == len(own.face) == 36
    assert document["names"]["rare"]["known_right"]["value"] > 0.8
    known = said.where((said.left_out == "") & (said.folder != "rare"))
    assert len(set(known.face.tolist())) == len(known.face) == 300


def test_an_embedding_is_found_anew_where_it_is_asked_for():
    table = planted()
    found = judge_all(table, np.zeros(len(table), bool), [], n_directions=6)
    unseen = found.where(found.left_out == "gan")
    assert np.mean(unseen.name == UNKNOWN) > 0.9


def test_further_versions_of_faces_choose_the_limit_and_are_not_judged():
    table = planted()
    val = np.flatnonzero(table.split == "val")
    wide = np.random.default_rng(1).normal(size=(len(val), D)).astype(np.float32) * 4
    more = table.take(np.concatenate([np.arange(len(table)), val]))
    more.features[len(table) :] += wide
    is_augmented = np.arange(len(more)) >= len(table)
    found = judge_all(more, is_augmented, [], n_directions=None)
    assert len(found.face) == len(set(zip(found.left_out, found.face, strict=True)))
    strict = judge_all(table, np.zeros(len(table), bool), [], n_directions=None)
    assert found.is_outside.mean() < strict.is_outside.mean()
    assert found.name.tolist() == strict.name.tolist()


def test_the_file_holds_no_name_of_a_file_and_no_group(said, tmp_path):
    write_said(said, tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    assert b".png" not in content
    assert b"film 1" not in content
    read = read_said(tmp_path / "a.parquet")
    assert read.name.tolist() == said.name.tolist()
    assert (read.is_outside == said.is_outside).all()


def test_the_tables_name_every_source(document):
    text = format_figures(document)
    for name in (*FAKES, *REALS, "all fakes", "all reals", "swap+film"):
        assert f"| {name} |" in text


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"face": ["x"]}), tmp_path / "short.parquet")
    for name, says in (
        ("text", "read as Parquet"),
        ("short", "no column 'left_out'"),
        ("none", "cannot be read"),
    ):
        with pytest.raises(InputError, match=says):
            derive(tmp_path / f"{name}.parquet")

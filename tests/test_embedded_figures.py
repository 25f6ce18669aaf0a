"""Figures of left-out sources (`benchmarks/embedded_figures.py`): what scores say, and their file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from faceauth.errors import InputError
from faceauth.scoring.metrics import compute_metric
from faceauth.scoring.scores import Scores

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import embedded_figures
from embedded_figures import (
    LeftOutScores,
    derive,
    format_figures,
    read_left_out_scores,
    write_left_out_scores,
)

REALS = {"camera": 60, "film": 30}
FAKES = {"gan": (40, 2.0), "swap": (30, 0.6)}
THRESHOLDS = {"gan": 0.5, "swap": 0.8, "camera": 0.3}


def planted(*, seed=0, extra=()):
    """Detectors without each generator and without one collection; each sees a real in its own way.

    Args:
        seed: Of the scores.
        extra: Further rows (left_out, path, folder, group, target, p_fake).
    """
    rng = np.random.default_rng(seed)
    reals = [(f"real/{name}/{i}.png", name, f"{name}-{i}", 1) for name, n in REALS.items() for i in range(n)]
    rows = []
    for left_out, (n, lift) in FAKES.items():
        rows += [(left_out, *real, expit(rng.normal() - 1)) for real in reals]
        # Each swap is made from a frame of the film.
        fakes = [
            (f"fake/{left_out}/{i}.png", left_out, f"film-{i}" if left_out == "swap" else "", 0)
            for i in range(n)
        ]
        rows += [(left_out, *fake, expit(rng.normal() + lift - 1)) for fake in fakes]
    rows += [("camera", *real, expit(rng.normal() - 1)) for real in reals if real[1] == "camera"]
    rows += extra
    left_out, path, folder, group, target, p_fake = (np.array(column) for column in zip(*rows, strict=True))
    scores = Scores(
        *(column.astype(object) for column in (path, folder, np.full(len(path), "test"))),
        target=target,
        p_fake=p_fake,
        group=group.astype(object),
    )
    thresholds = np.array([THRESHOLDS.get(name, 0.5) for name in left_out])
    return LeftOutScores(left_out.astype(object), thresholds, scores)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The planted scores, their file, and what follows from it."""
    path = tmp_path_factory.mktemp("scores") / "embedded.parquet"
    table = planted()
    write_left_out_scores(table, path)
    return table, path, derive(path)


def rows_of(table, name):
    return table.scores.where(table.left_out == name)


def test_each_generator_is_measured_by_the_detector_that_had_not_seen_it(written):
    table, _, document = written
    values = []
    for name in FAKES:
        rows = rows_of(table, name)
        values.append(compute_metric("auroc", rows.target, rows.p_fake)[0])
        assert document["generators"][name]["auroc"]["value"] == pytest.approx(values[-1], abs=2e-3)
        assert document["generators"][name]["auroc"]["n_real"] == sum(REALS.values())
    assert document["mean_auroc"]["value"] == pytest.approx(np.mean(values), abs=2e-3)
    low, high = document["mean_auroc"]["ci95"]
    assert low < np.mean(values) < high
    assert document["worst"]["generator"] == "swap"
    assert (document["n_real"], document["n_fake"]) == (90, 70)
    assert document["mean_tpr_at_fpr_5"]["ci95"] is not None


def test_a_swap_is_also_measured_against_the_film_that_it_comes_from(written):
    table, _, document = written
    rows = rows_of(table, "swap")
    film = rows.where(rows.folder != "camera")
    swap = document["generators"]["swap"]
    assert swap["own_collections"] == ["film"]
    assert swap["auroc_own"]["value"] == pytest.approx(
        compute_metric("auroc", film.target, film.p_fake)[0], abs=2e-3
    )
    assert swap["auroc_own"]["n_real"] == REALS["film"]
    assert document["generators"]["gan"]["auroc_own"] is None


def test_each_detector_has_its_own_threshold(written):
    table, _, document = written
    assert document["thresholds"] == THRESHOLDS
    called = {}
    for name in ("gan", "swap", "camera"):
        rows = rows_of(table, name)
        called[name] = rows.p_fake[(rows.target == 1) & (rows.folder == "camera")] >= THRESHOLDS[name]
    known, left_out = document["false_alarms"]["camera"], document["false_alarms_left_out"]["camera"]
    assert known["value"] == pytest.approx(np.mean([called["gan"].mean(), called["swap"].mean()]), abs=1e-2)
    assert left_out["value"] == pytest.approx(called["camera"].mean(), abs=2e-2)
    # Two detectors scored each face; it is one face.
    assert known["n_real"] == left_out["n_real"] == REALS["camera"]
    assert set(document["false_alarms"]) == {"camera", "film", "all"}
    assert set(document["false_alarms_left_out"]) == {"camera", "all"}


def test_a_file_keeps_every_score_and_no_name(written):
    table, path, _ = written
    read = read_left_out_scores(path)
    assert len(read.scores) == len(table.scores)
    for name in THRESHOLDS:
        before, after = rows_of(table, name), rows_of(read, name)
        np.testing.assert_allclose(np.sort(after.p_fake), np.sort(before.p_fake), atol=1e-3)
        assert set(read.threshold[read.left_out == name]) == {THRESHOLDS[name]}
    content = path.read_bytes()
    assert b"real/camera" not in content
    assert b"film-" not in content
    assert all(len(text) == 10 for text in read.scores.destination_path)
    # Whoever has no group keeps none.
    assert (read.scores.group == "").sum() == FAKES["gan"][0]


def test_scores_near_certainty_stay_apart(tmp_path):
    rows = [
        ("gan", f"{i}", "gan", "", 0, p)
        for i, p in enumerate((1.0, 1 - 1e-9, 1 - 1e-5, 1e-9, 0.0), start=500)
    ]
    path = tmp_path / "a.parquet"
    write_left_out_scores(planted(extra=rows), path)
    read = read_left_out_scores(path).scores
    # Beyond all that were drawn lie the five that were added; even 1 - 1e-9 and 1 differ.
    assert len(set(np.sort(read.p_fake)[-3:])) == 3
    assert len(set(np.sort(read.p_fake)[:2])) == 2


def test_the_file_of_many_faces_is_small(tmp_path):
    rng = np.random.default_rng(0)
    faces = [(f"{i}.png", "camera", f"g{i // 2}", 1) for i in range(4000)]
    rows = []
    for name in ("gan", "swap", "text"):
        fakes = [(f"{name}{i}.png", name, "", 0) for i in range(500)]
        rows += [(name, *face, expit(rng.normal())) for face in faces + fakes]
    path = tmp_path / "a.parquet"
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    scores = Scores(
        columns[1].astype(object),
        columns[2].astype(object),
        np.full(len(rows), "test", dtype=object),
        target=columns[4],
        p_fake=columns[5],
        group=columns[3].astype(object),
    )
    write_left_out_scores(LeftOutScores(columns[0].astype(object), np.full(len(rows), 0.5), scores), path)
    # Two bytes a score, and ten a face.
    assert path.stat().st_size < 2 * len(rows) + 10 * 5500 + 8000


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ([("gan", "x", "swap", "", 0, 0.5)], "also scored fakes of swap"),
        ([("nobody", "x", "camera", "", 1, 0.5)], "no face of that name"),
        ([("gan", "fake/gan/0.png", "gan", "", 0, 0.5)], "scored a face twice"),
        ([("gan", "x", "gan", "", 1, 0.5)], "both fakes and reals"),
    ],
)
def test_scores_that_are_not_of_left_out_sources_are_refused(extra, says, tmp_path):
    with pytest.raises(InputError, match=says):
        write_left_out_scores(planted(extra=extra), tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_none_are_refused_with_what_is_missing(tmp_path):
    (tmp_path / "text.parquet").write_text("no table")
    facts = {name: ["x"] for name in ("destination_path", "folder", "group")} | {"target": [1]}
    pq.write_table(pa.table(facts), tmp_path / "faces.parquet")
    pq.write_table(pa.table(facts | {"without_gan": [0.5]}), tmp_path / "bare.parquet")
    pq.write_table(pa.table({"folder": ["x"]}), tmp_path / "short.parquet")
    for name, says in {
        "text": "read as Parquet",
        "faces": "begins with 'without_'",
        "bare": "no threshold",
        "short": "'destination_path'",
    }.items():
        with pytest.raises(InputError, match=says):
            derive(tmp_path / f"{name}.parquet")


def test_the_tables_hold_every_source(written):
    text = format_figures(written[2])
    for word in ("| gan | 40 |", "| swap | 30 |", "| mean | 70 |", "| camera | 60 |", "| film | 30 |"):
        assert word in text
    assert f"{written[2]['mean_auroc']['value']:.3f} (" in text


@pytest.mark.launch
def test_the_script_prints_the_document_or_says_what_is_wrong(written, tmp_path):
    script = [sys.executable, embedded_figures.__file__]
    printed = subprocess.run([*script, str(written[1])], capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == written[2]
    failed = subprocess.run([*script, str(tmp_path / "none.parquet")], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "none.parquet cannot be read" in failed.stderr
    assert "Traceback" not in failed.stderr

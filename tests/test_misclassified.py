"""The sheet and the table of mistakes: which faces, in what order, and what a missing crop does."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from planted import write_planted_manifest

from faceauth.evaluation.drawing import COLOUR_FAKE, COLOUR_REAL
from faceauth.evaluation.misclassified import TILE_PX, find_mistakes, write_misclassified
from faceauth.intake.manifest import read_manifest, write_manifest
from faceauth.scoring.scores import Scores

MISSING_GREY = (217, 217, 217)


def scores_of(manifest, p_fake):
    rows = manifest.in_split("test")
    columns = (
        [row.destination_path for row in rows],
        [row.folder for row in rows],
        [row.split for row in rows],
    )
    return Scores(
        *(np.array(column, dtype=object) for column in columns),
        target=np.array([row.target for row in rows]),
        p_fake=np.array([p_fake(row, i) for i, row in enumerate(rows)]),
        group=np.array([row.group for row in rows], dtype=object),
    )


@pytest.fixture
def manifest(tmp_path):
    return read_manifest(write_planted_manifest(tmp_path / "prepared", groups=10, splits=("test",)))


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def frames(path, colour):
    """The left upper corners of the frames of one colour."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    wanted = np.all(pixels == tuple(bytes.fromhex(colour[1:])), axis=2)
    # Where a run to the right and a run downwards begin.
    right = np.lib.stride_tricks.sliding_window_view(wanted, TILE_PX, axis=1).all(axis=2)
    down = np.lib.stride_tricks.sliding_window_view(wanted, TILE_PX, axis=0).all(axis=2)
    corners = right[: down.shape[0]] & down[:, : right.shape[1]]
    places = {(int(row), int(column)) for row, column in np.argwhere(corners)}
    return sorted(
        (row, column)
        for row, column in places
        if not {(row - 1, column), (row, column - 1), (row - 1, column - 1)} & places
    )


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=1, max_size=40),
    st.integers(0, 20),
)
def test_mistakes_are_what_is_on_the_wrong_side_the_furthest_first(faces, cut):
    target, p_fake = np.array([face[0] for face in faces]), np.array([face[1] / 20 for face in faces])
    blank = np.array([""] * len(faces), dtype=object)
    rows = find_mistakes(Scores(blank, blank, blank, target, p_fake), cut / 20)
    wrong = {i for i, (kind, step) in enumerate(faces) if (step >= cut) == (kind == 1)}
    assert set(rows.tolist()) == wrong
    distances = np.abs(p_fake[rows] - cut / 20)
    assert np.all(np.diff(distances) <= 1e-12)


def test_the_table_has_every_mistake_with_its_source_image(manifest, tmp_path):
    rng = np.random.default_rng(1)
    scores = scores_of(manifest, lambda row, i: float(rng.uniform()))
    done = write_misclassified(scores, tmp_path / "out", threshold=0.6, manifest=manifest, shown_per_class=2)
    table = read_csv(tmp_path / "out" / "misclassified.csv")
    wrong = (scores.p_fake >= 0.6) == (scores.target == 1)
    assert {row["destination_path"] for row in table} == set(scores.destination_path[wrong])
    by_path = {row.destination_path: row for row in manifest.rows}
    for row in table:
        source = by_path[row["destination_path"]]
        assert (row["image_path"], row["folder"], row["target_class"], row["group"]) == (
            source.image_path,
            source.folder,
            source.target_class,
            source.group,
        )
        assert float(row["confidence"]) == pytest.approx(abs(float(row["p_fake"]) - 0.6))
    confidences = [float(row["confidence"]) for row in table]
    assert confidences == sorted(confidences, reverse=True)
    assert done.n_fakes_called_real + done.n_reals_called_fake == len(table)
    assert done.paths == (tmp_path / "out" / "misclassified.csv", tmp_path / "out" / "misclassified.png")


def test_the_sheet_shows_each_class_up_to_its_limit_in_its_colour(manifest, tmp_path):
    scores = scores_of(manifest, lambda row, i: 0.9 if row.target else 0.2)
    write_misclassified(scores, tmp_path, threshold=0.5, manifest=manifest, shown_per_class=11)
    fakes, reals = (frames(tmp_path / "misclassified.png", colour) for colour in (COLOUR_FAKE, COLOUR_REAL))
    assert len(fakes) == len(reals) == 11
    assert max(fakes)[0] < min(reals)[0]


def test_the_most_confident_mistake_comes_first(manifest, tmp_path):
    scores = scores_of(manifest, lambda row, i: 0.9 if row.target else (0.01 if i == 2 else 0.3))
    first = scores.destination_path[2]
    Image.new("RGB", (32, 32), (255, 0, 255)).save(manifest.root / first)
    write_misclassified(scores, tmp_path, threshold=0.5, manifest=manifest)
    top, left = min(frames(tmp_path / "misclassified.png", COLOUR_FAKE))
    sheet = Image.open(tmp_path / "misclassified.png").convert("RGB")
    assert sheet.getpixel((left + 60, top + 60)) == (255, 0, 255)


def test_a_crop_that_cannot_be_read_is_a_grey_tile_and_ends_nothing(manifest, tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (32, 32), (0, 255, 0)).save(secret)
    scores = scores_of(manifest, lambda row, i: 0.9 if row.target else 0.2)
    paths = scores.destination_path
    (manifest.root / paths[0]).unlink()
    (manifest.root / paths[1]).write_bytes(b"\x89PNG\r\n\x1a\n")
    paths[2] = "../secret.png"
    paths[3] = ""
    done = write_misclassified(scores, tmp_path / "out", threshold=0.5, manifest=manifest)
    assert done.n_not_shown == 4
    pixels = np.asarray(Image.open(done.paths[1]).convert("RGB")).reshape(-1, 3)
    assert np.all(pixels == MISSING_GREY, axis=1).sum() > 3 * TILE_PX * TILE_PX
    assert not np.any(np.all(pixels == (0, 255, 0), axis=1))


def test_reconstructions_stand_beside_their_faces(manifest, tmp_path):
    seen = []

    def turned(crops):
        seen.append((crops.shape, crops.dtype))
        return np.stack([np.full_like(crops[0][0], value) for value in (250, 1, 250)])[None]

    scores = scores_of(manifest, lambda row, i: 0.2)
    write_misclassified(
        scores, tmp_path, threshold=0.5, manifest=manifest, shown_per_class=3, reconstruct=turned
    )
    assert seen == [((1, 3, 32, 32), np.uint8)] * 3
    corners = frames(tmp_path / "misclassified.png", COLOUR_FAKE)
    sheet = Image.open(tmp_path / "misclassified.png").convert("RGB")
    assert len(corners) == 3
    for top, left in corners:
        assert sheet.getpixel((left + 4 + TILE_PX + 30, top + 60)) == (250, 1, 250)
        assert sheet.getpixel((left + 60, top + 60)) != (250, 1, 250)


def test_no_mistake_is_said_and_not_left_out(manifest, tmp_path):
    scores = scores_of(manifest, lambda row, i: 0.1 if row.target else 0.9)
    done = write_misclassified(scores, tmp_path, threshold=0.5, manifest=manifest)
    assert read_csv(tmp_path / "misclassified.csv") == []
    assert (done.n_fakes_called_real, done.n_reals_called_fake) == (0, 0)
    assert frames(done.paths[1], COLOUR_FAKE) == []
    ink = np.asarray(Image.open(done.paths[1]).convert("L")) < 128
    assert ink.sum() > 500


def test_without_a_manifest_there_is_a_table_alone(manifest, tmp_path):
    scores = scores_of(manifest, lambda row, i: 0.2)
    done = write_misclassified(scores, tmp_path / "out", threshold=0.5)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["misclassified.csv"]
    assert done.paths == (tmp_path / "out" / "misclassified.csv",)
    assert {row["image_path"] for row in read_csv(done.paths[0])} == {""}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_table_is_a_formula(manifest, tmp_path, start):
    rows = [replace(row, image_path=f"{start}cmd|1") for row in manifest.rows]
    root = tmp_path / "second"
    write_manifest(rows, root)
    scores = scores_of(manifest, lambda row, i: 0.2)
    scores.folder[:] = f"{start}HYPERLINK(1)"
    scores.group[:] = f"{start}1"
    write_misclassified(scores, tmp_path / "out", threshold=0.5, manifest=replace(manifest, rows=rows))
    for row in read_csv(tmp_path / "out" / "misclassified.csv"):
        assert [row[column][:2] for column in ("image_path", "folder", "group")] == [f"'{start}"] * 3

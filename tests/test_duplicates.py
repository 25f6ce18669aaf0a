import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import draw, save, save_layout
from PIL import Image

from faceauth.errors import UnknownNameError
from faceauth.intake.manifest import DUPLICATE, LABEL_CONFLICT, OK, ManifestRow, read_manifest
from faceauth.labels import ID2LABEL
from faceauth.splits.duplicates import (
    count_duplicates,
    drop_look_alikes,
    drop_same_bytes,
    find_alike_rows,
    parse_handling,
)


def make_row(i, *, target=1, phash="", side=100, sha256=None, **facts):
    return ManifestRow(
        f"/{i:04d}.png", "", "wiki", "", ID2LABEL[target], target, phash=phash, width=side, height=side,
        box=(0.0, 0.0, side, side), sha256=f"{i:032x}" * 2 if sha256 is None else sha256, **facts,
    )  # fmt: skip


def near_hash(*positions):
    """A hash in which these bits differ from all zeros."""
    return f"{sum(1 << position for position in positions):064x}"


def dropped(rows):
    rows = drop_same_bytes(rows)
    alike = find_alike_rows(rows)
    settled = drop_look_alikes(rows, alike, margin_ratio=1.0)
    return settled, count_duplicates(rows, settled, alike, handling="drop")


def test_the_one_with_the_most_native_pixels_is_kept_then_the_first_path():
    rows = [make_row(0, phash=near_hash(), side=80), make_row(1, phash=near_hash(1, 2), side=120),
            make_row(2, phash=near_hash(3), side=120), make_row(3, phash="f" * 64)]  # fmt: skip
    settled, counts = dropped(rows)
    assert [row.status for row in settled] == [DUPLICATE, OK, DUPLICATE, OK]
    assert settled[0].reason == "looks like /0001.png: 2 of 256 bits differ"
    assert settled[2].reason == "looks like /0001.png: 3 of 256 bits differ"
    assert (counts.exact, counts.near, counts.near_dropped, counts.across_classes) == (0, 3, 2, 0)


def test_what_counts_is_the_face_and_not_the_photo():
    small_face = make_row(0, phash=near_hash(), side=2_000)
    small_face = ManifestRow(**{**{name: getattr(small_face, name) for name in ManifestRow.__slots__},
                                "box": (10.0, 10.0, 60.0, 60.0)})  # fmt: skip
    settled, _ = dropped([small_face, make_row(1, phash=near_hash(1), side=90)])
    assert [row.status for row in settled] == [DUPLICATE, OK]


def test_look_alikes_of_two_classes_are_kept_and_counted():
    rows = [make_row(0, phash=near_hash()), make_row(1, phash=near_hash(1), target=0),
            make_row(2, phash=near_hash(2), target=0)]  # fmt: skip
    settled, counts = dropped(rows)
    assert [row.status for row in settled] == [OK, OK, DUPLICATE]
    assert (counts.near, counts.near_dropped, counts.across_classes) == (2, 1, 3)


def test_the_same_bytes_are_dropped_once_and_frames_of_one_video_are_not():
    rows = [make_row(0, sha256="a" * 64), make_row(1, sha256="a" * 64),
            make_row(2, sha256="b" * 64, frame=0), make_row(3, sha256="b" * 64, frame=30),
            make_row(4, sha256="b" * 64, frame=30),
            make_row(5, sha256="c" * 64), make_row(6, sha256="c" * 64, target=0)]  # fmt: skip
    settled, counts = dropped(rows)
    expected = [OK, DUPLICATE, OK, OK, DUPLICATE, LABEL_CONFLICT, LABEL_CONFLICT]
    assert [row.status for row in settled] == expected
    assert settled[1].reason == "the same bytes as /0000.png"
    assert settled[4].reason == "the same frame as /0003.png"
    assert (counts.exact, counts.near) == (2, 0)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_no_two_kept_look_alike_and_each_dropped_looks_like_a_better_kept_one(seed, n):
    rng = np.random.default_rng(seed)
    scenes = rng.integers(0, 256, (max(1, n // 6), 32), dtype=np.uint8)
    noise = np.packbits(rng.random((n, 256)) < 0.07, axis=1)
    hashes = (scenes[rng.integers(0, len(scenes), n)] ^ noise).tolist()
    rows = [
        make_row(i, phash=bytes(text).hex(), target=int(rng.integers(2)), side=int(rng.integers(40, 44)))
        for i, text in enumerate(hashes)
    ]
    settled, counts = dropped(rows)
    by_path = {row.image_path: row for row in settled}

    def bits(one, other):
        return (int(one.phash, 16) ^ int(other.phash, 16)).bit_count()

    kept = [row for row in settled if row.status == OK]
    for i, one in enumerate(kept):
        assert all(one.target != other.target or bits(one, other) > 36 for other in kept[:i])
    for row in settled:
        if row.status == DUPLICATE:
            path, _, rest = row.reason.removeprefix("looks like ").partition(": ")
            other = by_path[path]
            assert other.status == OK
            assert other.target == row.target
            assert rest == f"{bits(row, other)} of 256 bits differ"
            assert bits(row, other) <= 36
            assert (-other.width, other.image_path) < (-row.width, row.image_path)
    assert counts.near_dropped == len(settled) - len(kept)
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i] if bits(a, b) <= 36]
    own = {row.image_path for pair in pairs for row in pair if pair[0].target == pair[1].target}
    other = {row.image_path for pair in pairs for row in pair if pair[0].target != pair[1].target}
    assert (counts.near, counts.across_classes) == (len(own), len(other))


def test_a_video_of_still_frames_leaves_one():
    rng = np.random.default_rng(0)
    frames = np.packbits(rng.random((4_000, 256)) < 0.02, axis=1)
    rows = [make_row(i, phash=row.tobytes().hex()) for i, row in enumerate(frames)]
    settled, counts = dropped(rows)
    assert Counter(row.status for row in settled)[OK] < 40
    assert counts.near == 4_000


def test_there_are_two_ways_to_handle_look_alikes():
    assert [parse_handling(text) for text in ("group", "drop")] == ["group", "drop"]
    with pytest.raises(UnknownNameError, match="Did you mean 'drop'"):
        parse_handling("drops")


@pytest.fixture
def prepare(run_cli, monkeypatch, tmp_path):
    """Runs `faceauth prepare` on pictures that are taken as faces whole; returns exit code and document."""
    monkeypatch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)
    output = tmp_path / "prepared"

    def run(source, *options):
        words = ("prepare", source, "--output", output, "--face-detector", "whole", "--image-size", "64")
        result = run_cli(*words, "--balance", "none", "--workers", "1", "--json", *options)
        return result.exit_code, json.loads(result.stdout), output

    return run


def test_prepare_groups_or_drops_look_alikes_and_says_so(prepare, tmp_path):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 12, "fake/swap": 12})
    small = Image.fromarray(draw(3)).resize((50, 50))
    small.save(photos / "real" / "wiki" / "copy.png")
    Image.fromarray(draw(4)).save(photos / "fake" / "swap" / "of-a-real.png", compress_level=1)
    code, grouped, output = prepare(photos)
    assert code == 0
    assert grouped["duplicates"] == {
        "handling": "group", "exact": 0, "near": 2, "near_dropped": 0, "across_classes": 2
    }  # fmt: skip
    rows = {row.image_path.rpartition("/")[2]: row for row in read_manifest(output).rows}
    assert rows["copy.png"].group == rows["0003.png"].group
    assert rows["copy.png"].split == rows["0003.png"].split != ""
    assert rows["of-a-real.png"].split == rows["0004.png"].split != ""
    code, document, output = prepare(photos, "--duplicates", "drop")
    assert code == 0
    assert document["duplicates"] == grouped["duplicates"] | {"handling": "drop", "near_dropped": 1}
    after = {row.image_path.rpartition("/")[2]: row for row in read_manifest(output).rows}
    assert after["copy.png"].status == DUPLICATE
    assert after["copy.png"].reason.startswith("looks like ")
    assert "0003.png: " in after["copy.png"].reason
    assert after["of-a-real.png"].status == OK
    assert {name: row.group for name, row in after.items()} == {name: row.group for name, row in rows.items()}
    assert document["same_person"] is None
    assert document["splits"]["wanted"] == {"train": 0.8, "val": 0.1, "test": 0.1}
    assert document["splits"]["by_source"].keys() == {"wiki", "swap"}


def test_prepare_ties_faces_of_one_person_on_request(prepare, tmp_path, monkeypatch):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 10, "fake/swap": 10})
    asked = []

    class FirstRow:
        """A stand-in that takes the first two pictures for one person."""

        fingerprint = "stand-in"

        def __call__(self, crops_rgb_uint8):
            pair = [any((crop == draw(i)).all() for i in (0, 1)) for crop in crops_rgb_uint8]
            vectors = np.random.default_rng(0).normal(size=(len(pair), 64)).astype(np.float32)
            vectors[np.array(pair)] = 1
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def load(found, *, device):
        asked.append((found, device))
        return FirstRow()

    monkeypatch.setattr("faceauth.verbs.prepare.load_face_embedder", load)
    code, document, output = prepare(photos, "--same-person", "faces.pt", "--same-person-cosine", "0.9")
    assert code == 0
    assert [(found.weights, found.min_cosine) for found, _ in asked] == [("faces.pt", 0.9)]
    assert document["same_person"] == {"n_faces": 20, "n_people": 19, "largest": 2}
    assert document["groups"]["tied"]["same_person"] == 1
    rows = {row.image_path.rpartition("/")[2]: row for row in read_manifest(output).rows}
    assert rows["0000.png"].group == rows["0001.png"].group != rows["0002.png"].group


def test_official_splits_are_refused_before_any_work_where_there_are_none(run_cli, tmp_path):
    save(tmp_path / "photos" / "real" / "wiki" / "1.png", 1)
    save(tmp_path / "photos" / "fake" / "swap" / "2.png", 2)
    output = tmp_path / "prepared"
    result = run_cli("prepare", tmp_path / "photos", "--output", output, "--splits", "official")
    assert result.exit_code == 2
    assert "2 of 2 files have no official split" in result.stderr
    assert not output.exists()

import json
from dataclasses import replace

import numpy as np
import pytest
from pictures import draw, save, save_layout
from PIL import Image

from faceauth.errors import UsageError
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.face import Face, load_face_detector
from faceauth.intake.manifest import NO_FACE, OK, TOO_SMALL, UNREADABLE
from faceauth.intake.pipeline import batch, collect
from faceauth.intake.pipeline.collect import collect_faces, collected_with
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.pipeline.engines.local import in_this_process
from faceauth.intake.pipeline.store import stored_crop
from faceauth.intake.sources.find import find_sources

SETTINGS = CollectSettings(face_detector="whole", crop=CropSettings(image_size=64))
WHOLE = load_face_detector("whole")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "BATCH_FILES", 4)
    return find_sources([str(save_layout(tmp_path / "photos", {"real/a": 7, "fake/b": 7}))])


def collected(files, output, *, settings=SETTINGS, detect=WHOLE, **options):
    engine = in_this_process(settings, detect)
    return collect_faces(files, output, settings=settings, engine=engine, **options)


def test_each_file_becomes_a_row_and_a_crop_of_its_very_pixels(files, tmp_path):
    rows = collected(files, tmp_path / "out")
    assert [row.image_path for row in rows] == [file.image_path for file in files]
    for file, row in zip(files, rows, strict=True):
        crop = Image.open(stored_crop(tmp_path / "out", row))
        assert (crop.format, crop.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(crop), draw(int(file.address.path.stem)))
        assert (row.status, row.width, row.height, row.format) == (OK, 64, 64, "PNG")
        assert row.box == (0.0, 0.0, 64.0, 64.0)


@pytest.mark.parametrize("n_before", [1, 4, 6, 13])
def test_an_interrupted_run_goes_on_with_the_batches_of_one_never_stopped(files, tmp_path, n_before):
    batches = []

    def detect(images):
        batches[-1].append([image.tobytes() for image in images])
        return WHOLE(images)

    batches.append([])
    whole = collected(files, tmp_path / "whole", detect=detect)

    n_done = 0

    def interrupt(batch):
        nonlocal n_done
        n_done += len(batch.rows)
        if n_done >= n_before:
            raise KeyboardInterrupt

    batches.append([])
    with pytest.raises(KeyboardInterrupt):
        collected(files, tmp_path / "out", detect=detect, progress=interrupt)
    seen = []
    resumed = collected(
        files, tmp_path / "out", detect=detect, progress=lambda batch: seen.append(len(batch.rows))
    )
    assert resumed == whole
    assert [batch for batch in batches[1] if batch] == batches[0]
    n_kept = min(14, -(-n_before // 4) * 4)
    assert sum(seen) == 14 - n_kept


@pytest.mark.parametrize("damage", ["half", "inside a character", "no line end", "garbage"])
def test_a_half_written_journal_line_is_survived(files, tmp_path, damage):
    save(tmp_path / "photos/real/a/é\u2028\x85.png", 99)
    files = find_sources([str(tmp_path / "photos")])
    whole = collected(files, tmp_path / "whole")
    collected(files, tmp_path / "out")
    journal = tmp_path / "out/.prepare/journal.jsonl"
    content = journal.read_bytes()
    lines = content.split(b"\n")[:-1]
    assert len(lines) == 4
    cut = {
        "half": content[: -len(lines[-1]) // 2],
        "inside a character": content[: content.index("é".encode()) + 1],
        "no line end": content[:-1],
        "garbage": content + b"\x00\xff{",
    }[damage]
    journal.write_bytes(cut)
    for _ in range(3):
        assert collected(files, tmp_path / "out") == whole
    assert len([json.loads(line) for line in journal.read_bytes().splitlines()]) == 4


def test_a_second_run_does_only_what_is_missing(files, tmp_path):
    output = tmp_path / "out"
    rows = collected(files[:10], output)
    seen = []

    def note(batch):
        seen.extend(row.image_path for row in batch.rows)

    assert collected(files, output, progress=note)[:10] == rows
    assert seen == [file.image_path for file in files[10:]]
    stored_crop(output, rows[3]).unlink()
    save(files[5].address.path, 500)
    seen.clear()
    again = collected(files, output, progress=note)
    assert seen == [files[3].image_path, files[5].image_path]
    assert again[3] == rows[3]
    assert again[5].sha256 != rows[5].sha256
    np.testing.assert_array_equal(np.asarray(Image.open(stored_crop(output, again[5]))), draw(500))


def test_many_files_with_the_same_bytes_share_one_crop(tmp_path):
    for number in range(24):
        save(tmp_path / f"photos/real/a/{number:02d}.png", 1)
    rows = collected(find_sources([str(tmp_path / "photos")]), tmp_path / "out")
    assert {row.status for row in rows} == {OK}
    assert len({row.sha256 for row in rows}) == 1
    assert len(list((tmp_path / "out/.prepare/crops").rglob("*.*"))) == 1


def test_changed_settings_are_refused_and_named(files, tmp_path):
    collected(files, tmp_path / "out")
    assert collected_with(tmp_path / "out") == SETTINGS
    assert collected_with(tmp_path / "nowhere") == CollectSettings()
    with pytest.raises(UsageError, match="min_face_px was 40 and is 50") as caught:
        collected(files, tmp_path / "out", settings=replace(SETTINGS, min_face_px=50))
    assert "--overwrite" in caught.value.hint


def test_each_failure_has_its_status_and_reason(tmp_path):
    photos = tmp_path / "photos/real/a"
    for name, seed in (("none.png", 1), ("doubt.png", 2), ("small.png", 3)):
        save(photos / name, seed)
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("no image")
    (photos / "gone.jpg").symlink_to("nowhere")
    faces = {
        draw(1).tobytes(): [],
        draw(2).tobytes(): [Face((0.0, 0.0, 60.0, 60.0), 0.5)],
        draw(3).tobytes(): [Face((0.0, 0.0, 30.0, 39.0), 0.99)],
    }
    rows = collected(
        find_sources([str(tmp_path / "photos")]),
        tmp_path / "out",
        detect=lambda images: [faces[image.tobytes()] for image in images],
    )
    found = {row.image_path.rsplit("/", 1)[1]: (row.status, row.reason) for row in rows}
    assert found == {
        "none.png": (NO_FACE, "none found"),
        "doubt.png": (NO_FACE, "best p_face 0.50 of at least 0.9 wanted"),
        "small.png": (TOO_SMALL, "the face is 39 px long; at least 40 are wanted"),
        "empty.jpg": (UNREADABLE, "the file is empty (0 bytes)"),
        "text.jpg": (UNREADABLE, "the file is not an image that can be decoded"),
        "gone.jpg": (UNREADABLE, "the file cannot be read: No such file or directory"),
    }
    assert not (tmp_path / "out/.prepare/crops").exists()


@pytest.mark.parametrize("what", ["removed", "changed"])
def test_a_large_file_that_changes_under_our_hands_is_one_failed_row(tmp_path, monkeypatch, what):
    monkeypatch.setattr(batch, "KEPT_BYTES", 100)
    first = save(tmp_path / "photos/real/a/a.png", 1)
    save(tmp_path / "photos/real/a/b.png", 2)

    def detect(images):
        if what == "removed":
            first.unlink()
        else:
            save(first, 3)
        return WHOLE(images)

    rows = collected(find_sources([str(tmp_path / "photos")]), tmp_path / "out", detect=detect)
    assert [row.status for row in rows] == [UNREADABLE, OK]
    assert ("changed" if what == "changed" else "No such file") in rows[0].reason


def test_a_face_found_in_a_small_copy_is_cut_from_native_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("faceauth.intake.faces.face.SEARCH_LONG_SIDE_PX", 50)
    save(tmp_path / "photos/real/a/1.png", 1, side=200)

    def detect(images):
        assert [image.shape for image in images] == [(50, 50, 3)]
        return [[Face((10.0, 5.0, 26.0, 21.0), 0.99)]]

    settings = replace(SETTINGS, crop=CropSettings(margin_ratio=1.0, image_size=64))
    (row,) = collected(
        find_sources([str(tmp_path / "photos")]), tmp_path / "out", settings=settings, detect=detect
    )
    assert row.box == (40.0, 20.0, 104.0, 84.0)
    crop = np.asarray(Image.open(stored_crop(tmp_path / "out", row)))
    np.testing.assert_array_equal(crop, draw(1, side=200)[20:84, 40:104])

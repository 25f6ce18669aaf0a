import json
import re
from pathlib import Path

import pytest
from pictures import save_layout

from faceauth.intake.counts import NewImages, count_rows
from faceauth.intake.manifest import DUPLICATE, LABEL_CONFLICT, NO_FACE, OK, STATUSES, SURPLUS, ManifestRow
from faceauth.intake.pipeline.engine import CollectedBatch
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.source_file import SourceFile
from faceauth.verbs.prepare_text import describe_work, print_prepared


def row(folder, target, status=OK, split=""):
    return ManifestRow("a", "", folder, split, "real" if target else "fake", target, status=status)


def batch(statuses, *, n_faces, seconds):
    files = [SourceFile(f"{i}", "web", 1, f"{i}", "", Address(Path(f"{i}"))) for i in range(len(statuses))]
    rows = [row("web", 1, status) for status in statuses]
    return CollectedBatch(files, rows, [None] * len(rows), n_faces, seconds)


def document(rows, new=None, **more):
    return {
        "counts": count_rows(rows),
        "groups": {"n": 3},
        "rates": {"images_per_s": 12.34 if new and new.n else None},
        "new_images": (new or NewImages()).to_json(),
        "seconds": {"collect": 9.0, "place_crops": 0.25},
        **more,
    }


def printed(capsys, found, monkeypatch, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_prepared(found)
    return capsys.readouterr().out.splitlines()


ROWS = [
    *[row("web", 1, split="train")] * 1200,
    *[row("web", 1, NO_FACE)] * 3,
    *[row("gan", 0, split="test")] * 7,
    *[row("gan", 0, SURPLUS)] * 2,
]


def test_a_run_is_counted_batch_by_batch():
    new = NewImages()
    new.add(batch([OK, OK, NO_FACE], n_faces=4, seconds={"decode": 1.0, "detect": 2.0}))
    new.add(batch([OK, LABEL_CONFLICT], n_faces=1, seconds={"decode": 0.5, "crop": 0.125}))
    assert new.to_json() == {
        "n": 5,
        "n_faces": 5,
        "by_status": {OK: 3, NO_FACE: 1, LABEL_CONFLICT: 1},
        "work_seconds": {"decode": 1.5, "detect": 2.0, "crop": 0.125},
    }
    assert new.describe() == "5 faces, 2 failed"


def test_rows_are_counted_by_source_and_what_became_of_them():
    counts = count_rows([*ROWS, row("web", 0, DUPLICATE)])
    assert (counts["n"], counts["n_failed"]) == (1213, 3)
    assert counts["by_status"] == {OK: 1207, NO_FACE: 3, SURPLUS: 2, DUPLICATE: 1}
    assert counts["by_folder"]["real/web"]["status"] == {OK: 1200, NO_FACE: 3}
    assert counts["by_folder"]["fake/web"] == {"target_class": "fake", "status": {DUPLICATE: 1}, "split": {}}
    assert counts["by_folder"]["gan"]["split"] == {"test": 7}


def test_the_table_has_a_line_for_each_source_and_one_for_all(capsys, monkeypatch):
    lines = printed(capsys, document(ROWS), monkeypatch)
    header, _, web, gan, total = (line.split() for line in lines[:5])
    assert header == ["class", "source", "images", "ok", "no_face", "surplus", "train", "val", "test"]
    assert web == ["real", "web", "1,203", "1,200", "3", "0", "1,200", "0", "0"]
    assert gan == ["fake", "gan", "9", "7", "0", "2", "0", "0", "7"]
    assert total == ["all", "1,212", "1,207", "3", "2", "1,200", "0", "7"]


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal_whatever_there_is(capsys, monkeypatch, columns):
    rows = [row("a generator with a very long name, " * 3 + str(i), 0, s) for i, s in enumerate(STATUSES)]
    rows += [row("名前" * 40, 1, split=split) for split in ("train", "val", "test")] * 4000
    lines = printed(capsys, document(rows), monkeypatch, columns)
    table = lines[: next(i for i, line in enumerate(lines) if "new to find" in line)]
    assert max(map(len, table)) <= max(columns, 55)
    headers = [line for line in table if line.startswith("class")]
    shown = [name for header in headers for name in re.split(r"  +", header)[2:]]
    assert sorted(shown) == sorted(["images", *STATUSES, "train", "val", "test"])
    assert len(headers) == 1 if columns == 200 else len(headers) > 1
    assert sum("12,007" in line for line in table) == 1


def test_what_was_done_and_how_long_it_took_is_said(capsys, monkeypatch):
    new = NewImages()
    new.add(batch([OK] * 5, n_faces=6, seconds={"decode": 1.26, "detect": 2.0}))
    lines = describe_work(document(ROWS, new, duplicates={"exact": 2, "near": 31}))
    assert lines == [
        "5 new images, 12.3 images a second; 6 faces found; 3 groups",
        "duplicates: 2 exact, 31 look alike",
        "seconds: collect 9.0, place crops 0.2",
        "work in all processes: decode 1.3, detect 2.0",
    ]
    assert describe_work(document(ROWS))[0] == "nothing new to find; 3 groups"


def test_prepare_writes_and_prints_the_same_numbers(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)
    photos = save_layout(tmp_path / "photos", {"real/web": 6, "fake/gan": 5})
    (photos / "real/web/broken.png").write_bytes(b"no picture")
    output = tmp_path / "out"
    options = ("--face-detector", "whole", "--image-size", "64", "--workers", "1")
    result = run_cli("prepare", photos, "--output", output, *options)
    assert result.exit_code == 3, result.stderr
    found = json.loads((output / "prepare.json").read_text())
    assert (found["counts"]["n"], found["counts"]["n_failed"]) == (12, 1)
    assert found["new_images"]["n"] == found["rates"]["images_new"] == 12
    assert found["new_images"]["n_faces"] == 11
    assert found["new_images"]["by_status"] == {OK: 11, "unreadable": 1}
    assert set(found["new_images"]["work_seconds"]) == {"decode", "detect", "crop"}
    assert all(seconds >= 0 for seconds in found["new_images"]["work_seconds"].values())
    assert {"collect", "group_and_split", "place_crops", "record", "audit"} <= set(found["seconds"])
    assert {"exact", "near"} <= set(found["duplicates"])
    assert "unreadable" in result.stdout
    assert "no_face" not in result.stdout
    assert "12 new images" in result.stdout
    assert "11 faces found" in result.stdout
    again = run_cli("prepare", photos, "--output", output, *options)
    assert "nothing new to find" in again.stdout
    assert json.loads((output / "prepare.json").read_text())["new_images"]["n"] == 0

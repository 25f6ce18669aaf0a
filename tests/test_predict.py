"""`faceauth predict`: what it prints and writes, its exit codes, and that it judges as `evaluate` scores."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from clips import grey_frames, save_video
from pictures import save, save_layout
from test_detectors import save as save_checkpoint
from test_detectors import tiny
from test_verdicts import BAND, CROP, card

from faceauth.errors import DetectorError
from faceauth.intake.manifest import Manifest
from faceauth.intake.pipeline.collect import collect_faces
from faceauth.intake.pipeline.engine import CollectSettings, load_engine
from faceauth.intake.pipeline.store import stored_crop
from faceauth.intake.sources.find import find_sources
from faceauth.intake.spreadsheet import read_sheets
from faceauth.runtimes import choose
from faceauth.verbs.evaluate import ScoringSettings, score_manifest
from faceauth.verbs.predict import PredictSettings, Tally, find_inputs, predict
from faceauth.verbs.predict_text import MAX_CHARACTERS, VerdictTable
from faceauth.verdicts.verdict import Verdict

CONTRACT = [
    "path",
    "status",
    "label",
    "p_fake",
    "unsure",
    "generator",
    "generator_score",
    "box",
    "p_face",
    "frame",
]
ALWAYS_FAKE = {"value": 0.0, "rule": "value=0", "chosen_on": "fixed"}
ALWAYS_REAL = {"value": 2.0, "rule": "fpr=0.01", "chosen_on": "val"}
NO_BAND = BAND | {"low": None, "high": None, "reason": "too few groups"}
ALWAYS_UNSURE = BAND | {"low": 0.0, "high": 1.5}


def model(folder, **changes):
    return save_checkpoint(tiny("vit"), folder / "checkpoint", card=card(**changes))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return model(tmp_path_factory.mktemp("model"), unsure=BAND)


@pytest.fixture
def photos(tmp_path):
    """Three pictures, one of them too small, and one that is none."""
    folder = save_layout(tmp_path / "photos", {"a": 2})
    save(folder / "b.png", 9, side=30)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def lines_of(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_line_of_json_for_each_face_with_the_fields_of_the_contract(run_cli, checkpoint, photos):
    result = run_cli("predict", photos, "--model", checkpoint, "--json")
    assert result.exit_code == 3
    records = lines_of(result)
    assert [list(record)[: len(CONTRACT)] for record in records] == [CONTRACT] * 4
    assert [record["status"] for record in records] == ["ok", "ok", "too_small", "unreadable"]
    assert [record["path"] for record in records] == sorted(str(path) for path in photos.rglob("*.*"))
    for record in records[:2]:
        assert 0 <= record["p_fake"] <= 1
        # The threshold of the card is 0.4.
        assert record["label"] == ("fake" if record["p_fake"] >= 0.4 else "real")
        assert record["unsure"] == (0.3 <= record["p_fake"] < 0.6)
    for record in records[2:]:
        assert record["reason"]
        assert {record[name] for name in ("label", "p_fake", "unsure", "generator")} == {None}


def test_people_get_a_table_and_a_summary_in_words(run_cli, tmp_path, photos):
    unsure = model(tmp_path, unsure=ALWAYS_UNSURE, threshold=ALWAYS_FAKE)
    result = run_cli("predict", photos, "--model", unsure)
    assert result.exit_code == 3
    assert result.stdout.count("unsure, rather fake") == 2
    assert "too small: the face is 30 px long" in result.stdout
    assert "2 faces in 4 files: 2 fake, 0 real, 2 of them unsure; no verdict on 2 files." in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()[:6]) <= MAX_CHARACTERS


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "xlsx"])
def test_files_hold_what_json_prints(run_cli, checkpoint, photos, tmp_path, suffix):
    output = tmp_path / "deep" / f"verdicts.{suffix}"
    result = run_cli("predict", photos, "--model", checkpoint, "--json", "--output", output)
    records = lines_of(result)
    if suffix == "jsonl":
        assert [json.loads(line) for line in output.read_text("utf-8").splitlines()] == records
        return
    if suffix == "csv":
        with output.open(newline="", encoding="utf-8") as stream:
            found = list(csv.DictReader(stream))
    else:
        found = read_sheets(output)[1]
    assert [row["path"] for row in found] == [record["path"] for record in records]
    for row, record in zip(found[:2], records[:2], strict=True):
        assert float(row["p_fake"]) == record["p_fake"]


@pytest.mark.parametrize(
    ("changes", "flag", "code"),
    [
        ({"threshold": ALWAYS_FAKE, "unsure": NO_BAND}, True, 1),
        ({"threshold": ALWAYS_FAKE, "unsure": NO_BAND}, False, 0),
        ({"threshold": ALWAYS_FAKE, "unsure": ALWAYS_UNSURE}, True, 0),
        ({"threshold": ALWAYS_REAL, "unsure": NO_BAND}, True, 0),
    ],
)
def test_a_verdict_is_an_exit_code_only_if_asked_and_sure(run_cli, tmp_path, changes, flag, code):
    picture = save(tmp_path / "face.png", 1)
    flags = ["--fail-on-fake"] if flag else []
    result = run_cli("predict", picture, "--model", model(tmp_path, **changes), "--json", *flags)
    assert result.exit_code == code
    assert len(lines_of(result)) == 1


def test_wrong_usage_is_told_before_any_work(run_cli, checkpoint, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(choose, "find_model", None)
    for words, expected in [
        ([photos / "missing.png"], "no file or folder"),
        ([photos, "--output", tmp_path / "verdicts.txt"], "no kind of file"),
        ([photos, "--frames", "3", "--fps", "2"], "exclude each other"),
        (["-"], "stdin is empty"),
        ([], "PATH"),
    ]:
        result = run_cli("predict", *words, "--model", checkpoint)
        assert result.exit_code == 2, words
        assert expected in result.stderr
        assert result.stdout == ""


def test_a_folder_that_is_no_checkpoint_is_one_message(run_cli, photos, tmp_path):
    result = run_cli("predict", photos, "--model", tmp_path, "--json")
    assert result.exit_code == 1
    assert "no checkpoint folder" in json.loads(result.stdout)["error"]["message"]


def test_without_a_model_the_embedded_detector_is_used(run_cli, photos, monkeypatch):
    def no_embedded():
        raise DetectorError("planted: the embedded one was asked for")

    monkeypatch.setattr(choose, "checked_embedded_folder", no_embedded)
    for words in ([], ["--model", "embedded"]):
        result = run_cli("predict", photos, *words)
        assert result.exit_code == 1
        assert "the embedded one was asked for" in result.stderr


def test_whole_pictures_are_judged_as_crops_where_nobody_shall_look_for_faces(run_cli, tmp_path, photos):
    searching = model(tmp_path, face_detector="mtcnn")
    cropped = run_cli("predict", photos / "a", "--model", searching, "--no-detect", "--json")
    assert cropped.exit_code == 0
    assert [(record["box"], record["p_face"]) for record in lines_of(cropped)] == [(None, None)] * 2
    searched = run_cli("predict", photos / "a", "--model", searching, "--json")
    assert searched.exit_code == 3
    assert {record["status"] for record in lines_of(searched)} == {"no_face"}


def test_frames_of_videos_are_judged_and_a_video_is_one_file(run_cli, checkpoint, tmp_path):
    video = save_video(tmp_path / "clip.mp4", grey_frames(50, width=64, height=64))
    result = run_cli("predict", video, "--model", checkpoint, "--json", "--frames", "4")
    # Pictures of one grey each, so that none looks like another: each frame has a person of its own.
    faces, people = lines_of(result)[:4], lines_of(result)[4:]
    assert [record["path"] for record in faces + people] == [str(video)] * 8
    assert [record["frame"] for record in faces] == [record["frame"] for record in people] == [6, 18, 31, 43]
    assert len(lines_of(run_cli("predict", video, "--model", checkpoint, "--json", "--fps", "1"))) == 2 * 2
    told = run_cli("predict", video, "--model", checkpoint, "--frames", "4")
    assert "4 people in 1 file" in told.stdout
    assert "0.2 s" in told.stdout


def test_at_most_so_many_files_for_a_trial(run_cli, checkpoint, photos):
    result = run_cli("predict", photos, "--model", checkpoint, "--json", "--limit", "2")
    assert result.exit_code == 0
    assert len(lines_of(result)) == 2


def test_a_face_is_judged_as_it_is_scored_from_a_manifest(run_cli, tmp_path, sample_photos):
    platt = {"method": "platt", "chosen_on": "val", "parameters": {"slope": 2.0, "offset": 0.7}}
    trained = model(tmp_path, face_detector="mtcnn", calibration=platt)
    collect, output = CollectSettings(crop=CROP), tmp_path / "prepared"
    files = find_sources([str(sample_photos)])[::5]
    rows = collect_faces(
        files, output, settings=collect, engine=load_engine("local", settings=collect, workers=0)
    )
    rows = [replace(row, destination_path=str(stored_crop(output, row).relative_to(output))) for row in rows]
    manifest = Manifest(rows, output, output, "")
    scores, _, _ = score_manifest(trained, manifest, rows, settings=ScoringSettings(workers=0))
    listed = [file.address.path for file in files]
    judged = lines_of(run_cli("predict", *listed, "--model", trained, "--json"))
    # An image may hold a second face; the preparation takes the largest, which comes first.
    first = {record["path"]: record for record in reversed(judged)}
    assert len(first) == len(rows) >= 6
    for row, p_fake in zip(rows, scores.p_fake, strict=True):
        assert first[row.image_path]["p_fake"] == pytest.approx(p_fake, abs=1e-6)
        assert first[row.image_path]["box"] == pytest.approx(row.box, abs=0.02)


@pytest.mark.launch
def test_a_worker_that_cuts_faces_does_not_load_torch():
    code = "import sys, faceauth.verdicts.cutting; print('torch' in sys.modules)"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "False"


@pytest.mark.launch
def test_a_list_on_stdin_names_of_any_bytes_and_nothing_but_json_on_stdout(checkpoint, photos):
    odd = os.fsencode(photos) + b"/odd\xff name.png"
    with open(odd, "wb") as stream:  # noqa: PTH123 the name is no text
        stream.write(next((photos / "a").iterdir()).read_bytes())
    listed = odd + b"\r\n\n" + os.fsencode(photos / "missing.png") + b"\n" + os.fsencode(photos / "a")
    done = subprocess.run(
        [sys.executable, "-m", "faceauth", "predict", "-", "--model", checkpoint, "--json"],
        input=listed,
        capture_output=True,
    )
    assert done.returncode == 3, done.stderr
    records = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    assert [record["status"] for record in records] == ["ok", "unreadable", "ok", "ok"]
    assert records[0]["path"].endswith("odd\\xff name.png")


def test_verdicts_come_while_the_rest_is_still_to_do(checkpoint, tmp_path):
    save_layout(tmp_path, {"photos": 70})
    settings = PredictSettings(model=str(checkpoint), batch_size=4, workers=0)
    files = find_inputs([str(tmp_path / "photos")], settings=settings)
    verdicts = predict(files, settings=settings)
    assert next(verdicts).path == files[0].image_path
    # What is still to be read is not there any more, and each file fails alone.
    for file in files[-10:]:
        file.address.path.unlink()
    assert [verdict.status for verdict in list(verdicts)[-10:]] == ["unreadable"] * 10


def test_names_cannot_write_to_the_terminal_and_lines_stay_within_100_characters():
    hostile = "folder/\x1b[31m\nred\t" + "x" * 200 + "\u202e.png"
    table = VerdictTable([hostile])
    lines = [
        table.line(
            Verdict(hostile, "ok", "fake", 0.5, True, "\x1b]0;title\x07" * 9, 0.5, (0, 0, 1e4, 1e4), 1.0)
        ),
        table.line(Verdict(hostile, "unreadable", reason="\x1b[2J" * 50)),
        *table.header(),
    ]
    for line in lines:
        assert len(line) <= MAX_CHARACTERS
        assert line.isprintable()


def test_a_file_counts_as_failed_if_none_of_its_faces_was_judged():
    tally = Tally()
    for path, status in [("a", "too_small"), ("a", "ok"), ("b", "ok"), ("b", "too_small"), ("c", "no_face")]:
        label = "fake" if status == "ok" else None
        tally.add(Verdict(path, status, label, None if label is None else 0.9))
    assert (tally.n_files, tally.n_failed, tally.n_sure_fake) == (3, 1, 2)
    assert tally.by_status == {"ok": 2, "too_small": 2, "no_face": 1}

"""People of videos: what the verdicts on their faces amount to, and how `faceauth predict` tells it."""

import csv
import json
from dataclasses import replace

import pytest
from films import LEFT, MIDDLE, RIGHT, find_planted, frame_of, save_film
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_detectors import save as save_checkpoint
from test_detectors import tiny
from test_verdicts import BAND, card

from faceauth.decisions.attribution import UNKNOWN
from faceauth.decisions.decided import read_decided
from faceauth.errors import UsageError
from faceauth.intake.faces.face import FACE_DETECTORS
from faceauth.intake.rows import NO_FACE, OK, UNREADABLE
from faceauth.intake.spreadsheet import read_sheets
from faceauth.verbs.predict import Tally
from faceauth.verbs.predict_text import BLOCKS, MAX_CHARACTERS, TENTHS, VerdictTable, sparkline
from faceauth.verdicts import judge as judging
from faceauth.verdicts.library import load_detector
from faceauth.verdicts.people import MAX_MOMENTS, person_of, with_people
from faceauth.verdicts.verdict import HEAVY_COMPRESSION, SMALL_FACE, Person, Verdict

# The threshold of the card is 0.4; below 0.3 a face is surely real, from 0.6 on surely fake.
DECIDED = read_decided(card(unsure=BAND), "tiny")
NO_BAND = read_decided(card(), "tiny")
ALWAYS_FAKE = {"value": 0.0, "rule": "value=0", "chosen_on": "fixed"}
SAME = ("label", "p_fake", "unsure", "generator", "generator_score", "box", "p_face", "warnings")


def face(p_fake, *, second=0, decided=DECIDED, person=1, path="a.mp4", box=(0.0, 0.0, 50.0, 60.0), **facts):
    label = "fake" if p_fake >= 0.4 else "real"
    band = decided.unsure
    unsure = None if band.low is None else band.low <= p_fake < band.high
    return Verdict(
        path,
        OK,
        label,
        p_fake,
        unsure,
        box=box,
        p_face=0.9,
        frame=25 * second,
        timestamp_s=float(second),
        person=person,
        **facts,
    )


def person(*p_fake, decided=DECIDED, **facts):
    return person_of([face(p, second=i, decided=decided, **facts) for i, p in enumerate(p_fake)], decided)


scores = st.floats(0, 1)


@given(scores, st.sampled_from([DECIDED, NO_BAND]), st.sampled_from([(SMALL_FACE,), ()]))
def test_one_frame_makes_the_verdict_of_that_frame(p_fake, decided, warnings):
    named = {"generator": "gan", "generator_score": 0.7} if p_fake >= 0.4 else {}
    only = face(p_fake, second=3, decided=decided, warnings=warnings, **named)
    found = person_of([only], decided)
    assert [getattr(found, name) for name in SAME] == [getattr(only, name) for name in SAME]
    assert (found.n_frames, found.first_s, found.last_s, found.frame) == (1, 3.0, 3.0, 75)
    assert found.timeline == ((3.0, 75, p_fake),)


@given(st.lists(scores, min_size=1, max_size=20), st.data())
def test_the_score_lies_among_those_of_the_frames_and_rises_with_each(p_fake, data):
    found = person(*p_fake)
    assert min(p_fake) <= found.p_fake <= max(p_fake)
    assert found.label == ("fake" if found.p_fake >= 0.4 else "real")
    assert [moment.p_fake for moment in found.timeline] == p_fake
    i = data.draw(st.integers(0, len(p_fake) - 1))
    higher = data.draw(st.floats(p_fake[i], 1))
    assert person(*p_fake[:i], higher, *p_fake[i + 1 :]).p_fake >= found.p_fake - 1e-12


def test_many_frames_that_agree_are_no_surer_than_each():
    assert person(*[0.7] * 16).p_fake == 0.7
    assert person(*[0.5] * 16).unsure is True


def test_frames_that_contradict_each_other_are_unsure_and_it_says_why():
    # The band has a coverage of 0.9: one face in ten may be surely called the other.
    assert person(*[0.9] * 9, 0.1).unsure is False
    torn = person(*[0.9] * 8, 0.1, 0.1)
    assert (torn.label, torn.unsure) == ("fake", True)
    assert torn.reason == "frames contradict each other: 2 of 10 are surely real"
    assert person(*[0.05] * 8, 0.95, 0.95).reason.endswith("surely fake")
    # Faces in the band contradict nobody.
    assert person(*[0.9] * 8, 0.5, 0.5).unsure is False


def test_without_a_band_nobody_is_unsure():
    found = person(*[0.9] * 5, 0.0, decided=NO_BAND)
    assert (found.unsure, found.reason) == (None, "")


@pytest.mark.parametrize(
    ("names", "expected", "score"),
    [
        (["a", "a", "b"], "a", 0.5),
        (["a", "b", UNKNOWN], UNKNOWN, 0.5),
        (["a", "b"], UNKNOWN, None),
        ([None, None], None, None),
    ],
)
def test_a_generator_needs_more_than_half_of_the_fake_faces(names, expected, score):
    faces = [
        face(0.9, second=i, generator=name, generator_score=None if name is None else 0.5)
        for i, name in enumerate(names)
    ]
    found = person_of([*faces, face(0.1, second=9)], DECIDED)
    assert (found.generator, found.generator_score) == (expected, score)


def test_a_person_called_real_has_no_generator():
    fake = face(0.5, generator="a", generator_score=0.9)
    assert person_of([fake, face(0.0, second=1), face(0.0, second=2)], DECIDED).generator is None


def test_warnings_are_merged_and_the_largest_face_is_shown():
    faces = [
        face(0.9, warnings=(HEAVY_COMPRESSION,)),
        face(0.9, second=1, box=(10.0, 10.0, 90.0, 120.0)),
        face(0.9, second=2, warnings=(SMALL_FACE,)),
    ]
    found = person_of(faces, DECIDED)
    assert found.warnings == (SMALL_FACE, HEAVY_COMPRESSION)
    assert (found.box, found.frame, found.timestamp_s) == ((10.0, 10.0, 90.0, 120.0), 25, 1.0)
    assert (found.first_s, found.last_s) == (0.0, 2.0)


def test_a_long_timeline_is_thinned_and_fits_into_a_cell():
    found = person(*[1 / 3] * 5000)
    assert (found.n_frames, len(found.timeline)) == (5000, MAX_MOMENTS)
    assert (found.timeline[0].timestamp_s, found.timeline[-1].timestamp_s) == (0.0, 4999.0)
    assert len(json.dumps(found.to_json()["timeline"])) < 32_767


def test_people_come_after_the_last_frame_of_their_video():
    no_face = Verdict("a.mp4", NO_FACE, timestamp_s=2.0, frame=50)
    photo = Verdict("b.png", OK, "real", 0.1, False)
    faces = [face(0.9, person=2), face(0.1), no_face, photo, face(0.9, path="c.mp4")]
    found = [(verdict.path, verdict.kind, verdict.person) for verdict in with_people(iter(faces), DECIDED)]
    assert found == [
        ("a.mp4", "face", 2),
        ("a.mp4", "face", 1),
        ("a.mp4", "face", None),
        ("a.mp4", "person", 1),
        ("a.mp4", "person", 2),
        ("b.png", "face", None),
        ("c.mp4", "face", 1),
        ("c.mp4", "person", 1),
    ]


def test_people_count_and_not_the_faces_of_frames():
    tally = Tally()
    photo = Verdict("photo.png", OK, "fake", 0.9, False)
    videos = [face(0.9), face(0.9, second=1), face(0.1, person=2, second=1), face(0.9, path="b.mp4")]
    for verdict in with_people([photo, *videos, Verdict("c.mp4", NO_FACE, timestamp_s=0.0)], DECIDED):
        tally.add(verdict)
    assert (tally.n_files, tally.n_failed, tally.n_people, tally.n_sure_fake) == (4, 1, 3, 3)
    assert tally.by_label == {"fake": 3, "real": 1}
    assert tally.by_status == {OK: 5, NO_FACE: 1}
    assert tally.describe() == "1 face and 3 people in 4 files: 3 fake, 1 real; no verdict on 1 file."


def test_a_person_is_a_line_with_its_timeline():
    table = VerdictTable(["a.mp4#t=0.000"])
    assert table.lines(face(0.9)) == []
    (line,) = table.lines(person(0.0, 0.5, 1.0, warnings=(SMALL_FACE,)))
    assert line.startswith("a.mp4 person 1")
    assert "0.0-2.0 s  ▁▅█ small face, 3 frames" in line
    failed = [Verdict("b.mp4", NO_FACE, timestamp_s=float(i), reason="none found") for i in range(3)]
    assert [table.lines(verdict) for verdict in failed] == [[]] * 3
    lines = table.lines(Verdict("c.png", OK, "real", 0.1))
    assert lines[0] == "b.mp4           no face: 3 frames, the first at 0.0 s: none found"
    assert len(lines) == 2
    assert table.rest() == []
    table.lines(Verdict("d.mp4", UNREADABLE, timestamp_s=0.0, reason="broken"))
    assert table.rest() == ["d.mp4           unreadable: broken"]
    frames = VerdictTable(["a.mp4"], each_frame=True)
    assert len(frames.lines(face(0.9))) == 1
    long = replace(person(*[0.5] * 40, generator="g" * 90, generator_score=1.0), path="\x1b" * 90, last_s=1e5)
    assert len(frames.line(long)) == MAX_CHARACTERS
    assert frames.line(long).isprintable()


def test_a_timeline_is_drawn_in_few_signs_and_in_digits_where_there_are_no_blocks():
    assert sparkline([0.0, 0.49, 1.0]) == "▁▄█"
    assert sparkline([i / 99 for i in range(100)]) == "▁▂▂▃▄▄▅▆▆▇██"
    assert sparkline([0.0, 0.49, 1.0], sparks=TENTHS) == "049"
    assert len(BLOCKS) == 8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    changed = card(unsure=BAND, face_detector="mtcnn", threshold=ALWAYS_FAKE)
    return save_checkpoint(tiny("vit"), tmp_path_factory.mktemp("model") / "checkpoint", card=changed)


@pytest.fixture
def _planted(monkeypatch):
    monkeypatch.setattr(FACE_DETECTORS, "get", lambda name: lambda device: find_planted)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Two who cross, with a frame in which nobody is; nobody at all; one alone, under an odd name."""
    folder = tmp_path_factory.mktemp("films")
    two = [frame_of({0: LEFT, 1: RIGHT}, pose=i % 2) for i in range(3)]
    crossed = [frame_of({1: LEFT, 0: RIGHT}, pose=i % 2) for i in range(2)]
    save_film(folder / "crossing.mp4", [*two, frame_of({}), *crossed])
    save_film(folder / "empty.mp4", [frame_of({})] * 3)
    save_film(folder / "=one #t=1.000 [2].mp4", [frame_of({2: MIDDLE})] * 2)
    return folder


def records_of(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.usefixtures("_planted")
def test_a_video_ends_with_a_record_for_each_person(run_cli, checkpoint, films, tmp_path):
    words = ["predict", films, "--model", checkpoint, "--json"]
    result = run_cli(*words, "--output", tmp_path / "verdicts.csv")
    records = records_of(result)
    assert result.exit_code == 3, result.stderr
    assert {tuple(record) for record in records} == {tuple(records[0])}
    by_name = {
        name: [r for r in records if r["path"].endswith(name)]
        for name in ("[2].mp4", "crossing.mp4", "empty.mp4")
    }
    assert [(r["kind"], r["status"], r["person"]) for r in by_name["empty.mp4"]] == [
        ("face", NO_FACE, None)
    ] * 3
    assert [(r["kind"], r["person"]) for r in by_name["[2].mp4"]] == [("face", 1)] * 2 + [("person", 1)]
    crossing = by_name["crossing.mp4"]
    faces, people = crossing[:-2], crossing[-2:]
    assert [r["person"] for r in faces] == [1, 2] * 3 + [None] + [2, 1] * 2
    assert [(r["kind"], r["person"], r["n_frames"]) for r in people] == [("person", 1, 5), ("person", 2, 5)]
    for found in people:
        own = [r for r in faces if r["person"] == found["person"]]
        assert found["timeline"] == [{k: r[k] for k in ("timestamp_s", "frame", "p_fake")} for r in own]
        assert found["p_fake"] == pytest.approx(sum(r["p_fake"] for r in own) / 5)
        assert (found["first_s"], found["last_s"]) == (0.0, 5.0)
        assert found["box"] in [r["box"] for r in own]
    assert {r[name] for r in faces for name in ("n_frames", "first_s", "last_s", "timeline")} == {None}
    with (tmp_path / "verdicts.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["kind"] for row in rows] == [r["kind"] for r in records]
    assert json.loads(rows[-4]["timeline"] or "null") == records[-4]["timeline"]


@pytest.mark.usefixtures("_planted")
@pytest.mark.parametrize("suffix", ["jsonl", "xlsx"])
def test_other_files_hold_people_as_well(run_cli, checkpoint, films, tmp_path, suffix):
    output = tmp_path / f"verdicts.{suffix}"
    result = run_cli("predict", films / "crossing.mp4", "--model", checkpoint, "--json", "--output", output)
    records = records_of(result)
    if suffix == "jsonl":
        assert [json.loads(line) for line in output.read_text("utf-8").splitlines()] == records
        return
    last = read_sheets(output)[1][-1]
    assert (last["kind"], last["person"], last["n_frames"]) == ("person", 2, 5)
    assert json.loads(last["timeline"]) == records[-1]["timeline"]


@pytest.mark.usefixtures("_planted")
def test_people_read_a_line_a_person_and_frames_only_if_asked(run_cli, checkpoint, films):
    result = run_cli("predict", films, "--model", checkpoint)
    assert "3 people in 3 files: 3 fake, 0 real" in result.stdout
    assert result.stdout.count(" person ") == 3
    assert "no face: 3 frames, the first at 0.0 s: none found" in result.stdout
    each = run_cli("predict", films, "--model", checkpoint, "--each-frame")
    assert len(each.stdout.splitlines()) == len(result.stdout.splitlines()) + 12 + 4 - 2


@pytest.mark.usefixtures("_planted")
def test_frames_patterns_limits_and_odd_names(run_cli, checkpoint, films, monkeypatch):
    monkeypatch.chdir(films)
    words = ["--model", checkpoint, "--json"]
    odd = records_of(run_cli("predict", "=one #t=1.000 [2].mp4", *words))
    assert {r["path"] for r in odd} == {str(films / "=one #t=1.000 [2].mp4")}
    two = records_of(run_cli("predict", "cross*.mp4", *words, "--frames", "2"))
    assert [(r["kind"], r["n_frames"]) for r in two] == [("face", None)] * 4 + [("person", 2)] * 2
    assert len(records_of(run_cli("predict", "c*.mp4", *words, "--fps", "0.5"))) == 3 * 2 - 1 + 2
    first = records_of(run_cli("predict", ".", *words, "--limit", "1"))
    assert {r["path"] for r in first} == {odd[0]["path"]}


@pytest.mark.usefixtures("_planted")
def test_a_sure_fake_person_is_an_exit_code_if_asked(run_cli, tmp_path, films):
    for low, high, code in [(None, None, 1), (0.0, 1.5, 0)]:
        changed = card(unsure=BAND | {"low": low, "high": high}, face_detector="mtcnn", threshold=ALWAYS_FAKE)
        model = save_checkpoint(tiny("vit"), tmp_path / f"model-{code}", card=changed)
        result = run_cli("predict", films / "crossing.mp4", "--model", model, "--json", "--fail-on-fake")
        assert result.exit_code == code
        assert ("2 faces or people are surely called fake" in result.stderr) == (code == 1)


@pytest.mark.usefixtures("_planted")
def test_a_video_that_breaks_off_keeps_its_people_and_says_what_is_missing(run_cli, checkpoint, tmp_path):
    frames = [frame_of({0: LEFT, 1: RIGHT}, scene=i) for i in range(8)]
    whole = save_film(tmp_path / "whole.mkv", frames).read_bytes()
    (tmp_path / "torn.mkv").write_bytes(whole[: len(whole) * 5 // 8])
    (tmp_path / "whole.mkv").unlink()
    records = records_of(run_cli("predict", tmp_path, "--model", checkpoint, "--json"))
    broken = [r for r in records if r["status"] == UNREADABLE]
    assert broken
    assert {r["frame"] for r in broken} == {None}
    assert all(r["timestamp_s"] > 3 for r in broken)
    people = [r for r in records if r["kind"] == "person"]
    assert len(people) >= 2
    assert sum(r["n_frames"] for r in people) == sum(r["status"] == OK for r in records) - len(people)


@pytest.mark.usefixtures("_planted")
def test_an_interruption_in_the_midst_of_a_video_leaves_no_file(
    run_cli, checkpoint, films, tmp_path, monkeypatch
):
    def interrupted(self, crops):
        if interrupted.n_calls == 2:
            raise KeyboardInterrupt
        interrupted.n_calls += 1
        return whole(self, crops)

    interrupted.n_calls = 0
    whole = judging.Judge.judge
    monkeypatch.setattr(judging.Judge, "judge", interrupted)
    output = tmp_path / "verdicts.csv"
    result = run_cli(
        "predict", films, "--model", checkpoint, "--json", "--output", output, "--batch-size", "4"
    )
    assert result.exit_code == 130
    assert interrupted.n_calls == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_planted")
def test_the_library_takes_videos_beside_pictures(checkpoint, films, tmp_path):
    detector = load_detector(checkpoint, device="cpu")
    Image.fromarray(frame_of({0: LEFT})).save(tmp_path / "photo.png")
    crossing = str(films / "crossing.mp4")
    video, photo, missing = detector([crossing, tmp_path / "photo.png", tmp_path / "none.mp4"])
    assert [verdict.kind for verdict in video] == ["face"] * 11 + ["person"] * 2
    assert isinstance(video[-1], Person)
    assert [verdict.person for verdict in photo] == [None]
    assert [(verdict.status, verdict.kind) for verdict in missing] == [(UNREADABLE, "face")]
    assert detector(crossing) == video
    assert [person.n_frames for person in detector(crossing, frames=2)[-2:]] == [2, 2]
    assert [person.n_frames for person in detector(crossing, fps=0.5)[-2:]] == [2, 2]
    with pytest.raises(UsageError, match="exclude each other"):
        detector(crossing, frames=2, fps=1.0)

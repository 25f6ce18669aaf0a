"""Verdicts: what is judged, how faces are cut ahead, what a judge says, files of verdicts, attribution."""

import csv
import dataclasses
import io
import json
import threading

import numpy as np
import planted_deaths
import pytest
from clips import grey_frames, save_video
from hypothesis import given
from hypothesis import strategies as st
from pictures import draw, save, save_layout
from PIL import Image
from test_detectors import save as save_checkpoint
from test_detectors import some_card, tiny

import faceauth
from faceauth.decisions.attribution import UNKNOWN, attribute, check_attribution
from faceauth.decisions.attribution_fit import fit_attribution
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.errors import DetectorError, InputError, UsageError
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.face import FACE_DETECTORS, Face
from faceauth.intake.pipeline.batch import collect_batch
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.rows import NO_FACE, OK, TOO_SMALL, UNREADABLE
from faceauth.intake.sources.video_sampling import VideoSampling, expand_videos
from faceauth.intake.spreadsheet import read_sheets
from faceauth.runtimes.kinds.torch_network import TorchNetwork
from faceauth.verdicts import cutting
from faceauth.verdicts.cutting import cut_ahead, cut_files
from faceauth.verdicts.find import find_pictures
from faceauth.verdicts.judge import Judge
from faceauth.verdicts.library import LoadedDetector, load_detector
from faceauth.verdicts.verdict import HEAVY_COMPRESSION, SMALL_FACE, WARNINGS, Opinion, Verdict
from faceauth.verdicts.verdict_files import write_verdicts

CROP = CropSettings(image_size=64)
WHOLE = CollectSettings(face_detector="whole", crop=CROP)
BAND = {"low": 0.3, "high": 0.6, "coverage": 0.9, "chosen_on": "val"} | dict.fromkeys(
    ("n_real", "n_fake", "groups_real", "groups_fake"), 9
)


def card(**changes):
    return dataclasses.replace(some_card("vit"), crop=CROP, **changes)


def judge(**changes):
    return Judge(TorchNetwork(tiny("vit")), card(**changes), name="tiny")


def two_faces(images):
    """Finds in each picture a large face on the right and a smaller one on the left, and a doubtful one."""
    found = []
    for image in images:
        height, width = image.shape[:2]
        large = Face((width / 2, 0.0, float(width), height / 2), 0.99)
        small = Face((0.0, 0.0, width * 0.3, height * 0.3), 0.95)
        found.append([small, Face((0.0, 0.0, float(width), float(height)), 0.2), large])
    return found


def planted_features(n_known, n_each, *, seed=0, d=40, unseen=0):
    """Embeddings of generators that each are a normal distribution, with names; the last ones are unseen."""
    centres = np.random.default_rng(99).normal(size=(n_known + unseen, d)) * 2.0
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(n_known, n_known + unseen) if unseen else np.arange(n_known), n_each)
    return centres[number] + rng.normal(size=(len(number), d)), np.array([f"gan_{i}" for i in number])


def test_places_are_listed_in_their_order_each_file_once(tmp_path, monkeypatch):
    photos = save_layout(tmp_path / "photos", {"b": 2, "a/deep": 1})
    (photos / "notes.txt").write_text("no picture")
    (photos / "a" / ".hidden.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    relative = [file.image_path for file in find_pictures(["photos"])]
    assert relative == ["photos/a/deep/0002.png", "photos/b/0000.png", "photos/b/0001.png"]
    again = find_pictures(["photos/b/0001.png", "photos", "photos/notes.txt"])
    assert [file.image_path for file in again] == [relative[2], relative[0], relative[1], "photos/notes.txt"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("photos/*/*.png", ["photos/b/0000.png", "photos/b/0001.png"]),
        ("photos/**/*.png", ["photos/a/deep/0002.png", "photos/b/0000.png", "photos/b/0001.png"]),
        ("photos/**", ["photos/a/deep/0002.png", "photos/b/0000.png", "photos/b/0001.png"]),
        ("photos/b*", ["photos/b/0000.png", "photos/b/0001.png"]),
    ],
)
def test_patterns_are_filled_in_where_the_shell_did_not(tmp_path, monkeypatch, pattern, names):
    save_layout(tmp_path / "photos", {"b": 2, "a/deep": 1})
    monkeypatch.chdir(tmp_path)
    listed = [file.image_path for file in find_pictures([pattern])]
    assert [name for name in listed if name.endswith(".png")] == names
    absolute = find_pictures([str(tmp_path / pattern)])
    assert {file.image_path for file in absolute} >= {str(tmp_path / name) for name in names}


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    odd = save(tmp_path / "face[1].png", 1)
    save(tmp_path / "face1.png", 2)
    assert [file.image_path for file in find_pictures([str(odd)])] == [str(odd)]


def test_places_that_do_not_exist_are_refused_but_not_lines_of_a_list(tmp_path):
    for place in ("missing.png", str(tmp_path / "none*.png")):
        with pytest.raises(UsageError, match="no file or folder"):
            find_pictures([place])
    with pytest.raises(InputError, match="no pictures"):
        find_pictures([str(tmp_path)])
    (missing,) = find_pictures(["-"], listed=[str(tmp_path / "missing.png")])
    ((cut,),) = cut_files([missing], WHOLE, planted_deaths.search)
    assert cut.row.status == UNREADABLE


def test_every_certain_face_is_cut_as_the_preparation_cuts_the_main_one(tmp_path):
    files = find_pictures([str(save(tmp_path / "pair.png", 5, side=400))])
    settings = CollectSettings(crop=CROP)
    ((large, small),) = cut_files(files, settings, two_faces)
    assert (large.row.box, small.row.box) == ((200.0, 0.0, 400.0, 200.0), (0.0, 0.0, 120.0, 120.0))
    assert large.crop_rgb_uint8.shape == small.crop_rgb_uint8.shape == (64, 64, 3)
    prepared = collect_batch(files, settings, two_faces)
    np.testing.assert_array_equal(Image.open(io.BytesIO(prepared.crops_png[0])), large.crop_rgb_uint8)
    assert prepared.rows[0].box == large.row.box


def test_a_small_face_beside_a_large_one_costs_itself_alone(tmp_path):
    files = find_pictures([str(save(tmp_path / "pair.png", 5, side=100))])
    ((large, small),) = cut_files(files, CollectSettings(crop=CROP), two_faces)
    assert (large.row.status, small.row.status) == (OK, TOO_SMALL)
    assert small.crop_rgb_uint8 is None
    assert "30 px" in small.row.reason


def test_files_come_in_their_order_and_no_further_ahead_than_agreed(tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "BATCH_FILES", 2)
    save_layout(tmp_path, {"photos": 14})
    files = find_pictures([str(tmp_path / "photos")])
    taken = []

    def listed():
        for file in files:
            taken.append(file)
            yield file

    ahead = cut_ahead(listed(), WHOLE, workers=0)
    first = next(ahead)
    n_in_work = 1 + cutting.BATCHES_IN_RESERVE
    assert len(taken) == 2 * n_in_work
    paths = [faces[0].row.image_path for batch in (first, *ahead) for faces in batch]
    assert paths == [file.image_path for file in files]


def test_whoever_stops_early_ends_the_work(tmp_path):
    save_layout(tmp_path, {"photos": 40})
    ahead = cut_ahead(find_pictures([str(tmp_path / "photos")]), WHOLE, workers=0)
    before = threading.active_count()
    next(ahead)
    ahead.close()
    assert threading.active_count() <= before


@pytest.mark.launch
def test_a_file_that_kills_its_process_is_one_verdict_and_the_others_are_as_ever(tmp_path, monkeypatch):
    save_layout(tmp_path, {"photos": 5})
    save(tmp_path / "photos" / "0002bad.png", 77, side=70)
    files = find_pictures([str(tmp_path / "photos")])
    whole = [cut for batch in cut_ahead(files, WHOLE, workers=0) for cut in batch]
    monkeypatch.setattr(FACE_DETECTORS, "get", lambda name: planted_deaths.load_dying)
    found = [cut for batch in cut_ahead(files, WHOLE, workers=1) for cut in batch]
    assert [faces[0].row.status for faces in found] == [OK, OK, OK, UNREADABLE, OK, OK]
    assert "SIGSEGV" in found[3][0].row.reason
    for ours, theirs in zip(found, whole, strict=True):
        if ours[0].row.status == OK:
            assert ours[0].row == theirs[0].row
            np.testing.assert_array_equal(ours[0].crop_rgb_uint8, theirs[0].crop_rgb_uint8)


def test_a_judge_calibrates_cuts_and_says_when_it_is_unsure():
    crops = np.stack([draw(seed) for seed in range(12)])
    raw = np.array([opinion.p_fake for opinion in judge().judge(crops)])
    threshold, band = float(np.median(raw)), np.quantile(raw, [0.3, 0.7])
    platt = {"method": "platt", "chosen_on": "val", "parameters": {"slope": 1.0, "offset": 0.0}}
    opinions = judge(
        threshold={"value": threshold, "rule": "youden", "chosen_on": "val"},
        unsure=BAND | {"low": float(band[0]), "high": float(band[1])},
        calibration=platt,
    ).judge(crops)
    np.testing.assert_allclose([opinion.p_fake for opinion in opinions], raw, atol=1e-6)
    assert [opinion.label for opinion in opinions] == ["fake" if p >= threshold else "real" for p in raw]
    assert [opinion.unsure for opinion in opinions] == [bool(band[0] <= p < band[1]) for p in raw]
    lifted = judge(calibration=platt | {"parameters": {"slope": 1.0, "offset": 4.0}}).judge(crops)
    assert all(after.p_fake > before for after, before in zip(lifted, raw, strict=True))
    assert judge().judge(crops)[0].unsure is None


def test_verdicts_are_the_same_whatever_the_batch_size(tmp_path):
    photos = save_layout(tmp_path / "photos", {"a": 7})
    (photos / "a" / "0003b.png").write_bytes(b"broken")
    files = find_pictures([str(photos)])
    found = []
    for batch_size in (1, 3, 100):
        batches = cut_ahead(files, WHOLE, workers=0)
        found.append(list(judge().verdicts(batches, batch_size=batch_size)))
    for verdicts in found:
        assert [verdict.path for verdict in verdicts] == [file.image_path for file in files]
        assert [verdict.status for verdict in verdicts] == [OK] * 4 + [UNREADABLE] + [OK] * 3
        for verdict, first in zip(verdicts, found[0], strict=True):
            if verdict.status == OK:
                assert verdict.p_fake == pytest.approx(first.p_fake, abs=1e-5)
            else:
                assert verdict == first
                assert (verdict.label, verdict.p_fake, verdict.unsure) == (None, None, None)
                assert verdict.reason


def test_a_fake_gets_the_generator_that_the_card_knows_and_a_real_face_none():
    crops = np.stack([draw(seed) for seed in range(60)])
    known = judge()
    features = known.network(crops).embedding
    p_fake = np.array([opinion.p_fake for opinion in known.judge(crops)])
    entry = fit_attribution(features, ["one"] * 60, features, ["one"] * 60)
    threshold = float(np.median(p_fake))
    card_threshold = {"value": threshold, "rule": "youden", "chosen_on": "val"}
    opinions = judge(attribution=entry, threshold=card_threshold).judge(crops)
    named = {opinion.generator for opinion in opinions if opinion.label == "fake"}
    assert "one" in named
    assert named <= {"one", UNKNOWN}
    assert {opinion.generator for opinion in opinions if opinion.label == "real"} == {None}
    assert all((opinion.generator is None) == (opinion.generator_score is None) for opinion in opinions)


def test_a_damaged_card_is_one_message():
    with pytest.raises(DetectorError, match="cannot be read"):
        judge(attribution={"generators": ["one"]})


def test_small_and_heavily_compressed_faces_are_warned_of(tmp_path):
    save(tmp_path / "1.jpg", 1, side=64, quality=20)
    save(tmp_path / "2.jpg", 1, side=64, quality=90)
    save(tmp_path / "3.png", 1, side=41)
    large = CropSettings(image_size=100)
    asked = Judge(TorchNetwork(tiny("vit")), dataclasses.replace(card(), crop=large), name="tiny")
    batches = cut_ahead(find_pictures([str(tmp_path)]), asked.collect, workers=0)
    verdicts = list(asked.verdicts(batches, batch_size=8))
    assert [verdict.warnings for verdict in verdicts] == [(HEAVY_COMPRESSION,), (), (SMALL_FACE,)]
    assert set(WARNINGS) >= {warning for verdict in verdicts for warning in verdict.warnings}


def example_verdicts():
    yield Verdict(
        "=1+1.png", OK, "fake", 0.25, True, "@gan", 0.5, (-1.5, 0.0, 3.0, 4.0), 0.99, warnings=(SMALL_FACE,)
    )
    yield Verdict("b\nc.mp4", OK, "real", 1 / 3, False, frame=12, timestamp_s=0.48)
    yield Verdict("c.png", NO_FACE, reason="none found")


def test_files_of_verdicts_hold_every_field_and_no_formula(tmp_path):
    verdicts = list(example_verdicts())
    for suffix in (".csv", ".jsonl", ".xlsx"):
        write_verdicts(iter(verdicts), tmp_path / f"out{suffix}")
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [verdict.to_json() for verdict in verdicts]
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["p_fake"]) for row in rows[:2]] == [0.25, 1 / 3]
    assert json.loads(rows[0]["box"]) == [-1.5, 0.0, 3.0, 4.0]
    assert (rows[0]["unsure"], rows[1]["unsure"], rows[2]["unsure"]) == ("true", "false", "")
    assert not any((cell or "").startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    header, cells = read_sheets(tmp_path / "out.xlsx")
    assert header == list(rows[0])
    assert [(row["path"], row["status"], row["generator"]) for row in cells] == [
        (verdict.path, verdict.status, verdict.generator) for verdict in verdicts
    ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".xlsx"])
def test_a_file_of_verdicts_appears_whole_or_not_at_all(tmp_path, suffix):
    def stopped():
        yield from example_verdicts()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_verdicts(stopped(), tmp_path / f"out{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_says_no_kind_of_file_is_refused(tmp_path):
    for path in (tmp_path / "out.txt", tmp_path / "folder.csv"):
        (tmp_path / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(UsageError):
            write_verdicts(iter(()), path)


@given(
    p_fake=st.floats(0, 1),
    unsure=st.sampled_from([True, False, None]),
    label=st.sampled_from(["fake", "real"]),
)
def test_a_sure_fake_is_a_fake_that_is_not_unsure(p_fake, unsure, label):
    verdict = Verdict(
        "a",
        OK,
        **{
            field.name: value
            for field, value in zip(
                dataclasses.fields(Opinion), (label, p_fake, unsure, None, None, ()), strict=True
            )
        },
    )
    assert verdict.is_sure_fake == (label == "fake" and unsure is not True)
    assert json.loads(json.dumps(verdict.to_json(), allow_nan=False))["p_fake"] == p_fake


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(
        tiny("vit"), tmp_path_factory.mktemp("model") / "checkpoint", card=card(unsure=BAND)
    )


@pytest.fixture(scope="module")
def detector(checkpoint):
    return faceauth.load_detector(checkpoint, device="cpu", detect=False)


def test_every_kind_of_picture_gets_the_same_verdict(detector, tmp_path):
    path = save(tmp_path / "face.png", 3, side=80)
    pixels = draw(3, side=80)
    kinds = [str(path), path, path.read_bytes(), pixels, Image.fromarray(pixels)]
    opinions = []
    for kind in kinds:
        (verdict,) = detector(kind)
        assert verdict.status == OK
        assert verdict.path == (str(path) if isinstance(kind, (str, type(path))) else None)
        opinions.append((verdict.label, verdict.p_fake, verdict.unsure))
    assert len(set(opinions)) == 1
    several = detector(kinds)
    assert [len(verdicts) for verdicts in several] == [1] * 5
    assert [verdicts[0].p_fake for verdicts in several] == pytest.approx([opinions[0][1]] * 5, abs=1e-6)
    assert detector([]) == []


def test_pictures_that_cannot_be_read_are_verdicts_and_other_things_errors(detector, tmp_path):
    (verdict,) = detector(b"nonsense")
    assert (verdict.status, verdict.label) == (UNREADABLE, None)
    ((missing,), (tiny_one,)) = detector([tmp_path / "missing.png", draw(1, side=20)])
    assert (missing.status, tiny_one.status) == (UNREADABLE, TOO_SMALL)
    for thing in (np.zeros((4, 4), np.uint8), np.zeros((50, 50, 3)), 7):
        with pytest.raises(InputError, match="Picture 0"):
            detector(thing)


def test_grey_and_turned_pictures_of_pillow_are_read_as_files_are(detector, tmp_path):
    path = save(tmp_path / "turned.jpg", 3, side=80, exif=turned_exif(), quality=30)
    with Image.open(path) as image:
        (from_memory,) = detector(image)
    (from_file,) = detector(path)
    assert from_memory.p_fake == from_file.p_fake
    assert from_memory.warnings == from_file.warnings == (HEAVY_COMPRESSION,)
    grey = Image.fromarray(draw(3, side=80)).convert("L")
    assert detector(grey)[0].p_fake == detector(grey.convert("RGB"))[0].p_fake


def turned_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_several_threads_get_what_one_gets():
    asked = judge()
    features = asked.network(np.stack([draw(seed) for seed in range(60)])).embedding
    names = ["one"] * 30 + ["two"] * 30
    always_fake = {"value": 0.0, "rule": "value=0", "chosen_on": "fixed"}
    entry = fit_attribution(features, names, features, names)
    # The generator comes from the embedding, which a pass of another thread could spoil.
    detector = LoadedDetector(judge(attribution=entry, threshold=always_fake))
    pictures = [draw(seed, side=80) for seed in range(40)]
    alone = [detector(picture)[0] for picture in pictures]
    assert len({verdict.generator_score for verdict in alone}) > 20
    found = [None] * len(pictures)

    def ask(start):
        for i in range(start, len(pictures), 4):
            found[i] = detector(pictures[i])[0]

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_faces_are_found_in_photographs(checkpoint, sample_photos):
    photo = min((sample_photos / "real").rglob("*.*"))
    loaded, judge_card = load_checkpoint(checkpoint)
    searching = Judge(TorchNetwork(loaded), dataclasses.replace(judge_card, face_detector="mtcnn"), name="x")
    (verdict,) = LoadedDetector(searching)(photo)
    x1, y1, x2, y2 = verdict.box
    assert verdict.p_face >= 0.9
    assert 40 <= max(x2 - x1, y2 - y1) <= 224
    assert LoadedDetector(searching)(np.zeros((200, 200, 3), np.uint8))[0].status == NO_FACE


def test_faceauth_itself_has_no_other_names():
    assert faceauth.load_detector is load_detector
    with pytest.raises(AttributeError, match="nothing_such"):
        faceauth.nothing_such  # noqa: B018


def test_frames_of_a_video_say_which_they_are(tmp_path):
    video = save_video(tmp_path / "clip.mp4", grey_frames(20, width=64, height=64))
    files = expand_videos(find_pictures([str(video)]), VideoSampling(frames=3))
    verdicts = list(judge().verdicts(cut_ahead(files, WHOLE, workers=0), batch_size=8))
    assert [verdict.path for verdict in verdicts] == [str(video)] * 3
    assert [verdict.frame for verdict in verdicts] == sorted({verdict.frame for verdict in verdicts})
    assert all(verdict.timestamp_s == pytest.approx(verdict.frame / 25) for verdict in verdicts)


def test_planted_generators_are_named_and_one_never_seen_is_unknown():
    entry = fit_attribution(*planted_features(5, 80), *planted_features(5, 60, seed=1))
    check_attribution(entry)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    features, names = planted_features(5, 100, seed=2)
    found = attribute(features, entry)
    assert np.mean([name == truth for (name, _), truth in zip(found, names, strict=True)]) > 0.85
    # Chosen to keep 95 % of val, and so about as many of new ones.
    assert 0.01 < np.mean([name == UNKNOWN for name, _ in found]) < 0.12
    unseen, _ = planted_features(5, 200, seed=3, unseen=1)
    assert np.mean([name == UNKNOWN for name, _ in attribute(unseen, entry)]) > 0.9
    assert all(0 <= score <= 1 for _, score in found)
    assert all(score >= 0.95 for name, score in found if name == UNKNOWN)


def test_the_threshold_keeps_95_percent_of_the_val_fakes_of_known_generators():
    val = planted_features(4, 50, seed=1)
    entry = fit_attribution(*planted_features(4, 60), *val)
    kept = [name != UNKNOWN for name, _ in attribute(val[0], entry)]
    assert np.mean(kept) == pytest.approx(0.95, abs=1 / len(kept))


def test_probabilities_of_names_mean_what_they_say():
    # Centres near each other, so that names are often wrong.
    def near(n_each, seed):
        features, names = planted_features(4, n_each, seed=seed, d=6)
        return features + np.random.default_rng(seed + 100).normal(size=features.shape) * 2, names

    entry = fit_attribution(*near(300, 0), *near(200, 1))
    features, names = near(500, 2)
    named = [
        (score, name == truth)
        for (name, score), truth in zip(attribute(features, entry), names, strict=True)
        if name != UNKNOWN
    ]
    scores, is_right = np.array(named).T
    assert is_right.mean() < 0.95
    assert scores.mean() == pytest.approx(is_right.mean(), abs=0.05)


@pytest.mark.parametrize(("d", "n_known"), [(1500, 3), (5000, 8)])
def test_an_entry_stays_small_whatever_the_size_of_the_embedding(d, n_known):
    entry = fit_attribution(*planted_features(n_known, 12, d=d), *planted_features(n_known, 10, d=d, seed=1))
    assert len(json.dumps(entry)) < 200_000
    check_attribution(entry)
    features, names = planted_features(n_known, 10, d=d, seed=2)
    assert (
        np.mean([name == truth for (name, _), truth in zip(attribute(features, entry), names, strict=True)])
        > 0.6
    )


def test_one_generator_can_be_known_and_too_few_fakes_are_no_ground():
    entry = fit_attribution(*planted_features(1, 60), *planted_features(1, 40, seed=1))
    assert entry["generators"] == ["gan_0"]
    unseen, _ = planted_features(1, 60, seed=3, unseen=1)
    assert np.mean([name == UNKNOWN for name, _ in attribute(unseen, entry)]) > 0.9
    nothing = fit_attribution(*planted_features(2, 3), *planted_features(2, 3, seed=1))
    assert nothing["generators"] == []
    assert "needs 10" in nothing["reason"]
    check_attribution(nothing)


def test_features_that_do_not_fit_their_names_are_refused():
    features, names = planted_features(2, 20)
    for wrong in (features[:-1], np.full_like(features, np.nan), features[:, 0]):
        with pytest.raises(InputError, match="of train"):
            fit_attribution(wrong, names, features, names)


@pytest.mark.parametrize("part", ["projection", "means", "whitening", "farthest", "temperature"])
def test_a_damaged_entry_is_noticed_before_it_is_used(part):
    entry = fit_attribution(*planted_features(3, 20), *planted_features(3, 20, seed=1))
    for damaged in (None, "x", {"shape": [1, 1], "float16": "!", "scales_float32": ""}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            check_attribution(entry | {part: damaged})

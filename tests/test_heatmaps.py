"""Heat maps: that they lie where the trace is, that their measures say so, and where they are painted."""

import dataclasses
import json
import sys
import threading

import numpy as np
import pytest
import torch
from clips import grey_frames, save_video
from PIL import Image
from planted_patches import NETWORKS, SIDE_PX, planted_crops, planted_detector
from test_detectors import save as save_checkpoint
from test_detectors import some_card, tiny

from faceauth.errors import DetectorError, InputError, MissingExtraError, UnknownNameError, UsageError
from faceauth.explanations.faithfulness import measure_faithfulness
from faceauth.explanations.heatmap import HEATMAPS, default_method, explain
from faceauth.explanations.overlay import colours, crop_square, overlay, view_around, with_legend
from faceauth.explanations.seen import find_seen_part
from faceauth.explanations.subject import Subject, private_copy
from faceauth.explanations.tokens import read_tokens
from faceauth.intake.faces.crop import CropSettings, crop_face
from faceauth.intake.faces.face import Face
from faceauth.verdicts.explainer import Explainer
from faceauth.verdicts.heatmap_files import mean_with_interval, safe_name
from faceauth.verdicts.library import load_detector
from faceauth.verdicts.verdict import Verdict

OWN_METHOD = {"vit": "attention", "deit": "attention", "clip_layers": "attention", "densenet": "grad_cam"}
CROP = CropSettings(image_size=SIDE_PX)


def share_in_half(heat, i):
    """Share of a map's heat in the half in which the i-th planted patch lies."""
    half = heat[:, : SIDE_PX // 2] if i % 2 == 0 else heat[:, SIDE_PX // 2 :]
    return half.sum() / heat.sum()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network that sees planted patches, as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    card = dataclasses.replace(some_card("vit"), crop=CROP)
    return save_checkpoint(planted_detector("vit"), folder, card=card)


@pytest.mark.parametrize("name", NETWORKS)
def test_most_heat_lies_where_the_planted_trace_is(name):
    detector = planted_detector(name)
    crops, places = planted_crops(6, seed=999)
    assert default_method(detector.model) == OWN_METHOD[name]
    for method in (OWN_METHOD[name], "occlusion"):
        found = explain(detector, crops, method=method)
        assert found.heat.shape == crops.shape[:3]
        assert found.heat.dtype == np.float32
        shares = [share_in_half(heat, i) for i, heat in enumerate(found.heat)]
        assert np.mean(shares) > 0.65, (method, shares)
        inside = [heat[place].sum() / heat.sum() for heat, place in zip(found.heat, places, strict=True)]
        # The patch is a tenth of the crop.
        assert np.mean(inside) > 2 * places.mean(), (method, inside)
        measured = measure_faithfulness(detector, crops, found)
        assert np.mean(measured.deletion) < np.mean(measured.deletion_random) - 0.05, method
        assert np.mean(measured.insertion) > np.mean(measured.insertion_random) + 0.05, method
        assert np.all(measured.p_fake_replaced < measured.p_fake_whole)


def test_the_hottest_spot_is_as_hot_as_the_evidence():
    detector = planted_detector("vit")
    fake, _ = planted_crops(3, seed=5)
    real, _ = planted_crops(3, seed=6, is_fake=False)
    found = explain(detector, np.concatenate([fake, real]))
    np.testing.assert_allclose(found.heat.max(axis=(1, 2)), found.p_fake, rtol=1e-5)
    np.testing.assert_allclose(found.p_fake, 1 / (1 + np.exp(-found.log_odds)), rtol=1e-4)
    assert found.heat[:3].max() > 0.8
    assert found.heat[3:].max() < 0.2
    calibrated = np.full(6, 0.5, dtype=np.float32)
    np.testing.assert_allclose(explain(detector, fake, p_fake=calibrated[:3]).heat.max(axis=(1, 2)), 0.5)
    # Of a map in which nothing speaks for fake nothing is hot, and nothing undefined.
    black = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8)
    assert np.isfinite(explain(detector, black, method="occlusion").heat).all()


@pytest.mark.parametrize(("name", "method"), [*OWN_METHOD.items(), ("vit", "occlusion")])
def test_a_crops_map_does_not_depend_on_the_others(name, method):
    detector = planted_detector(name)
    crops, _ = planted_crops(9, seed=3)
    crops = crops[[0, 1, 8]] if method == "occlusion" else crops
    together = explain(detector, crops, method=method)
    alone = explain(detector, crops[-1:], method=method)
    np.testing.assert_allclose(together.raw[-1:], alone.raw, rtol=1e-3, atol=1e-4 * np.abs(alone.raw).max())
    np.testing.assert_allclose(together.heat[-1:], alone.heat, atol=1e-3)


def test_what_tokens_say_adds_up_to_the_verdict():
    detector = private_copy(planted_detector("clip_layers"))
    crops, _ = planted_crops(4, seed=2)
    read = read_tokens(detector.model, Subject(detector, crops).pixel_values)
    said = sum(evidence.sum(dim=1) for evidence in read.evidence.values())
    rest = read.log_odds - said
    # What is left is what an average face gets, the same for all.
    torch.testing.assert_close(rest, rest[:1].expand(4), rtol=0, atol=1e-3)
    assert read.log_odds.std() > 0.01


def test_the_detector_is_left_as_it_is_and_threads_do_not_meet():
    detector = planted_detector("vit")
    crops, _ = planted_crops(4, seed=4)
    expected = explain(detector, crops)
    before = {name: tensor.clone() for name, tensor in detector.model.state_dict().items()}
    implementation = detector.model.config._attn_implementation
    caught = []
    hook = detector.model.classifier.register_forward_pre_hook(lambda *_: caught.append(1))
    found = [None] * 4
    try:
        threads = [
            threading.Thread(target=lambda i=i: found.__setitem__(i, explain(detector, crops)))
            for i in range(len(found))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        hook.remove()
    assert not caught
    for heat in found:
        np.testing.assert_allclose(heat.heat, expected.heat, atol=1e-5)
    assert detector.model.config._attn_implementation == implementation
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.model.state_dict().items())


def test_a_map_lies_where_the_network_looked_though_its_processor_cuts_the_edges_off():
    detector = tiny("vit")
    whole = find_seen_part(detector, 64, 80)
    np.testing.assert_allclose((whole.left, whole.top, whole.right, whole.bottom), (0, 0, 80, 64), atol=0.3)
    from transformers import DeiTImageProcessor

    cut = DeiTImageProcessor(size={"height": 48, "width": 48}, crop_size={"height": 32, "width": 32})
    part = find_seen_part(dataclasses.replace(detector, processor=cut), 96, 96)
    np.testing.assert_allclose((part.left, part.top, part.right, part.bottom), (16, 16, 80, 80), atol=0.6)
    crops = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    heat = explain(dataclasses.replace(detector, processor=cut), crops).heat
    outside = np.ones((96, 96), dtype=bool)
    outside[15:81, 15:81] = False
    assert not heat[:, outside].any()
    assert heat.any(axis=(1, 2)).all()


def test_what_cannot_be_explained_is_said_in_one_message(monkeypatch):
    crops, _ = planted_crops(1, seed=0)
    with pytest.raises(UsageError, match=r"grad_cam.*cannot be made of a ViT"):
        explain(planted_detector("vit"), crops, method="grad_cam")
    with pytest.raises(UnknownNameError, match="Did you mean 'occlusion'"):
        explain(planted_detector("vit"), crops, method="oclusion")
    with pytest.raises(InputError, match=r"\(n, height, width, 3\)"):
        explain(planted_detector("vit"), crops[0])
    assert explain(planted_detector("vit"), crops[:0]).heat.shape == (0, SIDE_PX, SIDE_PX)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'faceauth\[explain\]'"):
        explain(planted_detector("densenet"), crops)


@pytest.mark.parametrize(
    "box",
    [(40.0, 30.0, 80.0, 70.0), (-10.0, -8.0, 30.0, 28.0), (95.0, 60.0, 125.0, 99.0), None],
    ids=["inside", "over the corner", "over the edge", "no box"],
)
def test_heat_is_painted_where_the_crop_was_cut_from(box):
    picture = np.full((90, 120, 3), 120, dtype=np.uint8)
    square = crop_square(box, width=120, height=90, crop=CROP)
    x1, y1, x2, y2 = square
    # A mark in the picture that lies in the crop's upper left quarter is where the crop's heat is painted.
    side = x2 - x1
    picture[y1 + side // 4, x1 + side // 4] = 255
    crop = crop_face(picture, box or (0.0, 0.0, 120.0, 90.0), CROP)
    row, column = np.unravel_index(crop.sum(axis=2).argmax(), crop.shape[:2])
    heat = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    heat[row - 2 : row + 3, column - 2 : column + 3] = 1.0
    painted = overlay(picture, heat, square)
    assert painted.shape == picture.shape
    assert painted.dtype == np.uint8
    outside = np.ones((90, 120), dtype=bool)
    outside[y1:y2, x1:x2] = False
    np.testing.assert_array_equal(painted[outside], picture[outside])
    changed = painted.astype(int).sum(axis=2) - overlay(picture, 0 * heat, square).astype(int).sum(axis=2)
    places = np.argwhere(changed > 100)
    np.testing.assert_allclose(places.mean(axis=0), (y1 + side // 4, x1 + side // 4), atol=2)


def test_hotter_is_lighter_so_that_a_grey_print_says_the_same():
    light = colours(np.linspace(0, 1, 256)) @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(light) > -0.5).all()
    assert light[-1] - light[0] > 200
    white = np.full((40, 40, 3), 255, dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 1, 40, dtype=np.float32), (40, 40))
    painted = overlay(white, ramp, (0, 0, 40, 40)) @ np.array([0.299, 0.587, 0.114])
    assert painted[:, -4:].mean() > painted[:, :4].mean() + 40


def test_a_view_shows_the_face_at_a_size_that_can_be_looked_at_and_keeps_its_square():
    picture = np.zeros((3000, 4000, 3), dtype=np.uint8)
    picture[1000:1200, 2000:2200] = 200
    view, (x1, y1, x2, y2) = view_around(picture, (2000, 1000, 2200, 1200))
    assert max(view.shape) == 600
    assert (view[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2] == 200).all()
    assert not view[: y1 - 2].any()
    assert max(view_around(picture, (0, 0, 3000, 3000))[0].shape) == 1024
    small, square = view_around(picture[:100, :130], (0, 0, 100, 100))
    assert max(small.shape) == 512
    assert square == (0, 0, 394, 394)
    assert with_legend(small, ["one", "x" * 500]).shape[1] == small.shape[1]


@pytest.mark.parametrize(
    "source",
    [
        "../../etc/passwd.png",
        "C:\\windows\\CON.png",
        "-rf *.png",
        "\u202egnp.exe.png",
        "=1+2.png",
        ".png",
        "a" * 999,
    ],
)
def test_names_lead_nowhere_else(source):
    name = safe_name(source, b"content")
    stem, _, suffix = name.rpartition(".")
    assert suffix == "png"
    assert stem.replace("-", "").isascii()
    assert stem.replace("-", "").isalnum()
    assert len(name) < 90
    assert not name.startswith("-")
    assert safe_name(source, b"other") != name


def test_predict_writes_a_heat_map_for_each_face_and_says_where(run_cli, tmp_path, checkpoint):
    photos = tmp_path / "photos"
    photos.mkdir()
    crops, _ = planted_crops(2, seed=8)
    Image.fromarray(crops[0]).save(photos / "a.png")
    turned = Image.fromarray(crops[1]).rotate(90, expand=True)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    turned.save(photos / "turned.png", exif=exif)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    maps = tmp_path / "maps"
    result = run_cli("predict", photos, "--model", checkpoint, "--no-detect", "--heatmap", maps, "--json")
    assert result.exit_code == 3, result.stderr
    first, broken, second = (json.loads(line) for line in result.stdout.splitlines())
    assert broken["heatmap"] is None
    for record in (first, second):
        assert Image.open(record["heatmap"]).size[0] >= 512
    lines = [json.loads(line) for line in (maps / "heatmaps.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == [first["path"], second["path"]]
    assert [str(maps / line["heatmap"]) for line in lines] == [first["heatmap"], second["heatmap"]]
    for line in lines:
        assert line["method"] == "attention"
        assert line["square"] == [0, 0, SIDE_PX, SIDE_PX]
        assert line["deletion"] < line["deletion_random"]
        assert line["insertion"] > line["insertion_random"]
    means = json.loads((maps / "heatmaps.json").read_text())
    assert (means["n_files"], means["n_faces"]) == (2, 2)
    assert means["deletion"]["value"] == pytest.approx(np.mean([line["deletion"] for line in lines]))
    assert means["deletion_below_random"]["value"] > 0
    # The heat of the picture that has to be turned lies where it is seen to lie.
    upright = np.asarray(Image.open(second["heatmap"]).convert("RGB")).astype(int)[:512]
    hot = (upright[..., 0] - upright[..., 2]).clip(min=0).sum(axis=0)
    assert hot[256:].sum() > 2 * hot[:256].sum()
    assert sorted(path.name for path in maps.iterdir()) == sorted(
        ["heatmaps.json", "heatmaps.jsonl", *(line["heatmap"] for line in lines)]
    )


def test_of_a_video_each_person_has_one_heat_map(run_cli, tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr("faceauth.explanations.faithfulness.STEPS", 2)
    video = save_video(tmp_path / "clip.mp4", grey_frames(6))
    maps = tmp_path / "maps"
    result = run_cli(
        "predict", video, "--model", checkpoint, "--no-detect", "--heatmap", maps, "--json", "--frames", "3"
    )
    assert result.exit_code == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    people = [record for record in records if record["kind"] == "person"]
    assert people
    for record in records:
        assert (record["heatmap"] is not None) == (record["kind"] == "person")
    assert len((maps / "heatmaps.jsonl").read_text().splitlines()) == len(people)


def test_one_face_that_fails_costs_itself_alone(run_cli, tmp_path, checkpoint, monkeypatch):
    crops, _ = planted_crops(2, seed=8)
    for name, crop in zip("ab", crops, strict=True):
        Image.fromarray(crop).save(tmp_path / f"{name}.png")
    from faceauth.verdicts import heatmap_files

    whole = heatmap_files._read

    def fails(file):
        if file.image_path.endswith("a.png"):
            raise RuntimeError("out of memory")
        return whole(file)

    monkeypatch.setattr(heatmap_files, "_read", fails)
    pictures = (tmp_path / "a.png", tmp_path / "b.png")
    result = run_cli(
        "predict", *pictures, "--model", checkpoint, "--no-detect", "--heatmap", tmp_path / "maps", "--json"
    )
    assert result.exit_code == 0, result.stderr
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["status"], first["heatmap"]) == ("ok", None)
    assert second["heatmap"] is not None
    lines = [json.loads(line) for line in (tmp_path / "maps/heatmaps.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in lines] == ["RuntimeError: out of memory", ""]


def test_a_mistake_is_told_before_the_work_begins(run_cli, tmp_path, checkpoint):
    picture = tmp_path / "a.png"
    Image.fromarray(planted_crops(1, seed=8)[0][0]).save(picture)
    (tmp_path / "file").write_text("")
    for words, message in (
        (("--heatmap-method", "attention"), "--heatmap DIR"),
        (("--heatmap", tmp_path / "file"), "is a file"),
        (("--heatmap", tmp_path / "maps", "--heatmap-method", "gradcam"), "grad_cam"),
        (("--heatmap", tmp_path / "maps", "--heatmap-method", "grad_cam"), "attention, occlusion"),
    ):
        result = run_cli("predict", picture, "--model", checkpoint, "--no-detect", *words)
        assert result.exit_code == 2, result.stdout
        assert message in result.stderr
    assert not list((tmp_path / "maps").glob("*"))


def test_the_library_explains_every_face_of_a_picture(checkpoint):
    detector = load_detector(checkpoint, device="cpu", detect=False)
    # Two faces of one picture, with a trace in the left one alone.
    crops, _ = planted_crops(1, seed=11)
    clean, _ = planted_crops(1, seed=12, is_fake=False)
    picture = np.concatenate([crops[0], clean[0]], axis=1)
    side = float(SIDE_PX) / CROP.margin_ratio
    rest = (SIDE_PX - side) / 2

    def two_faces(images):
        boxes = [(x + rest, rest, x + rest + side, rest + side) for x in (0, SIDE_PX)]
        return [[Face(box, 0.99 - 0.01 * i) for i, box in enumerate(boxes)] for _ in images]

    detector._detect = two_faces
    object.__setattr__(detector.judge.collect, "face_detector", "mtcnn")
    found = detector.explain(picture, measure=True)
    assert [face.verdict for face in found] == detector(picture)
    by_left = sorted(found, key=lambda face: face.square_xyxy)
    assert [face.square_xyxy for face in by_left] == [(0, 0, 64, 64), (64, 0, 128, 64)]
    assert by_left[0].heat.max() > 0.5 > by_left[1].heat.max()
    assert by_left[0].faithfulness["deletion"] < by_left[0].faithfulness["deletion_random"]
    painted = by_left[0].painted(picture)
    assert (painted[:, :64] != picture[:, :64]).any()
    np.testing.assert_array_equal(painted[:, 64:], picture[:, 64:])
    assert by_left[0].sheet(picture).shape[1] >= 320
    (unreadable,) = detector.explain(b"no picture")
    assert (unreadable.verdict.status, unreadable.heat) == ("unreadable", None)
    with pytest.raises(InputError, match="video"):
        detector.explain("clip.mp4")


def test_a_mean_of_too_few_has_no_interval_and_says_so():
    assert mean_with_interval(np.array([])) == {
        "value": None, "ci95": None, "n": 0, "reason": "0 files; an interval needs 2",
    }  # fmt: skip
    assert mean_with_interval(np.array([0.5]))["ci95"] is None
    low, high = mean_with_interval(np.array([0.1, 0.2, 0.3]))["ci95"]
    assert low < 0.2 < high


def test_every_method_names_its_source():
    for name in HEATMAPS.names():
        assert "arXiv" in HEATMAPS.get(name)().source
    assert Verdict(None, "ok").heatmap is None


def test_an_onnx_file_has_no_gradients_and_the_message_says_what_has(tmp_path):
    explainer = Explainer(tmp_path / "model.onnx", CROP)
    with pytest.raises(DetectorError, match=r"ONNX file.*checkpoint folder"):
        explainer.check()

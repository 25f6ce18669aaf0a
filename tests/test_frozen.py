"""Frozen trunks: what is read once, where it is kept, and that a head learns from it as from the crops."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from planted import TINY_VIT, write_planted_manifest
from safetensors.torch import load_file

from faceauth.config import load_config
from faceauth.detectors.card import model_card
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import build_detector
from faceauth.detectors.folder import find_checkpoint
from faceauth.errors import DetectorError, InputError
from faceauth.intake.manifest import read_manifest, write_manifest
from faceauth.scoring.score import score_rows
from faceauth.train import train
from faceauth.training import frozen
from faceauth.training.frozen import Readings, ViewOfCrop, keep_readings, probe_name, read_trunk, view_folder
from faceauth.training.run_folder import save_progress
from faceauth.training.settings import TrainSettings

TINY_TOWER = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TINY_CLIP = {"layers": [1, 2], "head_size": 6, "vision_config": TINY_TOWER}


def settings_for(manifest, output, *overrides):
    fixed = [
        "detector.name=clip_layers",
        "detector.weights=random",
        "detector.image_size=32",
        f"detector.options={json.dumps(TINY_CLIP)}",
        "detector.freeze=trunk",
        "data.views=2",
        "data.workers=0",
        "epochs=6",
        "batch_size=16",
        "optimizer.learning_rate=1e-2",
        f"data.manifest={manifest}",
        f"output={output}",
    ]
    return load_config(TrainSettings, None, [*fixed, *overrides])


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return write_planted_manifest(tmp_path_factory.mktemp("planted") / "prepared", groups=40)


@pytest.fixture(scope="module")
def finished(planted, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "run"
    train(settings_for(planted, output))
    return output


def tiny_clip():
    torch.manual_seed(0)
    return build_detector("clip_layers", weights="random", image_size=32, options=TINY_CLIP)


def last_epoch(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "epoch"][-1]


def test_a_frozen_run_learns_the_planted_trace(finished):
    assert last_epoch(finished)["val_auroc"] > 0.9


def test_the_whole_network_judges_as_the_head_did_from_readings(planted, finished):
    detector, _ = load_checkpoint(finished)
    rows = read_manifest(planted).in_split("val")
    scores, _ = score_rows(detector, rows, read_manifest(planted), workers=0)
    place = next((finished / "readings").glob("view0-*"))
    readings = Readings(place)
    features = torch.from_numpy(np.stack([readings[row] for row in rows])).float()
    with torch.inference_mode():
        logits = detector.model.get_submodule("head")(features)
    p_fake = torch.softmax(logits, 1)[:, 0].numpy()
    # Readings are kept as float16.
    np.testing.assert_allclose(scores.p_fake, p_fake, atol=5e-3)


def test_only_the_head_moves(planted, tmp_path):
    train(settings_for(planted, tmp_path / "a", "epochs=1"))
    train(settings_for(planted, tmp_path / "b", "epochs=3"))
    a, b = (load_file(tmp_path / run / "checkpoint/model.safetensors") for run in ("a", "b"))
    trunk = [name for name in a if not name.startswith("head.")]
    assert trunk
    assert all(torch.equal(a[name], b[name]) for name in trunk)


def test_readings_are_kept_and_shared_between_runs(planted, tmp_path, monkeypatch):
    shared = tmp_path / "readings"
    train(settings_for(planted, tmp_path / "a", f"data.readings={shared}", "epochs=1"))
    views = sorted(path.name.split("-")[0] for path in shared.iterdir())
    assert views == ["view0", "view1", "view2"]
    monkeypatch.setattr(frozen, "read_trunk", lambda *_: pytest.fail("a crop was read twice"))
    train(settings_for(planted, tmp_path / "b", f"data.readings={shared}", "epochs=2"))


def test_other_weights_pixels_or_chances_are_read_anew(tmp_path):
    detector, other = tiny_clip(), tiny_clip()
    with torch.no_grad():
        next(iter(other.model.get_submodule("tower").parameters())).add_(1)
    places = [
        view_folder(detector, tmp_path, augment={"flip": 0.5}, seed=0, view=1),
        view_folder(other, tmp_path, augment={"flip": 0.5}, seed=0, view=1),
        view_folder(detector, tmp_path, augment={"flip": 0.4}, seed=0, view=1),
        view_folder(detector, tmp_path, augment={"flip": 0.5}, seed=1, view=1),
        view_folder(detector, tmp_path, augment={"flip": 0.5}, seed=0, view=2),
    ]
    assert len(set(places)) == 5
    with torch.no_grad():
        detector.model.get_submodule("head.classifier").weight.add_(1)
    assert view_folder(detector, tmp_path, augment={"flip": 0.5}, seed=0, view=1) == places[0]
    plain = [view_folder(detector, tmp_path, augment={}, seed=seed, view=0) for seed in (0, 1)]
    assert plain[0] == plain[1]


def test_a_stopped_reading_goes_on_where_it_was(planted, tmp_path, monkeypatch):
    detector, manifest = tiny_clip(), read_manifest(planted)
    rows = manifest.in_split("train")
    keep_readings(detector, rows, manifest, tmp_path / "whole")
    monkeypatch.setattr(frozen, "CHUNK_ROWS", 16)
    place, asked = tmp_path / "stopped", []

    def stop_after_three(detector, pixel_values):
        asked.append(len(pixel_values))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return read_trunk(detector, pixel_values)

    with monkeypatch.context() as patch:
        patch.setattr(frozen, "read_trunk", stop_after_three)
        with pytest.raises(KeyboardInterrupt):
            keep_readings(detector, rows, manifest, place)
    kept = Readings(place)
    assert sum(row in kept for row in rows) == 32
    # A chunk whose index was not written does not count.
    (place / "half.npy").write_bytes(b"cut")
    keep_readings(detector, rows, manifest, place)
    whole, gone_on = Readings(tmp_path / "whole"), Readings(place)
    for row in rows:
        np.testing.assert_allclose(whole[row], gone_on[row], atol=2e-3)


def test_two_processes_read_all_rows_between_them(planted, tmp_path):
    detector, manifest = tiny_clip(), read_manifest(planted)
    rows = manifest.in_split("train")
    for number in range(2):
        keep_readings(detector, rows, manifest, tmp_path, process=(number, 2))
    kept = Readings(tmp_path)
    assert all(row in kept for row in rows)


def test_a_view_depends_on_the_crop_and_its_number_alone():
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    view = ViewOfCrop({"gaussian_noise": 1.0}, seed=3, view=1)
    first = [view(crop) for crop in crops]
    assert all(np.array_equal(view(crop), seen) for crop, seen in zip(crops[::-1], first[::-1], strict=True))
    assert not np.array_equal(first[0], ViewOfCrop({"gaussian_noise": 1.0}, seed=3, view=2)(crops[0]))
    assert not np.array_equal(first[0], ViewOfCrop({"gaussian_noise": 1.0}, seed=4, view=1)(crops[0]))


def test_the_last_linear_layer_is_the_probe_of_any_network_with_one_head(planted, tmp_path):
    train(
        load_config(
            TrainSettings,
            None,
            [
                *TINY_VIT,
                "detector.freeze=trunk",
                "data.views=1",
                "epochs=1",
                f"data.manifest={planted}",
                f"output={tmp_path / 'run'}",
            ],
        )
    )
    detector, _ = load_checkpoint(tmp_path / "run")
    assert probe_name(detector) == "classifier"


def test_a_network_with_two_heads_cannot_be_frozen():
    options = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    deit = build_detector("deit", weights="random", image_size=32, options=options)
    with pytest.raises(DetectorError, match="one head"):
        probe_name(deit)


def test_a_frozen_run_names_the_generators_that_it_knows(finished):
    _, card = load_checkpoint(finished)
    assert set(card.attribution) >= {"generators"}
    assert set(card.domain) >= {"sources"}
    readme = (find_checkpoint(finished) / "README.md").read_text()
    assert readme == model_card(card)


def test_without_augmentation_there_is_only_the_plain_view(planted, tmp_path):
    train(settings_for(planted, tmp_path / "run", "data.augment={}", "epochs=1"))
    assert len(list((tmp_path / "run/readings").iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"cut", b"\x93NUMPY\x01\x00cut"])
def test_a_damaged_chunk_is_one_message_that_says_what_to_remove(planted, tmp_path, content):
    detector, manifest = tiny_clip(), read_manifest(planted)
    rows = manifest.in_split("train")
    keep_readings(detector, rows, manifest, tmp_path)
    index = next(tmp_path.glob("*.json"))
    index.with_suffix(".npy").write_bytes(content)
    with pytest.raises(InputError) as caught:
        Readings(tmp_path)
    assert str(index) in str(caught.value.hint)
    index.unlink()
    keep_readings(detector, rows, manifest, tmp_path)
    kept = Readings(tmp_path)
    assert all(row in kept for row in rows)


def test_a_frozen_run_stopped_between_epochs_ends_like_one_never_stopped(planted, tmp_path, monkeypatch):
    train(settings_for(planted, tmp_path / "whole", "epochs=3"))
    saved = []

    def stop_after_one(*arguments):
        save_progress(*arguments)
        saved.append(1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("faceauth.train.save_progress", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            train(settings_for(planted, tmp_path / "stopped", "epochs=3"))
    train(settings_for(planted, tmp_path / "stopped", "epochs=3"))
    whole, stopped = (
        load_file(tmp_path / run / "checkpoint/model.safetensors") for run in ("whole", "stopped")
    )
    assert saved == [1]
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


@pytest.mark.parametrize("freeze", ["trunk", "nothing"])
def test_reals_and_their_forgeries_alone_can_be_learnt_from(tmp_path, freeze):
    whole = read_manifest(write_planted_manifest(tmp_path / "prepared", groups=20))
    write_manifest(
        [
            dataclasses.replace(row, folder=row.folder if row.target else f"forged_{row.folder}")
            for row in whole.rows
        ],
        tmp_path / "prepared",
    )
    train(settings_for(tmp_path / "prepared", tmp_path / "run", "epochs=1", f"detector.freeze={freeze}"))
    _, card = load_checkpoint(tmp_path / "run")
    assert card.attribution["generators"] == []
    assert "forgeries" in card.attribution["reason"]

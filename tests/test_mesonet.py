"""MesoNet-4: the network of the paper, and a network of our own that checkpoints and transformers know."""

import subprocess
import sys

import pytest
import torch
from planted import write_planted_manifest

from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import build_detector
from faceauth.errors import DetectorError


def test_it_has_the_weights_of_the_paper_and_one_logit_more():
    model = build_detector("mesonet4").model
    learned = sum(parameter.numel() for parameter in model.parameters())
    # 27,977 with one sigmoid (arXiv 1809.00888, section 3.1); a second output of 16 weights and a bias.
    assert learned == 27_977 + 17
    shapes = [tuple(p.shape) for name, p in model.named_parameters() if p.dim() == 4]
    assert shapes == [(8, 3, 3, 3), (8, 8, 5, 5), (16, 8, 5, 5), (16, 16, 5, 5)]
    assert model.features(torch.zeros(1, 3, 256, 256)).shape == (1, 16, 8, 8)


def test_it_is_shown_pixels_as_they_are_between_0_and_1():
    detector = build_detector("mesonet4")
    black, white = (torch.full((1, 3, 256, 256), value, dtype=torch.uint8) for value in (0, 255))
    assert detector.pixel_values(black).unique().tolist() == [0.0]
    assert detector.pixel_values(white).unique().tolist() == pytest.approx([1.0])


def test_training_drops_values_and_judging_does_not():
    detector = build_detector("mesonet4", weights="random", image_size=32)
    pixel_values = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first, second = (detector.model.train()(pixel_values).logits for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (detector.model.eval()(pixel_values).logits for _ in range(2))
    assert torch.equal(first, second)


def test_sizes_that_its_poolings_do_not_divide_are_refused():
    with pytest.raises(DetectorError, match="multiple of 32"):
        build_detector("mesonet4", weights="random", image_size=250)
    with pytest.raises(DetectorError, match="Did you mean 'dropout'"):
        build_detector("mesonet4", weights="random", options={"dropuot": 0.1})


@pytest.mark.launch
def test_it_learns_a_planted_trace_and_a_new_process_opens_its_checkpoint(run_cli, tmp_path):
    prepared = write_planted_manifest(tmp_path / "prepared", groups=40)
    settings = {
        "detector.image_size": 32,
        "data.workers": 0,
        "epochs": 20,
        "early_stop_patience": 0,
        "batch_size": 16,
        "optimizer.learning_rate": 3e-3,
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    trained = run_cli(
        "train", "--config", "mesonet", "--manifest", prepared, "--output", tmp_path / "run", *words
    )
    assert trained.exit_code == 0, trained.stderr
    card = load_checkpoint(tmp_path / "run")[1]
    assert card.metrics["auroc"]["value"] > 0.9
    code = (
        "import sys; from pathlib import Path; from faceauth.detectors.checkpoint import load_checkpoint; "
        "print(type(load_checkpoint(Path(sys.argv[1]))[0].model).__name__)"
    )
    opened = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    assert opened.stdout.strip() == "MesoNetForImageClassification"

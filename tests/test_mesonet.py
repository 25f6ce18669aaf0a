"""MesoNet-4: the network of the paper, and a network of our own that checkpoints and transformers know."""

import subprocess
import sys

import pytest
import torch

from faceauth.detectors.card import Card
from faceauth.detectors.checkpoint import save_checkpoint
from faceauth.detectors.detector import build_detector
from faceauth.errors import DetectorError
from faceauth.intake.faces.crop import CropSettings
from faceauth.labels import FAKE, REAL


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


def test_it_learns_a_planted_trace():
    torch.manual_seed(0)
    model = build_detector(
        "mesonet4", weights="random", image_size=32, options={"dropout": 0.0}
    ).model.train()
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2) * 0.3
    targets = torch.tensor([REAL, FAKE] * 16)

    def new_images():
        return torch.rand(32, 3, 32, 32) + board * (targets == FAKE)[:, None, None, None]

    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pixel_values=new_images()).logits, targets)
        loss.backward()
        optimizer.step()
    judged = model.eval()(pixel_values=new_images()).logits.argmax(dim=1)
    assert (judged == targets).float().mean() > 0.8


@pytest.mark.launch
def test_a_new_process_opens_its_checkpoint(tmp_path):
    detector = build_detector("mesonet4", weights="random", image_size=32)
    card = Card(
        detector="mesonet4",
        origin="random weights",
        crop=CropSettings(),
        face_detector="whole",
        threshold={"value": 0.5, "rule": "half", "chosen_on": "fixed"},
        manifest_sha256="0" * 64,
        generators=["gan"],
        collections=["camera"],
        n_train={"real": 1, "fake": 1},
        metrics={"auroc": {"value": None, "ci95": None, "n_real": 0, "n_fake": 0, "reason": "none"}},
        epoch=1,
    )
    save_checkpoint(
        tmp_path / "run", detector, card, write_train_config=lambda path: path.write_text("epochs: 1\n")
    )
    code = (
        "import sys; from pathlib import Path; from faceauth.detectors.checkpoint import load_checkpoint; "
        "print(type(load_checkpoint(Path(sys.argv[1]))[0].model).__name__)"
    )
    opened = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    assert opened.stdout.strip() == "MesoNetForImageClassification"

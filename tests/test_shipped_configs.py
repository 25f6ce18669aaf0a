"""Every config that is shipped: it can be read, built and taken one step, and says how to use it."""

from pathlib import Path

import pytest
import torch

import faceauth
from faceauth.config import find_config, load_config
from faceauth.decisions.calibration import CALIBRATIONS
from faceauth.decisions.threshold_rules import parse_rule
from faceauth.degradations.degrade import DEGRADATIONS
from faceauth.detectors.architecture import DETECTORS
from faceauth.detectors.detector import build_detector
from faceauth.training.losses import LOSSES
from faceauth.training.optimizers import build_optimizer
from faceauth.training.schedules import Schedule
from faceauth.training.settings import TrainSettings

CONFIGS = sorted((Path(faceauth.__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_is_built_and_takes_a_step(path):
    settings = load_config(TrainSettings, path)
    # The hub cannot be reached in tests, and only packages that FaceAuth requires are there: the same network
    # with random weights stands in for other weights.
    is_there = DETECTORS.get(settings.detector.name)().default_weights == "package"
    weights = "package" if is_there else "random"
    detector = build_detector(
        settings.detector.name,
        weights=weights,
        image_size=settings.detector.image_size,
        options=settings.detector.options,
    )
    optimizer = build_optimizer(detector.model, settings.optimizer)
    schedule = Schedule(optimizer, settings.schedule, total_updates=10)
    before = [p.detach().clone() for p in detector.model.parameters()]
    images = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    logits = detector.model(pixel_values=detector.pixel_values(images)).logits
    LOSSES.get(settings.loss)(logits, torch.tensor([0, 1])).backward()
    optimizer.step()
    schedule.after_update()
    moved = [not torch.equal(p, old) for p, old in zip(detector.model.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) / 2
    parse_rule(settings.threshold_rule)
    CALIBRATIONS.get(settings.calibration)
    assert set(settings.data.augment) <= set(DEGRADATIONS.names())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_begins_with_what_it_needs_and_how_to_start_it(path):
    header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    for word in ("# Needs", "# Start", "# Change"):
        assert any(line.startswith(word) for line in header), word
    assert path == find_config(path.stem)


def test_weights_in_shipped_configs_are_those_of_the_zoo():
    for path in CONFIGS:
        detector = load_config(TrainSettings, path).detector
        architecture = DETECTORS.get(detector.name)()
        of_package = ["package"] if architecture.load_package else []
        assert detector.weights in [architecture.default_weights, *of_package]

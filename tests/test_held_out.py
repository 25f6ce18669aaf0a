"""Held out means held out: whatever becomes of the test rows, training decides the same, bit by bit.

And the inverse, so that these tests are able to fail: a change to one val row does change something.
"""

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from planted import TINY_VIT, write_planted_manifest
from safetensors.torch import load_file

from faceauth.config import load_config
from faceauth.intake.manifest import read_manifest, write_manifest
from faceauth.labels import REAL
from faceauth.train import train
from faceauth.training.settings import TrainSettings

# What names the manifest, and what measures the clock.
MUST_DIFFER = {"manifest_sha256"}
MAY_DIFFER = {"seconds", "images_per_s"}
# Three of five groups learn; the most forgetful schedule there is, so that every choice has its turn.
SPLITS = ("train", "val", "train", "test", "val")


def settings_for(manifest, output, *overrides):
    fixed = (
        *TINY_VIT,
        "epochs=6",
        "early_stop_patience=2",
        "schedule.name=plateau",
        "schedule.patience=0",
        "optimizer.learning_rate=2e-3",
        "calibration=platt",
        f"data.manifest={manifest}",
        f"output={output}",
    )
    return load_config(TrainSettings, None, [*fixed, *overrides])


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A manifest that cannot be told apart without mistakes: a part of its crops is noise."""
    folder = tmp_path_factory.mktemp("planted")
    easy = write_planted_manifest(folder / "easy", groups=40, splits=SPLITS)
    return copy_with(
        easy, folder / "hard", lambda row, path: noise(row, path) if int(row.sha256[-1], 16) < 6 else row
    )


@pytest.fixture(scope="module")
def untouched(planted, tmp_path_factory):
    """A run on the manifest as it is."""
    output = tmp_path_factory.mktemp("untouched") / "run"
    train(settings_for(planted, output))
    return output


def copy_with(planted, folder, change: Callable):
    """Copies a prepared folder; `change` gets a row and its crop's path, and returns the row, or None."""
    manifest = read_manifest(planted)
    rows = []
    for row in manifest.rows:
        path = folder / row.destination_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(manifest.crop_path(row).read_bytes())
        rows.append(change(row, path))
    write_manifest([row for row in rows if row is not None], folder)
    return folder


def decisions(run):
    """All that a run decided: the weights as bytes, each epoch's figures, and the card."""
    card = json.loads((run / "checkpoint" / "faceauth.json").read_text())
    assert set(card) >= MUST_DIFFER
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    state = json.loads((run / "checkpoints" / "last" / "counters.json").read_text())
    tensors = load_file(run / "checkpoint" / "model.safetensors")
    return {
        "weights": {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
        "epochs": [{k: v for k, v in line.items() if k not in MAY_DIFFER} for line in lines],
        "counters": state,
        "card": {name: facts for name, facts in card.items() if name not in MUST_DIFFER},
    }


def noise(row, path):
    pixels = np.random.default_rng(int(row.sha256[:8], 16)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return row


def blank(row, path):
    Image.new("RGB", (32, 32), (90, 160, 30)).save(path)
    return row


def swapped(row, path):
    target = 1 - row.target
    return dataclasses.replace(row, target=target, target_class="real" if target == REAL else "fake")


def renamed(row, path):
    return dataclasses.replace(row, folder=f"another_{row.folder}", group=f"stranger of {row.group}")


def unreadable(row, path):
    path.write_bytes(b"no picture")
    return row


def removed(row, path):
    path.unlink()


@pytest.mark.parametrize("change", [noise, swapped, renamed, unreadable, removed], ids=lambda c: c.__name__)
def test_whatever_becomes_of_the_test_rows_training_decides_the_same(planted, untouched, tmp_path, change):
    changed = copy_with(
        planted, tmp_path / "prepared", lambda row, path: change(row, path) if row.split == "test" else row
    )
    train(settings_for(changed, tmp_path / "run"))
    before, after = decisions(untouched), decisions(tmp_path / "run")
    for part in before:
        assert after[part] == before[part], part


def test_the_run_did_make_every_choice_that_was_compared(untouched):
    decided = decisions(untouched)
    card = decided["card"]
    # It stopped early, went back to an epoch before the last, and lowered its rate.
    assert 1 < card["epoch"] < len(decided["epochs"]) < 6
    assert len({line["learning_rate"] for line in decided["epochs"]}) > 1
    assert 0.6 < card["metrics"]["auroc"]["value"] < 1
    assert card["calibration"]["method"] == "platt"
    assert card["calibration"]["chosen_on"] == card["threshold"]["chosen_on"] == "val"
    assert card["unsure"]["chosen_on"] == "val"
    assert card["unsure"]["low"] < card["threshold"]["value"] < card["unsure"]["high"]
    assert len(card["thresholds"]) > 3
    chosen_on = {name: card["threshold"][name] for name in ("n_real", "n_fake", "n_groups")}
    assert chosen_on == {"n_real": 32, "n_fake": 32, "n_groups": 16}


def test_a_change_to_the_val_rows_changes_what_is_chosen_on_them_and_no_weight_of_an_epoch(
    planted, untouched, tmp_path
):
    first = next(row for row in read_manifest(planted).rows if row.split == "val")
    changed = copy_with(
        planted, tmp_path / "prepared", lambda row, path: blank(row, path) if row == first else row
    )
    train(settings_for(changed, tmp_path / "run"))
    before, after = decisions(untouched), decisions(tmp_path / "run")
    assert after["card"]["calibration"]["parameters"] != before["card"]["calibration"]["parameters"]
    assert after["card"]["threshold"] != before["card"]["threshold"]
    assert after["epochs"][0]["val_loss"] != before["epochs"][0]["val_loss"]
    # Val is looked at, never learned from.
    assert after["epochs"][0]["train_loss"] == before["epochs"][0]["train_loss"]


def test_a_change_to_a_train_row_changes_the_weights(planted, untouched, tmp_path):
    first = next(row for row in read_manifest(planted).rows if row.split == "train")
    changed = copy_with(
        planted, tmp_path / "prepared", lambda row, path: blank(row, path) if row == first else row
    )
    train(settings_for(changed, tmp_path / "run"))
    assert decisions(tmp_path / "run")["weights"] != decisions(untouched)["weights"]


def test_calibration_thresholds_and_band_are_chosen_after_the_epoch_and_change_no_weight(
    planted, untouched, tmp_path
):
    train(
        settings_for(
            planted, tmp_path / "run", "calibration=none", "threshold_rule=cost=5", "unsure_coverage=0.8"
        )
    )
    before, after = decisions(untouched), decisions(tmp_path / "run")
    assert after["weights"] == before["weights"]
    assert after["epochs"] == before["epochs"]
    assert after["card"]["threshold"]["rule"] == "cost=5"
    assert after["card"]["unsure"]["coverage"] == 0.8


def test_the_same_manifest_again_decides_the_same(planted, untouched, tmp_path):
    train(settings_for(planted, tmp_path / "run"))
    assert decisions(tmp_path / "run") == decisions(untouched)

"""The training loop: what it learns, what it refuses, and that stopping it changes nothing."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import TINY_VIT, write_planted_manifest
from safetensors.torch import load_file

import faceauth
from faceauth.config import load_config
from faceauth.decisions.calibration import apply_calibration
from faceauth.decisions.thresholds import choose_threshold
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.errors import (
    FaceAuthError,
    InputError,
    ManifestError,
    TrainingError,
    UnknownNameError,
    UsageError,
)
from faceauth.intake.manifest import read_manifest, write_manifest
from faceauth.scoring.score import score_rows
from faceauth.train import train
from faceauth.training import run_folder
from faceauth.training.settings import TrainSettings

SCRIPT = Path(faceauth.__file__).parent / "train.py"


def settings_for(manifest, output, *overrides):
    fixed = [
        *TINY_VIT,
        "epochs=4",
        f"data.manifest={manifest}",
        f"output={output}",
        "optimizer.learning_rate=2e-3",
    ]
    return load_config(TrainSettings, None, [*fixed, *overrides])


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return write_planted_manifest(tmp_path_factory.mktemp("planted") / "prepared", groups=40)


@pytest.fixture(scope="module")
def finished(planted, tmp_path_factory):
    """A run that was never stopped."""
    output = tmp_path_factory.mktemp("finished") / "run"
    train(settings_for(planted, output))
    return output


def weights(run):
    return load_file(run / "checkpoint" / "model.safetensors")


def metrics(run, *, without=("seconds", "images_per_s")):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in without} for line in lines]


def assert_same_run(run, other):
    assert metrics(run) == metrics(other)
    ours, theirs = weights(run), weights(other)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    card, other_card = (json.loads((r / "checkpoint" / "faceauth.json").read_text()) for r in (run, other))
    assert card == other_card


def test_the_planted_trace_is_learned(finished):
    lines = metrics(finished)
    assert len(lines) == 4
    assert max(line["val_auroc"] for line in lines) > 0.95
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]


def test_the_best_epoch_on_val_is_kept_with_its_threshold(finished):
    lines = metrics(finished)
    best = max(line["val_auroc"] for line in lines)
    first_best = next(line for line in lines if line["val_auroc"] == best)
    _, card = load_checkpoint(finished)
    assert card.epoch == first_best["epoch"]
    assert card.metrics["auroc"]["value"] == pytest.approx(best)
    assert card.threshold["rule"] == "youden"
    assert card.threshold["chosen_on"] == "val"
    assert 0 < card.threshold["value"] < 1
    assert (card.threshold["n_real"], card.threshold["n_groups"]) == (16, 8)
    assert card.threshold["ci95"][0] <= card.threshold["value"] <= card.threshold["ci95"][1]
    assert card.generators == ["gan", "swap"]
    assert card.collections == ["camera", "phone"]


def test_scores_are_calibrated_before_anything_is_chosen_on_them(planted, finished):
    detector, card = load_checkpoint(finished)
    assert card.calibration["method"] == "temperature"
    assert card.calibration["chosen_on"] == "val"
    manifest = read_manifest(planted)
    raw, _ = score_rows(detector, manifest.in_split("val"), manifest, workers=0)
    calibrated = apply_calibration(raw, card.calibration)
    assert not np.allclose(raw.p_fake, calibrated.p_fake, atol=1e-3)
    again = choose_threshold(calibrated.target, calibrated.p_fake, rule="youden", groups=calibrated.group)
    assert again.value == pytest.approx(card.threshold["value"], abs=1e-6)
    assert again.ci95 == pytest.approx(card.threshold["ci95"], abs=1e-6)
    listed = {entry["rule"]: entry["value"] for entry in card.thresholds}
    assert listed["youden"] == card.threshold["value"]
    assert listed["half"] == 0.5
    assert listed["fpr=0.01"] is None


def test_few_people_in_val_leave_no_unsure_band_but_say_so(finished):
    unsure = load_checkpoint(finished)[1].unsure
    assert unsure["low"] is unsure["high"] is None
    assert "needs 9 groups of each class; 'val' has 8" in unsure["reason"]


def test_a_limit_that_val_cannot_show_is_refused_before_anything_is_built(planted, tmp_path):
    with pytest.raises(InputError, match=r"at least 100 real faces.*there are 16"):
        train(settings_for(planted, tmp_path / "run", "threshold_rule=fpr=0.01"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "rule"), [("threshold_rule=cost=5", "cost=5"), ("threshold_rule=value=0.6", "value=0.6")]
)
def test_a_rule_with_a_number_is_taken_from_a_config(planted, tmp_path, override, rule):
    train(settings_for(planted, tmp_path / "run", override, "epochs=1"))
    threshold = load_checkpoint(tmp_path / "run")[1].threshold
    assert threshold["rule"] == rule
    assert threshold["chosen_on"] == ("fixed" if rule == "value=0.6" else "val")


def test_a_checkpoint_folder_is_complete(finished):
    found = {path.name for path in (finished / "checkpoint").iterdir()}
    wanted = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "faceauth.json"}
    assert wanted | {"train_config.yaml"} <= found
    config = load_config(TrainSettings, finished / "checkpoint" / "train_config.yaml")
    assert config.epochs == 4
    assert config.detector.options["patch_size"] == 8


def test_the_same_seed_gives_the_same_run_and_another_seed_another(planted, finished, tmp_path):
    train(settings_for(planted, tmp_path / "again"))
    assert_same_run(tmp_path / "again", finished)
    train(settings_for(planted, tmp_path / "other", "seed=1"))
    assert metrics(tmp_path / "other") != metrics(finished)


def test_a_run_stopped_between_epochs_ends_like_one_never_stopped(planted, finished, tmp_path, monkeypatch):
    settings = settings_for(planted, tmp_path / "run")
    saved = []

    def stop_after_two(accelerator, folder, counters):
        run_folder.save_progress(accelerator, folder, counters)
        saved.append(folder)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("faceauth.train.save_progress", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        train(settings)
    monkeypatch.undo()
    assert len(metrics(tmp_path / "run")) == 2
    train(settings)
    assert_same_run(tmp_path / "run", finished)


@pytest.mark.launch
def test_a_killed_run_ends_like_one_never_stopped(planted, finished, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "faceauth", "train", "--manifest", str(planted), "--output", str(run)]
    for override in (*TINY_VIT, "epochs=4", "optimizer.learning_rate=2e-3"):
        command += ["--set", override]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while (
        not (run / "checkpoints" / "last").exists() and time.monotonic() < deadline and process.poll() is None
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (run / "checkpoints").exists()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert_same_run(run, finished)


def test_a_finished_run_is_left_alone(planted, finished):
    before = (finished / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    train(settings_for(planted, finished))
    assert (finished / "checkpoint" / "model.safetensors").stat().st_mtime_ns == before


def test_a_run_folder_with_other_settings_is_refused(planted, finished):
    with pytest.raises(UsageError, match="differs in: epochs"):
        train(settings_for(planted, finished, "epochs=5"))


def test_a_folder_with_other_things_in_it_is_refused(planted, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="not empty"):
        train(settings_for(planted, tmp_path), overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_overwrite_begins_anew(planted, tmp_path):
    train(settings_for(planted, tmp_path / "run", "epochs=1"))
    train(settings_for(planted, tmp_path / "run", "epochs=2"), overwrite=True)
    assert [line["epoch"] for line in metrics(tmp_path / "run")] == [1, 2]


def test_the_header_says_how_far_metadata_alone_goes_without_a_look_at_test_rows(planted, tmp_path, caplog):
    # In test rows alone the width gives the class away, and in the others nothing does.
    manifest = read_manifest(planted)
    rows = [
        dataclasses.replace(row, width=999 if row.target else 32) if row.split == "test" else row
        for row in manifest.rows
    ]
    write_manifest(rows, tmp_path / "tell")
    for number, prepared in enumerate((planted, tmp_path / "tell")):
        with caplog.at_level("INFO", logger="faceauth"):
            train(settings_for(prepared, tmp_path / f"run{number}"), dry_run=True)
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("ruler")]
    assert len(told) == 2
    assert "AUROC 0.5" in told[0]
    assert told[0] == told[1]


def test_dry_run_writes_nothing(planted, tmp_path):
    train(settings_for(planted, tmp_path / "run"), dry_run=True)
    assert not (tmp_path / "run").exists()


def test_test_rows_touch_nothing_that_training_decides(planted, finished, tmp_path):
    """Scrambles labels and pixels of every test row: weights, epochs, threshold and figures stay the same."""
    manifest = read_manifest(planted)
    changed = tmp_path / "prepared"
    rows = []
    for row in manifest.rows:
        target = changed / row.destination_path
        target.parent.mkdir(parents=True, exist_ok=True)
        if row.split == "test":
            target.write_bytes(b"not an image at all")
            flipped = 1 - row.target
            row = dataclasses.replace(row, target=flipped, target_class="real" if flipped else "fake")
        else:
            target.write_bytes(manifest.crop_path(row).read_bytes())
        rows.append(row)
    write_manifest(rows, changed)
    train(settings_for(changed, tmp_path / "run"))
    assert metrics(tmp_path / "run") == metrics(finished)
    assert all(
        torch.equal(tensor, weights(finished)[key]) for key, tensor in weights(tmp_path / "run").items()
    )
    assert load_checkpoint(tmp_path / "run")[1].threshold == load_checkpoint(finished)[1].threshold


def test_a_leaking_manifest_is_not_trained_on(planted, tmp_path):
    manifest = read_manifest(planted)
    rows = [dataclasses.replace(row, group="one person") for row in manifest.rows]
    write_manifest(rows, tmp_path / "prepared")
    with pytest.raises(ManifestError, match=r"leaks.*one person"):
        train(settings_for(tmp_path / "prepared", tmp_path / "run"))


@pytest.mark.parametrize("split", ["train", "val"])
def test_one_class_alone_is_refused_before_anything_is_built(planted, tmp_path, split):
    manifest = read_manifest(planted)
    write_manifest([r for r in manifest.rows if r.target or r.split != split], tmp_path / "prepared")
    with pytest.raises(ManifestError, match=f"Split '{split}'.*no fake faces"):
        train(settings_for(tmp_path / "prepared", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_training_on_one_family_uses_only_its_sources(planted, tmp_path):
    train(settings_for(planted, tmp_path / "run", "data.folders=[camera, phone, gan]", "epochs=1"))
    card = load_checkpoint(tmp_path / "run")[1]
    assert card.generators == ["gan"]
    assert card.n_train == {"real": 48, "fake": 24}


def test_an_unknown_family_is_refused(planted, tmp_path):
    with pytest.raises(ManifestError, match="diffusion"):
        train(settings_for(planted, tmp_path / "run", "data.folders=[camera, diffusion]"))


def test_training_stops_early_when_val_gets_no_better(planted, tmp_path):
    train(
        settings_for(
            planted, tmp_path / "run", "optimizer.learning_rate=0", "early_stop_patience=2", "epochs=9"
        )
    )
    assert len(metrics(tmp_path / "run")) == 3


def test_a_diverging_loss_stops_with_advice(planted, tmp_path):
    with pytest.raises(TrainingError, match="learning_rate"):
        train(
            settings_for(
                planted, tmp_path / "run", "optimizer.name=sgd", "optimizer.learning_rate=1e30", "clip_norm=0"
            )
        )


def test_accumulated_micro_batches_equal_one_large_batch(planted, tmp_path):
    common = ("epochs=1", "optimizer.name=sgd", "optimizer.learning_rate=0.05", "clip_norm=0")
    train(settings_for(planted, tmp_path / "large", *common, "batch_size=16"))
    train(settings_for(planted, tmp_path / "micro", *common, "batch_size=4", "accumulate=4"))
    assert metrics(tmp_path / "large")[0]["updates"] == metrics(tmp_path / "micro")[0]["updates"] == 6
    large, micro = weights(tmp_path / "large"), weights(tmp_path / "micro")
    for key in large:
        torch.testing.assert_close(micro[key], large[key], rtol=1e-4, atol=1e-6)


def test_the_plateau_rule_lowers_the_rate_in_a_run(planted, tmp_path):
    train(
        settings_for(
            planted,
            tmp_path / "run",
            "schedule.name=plateau",
            "schedule.patience=0",
            "optimizer.learning_rate=1e-12",
        )
    )
    rates = [line["learning_rate"] for line in metrics(tmp_path / "run")]
    assert rates[-1] < rates[0]


@pytest.mark.launch
def test_two_processes_judge_every_val_row_once_and_learn_like_one(planted, tmp_path):
    common = ("epochs=2", "optimizer.name=sgd", "optimizer.learning_rate=0.05", "data.augment={}")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(SCRIPT),
    ]
    command += ["--manifest", str(planted), "--output", str(tmp_path / "two")]
    for override in (*TINY_VIT, *common, "batch_size=4"):
        command += ["--set", override]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "2 process(es)" in done.stderr
    train(settings_for(planted, tmp_path / "one", *common, "batch_size=8"))
    two, one = metrics(tmp_path / "two"), metrics(tmp_path / "one")
    assert [line["updates"] for line in two] == [line["updates"] for line in one]
    assert [line["learning_rate"] for line in two] == [line["learning_rate"] for line in one]
    np.testing.assert_allclose(
        [line["val_loss"] for line in two], [line["val_loss"] for line in one], rtol=1e-3
    )
    assert load_checkpoint(tmp_path / "two")[1].metrics["auroc"]["n_real"] == 16


@pytest.mark.launch
def test_accelerate_launch_on_the_script_does_what_the_command_does(planted, finished, tmp_path):
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "1",
        str(SCRIPT),
    ]
    command += ["--manifest", str(planted), "--output", str(tmp_path / "run")]
    for override in (*TINY_VIT, "epochs=4", "optimizer.learning_rate=2e-3"):
        command += ["--set", override]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == str(tmp_path / "run" / "checkpoint")
    assert "val AUROC" in done.stderr
    assert_same_run(tmp_path / "run", finished)


@pytest.mark.launch
def test_a_mistake_in_the_script_launch_is_one_message_without_traceback(tmp_path):
    command = [sys.executable, str(SCRIPT), "--manifest", str(tmp_path / "nowhere"), "--set", "epoch=3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Did you mean 'epochs'?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_crop_is_one_line_whoever_reads_it(planted, tmp_path, workers):
    manifest = read_manifest(planted)
    for row in manifest.rows:
        target = tmp_path / "prepared" / row.destination_path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(manifest.crop_path(row).read_bytes())
    target.write_bytes(b"")
    write_manifest(
        [
            dataclasses.replace(row, split="val") if row == manifest.rows[-1] else row
            for row in manifest.rows
            if row.group != manifest.rows[-1].group or row == manifest.rows[-1]
        ],
        tmp_path / "prepared",
    )
    with pytest.raises(InputError) as caught:
        train(settings_for(tmp_path / "prepared", tmp_path / "run", f"data.workers={workers}"))
    assert target.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_manifest_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="--manifest"):
        train(load_config(TrainSettings, None, [f"output={tmp_path / 'run'}"]))


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("threshold_rule=youdens", "youden"),
        ("threshold_rule=fprr=0.05", "fpr"),
        ("calibration=temprature", "temperature"),
        ("data.augment={jpg: 0.5}", "jpeg"),
        ("optimizer.name=adam", "adamw"),
        ("schedule.name=cosin", "cosine"),
        ("loss=cross_entropi", "cross_entropy"),
    ],
)
def test_a_misspelt_part_is_found_before_anything_is_trained(planted, tmp_path, override, match):
    with pytest.raises(UnknownNameError, match=f"Did you mean '{match}'"):
        train(settings_for(planted, tmp_path / "run", override))
    assert not (tmp_path / "run").exists()


def test_mixed_precision_learns_the_planted_trace_too(planted, finished, tmp_path):
    train(settings_for(planted, tmp_path / "run", "precision=bf16"))
    assert max(line["val_auroc"] for line in metrics(tmp_path / "run")) > 0.95
    assert metrics(tmp_path / "run") != metrics(finished)
    assert all(tensor.dtype == torch.float32 for tensor in weights(tmp_path / "run").values())


def test_a_tracker_is_told_every_epoch(planted, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(settings_for(planted, tmp_path / "run", "trackers=[tensorboard]", "epochs=2"))
    folders = {path.parent for path in (tmp_path / "run").rglob("events.out.tfevents*")}
    told = {}
    for folder in folders:
        events = EventAccumulator(str(folder)).Reload()
        told |= {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    expected = [line["val_auroc"] for line in metrics(tmp_path / "run")]
    assert told["val_auroc"] == pytest.approx(expected)


def test_an_unknown_tracker_is_explained(planted, tmp_path):
    with pytest.raises(FaceAuthError, match="no_such_tracker"):
        train(settings_for(planted, tmp_path / "run", "trackers=[no_such_tracker]"))

"""What is bound to a run folder, and what an interrupted --overwrite leaves."""

import json
import shutil

import pytest
from planted import TINY_VIT, write_planted_manifest
from safetensors.torch import load_file

from faceauth.config import load_config
from faceauth.errors import InputError
from faceauth.train import train
from faceauth.training import run_folder
from faceauth.training.settings import TrainSettings


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return write_planted_manifest(tmp_path_factory.mktemp("planted") / "prepared", groups=20)


def settings_for(manifest, output, *overrides):
    fixed = [*TINY_VIT, "epochs=1", f"data.manifest={manifest}", f"output={output}"]
    return load_config(TrainSettings, None, [*fixed, *overrides])


def test_a_moved_manifest_and_other_workers_are_the_same_run(planted, tmp_path):
    output = tmp_path / "run"
    train(settings_for(planted, output))
    weights = output / "checkpoint" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    moved = shutil.copytree(planted, tmp_path / "moved")
    train(settings_for(moved, output, "data.workers=1"))
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize("interrupted", ["write_json", "_remove"])
def test_an_overwrite_that_was_killed_can_be_done_again(planted, tmp_path, monkeypatch, interrupted):
    whole, output = tmp_path / "whole", tmp_path / "run"
    train(settings_for(planted, whole, "seed=1"))
    train(settings_for(planted, output))

    def killed(*arguments, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, interrupted, killed)
        with pytest.raises(KeyboardInterrupt):
            train(settings_for(planted, output, "seed=1"), overwrite=True)
    train(settings_for(planted, output, "seed=1"), overwrite=True)
    ours, theirs = (load_file(run / "checkpoint" / "model.safetensors") for run in (output, whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert (output / "metrics.jsonl").read_text().count('"event"') == 1


@pytest.mark.parametrize("content", ["x", "[1]", "{}", '{"settings": 3}'])
def test_a_damaged_run_folder_is_refused_and_can_be_begun_anew(planted, tmp_path, content):
    output = tmp_path / "run"
    train(settings_for(planted, output))
    (output / "run.json").write_text(content, "utf-8")
    with pytest.raises(InputError, match="--overwrite"):
        train(settings_for(planted, output))
    train(settings_for(planted, output), overwrite=True)
    assert json.loads((output / "run.json").read_text("utf-8"))["finished"]

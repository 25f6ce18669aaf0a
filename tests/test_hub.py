"""Detectors on the hub, by a stand-in: fetched by id, never run as code, uploaded with nothing private."""

import dataclasses
import json
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import yaml
from PIL import Image
from stand_in_hub import StandInHub
from test_detectors import save, some_card, some_images, tiny

from faceauth.detectors import hub as hub_module
from faceauth.detectors.card import model_card
from faceauth.detectors.detector import p_fake_of_logits
from faceauth.detectors.embedded import checkpoint_of, open_checkpoint
from faceauth.detectors.hub import HubModel, fetch_checkpoint, parse_hub_id
from faceauth.detectors.hub_upload import plan_upload, upload_files
from faceauth.errors import DetectorError, UsageError

NAME = "ann/detector"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that is asked in place of huggingface.co, with an empty cache."""
    stand_in = StandInHub()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", stand_in.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.chdir(tmp_path)
    fetch_checkpoint.cache_clear()
    yield stand_in
    fetch_checkpoint.cache_clear()
    stand_in.close()


@pytest.fixture
def logged_in(hub, monkeypatch):
    """The login of the hub's owner."""
    monkeypatch.setenv("HF_TOKEN", hub.token)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = save(tiny("vit"), tmp_path_factory.mktemp("hub") / "checkpoint")
    (folder / "train_config.yaml").write_text(
        "data:\n  manifest: /srv/ann/prepared\n  readings: readings\nepochs: 3\noutput: runs/secret\n"
    )
    (folder / "test_reads.jsonl").write_text('{"who": "ann"}\n')
    return folder


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_is_found_by_its_id_and_answers_as_the_folder_does(hub, checkpoint):
    hub.add(NAME, files_of(checkpoint) | {"pytorch_model.bin": b"evil", "modeling.py": b"raise SystemExit"})
    fetched, card = open_checkpoint(Path(NAME))
    local, local_card = open_checkpoint(checkpoint)
    pixels = local.pixel_values(some_images())
    assert (fetched.model(pixel_values=pixels).logits == local.model(pixel_values=pixels).logits).all()
    assert card == local_card
    there = {path.name for path in checkpoint_of(Path(NAME)).iterdir()}
    assert there == {
        "config.json", "preprocessor_config.json", "faceauth.json", "README.md", "train_config.yaml",
        "model.safetensors",
    }  # fmt: skip


def test_a_revision_is_kept_to_and_one_process_sees_one(hub, checkpoint):
    first = hub.add(NAME, files_of(checkpoint))
    assert fetch_checkpoint(HubModel(NAME)).name == first
    card = json.loads((checkpoint / "faceauth.json").read_text()) | {"epoch": 9}
    second = hub.add(NAME, files_of(checkpoint) | {"faceauth.json": json.dumps(card).encode()})
    assert fetch_checkpoint(HubModel(NAME)).name == first
    assert open_checkpoint(Path(f"{NAME}@{second}"))[1].epoch == 9
    assert open_checkpoint(Path(f"{NAME}@{first}"))[1].epoch == 3
    fetch_checkpoint.cache_clear()
    assert fetch_checkpoint(HubModel(NAME)).name == second


def test_predict_takes_an_id(hub, checkpoint, tmp_path, run_cli):
    hub.add(NAME, files_of(checkpoint))
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "face.png")
    words = ("predict", tmp_path / "face.png", "--no-detect", "--json", "--workers", "0", "--device", "cpu")
    by_id = run_cli(*words, "--model", NAME)
    assert by_id.exit_code == 0, by_id.stderr
    assert by_id.stdout == run_cli(*words, "--model", checkpoint).stdout


def test_without_a_network_what_was_fetched_before_is_used_and_all_else_is_one_message(
    hub, checkpoint, monkeypatch
):
    hub.add(NAME, files_of(checkpoint))
    folder = fetch_checkpoint(HubModel(NAME))
    hub.close()
    fetch_checkpoint.cache_clear()
    assert fetch_checkpoint(HubModel(NAME)) == folder
    with pytest.raises(DetectorError, match=r"no folder ann/other here.*cannot be reached.*--model embedded"):
        checkpoint_of(Path("ann/other"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DetectorError, match=r"no folder ann/other here.*cannot be reached.*--model embedded"):
        checkpoint_of(Path("ann/other"))


def test_folders_come_first_and_mistyped_paths_are_nobodys_business(hub, checkpoint, tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "detector").symlink_to(checkpoint)
    assert checkpoint_of(Path(NAME)) == Path(NAME)
    with pytest.raises(DetectorError, match="is no checkpoint folder"):
        checkpoint_of(Path("ann/detektor"))
    for name in ("first", "a/b/c", "../ann/x", "./b/c", "a/b@", "a/-b", "~/x", "a b/c"):
        assert parse_hub_id(Path(name)) is None or name == "./b/c", name
    assert hub.asked == []
    assert parse_hub_id(Path("bob/x.y-z@v1.0")) == HubModel("bob/x.y-z", "v1.0")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ann/none", "no such model"),
        (f"{NAME}@v9", "no such revision"),
        ("ann/plain", "no detector of FaceAuth: it has no faceauth.json"),
        ("ann/bare", "no weights"),
        ("ann/private", "no such model"),
    ],
)
def test_what_the_hub_does_not_have_is_one_message(hub, checkpoint, name, says):
    files = files_of(checkpoint)
    hub.add(NAME, files)
    hub.add("ann/plain", {file: files[file] for file in ("config.json", "model.safetensors")})
    hub.add("ann/bare", {file: content for file, content in files.items() if file != "model.safetensors"})
    hub.add("ann/private", files, is_private=True)
    with pytest.raises(DetectorError, match=says):
        open_checkpoint(Path(name))
    # Weights are fetched last, when all else is in order.
    assert not any("model.safetensors" in path for _, path in hub.asked)


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoModelForImageClassification": "modeling.Evil"}},
        {"attn_implementation": "evil/kernel"},
        {"vision_config": {"_attn_implementation": "evil/kernel"}},
        {"quantization_config": {"quant_method": "evil"}},
        {"model_type": "timm_wrapper", "architecture": "hf_hub:evil/net"},
        {"model_type": "timm_wrapper", "architecture": "vit", "model_args": {"checkpoint_path": "x.pth"}},
        {"model_type": "timm_wrapper", "architecture": ["vit"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_could_run_is_refused_before_weights_are_fetched(hub, checkpoint, change):
    files = files_of(checkpoint)
    config = json.loads(files["config.json"]) | change
    hub.add(NAME, files | {"config.json": json.dumps(config).encode(), "modeling.py": b"raise SystemExit(9)"})
    with pytest.raises(DetectorError, match=r"config.json of the model has .*Do not use this model"):
        open_checkpoint(Path(NAME))
    assert not any(name in path for _, path in hub.asked for name in ("model.safetensors", "modeling.py"))


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff"])
def test_a_config_that_is_none_is_refused(hub, checkpoint, content):
    hub.add(NAME, files_of(checkpoint) | {"preprocessor_config.json": content})
    with pytest.raises(DetectorError, match=r"preprocessor_config\.json of the model"):
        open_checkpoint(Path(NAME))


@pytest.mark.usefixtures("logged_in")
def test_what_is_uploaded_comes_back_and_holds_nothing_private(hub, checkpoint):
    url = upload_files(plan_upload(checkpoint, NAME))
    repository = hub.repositories[NAME]
    files = repository.commits[url.rsplit("/", 1)[1]]
    assert repository.is_private
    assert set(files) == set(files_of(checkpoint)) - {"test_reads.jsonl"} | {".gitattributes"}
    assert not any(word in content for content in files.values() for word in (b"/srv/ann", b"secret"))
    assert yaml.safe_load(files["train_config.yaml"]) == {"data": {}, "epochs": 3}
    fetched, card = open_checkpoint(Path(NAME))
    local, local_card = open_checkpoint(checkpoint)
    assert card == local_card
    pixels = local.pixel_values(some_images())
    p_fake = [p_fake_of_logits(one.model(pixel_values=pixels).logits) for one in (fetched, local)]
    assert (p_fake[0] == p_fake[1]).all()


@pytest.mark.usefixtures("logged_in")
def test_weights_of_another_format_are_replaced_and_strangers_files_stay(hub, checkpoint):
    hub.add(NAME, {"packed.safetensors": b"old", "export.json": b"{}", "notes.txt": b"mine"}, is_private=True)
    upload_files(plan_upload(checkpoint, NAME))
    files = list(hub.repositories[NAME].commits.values())[-1]
    assert "packed.safetensors" not in files
    assert "export.json" not in files
    assert files["notes.txt"] == b"mine"


@pytest.mark.usefixtures("logged_in")
def test_nothing_becomes_public_by_accident(hub, checkpoint):
    hub.add(NAME, {"notes.txt": b""})
    with pytest.raises(DetectorError, match=r"there and public.*--public"):
        upload_files(plan_upload(checkpoint, NAME))
    assert len(hub.repositories[NAME].commits) == 1
    upload_files(plan_upload(checkpoint, NAME, is_public=True))
    upload_files(plan_upload(checkpoint, "ann/new", is_public=True))
    assert not hub.repositories["ann/new"].is_private


def test_without_a_login_or_a_network_an_upload_is_one_message(hub, checkpoint, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(DetectorError, match=r"not logged in.*hf auth login"):
        upload_files(plan_upload(checkpoint, NAME))
    hub.close()
    with pytest.raises(DetectorError, match="cannot be reached"):
        upload_files(plan_upload(checkpoint, NAME))


def test_a_detector_goes_nowhere_without_its_card_or_with_a_path_of_this_machine(hub, tmp_path):
    folder = save(tiny("vit"), tmp_path / "checkpoint")
    with pytest.raises(UsageError, match="no id of the hub"):
        plan_upload(folder, "detector")
    with pytest.raises(UsageError, match="no id of the hub"):
        plan_upload(folder, f"{NAME}@main")
    for name, key in (("faceauth.json", "origin"), ("config.json", "_name_or_path")):
        before = (folder / name).read_text()
        for place in (
            "/srv/ann/clip",
            "~/clip/x",
            "C:\\Users\\ann\\clip",
            "\\\\server\\share\\x",
            "file:///srv/ann/x",
        ):
            changed = json.loads(before) | {key: f"weights of {place}"}
            (folder / name).write_text(json.dumps(changed))
            with pytest.raises(DetectorError, match=rf"(?s){name} names a folder of this machine at {key}"):
                plan_upload(folder, NAME)
        (folder / name).write_text(before)
    (folder / "README.md").write_text("Trained on /srv/ann/photos.\n")
    with pytest.raises(DetectorError, match=r"README\.md names a folder of this machine in line 1"):
        plan_upload(folder, NAME)
    (folder / "README.md").unlink()
    with pytest.raises(DetectorError, match="no model card"):
        plan_upload(folder, NAME)
    assert hub.asked == []


def test_the_embedded_detectors_own_folder_could_be_uploaded():
    upload = plan_upload(checkpoint_of(Path("embedded")), NAME)
    assert "packed.safetensors" in upload.files
    assert hub_module.HUB_NAMES[0] in upload.files
    assert min(upload.sizes().values()) > 0


@pytest.mark.usefixtures("logged_in")
def test_the_command_says_what_it_would_push_and_pushes_it(hub, checkpoint, run_cli):
    words = ("export", "--model", checkpoint, "--push-to-hub", NAME)
    done = run_cli(*words, "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "would be pushed to ann/detector, for its owner alone" in done.stdout
    assert "model.safetensors" in done.stdout
    assert "test_reads" not in done.stdout
    assert hub.asked == []
    document = json.loads(run_cli(*words, "--json").stdout)["pushed"]
    assert document["commit_url"].startswith(hub.url)
    assert not document["public"]
    assert set(document["files"]) < set(list(hub.repositories[NAME].commits.values())[-1])


def test_a_smaller_format_is_pushed_in_the_same_command(hub, checkpoint, tmp_path, run_cli):
    words = ("export", "--model", checkpoint, "--output", tmp_path / "small", "--push-to-hub", NAME)
    done = run_cli(*words, "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["format"] == "packed"
    assert {"packed.safetensors", "export.json"} < set(document["pushed"]["files"])
    assert b"source" not in plan_upload(tmp_path / "small", NAME).files["export.json"]


@pytest.mark.parametrize("words", [(), ("--public", "--output", "x"), ("--dry-run", "--output", "x")])
def test_options_about_pushing_want_something_to_push(checkpoint, run_cli, words):
    assert run_cli("export", "--model", checkpoint, *words).exit_code == 2


def test_the_model_card_is_one_that_the_hub_reads_with_its_figures(checkpoint):
    card = huggingface_hub.ModelCard.load(checkpoint / "README.md")
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("roc_auc", 0.9)
    assert "0.800 to 0.950" in result.metric_name
    assert "chosen on" in result.dataset_name
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "image-classification")


def test_undefined_figures_are_left_out_of_what_the_hub_reads():
    card = dataclasses.replace(
        some_card("vit"), metrics={"auroc": {"value": None, "ci95": None, "n_real": 0, "n_fake": 3}}
    )
    assert "model-index" not in model_card(card)
    assert "| auroc | undefined |" in model_card(card)

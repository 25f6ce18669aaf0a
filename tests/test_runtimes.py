"""Runtimes: the same answers whatever runs the network, and no torch where none is needed."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_detectors import save, some_card, tiny
from transformers import DeiTImageProcessor, ViTImageProcessor

from faceauth.detectors.architecture import DETECTORS
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import logits_and_features
from faceauth.errors import DetectorError, UnknownNameError, UsageError
from faceauth.runtimes import choose, converted
from faceauth.runtimes.choose import find_model, open_network
from faceauth.runtimes.network import RUNTIMES
from faceauth.runtimes.pixels import PixelRecipe, read_pixel_recipe


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A tiny checkpoint of every registered detector."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: save(tiny(name), folder / name) for name in DETECTORS.names()}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEAUTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


def some_crops(n=3, side=256, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def by_torch(folder, crops):
    detector, _ = load_checkpoint(folder)
    pixel_values = detector.pixel_values(torch.from_numpy(crops).permute(0, 3, 1, 2))
    return [answer.numpy() for answer in logits_and_features(detector, pixel_values)]


@pytest.mark.parametrize("name", DETECTORS.names())
def test_openvino_answers_as_torch_does_for_every_detector_and_any_batch(name, checkpoints):
    network, card = open_network(checkpoints[name], runtime="openvino")
    assert card == some_card(name)
    for n in (1, 3):
        crops = some_crops(n, seed=n)
        found = network(crops)
        logits, features = by_torch(checkpoints[name], crops)
        np.testing.assert_allclose(found.logits, logits, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(found.embedding, features, atol=1e-3, rtol=1e-3)


@settings(max_examples=40)
@given(
    old=st.integers(8, 96),
    height=st.integers(4, 96),
    width=st.integers(4, 96),
    resample=st.sampled_from([2, 3]),
    seed=st.integers(0, 9),
)
def test_pixels_are_those_of_the_image_processor(old, height, width, resample, seed):
    processor = ViTImageProcessor(size={"height": height, "width": width}, resample=resample)
    crops = some_crops(2, old, seed)
    wanted = processor(images=torch.from_numpy(crops).permute(0, 3, 1, 2), return_tensors="pt")
    recipe = read_pixel_recipe(processor.to_dict())
    level = 1 / 127.5
    off_by = np.abs(recipe(crops) - wanted["pixel_values"].numpy()).round(6) / level
    if min(height, width) * 2 >= old:
        assert off_by.max() < 1e-3
    else:
        # Sums of many weighted levels are no longer exact in float32, and a tie may fall to the other side.
        assert off_by.max() < 1.001
        assert (off_by > 1e-3).sum() <= max(2, off_by.size / 100)
    assert recipe.input_shape == (3, height, width)


def test_a_processor_that_cuts_the_middle_out_is_understood():
    processor = DeiTImageProcessor()
    crops = some_crops(2)
    wanted = processor(images=torch.from_numpy(crops).permute(0, 3, 1, 2), return_tensors="pt")
    recipe = read_pixel_recipe(processor.to_dict())
    np.testing.assert_allclose(recipe(crops), wanted["pixel_values"].numpy(), atol=1e-6, rtol=0)
    assert PixelRecipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize(
    "changes",
    [
        {"do_pad": True},
        {"do_resize": False},
        {"size": {"longest_edge": 224}},
        {"size": {"height": 10**6, "width": 8}},
        {"resample": 1},
        {"image_std": [0.5, 0.0, 0.5]},
        {"image_mean": "none"},
    ],
)
def test_what_a_recipe_does_not_know_is_left_to_transformers(changes):
    assert read_pixel_recipe(ViTImageProcessor().to_dict()) is not None
    assert read_pixel_recipe(ViTImageProcessor().to_dict() | changes) is None


def test_without_a_recipe_torch_runs_the_network(checkpoints, tmp_path):
    folder = save(tiny("vit"), tmp_path / "odd")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_pad": True}))
    assert open_network(folder)[0].runs_on == "torch on cpu"
    with pytest.raises(DetectorError, match="--runtime torch"):
        open_network(folder, runtime="openvino")


def test_a_checkpoint_is_converted_once_and_other_weights_are_another_network(cache, tmp_path, monkeypatch):
    folder = save(tiny("mesonet4"), tmp_path / "one")
    first = open_network(folder)[0](some_crops())
    monkeypatch.setattr(converted, "graph_of", lambda detector: pytest.fail("it was converted again"))
    np.testing.assert_array_equal(open_network(folder)[0](some_crops()).logits, first.logits)
    monkeypatch.undo()
    monkeypatch.setenv("FACEAUTH_CACHE", str(cache.parent))
    detector = tiny("mesonet4")
    with torch.no_grad():
        detector.model.get_submodule(detector.architecture.heads[0]).bias.add_(1)
    other = save(detector, tmp_path / "other")
    np.testing.assert_allclose(open_network(other)[0](some_crops()).logits, first.logits + 1, atol=1e-4)
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_cache_is_made_anew_and_one_that_cannot_be_written_is_done_without(
    cache, checkpoints, tmp_path, monkeypatch
):
    folder = checkpoints["mesonet4"]
    wanted = open_network(folder)[0](some_crops()).logits
    (kept,) = cache.iterdir()
    (kept / converted.GRAPH_NAME).write_text("damaged")
    np.testing.assert_array_equal(open_network(folder)[0](some_crops()).logits, wanted)
    assert (kept / converted.GRAPH_NAME).read_text() != "damaged"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FACEAUTH_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(open_network(folder)[0](some_crops()).logits, wanted)


def test_only_the_last_networks_used_are_kept(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(converted, "MOST_KEPT", 2)
    folders = []
    for seed in range(3):
        detector = tiny("mesonet4")
        with torch.no_grad():
            detector.model.get_submodule(detector.architecture.heads[0]).bias.fill_(seed)
        folders.append(save(detector, tmp_path / str(seed)))
        open_network(folders[-1])
        os.utime(cache / converted._key(folders[-1]), (seed, seed))
    assert {path.name for path in cache.iterdir()} == {converted._key(folder) for folder in folders[1:]}


def test_a_conversion_that_answers_otherwise_is_not_taken(cache, checkpoints, monkeypatch):
    wrong = tiny("mesonet4")
    with torch.no_grad():
        wrong.model.get_submodule(wrong.architecture.heads[0]).bias.add_(0.1)
    graph = converted.graph_of(wrong)
    monkeypatch.setattr(converted, "graph_of", lambda detector: graph)
    with pytest.raises(DetectorError, match="differ from torch's"):
        open_network(checkpoints["mesonet4"], runtime="openvino")
    assert open_network(checkpoints["mesonet4"])[0].runs_on == "torch on cpu"
    assert not cache.exists()


def test_names_and_devices_that_do_not_fit_are_one_message(checkpoints, tmp_path):
    folder = checkpoints["mesonet4"]
    with pytest.raises(UnknownNameError, match="openvino"):
        open_network(folder, runtime="openvinoo")
    with pytest.raises(UsageError, match="--runtime torch"):
        open_network(folder, runtime="openvino", device="cuda")
    with pytest.raises(UsageError, match="cannot be used"):
        open_network(folder, device="cuda:99")
    with pytest.raises(DetectorError, match="faceauth export"):
        open_network(folder, runtime="onnxruntime")
    with pytest.raises(DetectorError, match="no checkpoint folder"):
        open_network(tmp_path)


def test_threads_that_share_a_network_get_what_one_gets(checkpoints):
    network, _ = open_network(checkpoints["vit"], runtime="openvino")
    batches = [some_crops(2, seed=seed) for seed in range(12)]
    alone = [network(crops).logits for crops in batches]
    found = [None] * len(batches)

    def ask(start):
        for number in range(start, len(batches), 3):
            found[number] = network(batches[number]).logits

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found, alone)


def test_a_gpu_is_looked_for_by_its_driver_before_torch_is_asked(monkeypatch):
    monkeypatch.setattr(choose.sys, "platform", "linux")
    monkeypatch.setattr(choose.Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setitem(sys.modules, "faceauth.detectors.devices", None)
    assert choose._best_device() == "cpu"
    monkeypatch.setattr(choose.Path, "glob", lambda self, pattern: iter([Path("/dev/nvidia0")]))
    with pytest.raises(ImportError):
        choose._best_device()


@pytest.mark.launch
def test_a_verdict_by_a_kept_network_imports_neither_torch_nor_transformers(checkpoints, tmp_path):
    folder = checkpoints["mesonet4"]
    open_network(folder)
    code = (
        "import sys; import numpy as np; from faceauth import load_detector; "
        f"detector = load_detector({str(folder)!r}, detect=False); "
        "verdict = detector(np.zeros((80, 80, 3), np.uint8))[0]; "
        "print(verdict.status, sorted({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "ok []"


def test_every_runtime_is_offered():
    assert RUNTIMES.names() == ["onnxruntime", "openvino", "torch"]


def test_what_a_model_is_can_be_read_without_running_it(checkpoints):
    model = find_model(checkpoints["deit"])
    assert (model.path, model.is_onnx, model.card) == (checkpoints["deit"], False, some_card("deit"))
    assert model.pixels.input_shape == (3, 32, 32)

"""`faceauth export`: the exported folder, what its figures say, and what it does not overwrite."""

import json

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from planted import write_planted_manifest
from test_detectors import save, tiny
from test_packed import WIDE

from faceauth.detectors.architecture import DETECTORS
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import build_detector
from faceauth.detectors.folder import PACKED_NAME
from faceauth.detectors.packed import read_packed
from faceauth.errors import DetectorError, UnknownNameError, UsageError
from faceauth.intake.manifest import read_manifest
from faceauth.runtimes.choose import open_network
from faceauth.scoring.score import score_rows
from faceauth.verbs.evaluate import ScoringSettings
from faceauth.verbs.export import EXPORT_NAME, ExportSettings, export
from faceauth.verdicts.judge import load_judge


def wide_run(folder):
    """A checkpoint folder of a small transformer with random weights."""
    torch.manual_seed(0)
    detector = build_detector("vit", weights="random", image_size=32, options=WIDE)
    with torch.no_grad():
        detector.model.get_submodule("classifier").weight.mul_(30)
    return save(detector, folder)


def packed_run(folder):
    """The same, packed, as `faceauth export` writes it."""
    export(wide_run(folder.with_name(f"{folder.name or 'run'}-source")), folder, format_name="packed")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return wide_run(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_planted_manifest(tmp_path_factory.mktemp("prepared") / "prepared", groups=40)


def test_an_export_is_a_checkpoint_folder_with_everything_but_the_plain_weights(run, tmp_path):
    (run / "test_reads.jsonl").write_text('{"who": "me"}\n')
    export(run, tmp_path / "small", format_name="packed")
    names = {path.name for path in (tmp_path / "small").iterdir()}
    assert names == {path.name for path in run.iterdir()} - {"model.safetensors"} | {PACKED_NAME, EXPORT_NAME}
    for name in ("config.json", "faceauth.json", "train_config.yaml", "test_reads.jsonl"):
        assert (tmp_path / "small" / name).read_bytes() == (run / name).read_bytes()
    detector, card = load_checkpoint(tmp_path / "small")
    assert card == load_checkpoint(run)[1]
    assert detector.name == "vit"


def test_parity_is_that_of_the_written_file(run, prepared, tmp_path):
    document = export(
        run,
        tmp_path / "small",
        format_name="packed",
        settings=ExportSettings(bits=4),
        manifest_path=prepared,
        scoring=ScoringSettings(batch_size=7, workers=0),
    )
    assert document == json.loads((tmp_path / "small" / EXPORT_NAME).read_text())
    manifest = read_manifest(prepared)
    rows = manifest.in_split("val")
    logits = []
    for folder in (run, tmp_path / "small"):
        p_fake = score_rows(load_checkpoint(folder)[0], rows, manifest, workers=0)[0].p_fake
        logits.append(np.log(p_fake / (1 - p_fake)))
    parity = document["parity"]
    assert parity["n"] == len(rows) == parity["same_verdict"]["n_real"] + parity["same_verdict"]["n_fake"]
    # Two logits that differ by so much each move their difference by twice that at most.
    largest = float(np.abs(logits[1] - logits[0]).max())
    assert 0 < largest <= 2 * parity["logits"]["max_abs_difference"] + 1e-5
    assert parity["logits"]["mean_abs_difference"] <= parity["logits"]["max_abs_difference"]
    difference = parity["auroc"]["exported"]["value"] - parity["auroc"]["source"]["value"]
    assert parity["auroc"]["difference"]["value"] == pytest.approx(difference)
    low, high = parity["same_verdict"]["ci95"]
    assert low <= parity["same_verdict"]["value"] <= high
    card = (tmp_path / "small" / "README.md").read_text()
    assert "Exported as `packed` (bits 4)" in card
    assert document["files"][PACKED_NAME]["sha256"] in card
    assert f"{parity['auroc']['source']['value']:.4f}" in card


def test_crops_to_round_for_come_from_train_and_change_the_weights(run, prepared, tmp_path):
    settings = ExportSettings(bits=4)
    blind = export(run, tmp_path / "blind", format_name="packed", settings=settings)
    known = export(
        run,
        tmp_path / "known",
        format_name="packed",
        settings=settings,
        manifest_path=prepared,
        scoring=ScoringSettings(workers=0, limit=8),
    )
    assert blind["n_crops_rounded_for"] == 0
    assert blind["parity"] is None
    assert blind["reason"]
    assert known["n_crops_rounded_for"] == 64
    assert known["parity"]["n"] == 8
    assert known["files"][PACKED_NAME]["sha256"] != blind["files"][PACKED_NAME]["sha256"]
    assert "not measured" in (tmp_path / "blind" / "README.md").read_text()


def test_whatever_becomes_of_val_and_test_rows_the_weights_are_the_same(run, tmp_path):
    written = []
    for name in ("one", "other"):
        folder = write_planted_manifest(tmp_path / name / "prepared", groups=20)
        if name == "other":
            for split in ("val", "test"):
                for number, path in enumerate(sorted((folder / split).rglob("*.png"))):
                    blank = np.full((32, 32, 3), number, np.uint8)
                    Image.fromarray(blank).save(path)
        output = tmp_path / name / "small"
        settings, scoring = ExportSettings(bits=4), ScoringSettings(workers=0)
        export(run, output, format_name="packed", settings=settings, manifest_path=folder, scoring=scoring)
        written.append((output / PACKED_NAME).read_bytes())
    assert written[0] == written[1]


def test_the_last_layer_stays_float32(run, tmp_path):
    export(run, tmp_path / "small", format_name="packed", settings=ExportSettings(bits=4))
    packed = read_packed(tmp_path / "small" / PACKED_NAME)
    assert packed.tensors["classifier.weight"].dtype == torch.float32
    assert {layout.bits for layout in packed.layouts.values()} == {4, 8}


def test_a_packed_checkpoint_can_be_exported_again(run, tmp_path):
    export(run, tmp_path / "one", format_name="packed")
    export(tmp_path / "one", tmp_path / "two", format_name="packed")
    first, second = (load_checkpoint(tmp_path / name)[0].model.state_dict() for name in ("one", "two"))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0.02, atol=1e-3)


def test_nothing_but_an_older_export_is_replaced(run, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "aunt.jpg").write_bytes(b"dear")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="something else than an export"):
            export(run, tmp_path / "photos", format_name="packed", overwrite=overwrite)
        for place in (run, run.parent):
            with pytest.raises(UsageError, match="where the detector itself lies"):
                export(run, place, format_name="packed", overwrite=overwrite)
    assert (tmp_path / "photos" / "aunt.jpg").read_bytes() == b"dear"
    assert load_checkpoint(run)
    export(run, tmp_path / "small", format_name="packed")
    with pytest.raises(UsageError, match="--overwrite"):
        export(run, tmp_path / "small", format_name="packed", settings=ExportSettings(bits=4))
    before = (tmp_path / "small" / PACKED_NAME).stat().st_size
    export(run, tmp_path / "small", format_name="packed", settings=ExportSettings(bits=4), overwrite=True)
    assert (tmp_path / "small" / PACKED_NAME).stat().st_size < before


def test_a_failed_export_leaves_nothing(run, tmp_path):
    with pytest.raises(UsageError, match="7 bits"):
        export(run, tmp_path / "small", format_name="packed", settings=ExportSettings(bits=7))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnknownNameError, match="packed"):
        export(run, tmp_path / "small", format_name="pakced")
    with pytest.raises(DetectorError, match="no checkpoint folder"):
        export(tmp_path, tmp_path / "small", format_name="packed")


def test_the_command_prints_what_it_compared(run, prepared, tmp_path, run_cli):
    words = ("export", "--model", run, "--manifest", prepared, "--workers", "0", "--limit", "12")
    done = run_cli(*words, "--format", "packed", "--bits", "6", "--output", tmp_path / "small")
    assert done.exit_code == 0, done.stderr
    assert "crops with the same verdict" in done.stdout
    done = run_cli(*words, "--json", "--output", tmp_path / "json")
    assert json.loads(done.stdout)["settings"] == {"bits": 8}
    done = run_cli(*words, "--bits", "7", "--output", tmp_path / "seven")
    assert done.exit_code == 2
    assert "Use 4, 5, 6 or 8" in done.stderr


@pytest.fixture(scope="module")
def onnx_file(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "export"
    export(run, folder, format_name="onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_an_onnx_file_judges_as_its_checkpoint_does(run, onnx_file, runtime):
    crops = np.random.default_rng(0).integers(0, 256, (5, 256, 256, 3), dtype=np.uint8)
    wanted = load_judge(run, runtime="torch", is_crops=True)
    judge = load_judge(onnx_file, runtime=runtime, is_crops=True)
    assert judge.crop == wanted.crop
    for n in (1, 5):
        found, expected = judge.network(crops[:n]), wanted.network(crops[:n])
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3)
        np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-3)
        assert [opinion.label for opinion in judge.judge(crops[:n])] == [
            opinion.label for opinion in wanted.judge(crops[:n])
        ]


@pytest.mark.parametrize("name", DETECTORS.names())
def test_every_detector_can_be_written_as_onnx(name, tmp_path):
    folder = save(tiny(name), tmp_path / "run")
    export(folder, tmp_path / "onnx", format_name="onnx")
    crops = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    wanted = open_network(folder, runtime="torch")[0](crops)
    found = open_network(tmp_path / "onnx")[0](crops)
    np.testing.assert_allclose(found.logits, wanted.logits, atol=1e-3)
    np.testing.assert_allclose(found.embedding, wanted.embedding, atol=1e-2, rtol=1e-3)


def test_8_bits_are_smaller_and_cost_what_the_document_says(run, prepared, tmp_path, onnx_file):
    document = export(
        run,
        tmp_path / "small",
        format_name="onnx",
        settings=ExportSettings(bits=8),
        manifest_path=prepared,
        scoring=ScoringSettings(batch_size=7, workers=0),
    )
    assert document["settings"] == {"bits": 8}
    assert document["files"]["model.onnx"]["n_bytes"] < 0.6 * onnx_file.stat().st_size
    assert 0 < document["parity"]["logits"]["mean_abs_difference"] < 0.5
    assert document["parity"]["auroc"]["difference"]["ci95"] is not None


def test_8_bits_of_a_convolutional_network_take_crops(prepared, tmp_path):
    folder = save(tiny("mesonet4"), tmp_path / "run")
    with pytest.raises(UsageError, match="32 or 8"):
        export(folder, tmp_path / "small", format_name="onnx", settings=ExportSettings(bits=5))
    settings = ExportSettings(bits=8)
    with pytest.raises(UsageError, match="--manifest"):
        export(folder, tmp_path / "small", format_name="onnx", settings=settings)
    assert not (tmp_path / "small").exists()
    scoring = ScoringSettings(workers=0, limit=16)
    document = export(
        folder,
        tmp_path / "small",
        format_name="onnx",
        settings=settings,
        manifest_path=prepared,
        scoring=scoring,
    )
    assert document["parity"]["n"] == 16


def test_what_is_no_onnx_file_of_ours_is_one_message(onnx_file, tmp_path):
    with pytest.raises(DetectorError, match="cannot be opened"):
        open_network(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(DetectorError, match="no ONNX file"):
        open_network(tmp_path / "text.onnx")
    graph = onnx.load(onnx_file)
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "strange.onnx")
    with pytest.raises(DetectorError, match="no card"):
        open_network(tmp_path / "strange.onnx")
    (tmp_path / "cut.onnx").write_bytes(onnx_file.read_bytes()[:-5000])
    with pytest.raises(DetectorError, match="no ONNX file"):
        open_network(tmp_path / "cut.onnx")
    with pytest.raises(DetectorError, match="torch does not run"):
        open_network(onnx_file, runtime="torch")

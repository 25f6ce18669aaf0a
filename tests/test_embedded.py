"""The detector that comes with the package: found by name, checked before it is read, never mistaken."""

import hashlib
import json

import pytest
from planted import write_planted_manifest
from test_export import packed_run

from faceauth.detectors import checkpoint, embedded
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.embedded import EMBEDDED_NAME, checkpoint_of, load_embedded, open_checkpoint
from faceauth.detectors.folder import PACKED_NAME
from faceauth.errors import DetectorError


@pytest.fixture
def fresh(monkeypatch):
    """Forgets what was loaded before, and forgets it again afterwards."""
    embedded._load_embedded.cache_clear()
    yield monkeypatch
    embedded._load_embedded.cache_clear()


@pytest.fixture
def installed(tmp_path, fresh):
    """A package folder with a small embedded detector."""
    package = tmp_path / "site" / "faceauth"
    folder = packed_run(package / EMBEDDED_NAME)
    fresh.setattr(embedded.resources, "files", lambda name: package)
    sha256 = hashlib.sha256((folder / PACKED_NAME).read_bytes()).hexdigest()
    fresh.setattr(embedded, "EMBEDDED_SHA256", sha256)
    return folder


def test_it_is_loaded_once_and_is_its_checkpoint_folder(installed):
    detector, card = load_embedded()
    assert load_embedded()[0] is detector
    assert card == load_checkpoint(installed)[1]
    assert not detector.model.training


def test_its_name_is_understood_where_a_model_is_asked_for(installed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = type(tmp_path)(EMBEDDED_NAME)
    assert open_checkpoint(name)[0] is load_embedded()[0]
    assert checkpoint_of(name) == installed
    # A path to a folder is that folder, whatever it is called.
    assert open_checkpoint(installed)[0] is not load_embedded()[0]
    assert checkpoint_of(installed) == installed


def test_a_damaged_file_is_refused_before_anything_is_parsed(installed, monkeypatch):
    path = installed / PACKED_NAME
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(checkpoint, "load_checkpoint", lambda folder: pytest.fail("it was opened"))
    with pytest.raises(DetectorError, match=r"damaged.*force-reinstall"):
        load_embedded()


@pytest.mark.parametrize("missing", ["faceauth.json", PACKED_NAME])
def test_an_installation_without_it_says_so(installed, missing):
    (installed / missing).unlink()
    with pytest.raises(DetectorError, match=rf"no embedded detector: .*{missing} is missing.*--model FOLDER"):
        load_embedded()


def test_a_failure_is_not_remembered(installed):
    hidden = installed.with_name("hidden")
    installed.rename(hidden)
    with pytest.raises(DetectorError):
        load_embedded()
    hidden.rename(installed)
    assert load_embedded()


@pytest.mark.parametrize("inside", [".", "checkpoint"])
def test_a_checkpoint_folder_of_the_same_name_is_not_silently_taken_or_passed_over(
    installed, tmp_path, monkeypatch, inside
):
    monkeypatch.chdir(tmp_path)
    name = type(tmp_path)(EMBEDDED_NAME)
    packed_run(tmp_path / EMBEDDED_NAME / inside)
    with pytest.raises(DetectorError, match="checkpoint folder of that name") as caught:
        open_checkpoint(name)
    meant = (tmp_path / EMBEDDED_NAME).absolute()
    assert str(meant) in caught.value.hint
    assert open_checkpoint(meant)
    with pytest.raises(DetectorError, match="checkpoint folder of that name"):
        checkpoint_of(name)


def test_a_folder_of_results_with_that_name_is_in_nobodys_way(installed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / EMBEDDED_NAME).mkdir()
    (tmp_path / EMBEDDED_NAME / "clusters.json").write_text("{}")
    assert open_checkpoint(type(tmp_path)(EMBEDDED_NAME))


def test_verbs_take_its_name_and_leave_the_package_as_it_is(installed, tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    manifest = write_planted_manifest(tmp_path / "prepared", groups=10)
    before = {path.name: path.read_bytes() for path in installed.iterdir()}
    words = ("--model", EMBEDDED_NAME, "--manifest", manifest, "--workers", "0")
    done = run_cli("evaluate", *words, "--output", tmp_path / "test", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == EMBEDDED_NAME
    assert document["test_reads"] == 0
    few = ("--suite", "quick", "--degradation", "blur", "--limit", "8")
    done = run_cli("robustness", *words, *few, "--output", tmp_path / "robust")
    assert done.exit_code == 0, done.stderr
    done = run_cli("embed", *words, "--projection", "pca", "--output", tmp_path / "embedded")
    assert done.exit_code == 0, done.stderr
    assert {path.name: path.read_bytes() for path in installed.iterdir()} == before

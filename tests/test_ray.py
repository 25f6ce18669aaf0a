"""Ray on this machine with two actors; one Ray for all tests, since it takes seconds to start."""

import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from pictures import draw, save, save_layout

from faceauth.errors import MissingExtraError, UsageError
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.face import FACE_DETECTORS, load_face_detector
from faceauth.intake.manifest import OK, UNREADABLE, read_manifest
from faceauth.intake.pipeline import collect
from faceauth.intake.pipeline.collect import collect_faces
from faceauth.intake.pipeline.engine import CollectSettings, load_engine
from faceauth.intake.pipeline.engines import ray_data
from faceauth.intake.pipeline.engines.local import load_work
from faceauth.intake.sources.find import find_sources

pytestmark = pytest.mark.launch

FAST = ("--face-detector", "whole", "--image-size", "64", "--balance", "none", "--json")
DEADLY = 777


def load_planted(*, device):
    """Notes which process works for which actor, takes its time, and dies at the sight of one picture."""
    whole = load_face_detector("whole")

    def detect(images):
        note = Path(os.environ.get("FACEAUTH_TEST_NOTES", os.devnull))
        with note.open("a") as lines:
            lines.write(f"{os.getppid()}\n")
        time.sleep(0.1)
        if any(image.tobytes() == draw(DEADLY).tobytes() for image in images):
            os._exit(1)
        return whole(images)

    return detect


def load_never(*, device):
    raise UsageError(f"{device} is on strike.", "Wait.")


@pytest.fixture(autouse=True)
def planted_detectors(monkeypatch):
    """Registered for these tests alone; others ask which face detectors there are."""
    for name, load in (("planted_for_ray", load_planted), ("never_loads", load_never)):
        monkeypatch.setitem(FACE_DETECTORS._parts, name, load)


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    return tmp_path_factory.mktemp("notes") / "actors.txt"


@pytest.fixture(scope="module", autouse=True)
def cluster(notes):
    """Two cores and little memory, started once."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        # The face detectors that are planted here are found by the actors too.
        runtime_env={
            "env_vars": {"FACEAUTH_TEST_NOTES": str(notes), "PYTHONPATH": str(Path(__file__).parent)}
        },
    )
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "BATCH_FILES", 4)
    return save_layout(tmp_path / "photos", {"real/a": 30, "fake/b": 30})


def collected(photos, output, engine, *, face_detector="whole", workers=2, progress=None):
    settings = CollectSettings(face_detector=face_detector, crop=CropSettings(image_size=64))
    engine = load_engine(engine, settings=settings, workers=workers)
    files = find_sources([str(photos)])
    return collect_faces(files, output, settings=settings, engine=engine, progress=progress)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def test_the_manifest_is_that_of_the_local_engine_byte_for_byte(run_cli, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)
    (photos / "real/a/broken.jpg").write_text("no image")
    # Several batches a block.
    monkeypatch.setattr(ray_data, "MAX_BLOCKS", 5)
    for engine, workers in (("local", 0), ("ray", 2)):
        result = run_cli(
            "prepare", photos, "--output", tmp_path / engine, *FAST, "--engine", engine, "--workers", workers
        )
        assert result.exit_code == 3, result.stderr
        assert json.loads(result.stdout)["settings"]["engine"] == engine
    assert (tmp_path / "ray/manifest.parquet").read_bytes() == (
        tmp_path / "local/manifest.parquet"
    ).read_bytes()
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert sum(row.status == OK for row in read_manifest(tmp_path / "ray").rows) == 60


def test_a_killed_actor_costs_no_rows_and_a_deadly_file_costs_one_and_no_actor(photos, tmp_path, notes):
    deadly = save(photos / "real/a/deadly.png", DEADLY)
    seen, killed = [], []

    def kill_once(batch):
        seen.extend(row.image_path for row in batch.rows)
        if not killed:
            killed.append(int(notes.read_text().split()[-1]))
            os.kill(killed[0], signal.SIGKILL)

    rows = collected(photos, tmp_path / "ray", "ray", face_detector="planted_for_ray", progress=kill_once)
    actors = set(map(int, notes.read_text().split()))
    assert not Path(f"/proc/{killed[0]}").exists()
    # The two of the beginning and one in the place of the first that was killed: by us, not by the file.
    assert len(actors) == 3
    assert len(seen) == len(set(seen)) == 61
    (lost,) = [row for row in rows if row.status != OK]
    assert (lost.image_path, lost.status) == (str(deadly), UNREADABLE)
    assert "ended its process" in lost.reason
    deadly.unlink()
    assert [row for row in rows if row != lost] == collected(photos, tmp_path / "here", "local", workers=0)
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


def test_what_ends_a_run_there_is_said_here(photos, tmp_path):
    with pytest.raises(UsageError, match="cpu is on strike"):
        collected(photos, tmp_path / "ray", "ray", face_detector="never_loads", workers=1)


def test_an_interrupted_run_goes_on_with_what_is_missing(photos, tmp_path):
    def interrupt(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collected(photos, tmp_path / "ray", "ray", workers=1, progress=interrupt)
    seen = []

    def note(batch):
        seen.append(len(batch.rows))

    rows = collected(photos, tmp_path / "ray", "ray", workers=1, progress=note)
    assert sum(seen) == 56
    assert rows == collected(photos, tmp_path / "local", "local", workers=0)


def test_an_actor_of_another_version_is_refused(photos):
    settings = CollectSettings(face_detector="whole")
    files = find_sources([str(photos)])[:2]
    block = pa.table({"number": [0], "files": [ray_data.packed(files)]})
    for version, expected in (("0.0.0", UsageError), (ray_data.__version__, ray_data.CollectedBatch)):
        actor = ray_data.BatchActor(load_work(settings, device="cpu"), version)
        (table,) = actor(block)
        (answer,) = table["answer"].to_pylist()
        assert isinstance(pickle.loads(answer), expected)


def test_without_ray_the_install_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingExtraError) as caught:
        load_engine("ray", settings=CollectSettings(face_detector="whole"))
    assert 'pip install "faceauth[ray]"' in caught.value.hint


def test_ray_without_workers_is_refused():
    with pytest.raises(UsageError, match="--workers 0"):
        load_engine("ray", settings=CollectSettings(face_detector="whole"), workers=0)


@pytest.mark.parametrize(
    ("gpus", "actors", "share"), [(2, 8, 0.25), (1, 3, 0.3333), (4, 2, 1.0), (2, 3, 0.5)]
)
def test_actors_share_the_gpus_evenly(gpus, actors, share):
    assert ray_data.share_of_gpus({"GPU": gpus}, actors) == share


def test_a_cluster_without_gpus_is_refused_for_cuda():
    with pytest.raises(UsageError, match="no GPU"):
        ray_data.share_of_gpus({"CPU": 2.0}, 2)

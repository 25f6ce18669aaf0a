import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import planted_deaths
import pytest
from pictures import save, save_layout

from faceauth.errors import FaceAuthError, UsageError
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.detectors.whole import load_whole
from faceauth.intake.faces.face import FACE_DETECTORS
from faceauth.intake.manifest import OK, UNREADABLE, write_manifest
from faceauth.intake.pipeline import collect, workers
from faceauth.intake.pipeline.collect import collect_faces
from faceauth.intake.pipeline.engine import CollectSettings, load_engine
from faceauth.intake.pipeline.engines import local
from faceauth.intake.pipeline.engines.local import in_processes, in_this_process
from faceauth.intake.pipeline.workers import LateWorkError, LostWorkError, StoppedError, Worker, usable_cores
from faceauth.intake.sources.find import find_sources

pytestmark = pytest.mark.launch

SETTINGS = CollectSettings(face_detector="whole", crop=CropSettings(image_size=64))
# The widths of the pictures on which planted searches die, or hang.
BAD_PX, ENDLESS_PX = 70, 80
TESTS = Path(__file__).parent


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "BATCH_FILES", 4)
    photos = save_layout(tmp_path / "photos", {"real/a": 7, "fake/b": 7})
    save(photos / "real/a/0002bad.png", 77, side=BAD_PX)
    save(photos / "real/a/0006endless.png", 78, side=ENDLESS_PX)
    return find_sources([str(photos)])


def engine_of(search, *arguments, n_workers=2):
    load = functools.partial(planted_deaths.load_collecting, SETTINGS, search, *arguments)
    return in_processes(load, workers=n_workers)


def collected(files, output, engine):
    rows = collect_faces(files, output, settings=SETTINGS, engine=engine)
    crops = {path.name: path.read_bytes() for path in (output / ".prepare/crops").rglob("*.*")}
    return rows, crops


def children():
    return {child.pid for child in multiprocessing.active_children()}


def is_alive(pid):
    try:
        # A process that ended and was not yet asked after is alive to `os.kill`.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid):
    """The processes that any thread of a process started."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def wait_until(condition, *, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_rows_crops_and_manifest_are_the_same_for_any_number_of_workers(files, tmp_path):
    found = {}
    for n_workers in (0, 1, 3):
        output = tmp_path / str(n_workers)
        engine = load_engine("local", settings=SETTINGS, workers=n_workers)
        rows, crops = collected(files, output, engine)
        write_manifest(rows, output)
        found[n_workers] = rows, crops, (output / "manifest.parquet").read_bytes()
    assert len(found[0][1]) == 16
    assert found[0] == found[1] == found[3]
    assert children() == set()


def test_files_that_end_every_process_or_never_end_cost_their_own_rows_alone(
    files, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(local, "SECONDS_OF_A_FILE", 3)
    monkeypatch.setattr(local, "SECONDS_OF_A_FURTHER_FILE", 0)
    engine = engine_of(planted_deaths.die_or_hang_at, BAD_PX, ENDLESS_PX)
    rows, crops = collected(files, tmp_path / "out", engine)
    whole, all_crops = collected(files, tmp_path / "whole", in_this_process(SETTINGS, planted_deaths.search))
    lost = {Path(row.image_path).name: (row.status, row.reason) for row in rows if row.status != OK}
    assert lost == {
        "0002bad.png": (UNREADABLE, "the work on it ended its process (SIGSEGV)"),
        "0006endless.png": (UNREADABLE, "the work on it did not end within 3 s"),
    }
    kept = [row for row in whole if Path(row.image_path).name not in lost]
    assert [row for row in rows if row.status == OK] == kept
    assert crops.items() < all_crops.items()
    assert "0002bad.png is given up" in caplog.text


def test_a_process_that_is_killed_from_outside_costs_no_row(files, tmp_path):
    engine = engine_of(planted_deaths.die_once, str(tmp_path / "marker"))
    found = collected(files, tmp_path / "out", engine)
    assert (tmp_path / "marker").exists()
    assert found == collected(files, tmp_path / "whole", in_this_process(SETTINGS, planted_deaths.search))


def test_a_face_detector_that_fails_on_an_image_costs_its_own_row_alone(files, tmp_path):
    here = in_this_process(SETTINGS, functools.partial(planted_deaths.raise_at, BAD_PX))
    rows, crops = collected(files, tmp_path / "here", here)
    assert [(Path(row.image_path).name, row.reason) for row in rows if row.status != OK] == [
        ("0002bad.png", "the search for faces failed: ValueError: no such width")
    ]
    engine = engine_of(planted_deaths.raise_at, BAD_PX, n_workers=1)
    assert collected(files, tmp_path / "there", engine) == (rows, crops)


def test_batches_are_taken_as_fast_as_work_is_done_and_no_process_is_started_in_vain(files):
    taken = []

    def batches():
        for number in range(30):
            taken.append(number)
            yield files[:1]

    running = engine_of(planted_deaths.search, n_workers=2)(batches())
    next(running)
    n_first = len(taken)
    time.sleep(0.5)
    assert len(taken) == n_first <= 2 + local.BATCHES_IN_RESERVE
    for _ in range(9):
        next(running)
    assert len(taken) <= 10 + 2 + local.BATCHES_IN_RESERVE
    assert len(children()) == 2
    running.close()

    running = engine_of(planted_deaths.search, n_workers=8)(iter([files[:1]]))
    next(running)
    assert len(children()) == 1
    running.close()
    assert children() == set()


def test_whoever_stops_early_leaves_no_process_behind_not_even_one_that_hangs(files, tmp_path):
    running = engine_of(planted_deaths.die_or_hang_at, 0, BAD_PX)(
        iter([files[:1], *([file] for file in files[8:])])
    )
    next(running)
    started = time.monotonic()
    running.close()
    assert time.monotonic() - started < 20
    assert children() == set()

    def interrupt(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_faces(
            files,
            tmp_path / "out",
            settings=SETTINGS,
            engine=engine_of(planted_deaths.search),
            progress=interrupt,
        )
    assert children() == set()


def test_what_cannot_be_loaded_is_the_error_itself(files):
    with pytest.raises(UsageError, match="nothing to load") as caught:
        list(in_processes(planted_deaths.load_nothing, workers=2)([files[:1]]))
    assert caught.value.hint == "Bring something."
    with pytest.raises(FaceAuthError, match=r"did not start \(exit code 7\)"):
        list(in_processes(planted_deaths.load_and_end, workers=2)([files[:1]]))
    assert children() == set()


def test_a_face_detector_that_no_process_can_import_is_named(monkeypatch):
    monkeypatch.setitem(FACE_DETECTORS._parts, "inner", lambda *, device: load_whole(device=device))
    settings = CollectSettings(face_detector="inner")
    with pytest.raises(UsageError, match="'inner' cannot be handed") as caught:
        load_engine("local", settings=settings, workers=2)
    assert "--workers 0" in caught.value.hint
    load_engine("local", settings=settings, workers=0)


def test_a_worker_answers_raises_and_is_started_again_after_a_loss(tmp_path):
    worker = Worker(functools.partial(planted_deaths.load_calling, tmp_path))
    assert worker.do((pow, 2, 10), limit_s=60) == 1024
    # One thread a process, set before anything was imported that counts cores.
    assert worker.do((planted_deaths.variable, "OMP_NUM_THREADS"), limit_s=60) == "1"
    with pytest.raises(ValueError, match="as it is") as caught:
        worker.do((planted_deaths.fail, "as it is"), limit_s=60)
    assert "planted_deaths.py" in caught.value.__notes__[0]
    # What cannot be sent back is told in words.
    with pytest.raises(RuntimeError, match="in the hand"):
        worker.do((planted_deaths.fail_with_a_lock,), limit_s=60)
    assert worker.do((pow, 2, 3), limit_s=60) == 8
    assert len(list(tmp_path.iterdir())) == 1

    with pytest.raises(LostWorkError, match="SIGKILL"):
        worker.do((planted_deaths.kill_itself,), limit_s=60)
    assert worker.do((pow, 2, 4), limit_s=60) == 16
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(LateWorkError, match="within 1 s"):
        worker.do((time.sleep, 30), limit_s=1)
    worker.stop()
    with pytest.raises(StoppedError):
        worker.do((pow, 2, 5), limit_s=60)


def test_usable_cores_are_those_of_the_process_and_of_its_container(tmp_path, monkeypatch):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(workers, "_CGROUP_QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    assert usable_cores() == 12
    for text, expected in (
        ("max 100000\n", 12),
        ("250000 100000\n", 2),
        ("50000 100000\n", 1),
        ("9000000 100000\n", 12),
    ):
        quota.write_text(text)
        assert usable_cores() == expected


def start(code, *arguments):
    """Starts Python in a process group of its own, as a terminal does."""
    words = [sys.executable, "-c", code, *(str(word) for word in arguments)]
    return subprocess.Popen(
        words, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


# A terminal's programs take Ctrl-C; in the background of a shell they would not.
TAKE_INTERRUPTS = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def test_ctrl_c_leaves_with_130_without_a_traceback_or_a_process(tmp_path):
    photos = save_layout(tmp_path / "photos", {"real/a": 1})
    (first,) = (photos / "real/a").iterdir()
    for number in range(4_000):
        (photos / f"real/a/more{number}.png").hardlink_to(first)
    arguments = [
        "prepare",
        photos,
        "--face-detector",
        "whole",
        "--workers",
        "2",
        "--output",
        tmp_path / "out",
    ]
    code = TAKE_INTERRUPTS + "from faceauth.cli import main; main(sys.argv[1:])"
    process = start(code, *arguments)
    journal = tmp_path / "out/.prepare/journal.jsonl"
    wait_until(lambda: process.poll() is not None or (journal.exists() and journal.stat().st_size > 0))
    started = children_of(process.pid)
    assert len(started) >= 2
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted; the same command goes on" in stderr
    assert "Traceback" not in stderr
    wait_until(lambda: not any(is_alive(pid) for pid in started))


HANGING = """
import functools, time
import planted_deaths
from faceauth.intake.pipeline.workers import Worker
if __name__ == "__main__":
    team = [Worker(functools.partial(planted_deaths.load_calling, sys.argv[1])) for _ in range(2)]
    for worker in team:
        worker.do((pow, 1, 1), limit_s=60)
    print("started", flush=True)
    team[0].do((time.sleep, 600), limit_s=600)
"""


def test_workers_end_when_their_parent_is_killed_idle_or_hanging(tmp_path):
    process = start(TAKE_INTERRUPTS + HANGING, tmp_path)
    assert process.stdout.readline() == "started\n", process.stderr.read()
    started = [int(path.name) for path in tmp_path.iterdir()]
    assert len(started) == 2
    assert all(is_alive(pid) for pid in started)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not any(is_alive(pid) for pid in started), seconds=20)

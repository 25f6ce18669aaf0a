"""Runs of `faceauth prepare` that are killed, run into one another, or run out of room.

More kills than the few of a test run: `FACEAUTH_KILLS=200 pytest tests/test_restart.py -k killed`.
"""

import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from own_process import in_a_process, processes, run_faceauth
from pictures import save, save_layout
from PIL import Image

from faceauth.errors import InUseError
from faceauth.intake.spreadsheet import read_sheets
from faceauth.locks import hold_alone
from faceauth.verbs import prepare as prepare_module

N_KILLS = int(os.environ.get("FACEAUTH_KILLS", "12"))
KILLS_IN_A_ROW = 3
FAST = ("--face-detector", "whole", "--image-size", "32", "--workers", "0")
# What changes a file system, as Python's audit events call it.
TOUCHES = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate", "os.rmdir")
NOT_PERMITTED = 77
# From <sched.h> and <sys/mount.h>.
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def run_prepare(photos, output, log_path):
    """Prepares the photos, with what the command prints in a file."""
    run_faceauth(log_path, "prepare", photos, "--output", output, *FAST)


def kind_of(path, output):
    """What a file of a prepared folder is: drafts are what they become."""
    first, *rest = Path(path).relative_to(output).parts or [""]
    name = rest[0] if first == ".prepare" and rest else first
    return "crop" if name == "crops" else f"{name.lstrip('.').split('.')[0]}{Path(path).suffix}"


def run_and_die(photos, output, log_path, kind, number, after_s):
    """The command, which is killed when it touches files of a kind for the so-manieth time, or by the clock.

    With neither it counts how often it touches files of each kind.
    """
    touches = Counter()

    def count(event, arguments):
        if event not in TOUCHES or (event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
            return
        for argument in arguments[:2]:
            if isinstance(argument, str | bytes | os.PathLike):
                path = os.fsdecode(argument)
                if path.startswith(f"{output}/"):
                    touches[kind_of(path, output)] += 1
                    if kind_of(path, output) == kind and touches[kind] == number:
                        os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    if after_s:
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    try:
        run_prepare(photos, output, log_path)
    finally:
        log_path.with_suffix(".json").write_text(json.dumps(touches))


def everything(output):
    """All that a run leaves, without what depends on times and on the order of the work."""
    found = {
        path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()
    }
    found["manifest.xlsx"] = read_sheets(output / "manifest.xlsx")
    found[".prepare/journal.jsonl"] = sorted(found[".prepare/journal.jsonl"].splitlines())
    document = json.loads(found["prepare.json"])
    found["prepare.json"] = {key: document[key] for key in ("counts", "groups", "settings", "failures")}
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("restart") / "photos"
    save_layout(root, {"real/wiki": 40, "fake/insight": 24, "fake/text2img": 22})
    save(root / "real/wiki/broken.png", 1).write_bytes(b"no picture")
    shutil.copy(root / "real/wiki/0003.png", root / "real/wiki/same.png")
    return root


@pytest.fixture(scope="module")
def undisturbed(photos, tmp_path_factory):
    """What a run leaves that was never stopped, how often it touches what, and the bytes that it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert in_a_process(run_and_die, photos, folder / "out", folder / "log", "", 0, 0) == 3
    # Placed crops are the very files of the store.
    sizes = {path.stat().st_ino: path.stat().st_size for path in (folder / "out").rglob("*.*")}
    n_bytes = sum(-(-size // 4096) * 4096 for size in sizes.values())
    return everything(folder / "out"), json.loads((folder / "log.json").read_text()), n_bytes


@pytest.mark.launch
@pytest.mark.parametrize("seed", range(-(-N_KILLS // KILLS_IN_A_ROW)))
def test_whenever_it_is_killed_the_next_run_ends_as_if_nothing_had_been(photos, undisturbed, tmp_path, seed):
    whole, touches, _ = undisturbed
    assert {"crop", "journal.jsonl", "train", "manifest.xlsx", "manifest.parquet", "prepare.json"} <= {
        kind.removesuffix(".png") for kind in touches
    }
    rng = np.random.default_rng(seed)
    output = tmp_path / "out"
    codes = []
    for _ in range(KILLS_IN_A_ROW):
        kind = str(rng.choice(sorted(touches)))
        number = int(rng.integers(1, touches[kind] + 1))
        # The clock also strikes in the midst of a write, which no event tells of.
        when = ("", 0, float(rng.uniform(0.05, 1))) if rng.random() < 0.3 else (kind, number, 0)
        codes.append(in_a_process(run_and_die, photos, output, tmp_path / "log", *when))
        for path in output.rglob("*.png"):
            if not path.name.startswith("."):
                assert Image.open(path).tobytes()
    assert set(codes) <= {-signal.SIGKILL, 3}
    assert in_a_process(run_prepare, photos, output, tmp_path / "log") == 3, (tmp_path / "log").read_text()
    assert everything(output) == whole


@pytest.mark.launch
def test_a_killed_run_takes_its_workers_with_it_and_holds_nothing(photos, undisturbed, tmp_path):
    output = tmp_path / "out"
    command = [sys.executable, "-m", "faceauth", "prepare", photos, "--output", output, *FAST[:-2]]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*command, "--workers", "2"], stdout=log, stderr=log)
    journal = output / ".prepare/journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.002)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    # Or there would be nothing to see.
    assert workers
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert len(gone) == len(workers)
    assert in_a_process(run_prepare, photos, output, tmp_path / "log") == 3
    found, whole = everything(output), undisturbed[0]
    assert found.pop("prepare.json")["counts"] == whole["prepare.json"]["counts"]
    assert found == {name: content for name, content in whole.items() if name != "prepare.json"}


def test_what_a_killed_run_left_is_cleared_away_and_what_people_put_there_is_not(photos, tmp_path):
    output = tmp_path / "out"
    assert in_a_process(run_prepare, photos, output, tmp_path / "log") == 3
    whole = everything(output)
    crop = next((output / ".prepare/crops").rglob("*.png"))
    writer = "99-140000000000000.draft"
    drafts = [
        crop.with_name(f".{crop.stem}.{writer}.png"),
        next((output / "train").rglob("*.png")).with_name(f".{crop.stem}.{writer}.png"),
        output / f".manifest.{writer}.xlsx",
        output / f".audit.{writer}.json",
        output / f".prepare/.settings.{writer}.json",
        output / f".prepare/.journal.{writer}.jsonl",
    ]
    own = [
        output / name
        for name in ("notes.txt", ".thesis.99-1.draft.txt", "manifest (copy).xlsx", "train/me.png")
    ]
    for path in (*drafts, *own):
        path.write_bytes(b"half")
    assert in_a_process(run_prepare, photos, output, tmp_path / "log") == 3
    assert [path for path in drafts if path.exists()] == []
    assert [path for path in own if not path.exists()] == []
    for path in own:
        path.unlink()
    assert everything(output) == whole


def hold_until_killed(path):
    with hold_alone(path, what="the folder", hint=""):
        path.with_name("held").touch()
        time.sleep(60)


def test_a_second_run_says_who_is_at_work_and_a_dead_one_blocks_nobody(photos, run_cli, tmp_path):
    output = tmp_path / "out"
    lock = output / ".prepare/lock"
    holder = processes.Process(target=hold_until_killed, args=(lock,))
    holder.start()
    while not lock.with_name("held").exists():
        time.sleep(0.01)
    refused = run_cli("prepare", photos, "--output", output, *FAST, "--json")
    assert refused.exit_code == 1
    error = json.loads(refused.stdout)["error"]
    assert f"{output} is in use by process {holder.pid} on {os.uname().nodename} since 20" in error["message"]
    assert "--output" in error["hint"]
    assert sorted(path.name for path in lock.parent.iterdir()) == ["held", "lock"]
    holder.kill()
    holder.join()
    assert lock.read_bytes()
    assert in_a_process(run_prepare, photos, output, tmp_path / "log") == 3
    assert lock.read_bytes() == b""


def test_a_run_holds_its_folder_from_the_first_crop_to_the_last_file(photos, tmp_path, monkeypatch, run_cli):
    output = tmp_path / "out"
    codes = []
    monkeypatch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)
    for stage in ("collect_faces", "clear_moved_crops", "write_audit"):
        own = getattr(prepare_module, stage)

        def work(*arguments, own=own, **options):
            codes.append(in_a_process(run_prepare, photos, output, tmp_path / "log"))
            return own(*arguments, **options)

        monkeypatch.setattr(prepare_module, stage, work)
    assert run_cli("prepare", photos, "--output", output, *FAST).exit_code == 3
    assert codes == [1, 1, 1]
    assert (tmp_path / "log").read_text().count(f"{output} is in use by process {os.getpid()} on ") == 3


def test_a_file_system_without_locks_is_worked_on_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with hold_alone(tmp_path / "lock", what="the folder", hint=""):
        pass
    assert "cannot be locked (No locks available)" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"pid": "x"}', b"\xff" * 10_000, b"[1]"])
def test_whatever_a_lock_says_of_its_holder_is_one_message(tmp_path, monkeypatch, content):
    (tmp_path / "lock").write_bytes(content)
    monkeypatch.setattr("faceauth.locks._lock", lambda file: False)
    with (
        pytest.raises(InUseError, match="the folder is in use by another process"),
        hold_alone(tmp_path / "lock", what="the folder", hint=""),
    ):
        pass


def run_in_little_room(photos, output, log_path, free_bytes):
    """On a disk of its own that nobody else sees: with so many bytes free, and once more with room."""
    libc = ctypes.CDLL(None, use_errno=True)
    output.parent.mkdir()
    if (
        not sys.platform.startswith("linux")
        or libc.unshare(CLONE_NEWNS)
        or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        or libc.mount(b"tmpfs", os.fsencode(output.parent), b"tmpfs", 0, b"size=8m")
    ):
        os._exit(NOT_PERMITTED)
    ballast = output.parent / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(output.parent).free - free_bytes))
    code = 0
    try:
        run_prepare(photos, output, log_path)
    except SystemExit as leave:
        code = leave.code
    shutil.copytree(output.parent, log_path.with_name("after"), ignore=shutil.ignore_patterns("ballast"))
    ballast.unlink()
    try:
        run_prepare(photos, output, log_path.with_name("log2"))
    finally:
        shutil.copytree(output, log_path.with_name("end"))
        log_path.with_name("code").write_text(str(code))


def run_with_small_files(photos, output, log_path, most_bytes):
    """With a limit on the size of every file, which any process may set, and once more without."""
    code = 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        run_prepare(photos, output, log_path)
    except SystemExit as leave:
        code = leave.code
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    shutil.copytree(output, log_path.with_name("after") / "out")
    try:
        run_prepare(photos, output, log_path.with_name("log2"))
    finally:
        shutil.copytree(output, log_path.with_name("end"))
        log_path.with_name("code").write_text(str(code))


# Of the bytes that a whole run writes, as the largest size of any one file.
QUOTA_SHARE = 0.025
CONFINED = [
    *(pytest.param(run_in_little_room, share, id=f"disk-{share}") for share in (0, 0.05, 0.5, 0.9)),
    *(pytest.param(run_with_small_files, share, id=f"limit-{share}") for share in (0.004, QUOTA_SHARE)),
]


@pytest.mark.launch
@pytest.mark.parametrize(("confined", "share"), CONFINED)
def test_out_of_room_is_one_message_and_the_same_command_goes_on(
    photos, undisturbed, tmp_path, confined, share
):
    n_bytes = round(share * undisturbed[2])
    code = in_a_process(confined, photos, tmp_path / "disk" / "out", tmp_path / "log", n_bytes)
    if code == NOT_PERMITTED:
        # Not every process may mount a disk; a quota of its own any writer may have.
        confined, n_bytes = run_with_small_files, round(QUOTA_SHARE * undisturbed[2])
        code = in_a_process(confined, photos, tmp_path / "disk" / "out", tmp_path / "log", n_bytes)
    log = (tmp_path / "log").read_text()
    assert code == 3, log
    assert int((tmp_path / "code").read_text()) == 1, log
    (message,) = [line for line in log.splitlines() if line.startswith("faceauth: ")]
    assert "Traceback" not in log
    assert "Exception ignored" not in log
    assert str(tmp_path / "disk" / "out") in message
    assert message.endswith("The same command then goes on where this one stopped.")
    assert ("the disk is full (" if confined is run_in_little_room else "became larger") in message
    for path in (tmp_path / "after").rglob("*.*"):
        assert ".draft" not in path.name
        if path.suffix == ".png":
            assert Image.open(path).tobytes()
        elif path.suffix == ".json":
            assert json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            assert all(json.loads(line) for line in path.read_text().splitlines())
    assert everything(tmp_path / "end") == undisturbed[0]

"""What strangers may put into a source, a table or a prepared folder, and what may not come of it."""

import errno
import io
import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_process import in_a_process, run_faceauth
from pictures import draw, save, save_layout, write_table
from PIL import Image

from faceauth.faults import explain_os_error
from faceauth.intake.manifest import OK, read_manifest
from faceauth.intake.pipeline.store import read_journal
from faceauth.intake.pixels.images import UnreadableImageError, decode_image

FAST = ("--face-detector", "whole", "--image-size", "32", "--workers", "0", "--balance", "none")
# What an image of 49 megapixels takes, as Pillow holds them and as an array, with room for its crop.
MOST_BYTES = 600 * 2**20


@pytest.fixture(autouse=True)
def quick_audit(monkeypatch):
    """Leaves the plain-facts classifier out, which takes longer than all the rest of a small run."""
    monkeypatch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)


@pytest.fixture
def photos(tmp_path):
    return save_layout(tmp_path / "photos", {"real/wiki": 3, "fake/insight": 3})


@pytest.fixture
def prepare(run_cli):
    """Runs `faceauth prepare`, and returns its result."""
    return lambda *arguments: run_cli("prepare", *arguments, *FAST)


def rows_by_name(output):
    return {Path(row.image_path).name: row for row in read_manifest(output).rows}


def tree(folder, *, without):
    """All that lies in a folder, with contents, save for what lies in one of its folders."""
    found = {}
    for path in folder.rglob("*"):
        if not path.is_relative_to(without):
            is_plain = path.is_file() and not path.is_symlink()
            found[path] = path.read_bytes() if is_plain else path.is_symlink() and path.readlink()
    return found


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, *extra, depth=8, colour=2):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(200_000))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    )


def encoded(fmt, **options):
    buffer = io.BytesIO()
    Image.fromarray(draw(3)).save(buffer, fmt, **options)
    return bytearray(buffer.getvalue())


def patched(content, marker, offset, new):
    place = content.index(marker) + offset
    content[place : place + len(new)] = new
    return bytes(content)


def tiff(width, height):
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 8),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def bombs():
    """Small files that claim to be huge, or unpack to much."""
    much = zlib.compress(bytes(100 * 2**20))
    comment = chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(2**20)))
    jpeg = encoded("JPEG")
    return {
        "square.png": png(50_000, 50_000, depth=1, colour=0),
        "line.png": png(2**31 - 1, 2**31 - 1),
        "frames.png": png(9_000, 9_000, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        "text.png": png(64, 64, chunk(b"zTXt", b"Comment\0\0" + much)),
        "profile.png": png(64, 64, chunk(b"iCCP", b"icc\0\0" + much)),
        "texts.png": png(64, 64, *[comment] * 200),
        "screen.gif": patched(encoded("GIF"), b"GIF8", 6, b"\xff\xff\xff\xff"),
        "frame.gif": patched(encoded("GIF"), b",\0\0\0\0", 5, b"\xff\xff\xff\xff"),
        "canvas.webp": b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff\x3f\x00\xff\x3f\x00" + bytes(8),
        "sides.tif": tiff(2**31 - 1, 2**31 - 1),
        "strip.tif": tiff(9_999, 9_999),
        "sides.jpg": patched(bytearray(jpeg), b"\xff\xc0", 5, b"\xff\xff\xff\xff"),
        "allowed.jpg": patched(bytearray(jpeg), b"\xff\xc0", 5, struct.pack(">HH", 7_000, 7_000)),
        "sides.jp2": patched(encoded("JPEG2000"), b"ihdr", 4, struct.pack(">II", 2**31 - 1, 2**31 - 1)),
        "stream.jp2": patched(encoded("JPEG2000"), b"\xff\x51", 6, struct.pack(">II", 2**31 - 1, 2**31 - 1)),
        "sides.avif": patched(encoded("AVIF"), b"ispe", 8, struct.pack(">II", 60_000, 60_000)),
        "sides.bmp": patched(encoded("BMP"), b"BM", 18, struct.pack("<ii", 2**31 - 1, -(2**31) + 1)),
        "sides.ppm": b"P6 999999999 999999999 255\n" + bytes(64),
        "long.ppm": b"P6 " + b"9" * 200_000 + b" 1 255\n",
    }


def prepare_and_weigh(log_path, photos, output):
    """Writes by how many bytes the largest use of memory grew; what is imported first does not count."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        run_faceauth(log_path, "prepare", photos, "--output", output, *FAST)
    finally:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        log_path.with_suffix(".bytes").write_text(str(grown * 1024))


@pytest.mark.launch
def test_small_files_that_unpack_to_much_are_rows_and_memory_is_bounded(photos, tmp_path):
    made = bombs()
    for name, content in made.items():
        assert len(content) < 300_000
        (photos / "real/wiki" / name).write_bytes(content)
    code = in_a_process(prepare_and_weigh, tmp_path / "log", photos, tmp_path / "out")
    assert code == 3, (tmp_path / "log").read_text()
    rows = rows_by_name(tmp_path / "out")
    assert {rows[path.name].status for path in photos.rglob("0*.png")} == {OK}
    # What is no bomb at all when it is looked at closely may be read.
    assert {rows[name].status for name in made} <= {OK, "unreadable"}
    for name in ("square.png", "line.png", "screen.gif", "sides.tif", "sides.jpg", "sides.ppm"):
        assert "at most 100,000,000 are read" in rows[name].reason, name
    assert all(row.status == OK or 10 < len(row.reason) < 300 for row in rows.values())
    assert int((tmp_path / "log.bytes").read_text()) < MOST_BYTES


def test_what_is_no_plain_file_is_a_row_and_nothing_waits_for_it(photos, prepare, tmp_path, monkeypatch):
    folder = photos / "real/wiki"
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "random.jpg").symlink_to("/dev/urandom")
    (folder / "terminal.png").symlink_to("/dev/tty")
    (folder / "self.png").symlink_to("self.png")
    (folder / "dead.png").symlink_to("nowhere")
    (folder / "folder.png").mkdir()
    (folder / "loop").symlink_to(photos / "real")
    (folder / "up").symlink_to("..")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        assert prepare(photos, "--output", tmp_path / "out").exit_code == 3
    reasons = {name: row.reason for name, row in rows_by_name(tmp_path / "out").items() if row.status != OK}
    assert {name: reason.removeprefix("the file cannot be read: ") for name, reason in reasons.items()} == {
        "pipe.png": "it is a named pipe",
        "zero.png": "it is a device",
        "random.jpg": "it is a device",
        "terminal.png": "it is a device",
        "socket.png": "it is a socket",
        "self.png": "Too many levels of symbolic links",
        "dead.png": "No such file or directory",
    }
    assert len(read_manifest(tmp_path / "out").rows) == 6 + len(reasons)


def test_a_tree_deeper_than_pythons_stack_is_walked(photos, prepare, tmp_path):
    deep = photos / "real/wiki" / "/".join("d" * 1500)
    # Python's own ways to make and to remove a tree call themselves once a level.
    subprocess.run(["mkdir", "-p", deep], check=True)
    save(deep / "x.png", 77)
    try:
        assert prepare(photos, "--output", tmp_path / "out").exit_code == 0
        assert rows_by_name(tmp_path / "out")["x.png"].status == OK
    finally:
        subprocess.run(["rm", "-rf", photos], check=True)


def test_archives_are_counted_and_not_unpacked(photos, prepare, tmp_path):
    picture = save(tmp_path / "inside.png", 70)
    with zipfile.ZipFile(photos / "real/wiki/more.zip", "w") as archive:
        archive.write(picture, "../../../evil.png")
    with tarfile.open(photos / "real/wiki/more.tar.gz", "w:gz") as archive:
        archive.add(picture, "evil.png")
    (photos / "real/wiki/zip.png").write_bytes((photos / "real/wiki/more.zip").read_bytes())
    result = prepare(photos, "--output", tmp_path / "out")
    assert result.exit_code == 3
    assert "2 archives were passed over; unpack them" in result.stderr
    rows = rows_by_name(tmp_path / "out")
    assert len(rows) == 7
    assert "no" in rows["zip.png"].reason or "not" in rows["zip.png"].reason
    assert not list(tmp_path.rglob("evil*"))


ODD_NAMES = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a\nb", "a\r\nb", "'", '"', "a;b,c", "`id`", "$(id)", "%s%n"),
    *("{}", "é 名", "😀", "\u202egnp", "\u200b", "\ufeff", "con", "nul", "a:b", "%2f..", "x...", "-rf", "~"),
    *("*", "?", "\x1b[2J", "\x07", "\x7f", "a\\b", "_x0041_", "NA", "nan", "1e5", "A", "a", "<b>"),
    *("#row=1", "#t=1.000"),
]


def test_no_name_does_more_than_name(photos, prepare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    number = 100
    names = [*ODD_NAMES, "x" * 251, os.fsdecode(b"\xff\xfe"), os.fsdecode(b"\xe9" * 200)]
    for name in names:
        save(photos / "real/wiki" / f"{name}.png", number := number + 1, format="PNG")
        save(photos / "fake" / f"{name[:200]}" / "x.png", number := number + 1)
    output = tmp_path / "out"
    before = tree(tmp_path, without=output)
    result = prepare(photos, "--output", output)
    assert result.exit_code == 0, result.stderr
    assert tree(tmp_path, without=output) == before
    assert "\x1b" not in result.stderr + result.stdout
    rows = read_manifest(output).rows
    assert len(rows) == 6 + 2 * len(names)
    assert {row.status for row in rows} == {OK}
    for row in rows:
        crop = output / row.destination_path
        assert crop.resolve().is_relative_to(output.resolve())
        assert crop.is_file()
    assert len({row.destination_path for row in rows}) == len(rows)
    assert {f"{name}.png" for name in ODD_NAMES} <= {row.image_path.rpartition("/")[2] for row in rows}
    sheet = openpyxl.load_workbook(output / "manifest.xlsx").active
    assert {cell.data_type for cells in sheet.iter_rows() for cell in cells} <= {"s", "n", "inlineStr"}
    # What a person copies out of the workbook, or an exporter writes, is a path and begins like one.
    assert all(row.image_path.startswith("/") for row in rows)
    (output / "manifest.parquet").unlink()
    assert [row.image_path for row in read_manifest(output).rows] == [row.image_path for row in rows]


LINKED = [".prepare", ".prepare/crops", ".prepare/journal.jsonl", ".prepare/settings.json", ".prepare/lock"]
LINKED += ["train", "test", "train/real", "train/fake/insight", "val/real/wiki"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, run_cli):
    """Photos, and the folder that they were prepared in; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("prepared")
    photos = save_layout(folder / "photos", {"real/wiki": 3, "fake/insight": 3})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)
        assert run_cli("prepare", photos, "--output", folder / "out", *FAST).exit_code == 0
    return photos, folder / "out"


@pytest.mark.parametrize("place", LINKED)
@pytest.mark.parametrize("is_new", [True, False])
def test_a_link_in_the_output_leads_nothing_outside(prepared, prepare, tmp_path, place, is_new):
    photos, output = prepared[0], tmp_path / "out"
    shutil.copytree(prepared[1], output)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{'0' * 32}.png").write_bytes(b"somebody's")
    path = output / place
    if path.exists() and not is_new:
        path.rename(elsewhere / "moved")
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere / "moved" if (elsewhere / "moved").exists() else elsewhere)
    before = tree(tmp_path, without=output)
    for more in ((), ("--overwrite",)):
        result = prepare(photos, "--output", output, *more)
        assert result.exit_code == 2
        assert f"{path} is a link" in result.stderr
        assert tree(tmp_path, without=output) == before


def test_tables_that_are_links_are_replaced_and_what_they_led_to_stays(photos, prepare, tmp_path):
    output = tmp_path / "out"
    assert prepare(photos, "--output", output).exit_code == 0
    for name in ("audit.json", "prepare.json"):
        (tmp_path / name).write_text("somebody's")
        (output / name).unlink()
        (output / name).symlink_to(tmp_path / name)
    assert prepare(photos, "--output", output).exit_code == 0
    assert [(tmp_path / name).read_text() for name in ("audit.json", "prepare.json")] == ["somebody's"] * 2
    assert all(json.loads((output / name).read_text()) for name in ("audit.json", "prepare.json"))


GROUPS = {
    "empty": b"",
    "binary": bytes(range(256)) * 50,
    "no header": b"\n\n\n",
    "null": b"path,group\n\0\0\0,x\n",
    "one long cell": b"path,group\n" + b"x" * 300_000 + b",a\n",
    "open quote": b'path,group\n"' + b"x\n" * 200_000,
    "utf-16": "path,group\na,b\n".encode("utf-16"),
    "too many cells": b"path,group\n" + b"a," * 5_000 + b"\n",
    "few cells": b"path,group\n../../x\n",
}


@pytest.mark.parametrize("name", GROUPS)
def test_a_hostile_groups_file_is_one_message(photos, prepare, tmp_path, name):
    path = tmp_path / "groups.csv"
    path.write_bytes(GROUPS[name])
    result = prepare(photos, "--output", tmp_path / "out", "--groups", path)
    assert result.exit_code == 1
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("faceauth: ")]
    assert str(path) in message
    assert len(message) < 1000
    assert not (tmp_path / "out").exists()


HOSTILE_CELLS = {
    "image_path": [
        "../../../etc/hostname",
        "\0",
        "x" * 5_000,
        "/dev/zero",
        "/proc/self/mem",
        "file:///etc/passwd",
    ],
    "folder": ["../..", "/", "\0", "x" * 5_000, "=cmd|' /C calc'!A0"],
    "group": ["../..", "=1+1", "x" * 40_000],
}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".xlsx"])
def test_a_hostile_spreadsheet_is_prepared_or_refused_in_one_message(prepare, tmp_path, suffix):
    records = [[str(save(tmp_path / f"pool/{n}.png", n)), "wiki", n % 2, f"g{n}"] for n in range(6)]
    for column, name in enumerate(("image_path", "folder", "group")):
        for cell in HOSTILE_CELLS[name]:
            if suffix == ".xlsx" and "\0" in cell:
                continue
            record = [*records[len(records) % 6]]
            record[column + (column == 2)] = cell
            records.append(record)
    table = write_table(tmp_path / f"a{suffix}", ["image_path", "folder", "target", "group"], records)
    output = tmp_path / "out"
    before = tree(tmp_path, without=output)
    result = prepare(table, "--output", output)
    assert result.exit_code in (1, 3), result.stderr
    assert tree(tmp_path, without=output) == before
    assert all(path.resolve().is_relative_to(output) for path in output.rglob("*"))
    if result.exit_code == 3:
        assert {row.status for row in read_manifest(output).rows} >= {OK, "unreadable"}


@pytest.mark.parametrize(
    "target", ["nan", "1e400", "9" * 400, "2", "-1", "real; DROP TABLE", "", "[" * 10_000]
)
def test_a_hostile_target_is_one_message(prepare, tmp_path, target):
    table = write_table(tmp_path / "a.csv", ["image_path", "folder", "target"], [["a.png", "wiki", target]])
    result = prepare(table, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "row 2" in result.stderr
    assert len(result.stderr) < 5000


def test_a_parquet_that_nests_or_lies_is_one_message(prepare, tmp_path):
    path = tmp_path / "a.parquet"
    nested = pa.table({"image_path": [[["a"]]], "folder": [{"a": 1}], "target": [[1]]})
    pq.write_table(nested, path)
    whole = path.read_bytes()
    for content in (
        whole,
        whole[: len(whole) // 2],
        b"PAR1" + bytes(100) + b"PAR1",
        b"",
        whole[:-40] + bytes(40),
    ):
        path.write_bytes(content)
        result = prepare(path, "--output", tmp_path / "out")
        assert result.exit_code == 1
        assert str(path) in result.stderr


SETTINGS = {
    "deep": "[" * 200_000,
    "nan": '{"face_detector": NaN}',
    "number": "7",
    "text": "half {",
    "huge number": '{"min_face_px": ' + "9" * 10_000 + "}",
    "other": '{"face_detector": ["whole"], "crop": 3}',
    "empty": "{}",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_hostile_settings_of_a_prepared_folder_are_one_message(prepared, prepare, tmp_path, name):
    photos, output = prepared[0], tmp_path / "out"
    shutil.copytree(prepared[1], output)
    (output / ".prepare/settings.json").write_text(SETTINGS[name])
    result = prepare(photos, "--output", output)
    assert result.exit_code in (1, 2)
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("faceauth: ")]
    assert "--overwrite" in message
    assert len(message) < 5000
    assert prepare(photos, "--output", output, "--overwrite").exit_code == 0


def damaged_lines(line):
    """Variants of a line of the journal that no run has written, as bytes."""
    batch = json.loads(line)

    def variant(**changes):
        rows = [{**batch["rows"][0], **changes}, *batch["rows"][1:]]
        return json.dumps({**batch, "rows": rows}).encode()

    return {
        "deep": b"[" * 200_000,
        "no object": b"[1, 2]",
        "nothing": b"",
        "bytes": b"\xff\0\xfe",
        "no rows": b'{"stamps": []}',
        "fewer rows": json.dumps({**batch, "rows": batch["rows"][1:]}).encode(),
        "stamps": json.dumps({**batch, "stamps": [[]] * len(batch["rows"])}).encode(),
        "crop elsewhere": variant(sha256="../../../../elsewhere/" + "0" * 42),
        "class elsewhere": variant(target_class="../../elsewhere"),
        "placed elsewhere": variant(destination_path="../elsewhere/x.png"),
        "nan": variant(p_face=float("nan")),
        "infinite": variant(sharpness=float("inf")),
        "large": line.replace(b'"width": 64', b'"width": 1e999'),
        "wide": variant(width=2**40),
        "text for number": variant(height="64"),
        "box": variant(box=[1, 2, 3]),
        "box of text": variant(box="1234"),
        "half a character": variant(reason="\ud800"),
        "phash": variant(phash="zz"),
        "status": variant(status="fine"),
        "target": variant(target=7),
        "no target": json.dumps({**batch, "rows": [{"box": None}] * len(batch["rows"])}).encode(),
        "rows of numbers": json.dumps({**batch, "rows": [1] * len(batch["rows"])}).encode(),
    }


def test_no_line_of_a_hostile_journal_is_believed(prepared, tmp_path, caplog):
    output = tmp_path / "out"
    shutil.copytree(prepared[1], output)
    journal = output / ".prepare/journal.jsonl"
    whole = journal.read_bytes()
    done = read_journal(journal)
    assert len(done) == 6
    for name, line in damaged_lines(whole.rstrip()).items():
        journal.write_bytes(line + b"\n")
        caplog.clear()
        assert read_journal(journal) == {}, name
        assert "1 damaged lines: what they told of is done again" in caplog.text, name
        journal.write_bytes(line + b"\n" + whole)
        assert read_journal(journal) == done, name
        assert journal.read_bytes() == line + b"\n" + whole, name


@pytest.mark.parametrize("name", ["deep", "crop elsewhere", "class elsewhere", "half a character"])
def test_a_hostile_journal_is_done_again(prepared, prepare, tmp_path, name):
    photos, output = prepared[0], tmp_path / "out"
    shutil.copytree(prepared[1], output)
    save(tmp_path / "elsewhere" / f"{'0' * 32}.png", 1)
    journal = output / ".prepare/journal.jsonl"
    whole = journal.read_bytes()
    line = damaged_lines(whole.rstrip())[name] + b"\n"
    journal.write_bytes(line)
    before = tree(tmp_path, without=output)
    assert prepare(photos, "--output", output).exit_code == 0
    assert journal.read_bytes() == line + whole
    assert (output / "manifest.parquet").read_bytes() == (prepared[1] / "manifest.parquet").read_bytes()
    assert tree(tmp_path, without=output) == before


@given(data=st.data())
def test_cut_or_changed_pictures_give_pixels_or_one_short_reason(data):
    fmt = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF"]))
    content = encoded(fmt)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for place in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=8)):
        if content:
            content[place] ^= 1 << data.draw(st.integers(0, 7))
    reason = "pixels"
    try:
        assert decode_image(bytes(content)).image_rgb_uint8.ndim == 3
    except UnreadableImageError as error:
        reason = str(error)
    assert 0 < len(reason) < 500


FAULTS = {
    errno.ENOSPC: ("the disk is full", "Make room. The same command"),
    errno.EDQUOT: ("quota", "Make room. The same command"),
    errno.EROFS: ("read-only", "--output"),
    errno.EACCES: ("no permission", "permissions"),
    errno.EMFILE: ("as many files open", "ulimit -n"),
    errno.EIO: ("reports a fault", "The same command"),
    errno.ENAMETOOLONG: ("too long", "shorter"),
    errno.ENOTDIR: ("Not a directory", None),
}


@pytest.mark.parametrize("number", FAULTS)
def test_a_fault_of_the_machine_is_one_message_with_what_to_do(
    photos, run_cli, tmp_path, monkeypatch, number
):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number), str(tmp_path / "there"))

    message, hint = FAULTS[number]
    monkeypatch.setattr("faceauth.verbs.prepare.write_manifest", fail)
    result = run_cli("prepare", photos, "--output", tmp_path / "out", *FAST, "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert str(tmp_path / "there") in error["message"]
    assert message in error["message"]
    assert hint in error["hint"] if hint else error["hint"] is None
    assert len([line for line in result.stderr.splitlines() if line.startswith("faceauth: ")]) == 1


def test_faults_without_a_name_and_with_a_very_long_one_are_explained_too():
    assert "A file could not be written: the disk is full" in str(
        explain_os_error(OSError(errno.ENOSPC, "full"))
    )
    assert str(explain_os_error(OSError("something else"))) == "something else."
    assert len(str(explain_os_error(OSError(errno.ENAMETOOLONG, "long", "x" * 100_000)))) < 400


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "{photos}"],
        ["audit", "{manifest}"],
        ["report", "{manifest}"],
    ],
)
def test_a_name_too_long_for_the_disk_is_one_message_of_every_verb(
    photos, run_cli, prepare, tmp_path, arguments
):
    assert prepare(photos, "--output", tmp_path / "out").exit_code == 0
    places = {"photos": photos, "manifest": tmp_path / "out"}
    words = [word.format(**places) for word in arguments]
    result = run_cli(*words, "--output", tmp_path / ("x" * 300))
    assert result.exit_code == 1
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("faceauth: ")]
    assert "too long a name" in message


def test_too_many_open_files_say_nothing_of_an_image(photos, prepare, tmp_path, monkeypatch):
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path.name == "0001.png":
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        result = prepare(photos, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "0001.png could not be opened: this process has as many files open as it may" in result.stderr
    # And so it is not called unreadable for good.
    assert prepare(photos, "--output", tmp_path / "out").exit_code == 0

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from pictures import draw, save, save_layout, write_table
from PIL import Image

from faceauth.intake.manifest import OK, read_manifest
from faceauth.intake.pipeline import collect
from faceauth.intake.pipeline.places import folder_name
from faceauth.verbs import prepare as prepare_module

FAST = ("--face-detector", "whole", "--image-size", "64", "--json")


@pytest.fixture
def prepare(run_cli):
    """Runs `faceauth prepare` on pictures that are taken as faces whole; returns exit code and document."""

    def run(source, output, *options):
        sources = source if isinstance(source, list) else [source]
        result = run_cli("prepare", *sources, "--output", output, *FAST, *options)
        return result.exit_code, json.loads(result.stdout)

    return run


@pytest.fixture(autouse=True)
def quick_audit(monkeypatch):
    """Leaves the plain-facts classifier out, which takes longer than all the rest of a small run."""
    monkeypatch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)


@pytest.fixture
def photos(tmp_path):
    return save_layout(tmp_path / "photos", {"real/wiki": 12, "fake/insight": 8, "fake/text2img": 5})


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def crops_below(folder):
    return {name for name in files_below(folder) if name.endswith(".png")}


def manifest_bytes(folder):
    return (folder / "manifest.parquet").read_bytes()


def ok_rows(output):
    return [row for row in read_manifest(output).rows if row.status == OK]


def test_photos_become_crops_of_their_very_pixels_with_one_encoding(run_cli, sample_photos, tmp_path):
    output = tmp_path / "prepared"
    result = run_cli(
        "prepare", sample_photos, "--output", output, "--balance", "none", "--splits", "0.5,0.25,0.25"
    )
    assert result.exit_code == 0, result.stderr
    assert "Manifest: " in result.stdout
    rows = ok_rows(output)
    assert Counter(row.target_class for row in rows) == {"real": 16, "fake": 16}
    people = defaultdict(set)
    for row in rows:
        people[Path(row.image_path).name.split("_")[0]].add((row.group, row.split))
        content = (output / row.destination_path).read_bytes()
        crop = Image.open(output / row.destination_path)
        assert (crop.format, crop.mode, crop.size, crop.info) == ("PNG", "RGB", (256, 256), {})
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert row.destination_path == f"{row.split}/{row.target_class}/{row.folder}/{row.sha256[:32]}.png"
        x1, y1, x2, y2 = row.box
        side = min(round(1.3 * max(x2 - x1, y2 - y1)), row.width, row.height)
        left = min(max(round((x1 + x2 - side) / 2), 0), row.width - side)
        top = min(max(round((y1 + y2 - side) / 2), 0), row.height - side)
        cut = Image.open(row.image_path).crop((left, top, left + side, top + side))
        expected = np.asarray(cut.resize((256, 256), Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(np.asarray(crop) - expected).mean() < 3
        assert row.p_face >= 0.9
    assert people.keys() == {f"person-{number:04d}" for number in range(4)}
    assert all(len(found) == 1 for found in people.values())
    assert {row.split for row in rows} == {"train", "val", "test"}
    leaks = json.loads((output / "audit.json").read_text())["leaks"]
    assert leaks == {"group": 0, "exact": 0, "near": 0, "identity": 0}
    summary = json.loads((output / "prepare.json").read_text())
    assert summary["counts"]["by_status"] == {"ok": 32}
    assert summary["settings"]["collect"]["crop"] == {"margin_ratio": 1.3, "image_size": 256}


def test_exif_orientation_is_applied_before_the_crop(prepare, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "photos/real/a/turned.png", 1, exif=exif)
    code, _ = prepare(tmp_path / "photos", tmp_path / "out")
    (row,) = ok_rows(tmp_path / "out")
    crop = np.asarray(Image.open(tmp_path / "out" / row.destination_path))
    np.testing.assert_array_equal(crop, draw(1)[::-1].transpose(1, 0, 2))
    assert code == 0


def test_one_base_name_in_two_sources_shares_no_file_and_is_never_split(prepare, tmp_path):
    for number in range(10):
        save(tmp_path / f"photos/real/wiki/27/{number}.png", number)
        save(tmp_path / f"photos/fake/insight/27/{number}.png", 100 + number)
    prepare(tmp_path / "photos", tmp_path / "out", "--splits", "0.6,0.2,0.2")
    rows = ok_rows(tmp_path / "out")
    assert len({row.destination_path for row in rows}) == len(rows) == 20
    split_of = defaultdict(set)
    for row in rows:
        name = Path(row.image_path).stem
        split_of[name].add(row.split)
        crop = np.asarray(Image.open(tmp_path / "out" / row.destination_path))
        np.testing.assert_array_equal(crop, draw(int(name) + (0 if row.target else 100)))
        assert f"/{row.target_class}/" in row.destination_path
    assert all(len(splits) == 1 for splits in split_of.values())
    assert Counter(row.split for row in rows) == {"train": 12, "val": 4, "test": 4}


def test_generators_are_balanced_and_as_many_reals_are_kept(prepare, photos, tmp_path):
    code, summary = prepare(photos, tmp_path / "out")
    assert code == 0
    rows = read_manifest(tmp_path / "out").rows
    assert len(rows) == 25
    kept = Counter(row.folder for row in rows if row.status == OK)
    assert kept == {"wiki": 10, "insight": 5, "text2img": 5}
    surplus = [row for row in rows if row.status == "surplus"]
    assert {(row.split, row.destination_path, row.reason) for row in surplus} == {
        ("", "", "left out by --balance generator")
    }
    assert summary["counts"]["by_status"] == {"ok": 20, "surplus": 5}
    placed = {name for name in crops_below(tmp_path / "out") if not name.startswith(".prepare/")}
    assert placed == {row.destination_path for row in rows if row.status == OK}


def test_the_same_seed_gives_the_same_manifest_and_another_seed_another(prepare, photos, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare(photos, tmp_path / name, "--seed", seed)
    first, same, other = ((tmp_path / name / "manifest.parquet").read_bytes() for name in "abc")
    assert first == same
    assert first != other


def test_a_rerun_does_only_what_is_missing_and_changes_nothing(prepare, photos, tmp_path):
    output = tmp_path / "out"
    prepare(photos, output)
    before = files_below(output)
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*.png")}
    code, summary = prepare(photos, output)
    assert (code, summary["rates"]) == (0, {"images_new": 0, "images_per_s": None})
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.png")} == times
    after = files_below(output)
    assert after["manifest.parquet"] == before["manifest.parquet"]
    save_layout(photos, {"real/wiki": 2, "fake/insight": 2, "fake/text2img": 2}, start=500)
    _, summary = prepare(photos, output)
    assert summary["rates"]["images_new"] == 6
    prepare(photos, tmp_path / "fresh")
    assert manifest_bytes(output) == manifest_bytes(tmp_path / "fresh")
    assert crops_below(output) == crops_below(tmp_path / "fresh")


def test_an_interrupted_run_ends_with_130_and_goes_on_to_the_same_manifest(
    prepare, run_cli, photos, tmp_path, monkeypatch
):
    save(photos / "real/wiki/broken.png", 1).write_bytes(b"no picture")
    monkeypatch.setattr(collect, "BATCH_FILES", 4)
    whole_code, _ = prepare(photos, tmp_path / "whole")
    collect_faces = collect.collect_faces

    def interrupted(*arguments, progress, **options):
        n_done = 0

        def stop(batch):
            nonlocal n_done
            progress(batch)
            n_done += len(batch.rows)
            if n_done >= 10:
                raise KeyboardInterrupt

        return collect_faces(*arguments, progress=stop, **options)

    monkeypatch.setattr(prepare_module, "collect_faces", interrupted)
    result = run_cli("prepare", photos, "--output", tmp_path / "out", *FAST)
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert not (tmp_path / "out/manifest.xlsx").exists()
    monkeypatch.setattr(prepare_module, "collect_faces", collect_faces)
    with (tmp_path / "out/.prepare/journal.jsonl").open("ab") as journal:
        journal.write(b'{"stamps": ["half')
    code, summary = prepare(photos, tmp_path / "out")
    assert code == whole_code == 3
    assert summary["rates"]["images_new"] == 26 - 12
    assert manifest_bytes(tmp_path / "out") == manifest_bytes(tmp_path / "whole")


@pytest.mark.parametrize("stage", ["place_crops", "write_manifest", "clear_moved_crops", "write_audit"])
def test_a_rerun_killed_at_any_later_stage_is_put_right_by_the_next(
    prepare, run_cli, photos, tmp_path, monkeypatch, stage
):
    output = tmp_path / "out"
    prepare(photos, output)
    with monkeypatch.context() as patch:
        work = getattr(prepare_module, stage)

        def killed(*arguments, **options):
            work(*arguments, **options)
            raise KeyboardInterrupt

        patch.setattr(prepare_module, stage, killed)
        assert run_cli("prepare", photos, "--output", output, *FAST, "--seed", 3).exit_code == 130
    manifest = read_manifest(output)
    assert all(manifest.crop_path(row).exists() for row in manifest.rows if row.status == OK)
    (output / "train").mkdir(exist_ok=True)
    (output / "train" / f".{'0' * 32}.99-1.draft.png").write_bytes(b"half")
    (output / "train" / "mine.png").write_bytes(b"left alone")
    assert prepare(photos, output, "--seed", 3)[0] == 0
    prepare(photos, tmp_path / "fresh", "--seed", 3)
    (tmp_path / "fresh/train/mine.png").write_bytes(b"left alone")
    assert manifest_bytes(output) == manifest_bytes(tmp_path / "fresh")
    assert crops_below(output) == crops_below(tmp_path / "fresh")


@pytest.mark.launch
def test_a_killed_process_leaves_whole_files_and_the_next_run_ends_as_if_nothing_had_been(prepare, tmp_path):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 200, "fake/insight": 200})
    output = tmp_path / "out"
    command = [sys.executable, "-m", "faceauth", "prepare", str(photos), "--output", str(output), *FAST]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = output / ".prepare/journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.002)
    process.kill()
    process.wait()
    for path in output.rglob("*.png"):
        if not path.name.startswith("."):
            assert Image.open(path).tobytes()
    code, summary = prepare(photos, output)
    assert code == 0
    assert summary["rates"]["images_new"] < 400
    prepare(photos, tmp_path / "whole")
    assert manifest_bytes(output) == manifest_bytes(tmp_path / "whole")
    placed, whole = (
        {name for name in crops_below(folder) if not name.startswith(".prepare/")}
        for folder in (output, tmp_path / "whole")
    )
    assert placed == whole


def test_changed_settings_are_refused_until_overwrite(prepare, photos, tmp_path):
    output = tmp_path / "out"
    prepare(photos, output)
    before = files_below(output)
    code, document = prepare(photos, output, "--margin", "1.5")
    assert code == 2
    assert "margin_ratio" in document["error"]["message"]
    assert "--overwrite" in document["error"]["hint"]
    assert files_below(output) == before
    code, summary = prepare(photos, output, "--margin", "1.5", "--overwrite")
    assert code == 0
    assert summary["rates"]["images_new"] == 25
    assert summary["settings"]["collect"]["crop"]["margin_ratio"] == 1.5


def test_an_edited_spreadsheet_is_not_overwritten_silently(prepare, photos, tmp_path):
    output = tmp_path / "out"
    prepare(photos, output)
    workbook = openpyxl.load_workbook(output / "manifest.xlsx")
    workbook.active["I2"] = "=edited"
    workbook.save(output / "manifest.xlsx")
    later = (output / "manifest.parquet").stat().st_mtime_ns + 10**9
    os.utime(output / "manifest.xlsx", ns=(later, later))
    before = files_below(output)
    code, document = prepare(photos, output)
    assert code == 2
    assert "manifest.xlsx was edited" in document["error"]["message"]
    assert files_below(output) == before
    assert prepare(photos, output, "--overwrite")[0] == 0
    assert "=edited" not in {row.group for row in read_manifest(output).rows}


def test_overwrite_that_finds_nothing_leaves_no_manifest_of_crops_that_are_gone(prepare, photos, tmp_path):
    output = tmp_path / "out"
    prepare(photos, output)
    shutil.rmtree(photos)
    save(photos / "real/wiki/a.png", 1).write_bytes(b"broken")
    code, document = prepare(photos, output, "--overwrite")
    assert code == 1
    assert "Not one face" in document["error"]["message"]
    assert [row.status for row in read_manifest(output).rows] == ["unreadable"]
    assert not list(output.glob("*/*/*/*.png"))


ODD_PICTURES = {
    "zero.jpg": lambda path: path.touch(),
    "text.jpg": lambda path: path.write_text("not a picture"),
    "cut.png": lambda path: path.write_bytes(save(path, 50, side=128).read_bytes()[:900]),
    "bomb.png": lambda path: Image.new("1", (20_000, 20_000)).save(path),
    "tiny.png": lambda path: save(path, 51, side=16),
    "dead.png": lambda path: path.symlink_to("nowhere"),
    "grey16.png": lambda path: Image.fromarray(draw(52)[:, :, 0].astype(np.uint16) * 257).save(path),
    "cmyk.jpg": lambda path: Image.fromarray(draw(53)).convert("CMYK").save(path),
    "palette.png": lambda path: Image.fromarray(draw(54)).convert("P").save(path),
    "moving.gif": lambda path: save(path, 55, save_all=True, append_images=[Image.fromarray(draw(56))]),
}


def test_each_odd_picture_has_a_row_and_the_good_ones_are_kept(prepare, photos, tmp_path):
    for name, make in ODD_PICTURES.items():
        make(photos / "real/wiki" / name)
    code, summary = prepare(photos, tmp_path / "out", "--balance", "none")
    assert code == 3
    rows = {Path(row.image_path).name: row for row in read_manifest(tmp_path / "out").rows}
    assert len(rows) == 25 + len(ODD_PICTURES)
    failed = {name: (row.status, row.reason) for name, row in rows.items() if row.status != OK}
    assert {name: status for name, (status, _) in failed.items()} == {
        "zero.jpg": "unreadable",
        "text.jpg": "unreadable",
        "cut.png": "unreadable",
        "bomb.png": "unreadable",
        "dead.png": "unreadable",
        "tiny.png": "too_small",
    }
    assert all(reason for _, reason in failed.values())
    assert len({reason for _, reason in failed.values()}) == len(failed)
    assert rows["moving.gif"].reason == "first of 2 frames"
    for name in ("grey16.png", "cmyk.jpg", "palette.png", "moving.gif"):
        crop = Image.open(tmp_path / "out" / rows[name].destination_path)
        assert (crop.mode, crop.size) == ("RGB", (64, 64))
    grey = np.asarray(Image.open(tmp_path / "out" / rows["grey16.png"].destination_path))
    np.testing.assert_array_equal(grey[:, :, 1], draw(52)[:, :, 0])
    assert {entry["status"] for entry in summary["failures"]} == {"unreadable", "too_small"}
    assert len(summary["failures"]) == 6


@pytest.mark.parametrize("missing", ["real", "fake"])
def test_one_class_alone_is_prepared_with_a_warning(run_cli, photos, tmp_path, missing):
    shutil.rmtree(photos / missing)
    result = run_cli("prepare", photos, "--output", tmp_path / "out", *FAST[:-1])
    assert result.exit_code == 0
    assert f"warning: there are no {missing} faces" in result.stderr
    assert {row.target_class for row in ok_rows(tmp_path / "out")} == {"real", "fake"} - {missing}


def failing_cases(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow/real").mkdir(parents=True)
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("mine")
    save_layout(tmp_path / "good", {"real/a": 1, "fake/b": 1, "fake/c": 1})
    save(tmp_path / "bad/real/a/x.png", 1).write_bytes(b"")
    write_table(tmp_path / "short.csv", ["image_path", "Folder", "label"], [["a.png", "wiki", 1]])
    good = tmp_path / "good"
    return [
        ([tmp_path / "missing"], 2, "does not exist", ""),
        ([tmp_path / "empty"], 1, "neither a folder 'real' nor a folder 'fake'", "real/<collection>"),
        ([tmp_path / "hollow"], 1, "has no images", ".jpg"),
        ([tmp_path / "file.txt"], 2, "neither a folder nor a spreadsheet", ".xlsx"),
        ([tmp_path / "short.csv"], 1, "no column 'target'", "image_path, Folder, label"),
        ([tmp_path / "bad"], 1, "Not one face could be taken from 1 images: 1 unreadable", "0 bytes"),
        ([good], 1, "leaves nothing", "class, none"),
        ([good, "--balance", "generators"], 2, "'generators'", "Did you mean 'generator'?"),
        ([good, "--face-detector", "hole"], 2, "'hole'", "Did you mean 'whole'?"),
        ([good, "--splits", "0.9,0.2"], 2, "no splits", "0.8,0.1,0.1"),
        ([good, "--groups", tmp_path / "none.csv"], 2, "no groups file", ""),
        ([good, "--output", tmp_path / "full"], 2, "is not empty", "--output"),
        ([good, "--output", tmp_path / "file.txt"], 2, "is a file", "--output"),
        ([good, "--face-detector", "mtcnn", "--device", "warp"], 2, "'warp'", "cpu"),
    ]


@pytest.mark.parametrize("number", range(14))
def test_each_wrong_use_is_one_clear_message_with_its_exit_code(run_cli, tmp_path, number):
    arguments, code, message, hint = failing_cases(tmp_path)[number]
    before = files_below(tmp_path)
    result = run_cli("prepare", "--output", tmp_path / "out", *FAST, *arguments)
    assert result.exit_code == code
    error = json.loads(result.stdout)["error"]
    assert message in error["message"]
    assert hint in (error["hint"] or "")
    lines = [line for line in result.stderr.splitlines() if line.startswith("faceauth: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in result.stderr
    assert before.items() <= files_below(tmp_path).items()


def test_no_source_at_all_is_wrong_usage(run_cli, tmp_path):
    assert run_cli("prepare", "--output", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()


HOSTILE_FOLDERS = [
    *("..", ".", "../evil", "a/b", "a\\b", "%2e%2e", "~", "$HOME", "CON", "nul.txt", "<script>"),
    *("=1+1", "+x", "-x", "@x", "NA", "None", "nan", "1", " ", "a\nb", "a\x01", "_x0041_"),
    *("A", "a", "é 名 😀" * 40, "x" * 300),
]


def test_no_name_leads_outside_the_output_or_becomes_a_formula(prepare, tmp_path):
    folders = HOSTILE_FOLDERS
    records = []
    for number, folder in enumerate(folders):
        name = f"{folder.replace('/', '')[:40] or 'x'}-{number}.png"
        path = save(tmp_path / "pool" / name, number)
        records.append([f"pool/{name}", folder, number % 2, folder])
        assert path.exists()
    odd = tmp_path / "pool" / os.fsdecode(b"\xff\xfe\xe9.png")
    save(odd, 900)
    table = write_table(tmp_path / "a.parquet", ["image_path", "folder", "target", "group"], records)
    before = set(files_below(tmp_path))
    output = tmp_path / "deep" / "out"
    code, _ = prepare([table, f"real:../../evil={tmp_path / 'pool'}"], output, "--balance", "none")
    assert code == 3  # the fakes of the pool are reals of the second source, too
    new = set(files_below(tmp_path)) - before
    assert all(name.startswith("deep/out/") for name in new)
    rows = read_manifest(output).rows
    assert {row.folder for row in rows} == {*folders, "../../evil"}
    for row in rows:
        if row.status == OK:
            parts = Path(row.destination_path).parts
            assert len(parts) == 4
            assert not {"..", "."} & set(parts)
            assert (output / row.destination_path).resolve().is_relative_to(output.resolve())
    assert {"\\xff\\xfe\\xe9.png"} <= {Path(row.image_path).name for row in rows}
    sheet = openpyxl.load_workbook(output / "manifest.xlsx").active
    assert {cell.data_type for cells in sheet.iter_rows() for cell in cells} <= {"s", "n"}
    (output / "manifest.parquet").unlink()
    assert [(row.image_path, row.folder, row.group) for row in read_manifest(output).rows] == [
        (row.image_path, row.folder, row.group) for row in rows
    ]


@pytest.mark.parametrize(
    "name", ["..", "../../x", "a/b", "CON", "com1.txt", "", " . ", "é" * 200, "😀" * 100, "\ud800", "a\0"]
)
def test_a_folders_name_is_one_safe_component(name, tmp_path):
    safe = folder_name(name)
    (tmp_path / safe).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [safe]
    assert safe.split(".")[0].upper() not in {"CON", "COM1"}
    assert folder_name(safe) == safe


def test_the_same_bytes_are_kept_once_and_never_under_two_labels(prepare, photos, tmp_path):
    shutil.copy(photos / "real/wiki/0001.png", photos / "real/wiki/copy.png")
    shutil.copy(photos / "real/wiki/0002.png", photos / "fake/insight/stolen.png")
    code, _ = prepare(photos, tmp_path / "out", "--balance", "none")
    assert code == 3
    rows = {Path(row.image_path).name: row for row in read_manifest(tmp_path / "out").rows}
    assert rows["copy.png"].status == "duplicate"
    assert "0001.png" in rows["copy.png"].reason
    assert rows["0001.png"].status == OK
    assert {rows[name].status for name in ("stolen.png", "0002.png")} == {"label_conflict"}
    assert "called fake at" in rows["0002.png"].reason
    shas = [row.sha256 for row in rows.values() if row.status == OK]
    assert len(shas) == len(set(shas)) == 24


def test_reals_and_fakes_of_one_folder_name_are_counted_apart(prepare, tmp_path):
    save_layout(tmp_path / "photos", {"real/celeb": 3, "fake/celeb": 3})
    code, summary = prepare(tmp_path / "photos", tmp_path / "out")
    assert code == 0
    counts = {name: facts["target_class"] for name, facts in summary["counts"]["by_folder"].items()}
    assert counts == {"real/celeb": "real", "fake/celeb": "fake"}


def test_names_that_differ_in_case_only_are_two_crops(prepare, tmp_path):
    for number, name in enumerate(("a.png", "A.png", "A.PNG")):
        save(tmp_path / "photos/real/x" / name, number)
    assert prepare(tmp_path / "photos", tmp_path / "out")[1]["counts"]["by_status"] == {"ok": 3}
    assert len({row.destination_path.lower() for row in ok_rows(tmp_path / "out")}) == 3


def test_named_groups_never_straddle_splits(prepare, photos, tmp_path):
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    groups = write_table(
        tmp_path / "groups.csv", ["path", "group"], [[name, f"p{i % 6}"] for i, name in enumerate(names)]
    )
    prepare(photos, tmp_path / "out", "--groups", groups, "--splits", "0.4,0.3,0.3", "--balance", "none")
    found = defaultdict(set)
    for row in ok_rows(tmp_path / "out"):
        found[row.group].add(row.split)
    assert found.keys() == {f"p{i}" for i in range(6)}
    assert all(len(splits) == 1 for splits in found.values())


def test_an_output_inside_the_source_is_never_taken_for_photos(prepare, tmp_path):
    save_layout(tmp_path / "pool", {"": 4})
    for _ in range(2):
        code, summary = prepare(f"real:mine={tmp_path / 'pool'}", tmp_path / "pool/out")
        assert code == 0
        assert summary["counts"]["by_status"] == {"ok": 4}


def test_limit_takes_so_many_of_each_source_and_a_later_run_the_rest(prepare, photos, tmp_path):
    _, summary = prepare(photos, tmp_path / "out", "--limit", "2", "--balance", "none")
    assert summary["counts"]["by_status"] == {"ok": 6}
    _, summary = prepare(photos, tmp_path / "out", "--balance", "none")
    assert summary["rates"]["images_new"] == 19


def test_the_original_spreadsheet_is_prepared_anew_without_its_faults(prepare, tmp_path):
    header = ["image_path", "destination_path", "Folder", "split", "target_class", "target"]
    records = []
    for number in range(12):
        for place, (folder, label, target) in enumerate((("wiki", "real", 1), ("insight", "fake", 0))):
            name = f"27/{number}_2010.png"
            save(tmp_path / "raw" / folder / name, number + 100 * target)
            split = ("train", "test", "dev")[(number + place) % 3]
            records.append(
                [
                    f"../raw/{folder}/{name}",
                    f"../Data/{split}/{number}_2010.png",
                    folder,
                    split,
                    label,
                    target,
                ]
            )
    (tmp_path / "excel").mkdir()
    table = write_table(tmp_path / "excel/results_deit.xlsx", header, records)
    code, _ = prepare(table, tmp_path / "out")
    assert code == 0
    rows = ok_rows(tmp_path / "out")
    assert len({row.destination_path for row in rows}) == 24
    pairs = defaultdict(list)
    for row in rows:
        pairs[Path(row.image_path).stem].append(row)
    assert all(len({row.split for row in pair}) == 1 for pair in pairs.values())
    assert all({row.target for row in pair} == {0, 1} for pair in pairs.values())


def test_a_prepared_manifest_is_a_source_that_keeps_edited_groups(prepare, photos, tmp_path):
    prepare(photos, tmp_path / "out", "--balance", "none")
    path = tmp_path / "out/manifest.xlsx"
    workbook = openpyxl.load_workbook(path)
    for cells in workbook.active.iter_rows(min_row=2):
        cells[8].value = f"person-{cells[0].row % 4}"
    workbook.save(path)
    later = path.stat().st_mtime_ns + 5 * 10**9
    os.utime(path, ns=(later, later))
    for source in (path, tmp_path / "out/manifest.parquet"):
        output = tmp_path / f"again-{source.suffix[1:]}"
        assert prepare(source, output, "--balance", "none")[0] == 0
        assert {row.group for row in ok_rows(output)} == {f"person-{i}" for i in range(4)}
        assert len(ok_rows(output)) == 25

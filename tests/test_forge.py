import csv
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pictures import draw, save_layout
from PIL import Image

from faceauth.errors import InputError, ManifestError, UnknownNameError, UsageError
from faceauth.forgeries.forge import FORGERIES
from faceauth.intake.faces.crop import perceptual_hash
from faceauth.intake.faces.looks import look_of
from faceauth.intake.manifest import OK, UNREADABLE, read_manifest, write_manifest
from faceauth.intake.pipeline.collect import collected_with
from faceauth.labels import FAKE, REAL
from faceauth.splits.leaks import find_leaks
from faceauth.verbs import forge as forge_module
from faceauth.verbs.forge import ForgeSettings, forge, read_reals

QUICK = ForgeSettings(methods=("splice", "swap"), limit=3)
# What every run writes beside crops.
WRITTEN = {".prepare", "audit.json", "forgeries.csv", "manifest.parquet", "manifest.xlsx", "prepare.json"}


@pytest.fixture(scope="session")
def prepared(sample_photos, run_cli, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forge") / "prepared"
    done = run_cli(
        "prepare", sample_photos, "--output", folder, "--splits", "0.5,0.25,0.25", "--image-size", 128, "-q"
    )
    assert done.exit_code in (0, 3), done.stderr
    return folder


@pytest.fixture(scope="session")
def all_methods(prepared, run_cli, tmp_path_factory):
    """Every method, through the command line: the output, the sheet, and what was printed."""
    folder = tmp_path_factory.mktemp("forged")
    done = run_cli(
        "forge", prepared, "--output", folder / "forged", "--sheet", folder / "sheet.png", "--json"
    )
    assert done.exit_code in (0, 3), done.stderr
    return folder / "forged", folder / "sheet.png", json.loads(done.stdout)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr("faceauth.shortcuts.ruler.TREES", 15)


def usable(manifest, target):
    return [row for row in manifest.rows if row.target == target and row.status == OK and row.split]


def pixels(manifest, row):
    return np.asarray(Image.open(manifest.crop_path(row)).convert("RGB"))


def forgeries_of(folder):
    manifest = read_manifest(folder)
    return {row.destination_path: row for row in usable(manifest, FAKE) if row.folder.startswith("forged_")}


def test_every_method_makes_rows_that_can_be_trained_on(prepared, all_methods):
    folder, _, document = all_methods
    before, after = read_manifest(prepared), read_manifest(folder)
    assert not find_leaks(after.rows).any
    assert {path.name for path in folder.iterdir()} - {"train", "val", "test"} == WRITTEN
    reals = {row.destination_path: row for row in usable(after, REAL)}
    assert len(reals) == len(usable(before, REAL)) > 0
    made = forgeries_of(folder)
    assert {row.folder for row in made.values()} == {f"forged_{name}" for name in FORGERIES.names()}
    table = list(csv.DictReader((folder / "forgeries.csv").read_text().splitlines()))
    assert {line["destination_path"] for line in table} == set(made)
    for line in table:
        row, real = made[line["destination_path"]], reals[line["real_path"]]
        assert (row.group, row.split, row.target_class) == (real.group, real.split, "fake")
        assert (row.format, row.width, row.jpeg_quality, row.box) == (
            real.format, real.width, real.jpeg_quality, real.box,
        )  # fmt: skip
        assert row.image_path == row.destination_path
        content = after.crop_path(row).read_bytes()
        assert row.sha256 == hashlib.sha256(content).hexdigest()
        assert row.destination_path == f"{row.split}/fake/{row.folder}/{row.sha256[:32]}.png"
        crop = pixels(after, row)
        assert crop.shape == pixels(after, real).shape
        assert (crop != pixels(after, real)).any()
        assert row.phash == perceptual_hash(crop)
        assert row.sharpness == look_of(crop).sharpness
        assert bool(line["other_path"]) == (line["method"] == "swap")
        if line["other_path"]:
            other = reals[line["other_path"]]
            assert (other.group, other.split) == (row.group, row.split)
            assert set(row.identities) == {*real.identities, *other.identities}
    for name, entry in document["methods"].items():
        assert entry["n_made"] == sum(line["method"] == name for line in table)
        assert entry["n_made"] + sum(entry["n_skipped"].values()) == document["reals"]["n"] == len(reals)


def test_reals_and_fakes_come_along_unchanged(prepared, all_methods):
    before, after = read_manifest(prepared), read_manifest(all_methods[0])
    kept = [row for row in after.rows if not row.folder.startswith("forged_")]
    assert len(kept) == len(before.rows)
    for old, new in zip(before.rows, kept, strict=True):
        assert replace(new, group=old.group) == old
        if old.status == OK and old.split:
            assert after.crop_path(new).read_bytes() == before.crop_path(old).read_bytes()
        # Groups only grow: those who swapped are one now.
        assert old.group in new.group.split("+")


def test_the_folder_says_how_it_was_made_and_takes_no_other_crops(
    prepared, all_methods, sample_photos, run_cli
):
    folder, _, document = all_methods
    assert collected_with(folder) == collected_with(prepared)
    summary = json.loads((folder / "prepare.json").read_text())
    assert summary["forged"] == document
    assert document["of_manifest_sha256"] == read_manifest(prepared).sha256
    assert summary["counts"]["n"] == len(read_manifest(folder).rows)
    n_rows = len(read_manifest(folder).rows)
    refused = run_cli("prepare", sample_photos, "--output", folder, "--image-size", 128)
    assert refused.exit_code == 2
    assert "holds forged crops" in refused.stderr
    assert len(read_manifest(folder).rows) == n_rows


def test_the_audit_finds_no_leak(all_methods, run_cli):
    folder, _, _ = all_methods
    audit = run_cli("audit", folder, "--json")
    assert audit.exit_code == 0
    document = json.loads(audit.stdout)
    assert set(document["leaks"].values()) == {0}


def test_the_sheet_shows_originals_forgeries_and_differences(all_methods):
    sheet = np.asarray(Image.open(all_methods[1]).convert("RGB")).astype(int)
    assert sheet.shape[0] > len(FORGERIES.names()) * 192
    assert sheet.shape[1] > 3 * 192
    # The first row of differences: most of a local forgery's is black.
    assert (sheet.sum(axis=2) == 0).mean() > 0.1


def test_a_forgery_depends_on_seed_method_and_crop_and_not_on_order_or_workers(prepared, tmp_path):
    manifest = read_manifest(prepared)
    turned = replace(manifest, rows=manifest.rows[::-1])
    first = forge(manifest, tmp_path / "first", settings=replace(QUICK, workers=1))
    again = forge(turned, tmp_path / "again", settings=replace(QUICK, workers=3))
    assert set(forgeries_of(tmp_path / "first")) == set(forgeries_of(tmp_path / "again"))
    assert first.document["methods"] == again.document["methods"]
    other = forge(manifest, tmp_path / "other", settings=replace(QUICK, seed=1))
    assert not set(forgeries_of(tmp_path / "first")) & set(forgeries_of(tmp_path / "other"))
    alone = forge(
        manifest, tmp_path / "alone", settings=replace(QUICK, methods=("splice",), keep_fakes=False)
    )
    of_splice = {path for path in forgeries_of(tmp_path / "first") if "forged_splice" in path}
    assert set(forgeries_of(tmp_path / "alone")) == of_splice
    assert [row.folder for row in usable(alone.manifest, FAKE)] == ["forged_splice"] * len(of_splice)
    assert other.n_failed == first.n_failed


def test_several_forgeries_of_each_real_differ(prepared, tmp_path):
    settings = ForgeSettings(methods=("reconstruct",), per_real=3, limit=2, keep_fakes=False)
    done = forge(read_manifest(prepared), tmp_path / "out", settings=settings)
    n_reals = done.document["reals"]["n"]
    made = forgeries_of(tmp_path / "out").values()
    assert len(made) == len({row.sha256 for row in made}) == 3 * n_reals
    # No landmarks were needed, so no face was looked for.
    assert done.document["reals"]["ok"] == n_reals


def test_what_cannot_be_forged_is_counted_and_never_ends_the_run(prepared, run_cli, tmp_path):
    manifest = read_manifest(prepared)
    chosen = sorted(usable(manifest, REAL), key=lambda row: row.sha256)[:3]
    folder = tmp_path / "broken"
    for row in usable(manifest, REAL):
        (folder / row.destination_path).parent.mkdir(parents=True, exist_ok=True)
        (folder / row.destination_path).write_bytes(manifest.crop_path(row).read_bytes())
    broken, gone, faceless = (folder / row.destination_path for row in chosen)
    broken.write_bytes(b"no picture")
    gone.unlink()
    Image.fromarray(draw(5, side=128)).save(faceless)
    write_manifest([row for row in manifest.rows if row.target == REAL], folder)
    done = run_cli(
        "forge", folder, "-o", tmp_path / "out", "--method", "reconstruct", "--method", "self_blend", "--json"
    )
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert document["reals"]["unreadable"] == 1
    assert document["reals"]["no_face"] >= 1
    assert document["methods"]["self_blend"]["n_skipped"]["no_face"] == document["reals"]["no_face"]
    assert document["methods"]["reconstruct"]["n_skipped"]["no_face"] == 0
    rows = {row.sha256: row for row in read_manifest(tmp_path / "out").rows if row.target == REAL}
    for row in chosen[:2]:
        assert (rows[row.sha256].status, rows[row.sha256].split) == (UNREADABLE, "")
        assert rows[row.sha256].reason
        assert not (tmp_path / "out" / row.destination_path).exists()
    assert rows[chosen[2].sha256].status == OK


def test_reals_without_faces_are_a_clear_error_and_leave_nothing(run_cli, tmp_path):
    save_layout(tmp_path / "patterns", {"real/web": 6})
    prepared = tmp_path / "prepared"
    arguments = ("--face-detector", "whole", "--min-face", 16, "-q", "--image-size", 64)
    assert run_cli("prepare", tmp_path / "patterns", "-o", prepared, *arguments).exit_code == 0
    failed = run_cli("forge", prepared, "-o", tmp_path / "out", "--method", "self_blend")
    assert failed.exit_code == 1
    assert "Not one forgery could be made" in failed.stderr
    assert "6 no_face" in failed.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["patterns", "prepared"]
    assert run_cli("forge", prepared, "-o", tmp_path / "out", "--method", "reconstruct").exit_code == 0


def test_photographs_are_sent_to_prepare_first_and_that_takes_reals_alone(sample_photos, run_cli, tmp_path):
    photos = sample_photos / "real"
    failed = run_cli("forge", photos, "-o", tmp_path / "out")
    assert failed.exit_code == 2
    command = re.search(r"faceauth (prepare real:\S+=\S+) --output (\S+)", failed.stderr)
    assert command, failed.stderr
    done = run_cli(*command[1].split(), "--output", tmp_path / "prepared", "--limit", 3, "-q")
    assert done.exit_code in (0, 3)
    forged = run_cli("forge", tmp_path / "prepared", "-o", tmp_path / "out", "--method", "self_blend")
    assert forged.exit_code in (0, 3)
    assert "self_blend" in forged.stdout
    assert {row.target for row in read_manifest(tmp_path / "out").rows} == {REAL, FAKE}


def test_a_misspelt_method_is_a_usage_error_with_the_close_match(prepared, run_cli, tmp_path):
    failed = run_cli("forge", prepared, "-o", tmp_path / "out", "--method", "self-blend")
    assert failed.exit_code == 2
    assert "Did you mean 'self_blend'?" in failed.stderr
    with pytest.raises(UnknownNameError):
        forge(read_manifest(prepared), tmp_path / "out", settings=ForgeSettings(methods=("swop",)))


def test_outputs_in_the_way_are_kept_and_older_forgeries_replaced_on_request(prepared, tmp_path):
    manifest = read_manifest(prepared)
    settings = ForgeSettings(methods=("splice",), limit=1, keep_fakes=False)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    for output, what in (
        (foreign, "not made by"),
        (foreign / "thesis.txt", "is a file"),
        (prepared, "were to be"),
    ):
        with pytest.raises(UsageError, match=what):
            forge(manifest, output, settings=settings, overwrite=True)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]
    output = tmp_path / "out"
    forge(manifest, output, settings=settings)
    first = set(forgeries_of(output))
    with pytest.raises(UsageError, match="--overwrite"):
        forge(manifest, output, settings=replace(settings, seed=1))
    assert set(forgeries_of(output)) == first
    forge(manifest, output, settings=replace(settings, seed=1), overwrite=True)
    assert not set(forgeries_of(output)) & first
    with pytest.raises(UsageError, match="does not end in"):
        forge(manifest, tmp_path / "new", settings=settings, sheet=tmp_path / "sheet.pdf")


def test_a_leaking_manifest_and_one_without_reals_are_refused(prepared, tmp_path):
    manifest = read_manifest(prepared)
    fakes = replace(manifest, rows=[row for row in manifest.rows if row.target == FAKE])
    with pytest.raises(InputError, match="no usable reals"):
        forge(fakes, tmp_path / "out", settings=QUICK)
    leaking = replace(manifest, rows=[replace(row, group="one") for row in manifest.rows])
    with pytest.raises(ManifestError, match="leaks"):
        forge(leaking, tmp_path / "out", settings=QUICK)
    with pytest.raises(UsageError, match="does not exist"):
        read_reals(tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_nothing(prepared, run_cli, tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(forge_module, "forge_crop", interrupt)
    stopped = run_cli("forge", prepared, "-o", tmp_path / "out", "--method", "splice", "--limit", 1)
    assert stopped.exit_code == 130
    assert not list(tmp_path.iterdir())


def test_tables_of_other_tools_with_jpeg_crops_and_no_groups_can_be_forged(prepared, tmp_path):
    manifest = read_manifest(prepared)
    folder = tmp_path / "theirs"
    lines = [["image_path", "destination_path", "folder", "split", "target"]]
    for number, row in enumerate(sorted(usable(manifest, REAL), key=lambda row: row.sha256)[:4]):
        name = f"crops/{number}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(manifest, row)).save(folder / name, quality=95)
        lines.append([f"photos/{number}.jpg", name, "web", "train", 1])
    with (folder / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    settings = ForgeSettings(methods=("self_blend", "swap"))
    done = forge(read_reals(folder / "table.csv"), tmp_path / "out", settings=settings)
    for row in done.manifest.rows:
        assert done.manifest.crop_path(row).suffix == ".png"
        assert Image.open(done.manifest.crop_path(row)).format == "PNG"
        if row.target == REAL:
            assert row.image_path == str(folder / "photos" / row.image_path.rpartition("/")[2])
        else:
            assert row.group
    made = [row for row in done.manifest.rows if row.folder == "forged_swap"]
    assert made
    assert all("+" in row.group for row in made)
    assert not find_leaks(done.manifest.rows).any

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import draw, save_layout
from PIL import Image

from faceauth.errors import InputError, ManifestError, UsageError
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.equal import Chain, equalise_crop, own_side_px
from faceauth.intake.faces.looks import look_of
from faceauth.intake.manifest import OK, SURPLUS, UNREADABLE, ManifestRow, read_manifest, write_manifest
from faceauth.intake.pipeline.collect import collected_with
from faceauth.labels import ID2LABEL
from faceauth.shortcuts.remains import measure_remains
from faceauth.verbs.audit_text import print_remains
from faceauth.verbs.equalise import choose_chain, equalise

SIDE = 64
SOURCES = (("web", 1), ("film", 1), ("gan", 0), ("swap", 0))


def save_prepared(folder, *, groups=12, settings=None):
    """A prepared folder of 64 px crops of which one class was scaled up from half the size."""
    rows = []
    for number in range(groups):
        for place, (source, target) in enumerate(SOURCES):
            seed = 4 * number + place
            pixels = np.asarray(Image.fromarray(draw(seed, side=SIDE)))
            noise = np.random.default_rng(seed).integers(-30, 30, pixels.shape)
            pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
            own = 48 if target else 64
            small = Image.fromarray(pixels).resize((own, own), Image.Resampling.BICUBIC)
            sha256 = hashlib.sha256(str(seed).encode()).hexdigest()
            split = ("train", "train", "val", "test")[number % 4]
            name = f"{split}/{ID2LABEL[target]}/{source}/{sha256[:32]}.png"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / name)
            rows.append(
                ManifestRow(
                    f"/{seed}.png", name, source, split, ID2LABEL[target], target, group=f"g{number}",
                    sha256=sha256, box=(0.0, 0.0, own, own), width=own, height=own, format="PNG", n_bytes=900,
                )
            )  # fmt: skip
    rows.append(ManifestRow("/x.png", "", "web", "", "real", 1, status="no_face", reason="none found"))
    write_manifest(rows, folder)
    (folder / ".prepare").mkdir()
    crop = {"margin_ratio": 1.0, "image_size": SIDE}
    kept = {"face_detector": "whole", "min_confidence": 0.5, "min_face_px": 8, "crop": crop}
    (folder / ".prepare/settings.json").write_text(json.dumps(kept))
    return folder


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr("faceauth.shortcuts.ruler.TREES", 15)


@pytest.fixture
def prepared(tmp_path):
    return save_prepared(tmp_path / "prepared")


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(8, 60), st.integers(0, 4), st.integers(1, 95))
def test_a_crop_keeps_its_size_and_always_becomes_the_same(seed, low, spread, quality):
    crop = draw(seed, side=SIDE)
    chain = Chain((low, low + spread), (quality, min(95, quality + 5)), seed=seed)
    equal = equalise_crop(crop, chain)
    assert (equal.shape, equal.dtype) == (crop.shape, np.uint8)
    np.testing.assert_array_equal(equal, equalise_crop(crop.copy(), chain))


def test_what_is_drawn_depends_on_the_pixels_and_the_seed_alone():
    crops = [draw(seed, side=SIDE) for seed in range(8)]
    first = [look_of(equalise_crop(crop, Chain((16, 60)))).sharpness for crop in crops]
    assert len(set(first)) == 8
    assert first != [look_of(equalise_crop(crop, Chain((16, 60), seed=1))).sharpness for crop in crops]


def test_detail_beyond_the_common_size_is_gone():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    equal = equalise_crop(noise, Chain((16, 16), (95, 95)))
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(equal.mean(axis=2)))) ** 2
    beyond = np.ones((SIDE, SIDE), bool)
    beyond[16:48, 16:48] = False
    assert spectrum[beyond].mean() < 0.001 * spectrum.mean()


def test_every_crop_is_encoded_at_the_drawn_quality():
    crop = draw(3, side=SIDE)
    noisy = np.clip(crop + np.random.default_rng(0).integers(-20, 20, crop.shape), 0, 255).astype(np.uint8)
    best = equalise_crop(noisy, Chain((60, 60), (100, 100))).astype(int)
    losses = [
        np.abs(equalise_crop(noisy, Chain((60, 60), (quality, quality))) - best).mean()
        for quality in (95, 75, 40, 10)
    ]
    assert losses == sorted(losses)
    assert losses[0] > 0


def test_a_crops_own_side_is_that_of_its_square_and_at_most_its_size():
    row = ManifestRow(
        "a", "a.png", "web", "train", "real", 1, box=(10.0, 10.0, 50.0, 60.0), width=400, height=300
    )
    crop = CropSettings(margin_ratio=1.3, image_size=256)
    assert own_side_px(row, crop) == 65
    assert own_side_px(row, CropSettings(margin_ratio=1.3, image_size=32)) == 32
    assert own_side_px(ManifestRow("a", "a.png", "web", "train", "real", 1), crop) is None


def test_the_chain_loses_at_most_a_tenth_of_any_source(prepared):
    rows = read_manifest(prepared).rows
    chain, smallest = choose_chain(rows, CropSettings(margin_ratio=1.0, image_size=SIDE))
    assert chain.side_px == (36, 48)
    assert smallest in ("web", "film")
    with pytest.raises(InputError, match="no usable rows"):
        choose_chain([row for row in rows if row.status != OK], CropSettings())


def test_an_equalised_folder_is_a_prepared_folder_of_its_own(prepared, tmp_path):
    manifest = read_manifest(prepared)
    done = equalise(manifest, tmp_path / "equal")
    assert done.manifest.root == tmp_path / "equal"
    assert collected_with(tmp_path / "equal") == collected_with(prepared)
    for old, new in zip(manifest.rows, done.manifest.rows, strict=True):
        assert (new.image_path, new.split, new.group, new.sha256) == (
            old.image_path, old.split, old.group, old.sha256,
        )  # fmt: skip
        if new.status == OK:
            crop = np.asarray(Image.open(done.manifest.crop_path(new)))
            before = np.asarray(Image.open(manifest.crop_path(old)))
            np.testing.assert_array_equal(crop, equalise_crop(before, Chain((36, 48))))
            assert new.sharpness == look_of(crop).sharpness
    document = json.loads((tmp_path / "equal/prepare.json").read_text())
    assert document["equalised"]["side_px"] == [36, 48]
    assert document["equalised"]["of_manifest_sha256"] == manifest.sha256
    assert document["counts"]["by_status"] == {"ok": 48, "no_face": 1}
    assert json.loads((tmp_path / "equal/audit.json").read_text())["leaks"]["group"] == 0
    assert not list(tmp_path.glob(".*"))


def test_the_size_of_the_crops_tells_the_class_before_and_less_after(prepared, tmp_path):
    document = equalise(read_manifest(prepared), tmp_path / "equal").document
    overall, *each = document["remains"]
    assert overall["generator"] is None
    assert [part["generator"] for part in each] == ["gan", "swap"]
    assert overall["before"]["value"] > 0.95
    assert overall["after"]["value"] < overall["before"]["value"] - 0.1
    assert (overall["after"]["n_real"], overall["after"]["n_fake"]) == (24, 24)


def test_small_and_broken_crops_are_left_out_with_a_reason(prepared, tmp_path):
    manifest = read_manifest(prepared)
    rows = list(manifest.rows)
    tiny = rows[0]
    object.__setattr__(tiny, "box", (0.0, 0.0, 20.0, 20.0))
    write_manifest(rows, prepared)
    (prepared / rows[1].destination_path).write_bytes(b"no image")
    (prepared / rows[2].destination_path).unlink()
    done = equalise(read_manifest(prepared), tmp_path / "equal")
    found = done.manifest.rows[:3]
    assert [row.status for row in found] == [SURPLUS, UNREADABLE, UNREADABLE]
    assert "20 px" in found[0].reason
    assert all(row.split == row.destination_path == "" for row in found)
    assert done.document["n_left_out"] == {"film": 1, "gan": 1, "web": 1}
    assert done.document["n_kept"] == 45


def test_nothing_of_an_interrupted_run_is_left_and_an_older_folder_stays(prepared, tmp_path, monkeypatch):
    manifest = read_manifest(prepared)
    output = tmp_path / "equal"
    equalise(manifest, output)
    before = sorted((path, path.read_bytes()) for path in output.rglob("*") if path.is_file())

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("faceauth.verbs.equalise.measure_remains", interrupted)
    for folder in (output, tmp_path / "other"):
        with pytest.raises(KeyboardInterrupt):
            equalise(manifest, folder)
    assert not (tmp_path / "other").exists()
    assert sorted((path, path.read_bytes()) for path in output.rglob("*") if path.is_file()) == before
    assert not list(tmp_path.glob(".*"))


def test_a_folder_in_the_way_or_a_leak_is_refused(prepared, tmp_path):
    manifest = read_manifest(prepared)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for output in (tmp_path / "mine", tmp_path / "file", prepared):
        with pytest.raises(UsageError):
            equalise(manifest, output)
    assert (tmp_path / "mine/notes.txt").read_text() == "x"
    rows = list(manifest.rows)
    object.__setattr__(rows[0], "split", "test")
    write_manifest(rows, prepared)
    with pytest.raises(ManifestError, match="leaks"):
        equalise(read_manifest(prepared), tmp_path / "equal")
    assert not (tmp_path / "equal").exists()


def test_prepare_adds_no_crops_to_an_equalised_folder(prepared, run_cli, tmp_path, capsys):
    result = run_cli("audit", prepared, "--equalise", tmp_path / "equal", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["equalised"]["n_kept"] == 48
    photos = save_layout(tmp_path / "photos", {"real/web": 2, "fake/gan": 2})
    result = run_cli("prepare", photos, "--output", tmp_path / "equal", "--face-detector", "whole")
    assert result.exit_code == 2
    assert "holds equalised crops" in result.stderr
    print_remains(document["equalised"])
    shown = capsys.readouterr().out
    assert "scaled down to 36 to 48 px" in shown
    assert f"{document['equalised']['remains'][0]['after']['value']:.3f}" in shown


def test_too_few_groups_leave_the_remains_undefined():
    rows = [
        ManifestRow(
            f"{i}", f"{i}.png", "web" if i % 2 else "gan", "train", ID2LABEL[i % 2], i % 2, group=f"g{i % 3}"
        )
        for i in range(30)
    ]
    values = np.random.default_rng(0).normal(size=(30, 2))
    for part in measure_remains(rows, values, values, names=("a", "b")):
        assert part.before.value is part.after.value is None
        assert "groups" in part.to_json()["after"]["reason"]

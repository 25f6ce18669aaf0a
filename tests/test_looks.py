import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import draw, save_layout
from PIL import Image

from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.faces.face import load_face_detector
from faceauth.intake.faces.looks import look_of
from faceauth.intake.manifest import read_manifest
from faceauth.intake.pipeline.collect import collect_faces
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.pipeline.engines.local import in_this_process
from faceauth.intake.pixels.images import decode_image
from faceauth.intake.sources.find import find_sources

NEWER = ("identity", "jpeg_subsampling", "mean_red", "mean_green", "mean_blue", "sharpness")


def collected(files, output, **options):
    settings = CollectSettings(face_detector="whole", crop=CropSettings(image_size=64))
    engine = in_this_process(settings, load_face_detector("whole"))
    return collect_faces(files, output, settings=settings, engine=engine, **options)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_a_plain_crop_has_its_colour_and_no_sharpness(colour):
    look = look_of(np.full((20, 20, 3), colour, dtype=np.uint8))
    assert (look.mean_red, look.mean_green, look.mean_blue) == colour
    assert look.sharpness == 0


def test_sharpness_follows_its_formula_and_falls_with_every_blur():
    board = np.zeros((10, 10, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 100
    # Of a chessboard of step 100 the Laplacian is plus and minus 400 inside; borders repeat the last pixel.
    grey = board[:, :, 0].astype(float)
    padded = np.pad(grey, 1, mode="edge")
    sides = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    assert look_of(board).sharpness == pytest.approx(np.log10(1 + (sides - 4 * grey).var()), abs=1e-4)
    crop = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    sizes = (256, 128, 64, 32)
    small = [Image.fromarray(crop).resize((size, size)) for size in sizes]
    sharpness = [look_of(np.asarray(image.resize((256, 256)))).sharpness for image in small]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > sharpness[-1] + 1


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_subsampling_is_read_from_a_jpeg(subsampling):
    buffer = io.BytesIO()
    Image.fromarray(draw(1)).save(buffer, "JPEG", subsampling=subsampling)
    assert decode_image(buffer.getvalue()).jpeg_subsampling == subsampling


@pytest.mark.parametrize(
    ("mode", "image_format", "expected"),
    [("L", "JPEG", "4:0:0"), ("CMYK", "JPEG", "1x1 1x1 1x1 1x1"), ("RGB", "PNG", ""), ("RGB", "WEBP", "")],
)
def test_what_has_no_subsampling_says_so(mode, image_format, expected):
    buffer = io.BytesIO()
    Image.fromarray(draw(1)).convert(mode).save(buffer, image_format)
    assert decode_image(buffer.getvalue()).jpeg_subsampling == expected


@pytest.mark.parametrize("broken", [False, True], ids=["whole crops", "one broken crop"])
def test_a_store_of_an_older_version_is_completed_without_a_search_for_faces(tmp_path, monkeypatch, broken):
    monkeypatch.setattr("faceauth.intake.pipeline.collect.BATCH_FILES", 4)
    photos = save_layout(tmp_path / "photos", {"real/a": 5, "fake/b": 5}, suffix=".jpg")
    (photos / "real/a/empty.jpg").touch()
    files = find_sources([str(photos)])
    whole = collected(files, tmp_path / "out")
    assert {row.jpeg_subsampling for row in whole} == {"4:2:0", ""}
    journal = tmp_path / "out/.prepare/journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line["rows"] = [
            {**{name: value for name, value in row.items() if name not in NEWER}, "from_the_future": 1}
            for row in line["rows"]
        ]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if broken:
        next((tmp_path / "out/.prepare/crops").rglob("*.png")).write_bytes(b"no image")
    seen = []
    assert collected(files, tmp_path / "out", progress=seen.append) == whole
    assert len(seen) == broken
    # What was completed stays so.
    n_lines = len(journal.read_text().splitlines())
    assert n_lines > len(lines)
    assert collected(files, tmp_path / "out") == whole
    assert len(journal.read_text().splitlines()) == n_lines


def test_identities_come_from_a_groups_file_with_or_without_groups(tmp_path):
    photos = save_layout(tmp_path / "photos", {"real/a": 2, "fake/b": 1})
    (photos / "groups.csv").write_text("path,identity\nreal/a/0000.png,ann\nfake/b/0002.png,ann; bob\n")
    found = {file.address.path.name: (file.group, file.identity) for file in find_sources([str(photos)])}
    assert found == {"0000.png": ("", "ann"), "0001.png": ("", ""), "0002.png": ("", "ann; bob")}
    other = tmp_path / "other.csv"
    other.write_text("path,group,identity\nreal/a/0001.png,g,\nreal/a/0000.png,,zoe\n")
    found = {
        file.address.path.name: (file.group, file.identity)
        for file in find_sources([str(photos)], groups_file=other)
    }
    assert found == {"0000.png": ("", "zoe"), "0001.png": ("g", ""), "0002.png": ("", "")}


def test_people_never_straddle_the_splits_that_prepare_makes(run_cli, tmp_path):
    photos = save_layout(tmp_path / "photos", {"real/a": 12, "fake/b": 12})
    lines = [f"real/a/{i:04d}.png,person-{i % 6}" for i in range(12)]
    lines += [f"fake/b/{i:04d}.png,person-{i % 6};person-{(i + 3) % 6}" for i in range(12, 24)]
    (photos / "groups.csv").write_text("path,identity\n" + "\n".join(lines) + "\n")
    output = tmp_path / "prepared"
    run_cli("prepare", photos, "--output", output, "--face-detector", "whole", "--image-size", "64",
            "--splits", "0.4,0.3,0.3")  # fmt: skip
    splits = {}
    for row in read_manifest(output).rows:
        for person in row.identities:
            splits.setdefault(person, set()).add(row.split)
    assert len(splits) == 6
    assert all(len(found) == 1 for found in splits.values())
    assert len(set.union(*splits.values())) == 3
    assert json.loads((output / "prepare.json").read_text())["groups"]["tied"]["identity"] > 0
    assert json.loads((output / "audit.json").read_text())["leaks"]["identity"] == 0

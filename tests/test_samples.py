"""The embedded sample set: what its pictures show, what they must not give away, and how it is written."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceauth.errors import InputError, UsageError
from faceauth.samples.camera import demosaic, draw_camera_settings, take_photograph
from faceauth.samples.encoding import encode_jpeg, pad_jpeg, padded_size
from faceauth.samples.people import draw_identity, draw_shot
from faceauth.samples.portraits import draw_portrait
from faceauth.samples.sample_set import REAL_SOURCE, draw_picture, write_sample_set
from faceauth.samples.subjects import SIMULATED_GENERATORS, Subject

SMALL_PX = 160


def photographed(number: int, *, side_px: int = SMALL_PX) -> Subject:
    rng = np.random.default_rng(number)
    identity, shot, camera = draw_identity(rng), draw_shot(rng), draw_camera_settings(rng)
    portrait = draw_portrait(identity, shot, side_px=side_px)
    return Subject(identity, shot, portrait, camera, take_photograph(portrait, camera, rng))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def groups_of(folder: Path) -> dict[str, str]:
    with (folder / "groups.csv").open(newline="", encoding="utf-8") as stream:
        return {row["path"]: row["group"] for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples") / "set"
    return write_sample_set(folder, n_identities=2, shots_per_class=4, image_px=SMALL_PX, workers=1)


def test_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(
    small_set: Path, tmp_path: Path
) -> None:
    again = write_sample_set(
        tmp_path / "again", n_identities=2, shots_per_class=4, image_px=SMALL_PX, workers=2
    )

    assert files_of(again) == files_of(small_set)


def test_another_seed_gives_other_pictures(small_set: Path, tmp_path: Path) -> None:
    other = write_sample_set(tmp_path / "other", n_identities=1, image_px=SMALL_PX, seed=1, workers=1)

    shared = groups_of(other).keys() & groups_of(small_set).keys()
    assert shared
    assert not any((other / path).read_bytes() == (small_set / path).read_bytes() for path in shared)


def test_each_identity_is_one_group_with_as_many_real_pictures_as_fakes(small_set: Path) -> None:
    groups = groups_of(small_set)

    pictures = {path for path in files_of(small_set) if path.endswith(".jpg")}
    assert set(groups) == pictures
    assert len(set(groups.values())) == 2
    for group in set(groups.values()):
        kinds = [path.split("/")[0] for path, owner in groups.items() if owner == group]
        assert kinds.count("real") == kinds.count("fake") == 4
        sources = {path.split("/")[1] for path, owner in groups.items() if owner == group}
        assert sources == {REAL_SOURCE, *SIMULATED_GENERATORS.names()}


def test_file_size_and_pixel_size_tell_nothing(small_set: Path) -> None:
    pictures = {path: content for path, content in files_of(small_set).items() if path.endswith(".jpg")}

    assert {len(content) for content in pictures.values()} == {padded_size(SMALL_PX**2)}
    for content in pictures.values():
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            assert (picture.format, picture.size, picture.mode) == ("JPEG", (SMALL_PX, SMALL_PX), "RGB")


def test_full_size_pictures_fit_into_the_common_file_size() -> None:
    grainy = np.random.default_rng(0).normal(0.5, 0.06, (320, 320, 3)).astype(np.float32)

    assert len(encode_jpeg(grainy, quality=95)) == padded_size(320 * 320)


@pytest.mark.parametrize("missing", [4, 5, 1000, 65537, 65538, 65540, 65541, 65542, 200_000])
def test_padding_changes_the_size_and_not_the_pixels(missing: int) -> None:
    stream = io.BytesIO()
    gradient = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    Image.fromarray(gradient).save(stream, "JPEG", quality=90)
    plain = stream.getvalue()

    padded = pad_jpeg(plain, n_bytes=len(plain) + missing)

    assert len(padded) == len(plain) + missing
    with Image.open(io.BytesIO(plain)) as before, Image.open(io.BytesIO(padded)) as after:
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))


def test_an_existing_complete_set_is_reused_and_an_incomplete_one_is_not(
    small_set: Path, tmp_path: Path
) -> None:
    settings = {"n_identities": 1, "shots_per_class": 1, "image_px": SMALL_PX, "workers": 1}
    calls: list[tuple[int, int]] = []
    folder = write_sample_set(tmp_path / "set", **settings)
    before = files_of(folder)
    write_sample_set(folder, **settings, progress=lambda done, total: calls.append((done, total)))
    assert calls == []

    next(folder.rglob("*.jpg")).unlink()
    write_sample_set(folder, **settings, progress=lambda done, total: calls.append((done, total)))

    assert calls == [(1, 2), (2, 2)]
    assert files_of(folder) == before


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")

    with pytest.raises(InputError, match="not empty"):
        write_sample_set(tmp_path, n_identities=1, image_px=SMALL_PX, workers=1)

    assert files_of(tmp_path) == {"holiday.txt": b"mine"}


@pytest.mark.parametrize(
    "wrong", [{"n_identities": 0}, {"shots_per_class": 0}, {"image_px": 20}, {"image_px": 321}, {"seed": -1}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        write_sample_set(tmp_path / "set", **{"n_identities": 1, **wrong})

    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("name", SIMULATED_GENERATORS.names())
def test_every_generator_changes_the_picture_but_not_its_colours(name: str) -> None:
    generate = SIMULATED_GENERATORS.get(name)
    for number in range(3):
        subject = photographed(number)
        before = subject.photograph_srgb.copy()

        fake = generate(subject, np.random.default_rng(number))

        assert fake.shape == before.shape
        assert fake.dtype == np.float32
        np.testing.assert_array_equal(subject.photograph_srgb, before)
        assert 255 * np.abs(fake - before).mean() > 0.5
        assert np.all(np.abs(255 * (fake.mean(axis=(0, 1)) - before.mean(axis=(0, 1)))) < 3)


def test_upsampling_leaves_spectral_peaks_that_the_camera_lacks() -> None:
    upsample = SIMULATED_GENERATORS.get("sim_upsampler")
    real, fake = [], []
    for number in range(8):
        subject = photographed(number)
        real.append(peak_at_quarter(subject.photograph_srgb))
        fake.append(peak_at_quarter(upsample(subject, np.random.default_rng(number))))

    assert np.median(fake) > 5 * np.median(real)
    assert min(fake) > max(real)


def peak_at_quarter(picture_srgb: np.ndarray) -> float:
    """Power at a quarter of the sampling rate along both axes, relative to its neighbourhood."""
    grey = picture_srgb.mean(axis=-1)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    quarter = len(grey) // 4
    ratios = []
    for line in (power[quarter, :4].mean(), power[:4, quarter].mean()):
        around = np.median(power[quarter - 6 : quarter + 7, quarter - 6 : quarter + 7])
        near = np.median(
            [np.median(power[quarter + 3 : quarter + 9, :4]), np.median(power[:4, quarter + 3 : quarter + 9])]
        )
        ratios.append(line / max(near, around))
    return max(ratios)


def test_a_face_swap_keeps_the_photograph_outside_the_face() -> None:
    subject = photographed(1)

    fake = SIMULATED_GENERATORS.get("sim_faceswap")(subject, np.random.default_rng(1))

    change = 255 * np.abs(fake - subject.photograph_srgb).mean(axis=-1)
    assert change[:8].max() < 0.1
    assert change[-8:].max() < 0.1
    assert change[subject.portrait.inner_face > 0.9].mean() > 3


def test_demosaicing_keeps_a_flat_colour_and_every_measured_value() -> None:
    colour = np.array([0.2, 0.5, 0.7], np.float32)
    for red_row in (0, 1):
        for red_column in (0, 1):
            raw = np.full((12, 12), colour[1], np.float32)
            raw[red_row::2, red_column::2] = colour[0]
            raw[1 - red_row :: 2, 1 - red_column :: 2] = colour[2]

            np.testing.assert_allclose(
                demosaic(raw, red_row, red_column), np.broadcast_to(colour, (12, 12, 3)), atol=1e-6
            )


def test_people_and_shots_differ_between_seeds_and_repeat_for_one_seed() -> None:
    first, again, other = (np.random.default_rng(seed) for seed in (0, 0, 1))

    person = draw_identity(first)
    assert person == draw_identity(again)
    assert person != draw_identity(other)
    assert draw_shot(first) == draw_shot(again) != draw_shot(other)


def test_the_face_detector_finds_the_faces() -> None:
    import torch
    from facenet_pytorch import MTCNN

    sources = [REAL_SOURCE, *SIMULATED_GENERATORS.names()]
    jpegs = [draw_picture(sources[number % 5], (5, number, 0, 0), image_px=240) for number in range(40)]
    threads = torch.get_num_threads()
    # Its networks are so small that threads spend their time waiting for one another.
    torch.set_num_threads(1)
    try:
        boxes, p_faces = MTCNN(device="cpu").detect([Image.open(io.BytesIO(jpeg)) for jpeg in jpegs])
    finally:
        torch.set_num_threads(threads)

    found = [len(p_face) > 0 and p_face[0] is not None and p_face[0] >= 0.9 for p_face in p_faces]
    assert np.mean(found) >= 0.95
    # At the usual 320 px a crop of 256 px is nearly native: no strong resampling covers the traces.
    best = [box[0] for box, is_found in zip(boxes, found, strict=True) if is_found]
    sides = [1.3 * max(x2 - x1, y2 - y1) * 320 / 240 for x1, y1, x2, y2 in best]
    assert 0.85 * 256 < np.median(sides) < 1.15 * 256

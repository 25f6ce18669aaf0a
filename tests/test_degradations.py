"""Degradations: each is what it says, at every level of its grid, and the suites hold what they promise."""

import io
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import draw
from PIL import Image, JpegImagePlugin
from scipy.ndimage import gaussian_filter1d

from faceauth.degradations.degrade import DEGRADATIONS, AtLevel, Degradation, degrade
from faceauth.degradations.kinds import compression
from faceauth.degradations.kinds.compression import encode_h264, encode_jpeg, encode_webp
from faceauth.degradations.suites import SUITES, choose_levels
from faceauth.errors import InputError, MissingExtraError, UnknownNameError, UsageError
from faceauth.intake.pixels.images import decode_image

NAMES = DEGRADATIONS.names()
GRIDS = [(name, level) for name in NAMES for level in DEGRADATIONS.get(name).levels]


def rng_of(seed=0):
    return np.random.default_rng(seed)


def apply(name, image, level, seed=0):
    return DEGRADATIONS.get(name).apply(image, level, rng_of(seed))


def levels_of(name):
    return DEGRADATIONS.get(name).levels


def noisy_picture(seed=3, *, side=128):
    """A soft pattern with fine grain, away from black and white."""
    grain = np.random.default_rng(seed).normal(0, 12, (side, side, 3))
    return np.clip(40 + draw(seed, side=side) * 0.7 + grain, 0, 255).astype(np.uint8)


def grey(value, *, side=64):
    return np.full((side, side, 3), value, np.uint8)


@pytest.fixture
def jpegs(monkeypatch):
    """Every JPEG that is saved during a test, as bytes."""
    saved = []

    def spy(image_rgb_uint8, quality):
        saved.append(encode_jpeg(image_rgb_uint8, quality))
        return saved[-1]

    monkeypatch.setattr(compression, "encode_jpeg", spy)
    return saved


def subsampling(content):
    with Image.open(io.BytesIO(content)) as image:
        return JpegImagePlugin.get_sampling(image)


def power_spectrum(image):
    luma = image.astype(np.float64).mean(axis=2)
    return np.abs(np.fft.fft2(luma - luma.mean())) ** 2


def power_above(image, cycles_per_px):
    """The power beyond a frequency in either direction."""
    power = power_spectrum(image)
    rows, columns = (np.abs(np.fft.fftfreq(n)) for n in power.shape)
    beyond = np.maximum(rows[:, None], columns[None, :]) > cycles_per_px
    return float(power[beyond].sum())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(61, 47, 3), (96, 96, 3)])
def test_a_degradation_keeps_shape_and_input_repeats_and_changes_pixels(name, shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    for level in levels_of(name):
        first = apply(name, image, level, seed=5)
        assert first.shape == shape
        assert first.dtype == np.uint8
        np.testing.assert_array_equal(first, apply(name, image, level, seed=5))
        np.testing.assert_array_equal(image, before)
    strongest = levels_of(name)[-1]
    assert not np.array_equal(apply(name, image, strongest), image)


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_goes_from_mild_to_strong(name):
    part = DEGRADATIONS.get(name)
    if name == "flip" or name == "crop":
        return  # a mirrored or moved picture has no distance to the one before
    image = noisy_picture()
    distance = [np.abs(apply(name, image, level).astype(float) - image).mean() for level in part.levels]
    place = part.clean_place(part.levels)
    assert distance[:place] == sorted(distance[:place], reverse=True)
    assert distance[place:] == sorted(distance[place:])


@pytest.mark.parametrize("name", NAMES)
def test_training_augments_with_it(name):
    image = noisy_picture(side=256)
    first, again = (degrade(image, {name: 1.0}, rng_of(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, image)
    np.testing.assert_array_equal(degrade(image, {name: 0.0}, rng_of(5)), image)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("jpeg", 30, 100), ("blur", 0, 3), ("resize", 0.5, 1), ("gaussian_noise", 0, 15), ("h264", 18, 38)],
)
def test_training_draws_levels_from_the_whole_of_their_range(name, low, high):
    rng = rng_of()
    drawn = np.array([DEGRADATIONS.get(name).draw(rng) for _ in range(2000)])
    assert low <= drawn.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < drawn.max() <= high
    assert drawn.mean() == pytest.approx((low + high) / 2, rel=0.05)


@pytest.mark.parametrize("level", levels_of("jpeg"))
def test_a_jpeg_has_its_quality_and_half_the_colours_resolution(level, jpegs):
    degraded = apply("jpeg", noisy_picture(), level)
    (content,) = jpegs
    read = decode_image(content)
    assert (read.format, read.jpeg_quality) == ("JPEG", level)
    assert subsampling(content) == 2  # 4:2:0
    np.testing.assert_array_equal(read.image_rgb_uint8, degraded)


def blockiness(image):
    """Mean step between neighbouring columns, by the place of the step within 8 px, (8,)."""
    steps = np.abs(np.diff(image.astype(np.float64).mean(axis=2), axis=1)).mean(axis=0)
    return np.array([steps[place::8].mean() for place in range(8)])


def test_a_double_jpeg_has_both_qualities_and_both_grids(jpegs):
    image = noisy_picture(side=256)
    degraded = apply("double_jpeg", image, 95)
    assert [decode_image(content).jpeg_quality for content in jpegs] == [70, 95]
    np.testing.assert_array_equal(decode_image(jpegs[1]).image_rgb_uint8, degraded)
    # Steps at a border of blocks: between columns 7 and 8 for the last grid, 3 and 4 for the one before.
    assert blockiness(apply("jpeg", image, 70)).argmax() == 7
    assert blockiness(degraded).argmax() == 3
    assert blockiness(apply("double_jpeg", image, 35)).argmax() == 7


@pytest.mark.parametrize("level", levels_of("webp"))
def test_webp_is_lossy_webp(level):
    image = noisy_picture()
    content = encode_webp(image, level)
    assert content[:4] + content[8:16] == b"RIFFWEBPVP8 "
    read = decode_image(content)
    assert read.format == "WEBP"
    np.testing.assert_array_equal(read.image_rgb_uint8, apply("webp", image, level))


def test_webp_of_lower_quality_is_smaller():
    sizes = [len(encode_webp(noisy_picture(), level)) for level in levels_of("webp")]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("level", levels_of("h264"))
def test_h264_went_through_x264_at_its_rate_factor(level):
    image = noisy_picture()
    stream = encode_h264(image, level)
    # x264 writes its settings into the stream.
    settings_of_x264 = stream[stream.index(b"x264 - core") :].decode("ascii", "ignore")
    assert re.search(rf"crf={level}\.0 ", settings_of_x264)
    assert np.abs(apply("h264", image, level).astype(float) - image).mean() > 1


def test_h264_of_a_higher_rate_factor_is_smaller():
    sizes = [len(encode_h264(noisy_picture(), level)) for level in levels_of("h264")]
    assert sizes == sorted(sizes, reverse=True)


def test_without_pyav_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"faceauth\[video\]"):
        apply("h264", grey(9), 23)
    with pytest.raises(MissingExtraError, match=r"faceauth\[video\]"):
        choose_levels("full")
    assert "jpeg" in choose_levels("genimage")


@given(sigma=st.floats(1.0, 25.0), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_gaussian_noise_has_its_sigma_and_no_bias(sigma, seed):
    noise = apply("gaussian_noise", grey(128), sigma, seed).astype(float) - 128
    # Rounding adds a twelfth to the variance; 12,288 values leave 0.6 % of doubt, taken five times.
    assert noise.std() == pytest.approx(np.sqrt(sigma**2 + 1 / 12), rel=0.035)
    assert abs(noise.mean()) < 5 * sigma / np.sqrt(noise.size) + 0.02


@given(photons=st.floats(30.0, 3000.0), value=st.integers(90, 180), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_shot_noise_has_the_variance_of_counted_photons(photons, value, seed):
    def linear(srgb):
        return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)

    light = linear(apply("shot_noise", grey(value, side=96), photons, seed) / 255)
    expected = float(linear(np.array(value / 255)))
    assert light.mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / photons / light.size) + 0.002)
    counted = expected / photons
    # 27,648 values leave 0.9 % of doubt, taken five times; rounding to 8 bits adds a little.
    assert light.var() == pytest.approx(counted, rel=0.07, abs=1e-6)


@pytest.mark.parametrize("sigma", levels_of("blur"))
def test_an_edge_is_blurred_with_its_sigma(sigma):
    edge = np.zeros((64, 128, 3), np.uint8)
    edge[:, 64:] = 255
    blurred = apply("blur", edge, sigma)[32, :, 0].astype(float)
    response = np.diff(blurred)
    place = np.arange(len(response))
    centre = (response * place).sum() / response.sum()
    measured = np.sqrt((response * (place - centre) ** 2).sum() / response.sum())
    assert measured == pytest.approx(sigma, rel=0.03)
    assert np.abs(blurred - gaussian_filter1d(edge[32, :, 0].astype(float), sigma)).max() < 4


@pytest.mark.parametrize("factor", [0.5, 0.35, 0.25, 0.125])
def test_resizing_cuts_the_spectrum(factor):
    noise = np.random.default_rng(0).integers(60, 200, (128, 128, 3), dtype=np.uint8)
    cut = 0.5 * factor * 1.2
    before, after = power_above(noise, cut), power_above(apply("resize", noise, factor), cut)
    assert after < 0.05 * before
    kept = 0.5 * factor * 0.5
    assert power_above(apply("resize", noise, factor), kept) > 5 * after


def test_downsampling_is_resizing_to_a_side_and_never_enlarges():
    image = noisy_picture(side=256)
    np.testing.assert_array_equal(apply("downsample", image, 64), apply("resize", image, 0.25))
    np.testing.assert_array_equal(apply("downsample", image, 256), image)
    small = noisy_picture(side=48)
    np.testing.assert_array_equal(apply("downsample", small, 64), small)
    wide = np.repeat(image, 2, axis=1)
    np.testing.assert_array_equal(apply("downsample", wide, 128), apply("resize", wide, 0.25))


@pytest.mark.parametrize("frequency", [0.05, 0.125, 0.25])
def test_sharpening_amplifies_each_frequency_as_an_unsharp_mask_does(frequency):
    wave = np.sin(2 * np.pi * frequency * np.arange(160))
    image = np.repeat(np.repeat(np.rint(128 + 20 * wave)[None, :, None], 32, 0), 3, 2).astype(np.uint8)
    line = apply("sharpen", image, 1.0)[16, 40:120, 0].astype(float) - 128
    gain = line.std() / (20 * wave[40:120]).std()
    assert gain == pytest.approx(2 - np.exp(-2 * (np.pi * 1.5 * frequency) ** 2), rel=0.04)


@given(level=st.floats(0.3, 2.0), value=st.integers(0, 255))
def test_brightness_multiplies(level, value):
    assert (apply("brightness", grey(value, side=2), level) == min(255, np.rint(value * level))).all()


@pytest.mark.parametrize("level", [0.5, 0.75, 1.33])
def test_contrast_multiplies_the_spread_about_the_mean(level):
    image = np.clip(np.random.default_rng(0).normal(120, 20, (64, 64, 3)), 60, 180).astype(np.uint8)
    changed = apply("contrast", image, level).astype(float)
    assert changed.std() == pytest.approx(level * image.std(), rel=0.02)
    assert changed.mean() == pytest.approx(image.mean(), abs=1)


@given(level=st.floats(0.4, 1.0))
def test_gamma_inverts(level):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    there = apply("gamma", ramp, level)
    assert (there >= ramp).all()
    back = apply("gamma", there, 1 / level)
    assert np.abs(back.astype(int) - ramp).max() <= 2


@pytest.mark.parametrize("name", [name for name in NAMES if DEGRADATIONS.get(name).neutral is not None])
def test_the_neutral_level_does_nothing_and_lies_within_the_grid(name):
    part = DEGRADATIONS.get(name)
    image = noisy_picture()
    np.testing.assert_array_equal(apply(name, image, part.neutral), image)
    assert part.levels == tuple(sorted(part.levels))
    assert 0 < part.clean_place(part.levels) < len(part.levels)


@given(level=st.integers(2, 64), seed=st.integers(0, 99))
def test_quantisation_leaves_at_most_so_many_values(level, seed):
    image = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    left = apply("quantise", image, level)
    for channel in range(3):
        assert len(np.unique(left[:, :, channel])) <= level
    assert np.abs(left.astype(int) - image).max() <= np.ceil(255 / (level - 1) / 2)


def test_greyscale_removes_the_share_of_colour():
    image = noisy_picture()
    assert np.ptp(apply("greyscale", image, 1.0), axis=2).max() == 0
    half = np.ptp(apply("greyscale", image, 0.5).astype(int), axis=2).mean()
    assert half == pytest.approx(np.ptp(image.astype(int), axis=2).mean() / 2, abs=1)


def test_flip_mirrors():
    image = noisy_picture()
    np.testing.assert_array_equal(apply("flip", image, 1), image[:, ::-1])


@pytest.mark.parametrize("share", levels_of("crop"))
def test_a_crop_keeps_its_share_somewhere_in_the_picture(share):
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (200, 200, 3))
    starts = set()
    for seed in range(20):
        left = apply("crop", ramp, share, seed)
        kept = left.astype(int)[100, :, 0]
        assert np.ptp(kept) + 1 == pytest.approx(200 * share, abs=2)
        assert (np.diff(kept) >= 0).all()
        starts.add(int(kept[0]))
    assert len(starts) > 5
    assert min(starts) < 200 * (1 - share) / 2 < max(starts)


def test_the_social_network_makes_smaller_and_saves_once(jpegs):
    image = noisy_picture(side=200)
    degraded = apply("social_network", image, 70)
    (content,) = jpegs
    read = decode_image(content)
    assert read.jpeg_quality == 70
    assert read.image_rgb_uint8.shape == (120, 120, 3)
    assert subsampling(content) == 2
    cut = 0.5 * 0.6 * 1.3
    assert power_above(degraded, cut) < 0.1 * power_above(image, cut)


@pytest.mark.parametrize("times", levels_of("reshare"))
def test_passing_on_saves_so_many_times(times, jpegs):
    image = noisy_picture()
    apply("reshare", image, times)
    assert len(jpegs) == times
    assert all(60 <= decode_image(content).jpeg_quality <= 85 for content in jpegs)
    assert all(
        96 <= side < 104 for content in jpegs for side in decode_image(content).image_rgb_uint8.shape[:2]
    )


def test_a_screenshot_is_smaller_lighter_and_warmer(jpegs):
    image = grey(128)
    shown = apply("screenshot", image, 0.5)
    read = decode_image(jpegs[0])
    assert read.jpeg_quality == 85
    assert read.image_rgb_uint8.shape == (32, 32, 3)
    red, green, blue = shown.mean(axis=(0, 1))
    assert red > green > blue
    assert red > 130


def test_the_same_picture_gets_the_same_noise_in_any_order_and_process():
    pictures = [noisy_picture(seed) for seed in range(3)]
    at = AtLevel("gaussian_noise", 10.0, seed=4)
    first = [at(picture) for picture in pictures]
    elsewhere = pickle.loads(pickle.dumps(at))
    for picture, noisy in reversed(list(zip(pictures, first, strict=True))):
        np.testing.assert_array_equal(elsewhere(np.asfortranarray(picture)), noisy)
    noises = [noisy.astype(int) - picture for picture, noisy in zip(pictures, first, strict=True)]
    assert not np.array_equal(noises[0], noises[1])
    assert not np.array_equal(AtLevel("gaussian_noise", 10.0, seed=5)(pictures[0]), first[0])


def test_levels_of_noise_differ_by_the_level_alone():
    image = grey(128)
    mild, strong = (AtLevel("gaussian_noise", level)(image).astype(float) - 128 for level in (10, 20))
    assert np.corrcoef(mild.ravel(), strong.ravel())[0, 1] > 0.99


def test_the_page_has_every_degradation_with_its_levels_and_range():
    text = (Path(__file__).parents[1] / "docs/robustness.md").read_text("utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([\d., ]+) \| ([\d.]+) to ([\d.]+) \|$", text, re.M
    )
    written = {name: (unit, tuple(map(float, grid.split(",")))) for name, unit, grid, _, _ in rows}
    assert written == {
        name: (DEGRADATIONS.get(name).unit, tuple(map(float, levels_of(name)))) for name in NAMES
    }
    for name, _, _, low, high in rows:
        rng = rng_of()
        drawn = np.array([DEGRADATIONS.get(name).draw(rng) for _ in range(1000)])
        low, high = float(low), float(high)
        assert low <= drawn.min() <= low + 0.05 * (high - low), name
        assert high - 0.05 * (high - low) <= drawn.max() <= high, name


def test_an_unknown_degradation_gets_the_close_match():
    with pytest.raises(UnknownNameError, match="Did you mean 'blur'"):
        degrade(grey(1, side=8), {"blurr": 0.5}, rng_of())


def test_a_degradation_that_changes_the_shape_is_refused(monkeypatch):
    def halve(image_rgb_uint8, level, rng):
        return image_rgb_uint8[::2]

    part = Degradation(halve, levels=(1,), unit="", draw=lambda rng: 1.0)
    monkeypatch.setitem(DEGRADATIONS._parts, "halve", part)
    with pytest.raises(InputError, match="halve"):
        degrade(grey(1, side=8), {"halve": 1.0}, rng_of())


def test_genimage_is_the_second_task_of_genimage():
    levels = choose_levels("genimage")
    assert levels == {"downsample": (112, 64), "jpeg": (65, 30), "blur": (3, 5)}


def test_the_full_suite_has_everything_and_the_levels_of_genimage():
    full = choose_levels("full")
    assert set(full) == set(NAMES)
    assert sum(map(len, full.values())) == len(GRIDS)
    for name, levels in choose_levels("genimage").items():
        assert set(levels) <= set(full[name])


@pytest.mark.parametrize("suite", SUITES.names())
def test_a_suite_can_be_cut_down_to_some_of_its_degradations(suite):
    everything = choose_levels(suite)
    assert choose_levels(suite, ["blur"]) == {"blur": everything["blur"]}
    assert all(len(set(grid)) == len(grid) > 0 for grid in everything.values())


def test_what_a_suite_lacks_is_named():
    with pytest.raises(UsageError, match=r"no 'webp'.*downsample, jpeg, blur"):
        choose_levels("genimage", ["webp"])
    with pytest.raises(UnknownNameError, match="Did you mean 'webp'"):
        choose_levels("full", ["wepb"])
    with pytest.raises(UnknownNameError, match="Did you mean 'genimage'"):
        choose_levels("genimages")

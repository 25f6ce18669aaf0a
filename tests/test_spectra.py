"""Spectra of sources: planted traces are found where they are, and nothing where there is none."""

import io
import json

import numpy as np
import pytest
from clips import save_video
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceauth.clusters.spectra import Moments, average_spectra, mean_of_sources, whole_plane
from faceauth.clusters.spectra_document import SourceSpectra, reference_for
from faceauth.clusters.spectral_lines import find_lines
from faceauth.clusters.spectral_patches import (
    CHANGED,
    KINDS,
    MISSING,
    SMALL,
    UNREADABLE,
    PatchSource,
    describe_patch,
    log_power,
    measure_patches,
    noise_residual,
    read_patches,
)
from faceauth.clusters.spectral_peaks import MIN_GROUPS, find_own_peaks, find_peaks_against
from faceauth.errors import ManifestError, UsageError
from faceauth.intake.manifest import ManifestRow, write_manifest
from faceauth.intake.pixels.images import read_image
from faceauth.intake.sources.address import Address
from faceauth.samples.camera import draw_camera_settings, take_photograph
from faceauth.samples.people import draw_identity, draw_shot
from faceauth.samples.portraits import draw_portrait
from faceauth.samples.subjects import SIMULATED_GENERATORS, Subject
from faceauth.verbs.spectra import SpectraSettings, spectra

PATCH_PX = 64
GREY, GRAIN = 128, 12


def grain(rng, side_px=PATCH_PX):
    return rng.normal(GREY, GRAIN, (side_px, side_px))


def checkerboard(rng):
    """Every second column a little brighter, as a transposed convolution off balance leaves it."""
    return grain(rng) + np.where(np.arange(PATCH_PX) % 2, 2.0, -2.0)


def doubled(rng):
    return grain(rng, PATCH_PX // 2).repeat(2, axis=0).repeat(2, axis=1)


def average(draw, *, n=30, seed=0):
    """Average spectra of n patches, each of a group of its own."""
    rng = np.random.default_rng(seed)
    moments = Moments()
    for _ in range(n):
        moments.add_group(describe_patch(np.clip(draw(rng), 0, 255), KINDS), 1)
    return average_spectra(moments, patch_px=PATCH_PX, kinds=KINDS)


def places(peaks):
    return {(peak.fx, peak.fy) for peak in peaks}


def write_sources(folder, sources, *, groups=12, side_px=PATCH_PX, box=None):
    """Writes a prepared folder whose crops are the source images; `sources` is {name: (target, draw)}."""
    rows = []
    box = box or (4.0, 4.0, side_px - 4.0, side_px - 4.0)
    for source, (target, draw) in sources.items():
        rng = np.random.default_rng(len(rows))
        for number in range(groups):
            pixels = np.clip(draw(rng), 0, 255).round().astype(np.uint8)
            path = folder / f"{source}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).convert("RGB").save(path)
            rows.append(
                ManifestRow(
                    image_path=path.name,
                    destination_path=path.name,
                    folder=source,
                    split=("train", "val", "test")[number % 3],
                    target_class="real" if target else "fake",
                    target=target,
                    group=f"{source}-{number // 2}",
                    box=box,
                    width=side_px,
                    height=side_px,
                )
            )
    write_manifest(rows, folder)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    sources = {"camera": (1, grain), "phone": (1, grain), "gan": (0, checkerboard), "plain": (0, grain)}
    return write_sources(tmp_path_factory.mktemp("spectra") / "prepared", sources, groups=24)


@pytest.fixture(scope="module")
def measured(prepared, tmp_path_factory):
    output = tmp_path_factory.mktemp("spectra") / "out"
    return spectra(prepared, output, settings=SpectraSettings(workers=0)), output


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr("faceauth.verbs.spectra.draw_spectra_figures", lambda *_: [])


def test_white_noise_has_a_flat_spectrum_of_its_own_variance():
    spectrum = average(grain, n=60)["pixels"]

    level = 20 * np.log10(GRAIN) - 10 * np.euler_gamma / np.log(10)
    # The lowest frequencies lose the mean.
    inner = spectrum.log_power_db[2:-2, 2:]
    assert inner.mean() == pytest.approx(level, abs=0.1)
    assert inner.std() == pytest.approx(spectrum.error_db[2:-2, 2:].mean(), rel=0.15)
    at_the_edges = average(grain, n=400)["pixels"].log_power_db[[0, 32, 32], [32, 0, 32]]
    assert np.abs(at_the_edges - level).max() < 1.8
    assert np.abs(spectrum.profile_db[3:] - level).max() < 0.6
    assert abs(spectrum.high_frequency_db) < 4 * spectrum.high_frequency_error_db


def test_errors_are_those_of_repeated_measurements():
    repeated = [average(grain, n=12, seed=seed)["pixels"] for seed in range(40)]

    for name, error in (("log_power_db", "error_db"), ("profile_db", "profile_error_db")):
        spread = np.std([getattr(one, name) for one in repeated], axis=0, ddof=1)
        claimed = np.sqrt(np.mean([getattr(one, error) ** 2 for one in repeated], axis=0))
        assert np.median(spread / claimed) == pytest.approx(1, abs=0.1)


def test_pictures_of_one_group_count_as_one():
    rng = np.random.default_rng(0)
    alone, copied = Moments(), Moments()
    for _ in range(12):
        values = describe_patch(grain(rng), KINDS)
        alone.add_group(values, 1)
        copied.add_group(5 * values, 5)

    for once, five_times in zip(alone.mean_and_error(), copied.mean_and_error(), strict=True):
        np.testing.assert_allclose(five_times, once, rtol=1e-5, atol=1e-6)
    assert np.isinf(Moments(3, 1, values, values**2, 3 * values, 9).mean_and_error()[1]).all()


@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=8),
    cut=st.integers(1, 7),
    seed=st.integers(0, 2**16),
)
def test_sums_may_be_taken_apart_between_groups(sizes, cut, seed):
    rng = np.random.default_rng(seed)
    groups = [rng.normal(30, 6, (size, 3)) for size in sizes]
    whole, first, second = Moments(), Moments(), Moments()
    for i, group in enumerate(groups):
        whole.add_group(group.sum(axis=0), len(group))
        (first if i < cut else second).add_group(group.sum(axis=0), len(group))
    first.merge(second)

    mean, error = first.mean_and_error()
    np.testing.assert_allclose(mean, np.concatenate(groups).mean(axis=0))
    np.testing.assert_allclose(error, whole.mean_and_error()[1], rtol=1e-6, atol=1e-9)
    # The definition: the scatter of the groups' sums around what the mean lets expect.
    scatter = sum((group.sum(axis=0) - len(group) * mean) ** 2 for group in groups)
    expected = np.sqrt(scatter * len(groups) / (len(groups) - 1)) / sum(sizes)
    np.testing.assert_allclose(error, expected, rtol=1e-5, atol=1e-6)


@given(p=st.sampled_from([32, 48, 64]), seed=st.integers(0, 2**16))
def test_half_a_plane_holds_the_whole(p, seed):
    power = log_power(np.random.default_rng(seed).normal(GREY, GRAIN, (p, p)))

    np.testing.assert_allclose(whole_plane(power[:, : p // 2 + 1]), power, atol=1e-6)


def test_a_checkerboard_of_columns_is_a_peak_at_half_a_cycle_per_pixel():
    search = find_peaks_against(average(checkerboard)["pixels"], [average(grain, seed=1)["pixels"]])

    strongest = search.peaks[0]
    assert (strongest.fx, strongest.fy, strongest.fraction) == (0.5, 0.0, "1/2, 0")
    assert places(search.peaks) == {(0.5, 0.0)}
    # The power of the pattern over that of the noise in one bin of a Hann window; and the mean logarithm of
    # noise lies below that of its mean; for both sides alike another 3 dB are added at this frequency.
    above_mean = 10 * np.log10(2.0**2 * (PATCH_PX * 2 / 3) ** 2 / GRAIN**2)
    expected = above_mean + 10 * (np.euler_gamma + np.log(2)) / np.log(10)
    assert strongest.height_db == pytest.approx(expected, abs=1.5)
    assert strongest.z > search.limit_z
    assert strongest.height_db > search.limit_db
    assert not search.holes


def test_pixels_that_were_doubled_leave_holes_along_the_edges():
    spectrum = average(doubled, n=40)["pixels"]
    reference = average(grain, n=40, seed=1)["pixels"]
    difference = spectrum.log_power_db - reference.log_power_db

    # A box of two pixels has a zero at 1/2, whatever the other frequency is.
    assert difference[:, -1].max() < -15
    assert difference[PATCH_PX // 2].max() < -15
    assert difference[5:20, 5:20].mean() > 0
    # Zeros along whole lines are no grid of peaks.
    assert not find_peaks_against(spectrum, [reference]).peaks


def test_a_removed_frequency_is_a_hole_and_not_a_peak():
    def without(rng):
        plane = np.fft.fft2(grain(rng))
        for row, column in ((16, 8), (-16, -8)):
            plane[row, column] = 0
            for near in (-1, 1):
                plane[row + near, column] = plane[row, column + near] = 0
                plane[row + near, column + near] = plane[row - near, column + near] = 0
        return np.fft.ifft2(plane).real

    search = find_peaks_against(average(without)["pixels"], [average(grain, seed=1)["pixels"]])
    assert not search.peaks
    assert [(hole.fx, hole.fy, hole.n_mirrored) for hole in search.holes] == [(1 / 8, 1 / 4, 1)]
    assert search.holes[0].height_db < 0 > search.holes[0].z


def test_a_wave_in_two_directions_is_one_peak_found_twice():
    y, x = np.indices((PATCH_PX, PATCH_PX))
    waves = np.cos(2 * np.pi * (x / 4 + y / 8)) + np.cos(2 * np.pi * (x / 4 - y / 8))

    (peak,) = find_own_peaks(average(lambda rng: grain(rng) + 2 * waves)["pixels"]).peaks
    assert (peak.fx, peak.fy, peak.n_mirrored) == (0.25, 0.125, 2)
    assert (peak.fraction, peak.on_jpeg_grid) == ("1/4, 1/8", True)


def test_a_ridge_along_an_axis_is_no_peak_but_one_on_it_is():
    def stripes(rng):
        return grain(rng) + rng.normal(0, 40, PATCH_PX)

    def striped_checkerboard(rng):
        return checkerboard(rng) + rng.normal(0, 3, PATCH_PX)

    assert not find_own_peaks(average(stripes)["pixels"]).peaks
    assert places(find_own_peaks(average(striped_checkerboard)["pixels"]).peaks) == {(0.5, 0.0)}


def test_a_texture_that_is_there_twice_leaves_a_comb_of_lines():
    def twins(rng):
        picture = grain(rng)
        texture = rng.normal(0, 30, (24, 12))
        top = rng.integers(10, 30)
        for left in (20, 36):
            picture[top : top + 24, left : left + 12] += texture
        return picture

    spectrum, reference = average(twins, n=60)["pixels"], average(grain, n=60, seed=1)["pixels"]
    lines, limit_db = find_lines(spectrum, [reference])
    assert {(line.axis, line.frequency) for line in lines} == {("x", k / 16) for k in range(2, 9)}
    assert [line.fraction for line in lines if line.frequency == 3 / 16] == ["3/16"]
    assert min(line.height_db for line in lines) > limit_db > 0
    assert {line.axis for line in find_lines(spectrum, [])[0]} == {"x"}
    # A line is no peak, and a peak is no line.
    assert not find_peaks_against(spectrum, [reference]).peaks
    assert not find_lines(average(checkerboard)["pixels"], [])[0]


def test_without_a_trace_there_are_hardly_ever_peaks():
    n_repeats, alarms = 25, {"own": 0, "peaks": 0, "holes": 0, "lines": 0}
    for seed in range(n_repeats):
        source = average(grain, n=MIN_GROUPS + seed % 6, seed=seed)
        others = [average(grain, n=20, seed=1000 + 2 * seed + i) for i in range(2)]
        for kind in KINDS:
            search = find_peaks_against(source[kind], [other[kind] for other in others])
            alarms["own"] += bool(find_own_peaks(source[kind]).peaks)
            alarms["peaks"] += bool(search.peaks)
            alarms["holes"] += bool(search.holes)
            alarms["lines"] += bool(find_lines(source[kind], [other[kind] for other in others])[0])
    # 5 % of 50 are 2.5; more than 7 of 50 would come with a chance of 0.3 %.
    assert max(alarms.values()) <= 7


def test_the_grid_of_jpeg_shows_at_multiples_of_an_eighth():
    def stairs(rng):
        # What such a file leaves of a slope: blocks of one grey level each.
        slope = np.arange(PATCH_PX) * rng.uniform(0.5, 1) + rng.uniform(0, 60)
        picture = np.clip(slope + rng.normal(0, 3, (PATCH_PX, PATCH_PX)), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", quality=10)
        return np.asarray(Image.open(stream), float) + rng.normal(0, 1, picture.shape)

    peaks = find_own_peaks(average(stairs)["pixels"]).peaks
    assert {(1 / 8, 0.0), (1 / 4, 0.0), (3 / 8, 0.0)} <= places(peaks)
    assert all(peak.on_jpeg_grid for peak in peaks)


def test_the_simulated_upsampler_shows_its_peaks():
    real, fake = Moments(), Moments()
    for number in range(4):
        rng = np.random.default_rng(number)
        identity, shot, camera = draw_identity(rng), draw_shot(rng), draw_camera_settings(rng)
        portrait = draw_portrait(identity, shot, side_px=160)
        photograph = take_photograph(portrait, camera, rng)
        subject = Subject(identity, shot, portrait, camera, photograph)
        upsampled = SIMULATED_GENERATORS.get("sim_upsampler")(subject, rng)
        for moments, picture in ((real, photograph), (fake, upsampled)):
            luma = 255 * picture.mean(axis=-1).astype(np.float64)
            for top in (0, 48, 96):
                patch = luma[top : top + PATCH_PX, top : top + PATCH_PX]
                moments.add_group(describe_patch(patch, KINDS), 1)
    reals, fakes = (average_spectra(one, patch_px=PATCH_PX, kinds=KINDS) for one in (real, fake))

    search = find_peaks_against(fakes["residuals"], [reals["residuals"]])
    assert {(0.25, 0.0), (0.0, 0.25)} <= places(search.peaks)
    assert not find_peaks_against(reals["residuals"], [reals["residuals"]]).peaks


def test_a_linear_filter_would_change_no_difference_but_the_residual_does():
    rng = np.random.default_rng(0)
    edge = np.where(np.arange(PATCH_PX) < 30, 60.0, 200.0) + rng.normal(0, 2, (PATCH_PX, PATCH_PX))

    residual = noise_residual(edge)
    # The edge is gone, and the grain beside it has stayed.
    assert np.abs(residual[:, 29:31]).mean() < 1
    assert residual[:, 5:25].std() == pytest.approx(2 * np.sqrt(24 / 25), rel=0.25)
    assert not noise_residual(np.full((16, 16), 7.0)).any()


def test_collections_have_the_same_weight_whatever_their_size():
    large, small = (average(grain, n=n, seed=n)["pixels"] for n in (40, 10))

    mean = mean_of_sources([large, small])
    np.testing.assert_allclose(mean.log_power_db, (large.log_power_db + small.log_power_db) / 2)
    np.testing.assert_allclose(mean.error_db, np.hypot(large.error_db, small.error_db) / 2)


def test_patches_are_cut_and_never_resampled(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    photo, face = Address(path), (40.0, 20.0, 80.0, 60.0)
    (tmp_path / "broken.png").write_bytes(b"no picture")

    found = read_patches(
        [
            PatchSource(photo, face, 1.0, read_image(path).sha256),
            PatchSource(Address(tmp_path / "gone.png")),
            PatchSource(photo),
            PatchSource(photo, sha256="0" * 64),
            PatchSource(Address(tmp_path / "\0")),
            PatchSource(Address(tmp_path / "broken.png")),
        ],
        32,
    )
    patches, why_not = zip(*found, strict=True)
    assert why_not == ("", MISSING, "", CHANGED, MISSING, UNREADABLE)
    np.testing.assert_allclose(patches[0], pixels[24:56, 44:76] @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_allclose(patches[2], pixels[29:61, 44:76] @ np.array([0.299, 0.587, 0.114]))
    assert list(read_patches([PatchSource(photo, face)], 48)) == [(None, SMALL)]


def test_patches_of_frames_are_of_their_very_pixels(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(10)]
    path = save_video(tmp_path / "clip.mp4", pictures)
    sources = [PatchSource(Address(path, time_s)) for time_s in (0.05, 0.30)]
    (second, _), (eighth, _) = read_patches(sources, 64)
    for patch, number in ((second, 1), (eighth, 7)):
        np.testing.assert_allclose(patch, pictures[number] @ np.array([0.299, 0.587, 0.114]))


def test_what_cannot_be_used_is_counted_and_ends_nothing(tmp_path):
    Image.fromarray(np.full((40, 40), 9, np.uint8)).save(tmp_path / "a.png")
    paths = [[tmp_path / "a.png", tmp_path / "b.png"], [tmp_path]]
    groups = [[PatchSource(Address(path)) for path in group] for group in paths]

    moments = measure_patches(groups, 32, KINDS)
    assert (moments.n, moments.n_groups, dict(moments.left_out)) == (1, 1, {MISSING: 2})


def test_the_document_says_what_was_found_and_what_was_not(measured):
    document, output = measured
    assert json.loads((output / "spectra.json").read_text()) == document
    assert (document["n"], document["patch_px"], document["scale"]) == (96, PATCH_PX, "native")
    gan, plain, camera = (document["sources"][name] for name in ("gan", "plain", "camera"))
    assert (gan["n"], gan["n_groups"], gan["target"], camera["target"]) == (24, 12, 0, 1)
    peak = gan["peaks"][0]
    assert (peak["fx"], peak["fy"], peak["kind"] in KINDS) == (0.5, 0.0, True)
    assert peak["own_height_db"] > peak["highest_real_db"] + 6
    assert peak["highest_real"] in ("camera", "phone")
    for name in ("peaks", "lines", "own_peaks", "own_lines"):
        assert plain[name] == camera[name] == []
    assert plain["limits"]["pixels"]["height_db"] > 0
    rate = camera["high_frequency_db"]["pixels"]
    assert rate["ci95"][0] < rate["value"] < rate["ci95"][1]
    assert (rate["n_real"], rate["n_fake"], rate["reason"]) == (24, 0, None)


def test_arrays_and_figures_lie_beside_the_document(measured):
    document, output = measured
    with np.load(output / "spectra.npz", allow_pickle=False) as arrays:
        assert list(arrays["sources"]) == list(document["sources"])
        assert arrays["pixels_log_power_db"].shape == (4, PATCH_PX, PATCH_PX // 2 + 1)
        gan = list(arrays["sources"]).index("gan")
        row, column = np.unravel_index(
            np.argmax(arrays["pixels_log_power_db"][gan]), (PATCH_PX, PATCH_PX // 2 + 1)
        )
        assert (arrays["frequency_x"][column], arrays["frequency_y"][row]) == (0.5, 0.0)
        assert arrays["residuals_profile_error_db"].shape == (4, len(arrays["frequency_radial"]))
        assert all(np.isfinite(values).all() for name, values in arrays.items() if name != "sources")
    stems = {
        f"{name}{ending}" for name in ("spectra", "differences", "azimuthal") for ending in ("", "_residuals")
    }
    assert (
        {path.stem for path in output.glob("*.png")} == {path.stem for path in output.glob("*.svg")} == stems
    )


def test_workers_change_nothing(prepared, measured, without_figures, tmp_path):
    spectra(prepared, tmp_path, settings=SpectraSettings(workers=2))

    for name in ("spectra.json", "spectra.npz"):
        assert (tmp_path / name).read_bytes() == (measured[1] / name).read_bytes()


def test_the_command_prints_peaks_and_counts_what_is_missing(prepared, without_figures, run_cli, tmp_path):
    copy = tmp_path / "prepared"
    copy.mkdir()
    for path in prepared.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "gan-3.png").unlink()

    options = ("--output", tmp_path / "out", "--workers", 0, "--on", "pixels")
    result = run_cli("spectra", "--manifest", copy, *options)
    assert result.exit_code == 3
    assert "1/2, 0" in result.stdout
    assert "1 picture" in result.stderr
    assert "residuals" not in result.stdout

    result = run_cli("spectra", "--manifest", prepared, *options, "--json", "--limit", 5, "--split", "test")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert [facts["n"] for facts in document["sources"].values()] == [5] * 4
    assert document["sources"]["gan"]["peaks"] is None
    assert "too few groups" in document["sources"]["gan"]["reason"]


def test_crops_are_measured_where_the_source_images_are_gone(prepared, without_figures, tmp_path, caplog):
    (tmp_path / "prepared").mkdir()
    rows = []
    for number in range(12):
        path = tmp_path / "prepared" / f"{number}.png"
        path.write_bytes((prepared / f"gan-{number}.png").read_bytes())
        rows.append(ManifestRow("/gone/a.png", path.name, "gan", "test", "fake", 0))
    write_manifest(rows, tmp_path / "prepared")

    document = spectra(
        tmp_path / "prepared", tmp_path / "out", settings=SpectraSettings(workers=0, on="pixels")
    )
    assert (document["scale"], document["n"]) == ("crops", 12)
    gan = document["sources"]["gan"]
    assert [(peak["fx"], peak["on_jpeg_grid"]) for peak in gan["own_peaks"]] == [(0.5, None)]
    assert gan["peaks"] is None
    assert "no other collection of reals" in gan["reason"]
    assert "moved and smeared" in caplog.text
    with pytest.raises(ManifestError, match="no picture could be used"):
        spectra(tmp_path / "prepared", tmp_path / "out", settings=SpectraSettings(workers=0, native=True))


def test_the_patch_lies_in_half_of_the_faces_of_every_source(without_figures, tmp_path):
    def large(rng):
        return grain(rng, 140)

    folder = write_sources(
        tmp_path / "prepared", {"camera": (1, large), "gan": (0, large)}, side_px=140, groups=4
    )
    settings = SpectraSettings(workers=0, on="pixels")
    assert spectra(folder, tmp_path / "out", settings=settings)["patch_px"] == 128
    settings = SpectraSettings(workers=0, on="pixels", patch_px=96)
    assert spectra(folder, tmp_path / "out", settings=settings)["patch_px"] == 96


def test_the_patch_is_of_the_face_and_not_of_what_is_beside_it(without_figures, tmp_path):
    def fake_face(rng):
        picture = grain(rng, 140)
        picture[:PATCH_PX, :PATCH_PX] = checkerboard(rng)
        return picture

    def real_face(rng):
        picture = np.tile(checkerboard(rng), (3, 3))[:140, :140]
        picture[:PATCH_PX, :PATCH_PX] = grain(rng)
        return picture

    sources = {"camera": (1, real_face), "gan": (0, fake_face)}
    folder = write_sources(tmp_path / "prepared", sources, groups=24, side_px=140, box=(4.0, 4.0, 60.0, 60.0))
    document = spectra(folder, tmp_path / "out", settings=SpectraSettings(workers=0, on="pixels"))
    assert document["patch_px"] == PATCH_PX
    assert [peak["fx"] for peak in document["sources"]["gan"]["own_peaks"]] == [0.5]
    assert document["sources"]["camera"]["own_peaks"] == []


def test_a_source_is_held_against_the_other_reals_that_are_many_enough():
    few, many = average(grain, n=MIN_GROUPS - 1), average(grain, n=MIN_GROUPS)
    camera, phone, small = (
        SourceSpectra(name, 1, {}, averages) for name, averages in (("a", many), ("b", many), ("c", few))
    )
    gan = SourceSpectra("gan", 0, {}, many)
    sources = [camera, phone, small, gan]

    assert len(reference_for(gan, sources, "pixels")) == 2
    assert len(reference_for(small, sources, "pixels")) == 2
    (reference,) = reference_for(camera, sources, "pixels")
    assert reference is phone.by_kind["pixels"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (SpectraSettings(patch_px=40), "multiples of 16"),
        (SpectraSettings(patch_px=16), "from 32"),
        (SpectraSettings(on="pixel"), "pixels"),
    ],
)
def test_settings_that_make_no_sense_are_refused(prepared, tmp_path, settings, says):
    with pytest.raises(UsageError, match=says):
        spectra(prepared, tmp_path, settings=settings)

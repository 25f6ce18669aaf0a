import importlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import draw
from PIL import Image

from faceauth.errors import InputError, UnknownNameError
from faceauth.forgeries.blending import adapt_to_border, mix
from faceauth.forgeries.colour import lab_of, match_colours, rgb_of, shift_tone
from faceauth.forgeries.face_shape import OUTLINES, face_frame, fill_ellipse, fill_outline, outline_of
from faceauth.forgeries.forge import FORGERIES, Portrait, forge_crop, rng_of
from faceauth.forgeries.kinds.face_smooth import smooth_between_edges
from faceauth.forgeries.kinds.reconstruct import UPSAMPLERS, rebuild_from_patches, restore_detail
from faceauth.forgeries.kinds.splice import compress_on_shifted_grid
from faceauth.forgeries.masks import deform_mask, soften_mask
from faceauth.forgeries.partners import choose_other, pair_groups
from faceauth.forgeries.reals import RealCrop, features_of
from faceauth.forgeries.rows import (
    MadeForgery,
    drop_look_alikes_across,
    group_of,
    merge_groups,
)
from faceauth.forgeries.warping import fit_similarity, warp_affine, warp_thin_plate
from faceauth.intake.manifest import ManifestRow
from faceauth.labels import ID2LABEL
from faceauth.splits.leaks import find_leaks

SIDE = 128
FRONTAL = np.array([[48, 52], [80, 52], [64, 72], [52, 88], [76, 88]], dtype=np.float32)
LOCAL = ("self_blend", "swap", "splice", "face_smooth")
SEEDS = st.integers(0, 2**32 - 1)


def picture(seed, *, side=SIDE):
    """Soft shapes with fine grain: there is something to lose, and something to match."""
    grain = np.random.default_rng(seed).normal(0, 6, (side, side, 3))
    return np.clip(draw(seed, side=side) + grain, 0, 255).astype(np.uint8)


def forged(method, seed, *, crop=None, landmarks=FRONTAL, draws=0):
    crop = picture(seed) if crop is None else crop
    other = Portrait(picture(seed + 1000), FRONTAL + 3)
    return forge_crop(crop, method, np.random.default_rng(draws), landmarks=landmarks, other=other)


@pytest.mark.parametrize("method", FORGERIES.names())
def test_a_forgery_keeps_size_and_type_and_changes_the_crop(method):
    for seed in range(6):
        crop = picture(seed)
        before = crop.copy()
        made = forged(method, seed, crop=crop, draws=seed)
        assert (made.shape, made.dtype) == (before.shape, np.uint8)
        assert (made != before).any(axis=2).mean() > 0.003
        # Still the same picture to the eye of somebody who looks at all of it.
        assert np.abs(made.astype(int) - before).mean() < 40
        np.testing.assert_array_equal(crop, before)


@pytest.mark.parametrize("method", FORGERIES.names())
def test_the_same_chance_makes_the_same_and_another_makes_another(method):
    first = forged(method, 1, draws=5)
    np.testing.assert_array_equal(first, forged(method, 1, draws=5))
    assert any((first != forged(method, 1, draws=draws)).any() for draws in range(6, 10))


@pytest.mark.parametrize("shape", [(97, 97), (120, 83), (33, 64)])
@pytest.mark.parametrize("method", FORGERIES.names())
def test_crops_of_every_shape_can_be_forged(method, shape):
    height, width = shape
    landmarks = FRONTAL * (width / SIDE, height / SIDE)
    for draws in range(3):
        crop = picture(3, side=128)[:height, :width]
        assert forged(method, 3, crop=crop, landmarks=landmarks, draws=draws).shape == (height, width, 3)


@pytest.mark.parametrize("method", FORGERIES.names())
def test_faces_that_leave_the_crop_and_plain_crops_do_no_harm(method):
    plain = np.full((SIDE, SIDE, 3), 128, np.uint8)
    for draws in range(2):
        for landmarks in (FRONTAL * 3 - 130, FRONTAL + 200, np.full((5, 2), 60.0), FRONTAL[[1, 0, 2, 4, 3]]):
            assert forged(method, 4, landmarks=landmarks, draws=draws).dtype == np.uint8
        assert forged(method, 4, crop=plain, draws=draws).dtype == np.uint8


def left_half(portrait, rng, **kwargs):
    mask = np.zeros(portrait.crop_rgb_uint8.shape[:2], np.float32)
    mask[:, : mask.shape[1] // 2] = np.linspace(1, 0, mask.shape[1] // 2)
    return mask


@pytest.mark.parametrize("method", LOCAL)
def test_outside_the_mask_not_one_pixel_changes(method, monkeypatch):
    module = importlib.import_module(f"faceauth.forgeries.kinds.{method}")
    monkeypatch.setattr(module, "draw_mask", left_half)
    for draws in range(8):
        crop = picture(draws)
        made = forged(method, draws, draws=draws)
        np.testing.assert_array_equal(made[:, SIDE // 2 :], crop[:, SIDE // 2 :])
        assert (made[:, : SIDE // 2] != crop[:, : SIDE // 2]).any()


@pytest.mark.parametrize("method", LOCAL)
def test_a_mask_of_zeros_gives_the_original(method, monkeypatch):
    module = importlib.import_module(f"faceauth.forgeries.kinds.{method}")
    monkeypatch.setattr(
        module, "draw_mask", lambda portrait, rng, **kwargs: np.zeros((SIDE, SIDE), np.float32)
    )
    for draws in range(6):
        np.testing.assert_array_equal(forged(method, draws, draws=draws), picture(draws))


@pytest.mark.parametrize("method", ["self_blend", "splice", "face_smooth"])
def test_masks_lie_on_the_face(method):
    draw_mask = importlib.import_module(f"faceauth.forgeries.kinds.{method}").draw_mask
    options = {"regions": ("face", "eyes")} if method == "splice" else {}
    frame = face_frame(FRONTAL)
    rows, columns = np.indices((SIDE, SIDE))
    center = frame.origin_xy + 0.6 * frame.down_xy
    far = np.hypot(columns - center[0], rows - center[1]) > 2.4 * frame.unit_px
    for seed in range(12):
        mask = draw_mask(Portrait(picture(seed), FRONTAL), np.random.default_rng(seed), **options)
        assert mask.dtype == np.float32
        assert mask.min() >= 0
        assert 0.5 < mask.max() <= 1
        assert not mask[far].any()


def test_a_misspelt_method_is_named_with_its_close_match():
    with pytest.raises(UnknownNameError, match="Did you mean 'self_blend'"):
        forge_crop(picture(0), "selfblend", np.random.default_rng(0), landmarks=FRONTAL)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"landmarks": None}, "landmarks"),
        ({"landmarks": np.zeros((68, 2))}, r"\(68, 2\)"),
        ({"landmarks": np.full((5, 2), np.nan)}, "finite"),
        ({"other": None}, "second person"),
        ({"other": Portrait(picture(1))}, "landmarks"),
        ({"crop": picture(0).astype(np.float32)}, "float32"),
        ({"crop": picture(0)[..., 0]}, "uint8 of at least"),
        ({"crop": picture(0)[:16]}, "at least 32 px"),
    ],
)
def test_what_cannot_be_forged_is_said(change, what):
    given_ = {"crop": picture(0), "landmarks": FRONTAL, "other": Portrait(picture(1), FRONTAL), **change}
    crop = given_.pop("crop")
    with pytest.raises(InputError, match=what):
        forge_crop(crop, "swap", np.random.default_rng(0), **given_)


def test_chance_depends_on_crop_method_seed_and_number_and_nothing_else():
    keys = [
        ("ab", "swap", 0, 0),
        ("ac", "swap", 0, 0),
        ("ab", "splice", 0, 0),
        ("ab", "swap", 1, 0),
        ("ab", "swap", 0, 1),
    ]
    drawn = [rng_of(sha, method, seed=seed, number=n).integers(2**60) for sha, method, seed, n in keys]
    assert len(set(drawn)) == len(keys)
    assert drawn[0] == rng_of("ab", "swap", seed=0).integers(2**60)


@settings(max_examples=30)
@given(SEEDS)
def test_mixing_goes_from_the_target_to_the_source(seed):
    target, source = picture(seed, side=32), picture(seed + 1, side=32)
    np.testing.assert_array_equal(mix(target, source, np.zeros((32, 32))), target)
    np.testing.assert_array_equal(mix(target, source, np.ones((32, 32))), source)
    half = mix(target, source, np.full((32, 32), 0.5)).astype(int)
    assert (np.abs(2 * half - target.astype(int) - source) <= 1).all()


def disc(side, radius):
    rows, columns = np.indices((side, side))
    return np.hypot(rows - side / 2, columns - side / 2) < radius


@settings(max_examples=20)
@given(SEEDS, st.integers(-60, 60))
def test_a_source_that_differs_by_a_constant_is_adapted_without_a_trace(seed, constant):
    target = picture(seed, side=40).astype(np.float32)
    adapted = adapt_to_border(target, target + constant, disc(40, 14))
    np.testing.assert_allclose(adapted, target, atol=0.01)


def test_an_adapted_source_keeps_its_curvature_and_meets_the_target():
    target, source, inside = picture(1, side=48), picture(2, side=48), disc(48, 16)
    adapted = adapt_to_border(target, source, inside)
    np.testing.assert_array_equal(adapted[~inside], target[~inside])
    added = np.where(inside[..., None], adapted - source, target.astype(float) - source)
    around = sum(np.roll(added, shift, axis) for shift in (-1, 1) for axis in (0, 1))
    assert np.abs(4 * added - around)[inside].max() < 0.05


def test_a_region_without_border_or_pixels_is_left_alone():
    target, source = picture(1, side=32), picture(2, side=32)
    np.testing.assert_array_equal(adapt_to_border(target, source, np.zeros((32, 32), bool)), target)
    np.testing.assert_array_equal(adapt_to_border(target, source, np.ones((32, 32), bool)), source)


@given(st.floats(-3.1, 3.1), st.floats(0.3, 3), st.tuples(st.floats(-50, 50), st.floats(-50, 50)))
def test_a_similarity_is_found_again(angle, scale, shift):
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = FRONTAL @ matrix.T + shift
    np.testing.assert_allclose(fit_similarity(FRONTAL, moved), np.column_stack([matrix, shift]), atol=1e-3)


def test_warping_by_nothing_changes_nothing_and_a_shift_shifts():
    crop = picture(5)
    still, there = warp_affine(crop, np.array([[1.0, 0, 0], [0, 1, 0]]))
    np.testing.assert_allclose(still, crop, atol=0.01)
    assert there.all()
    moved, there = warp_affine(crop, np.array([[1.0, 0, 7], [0, 1, -3]]))
    np.testing.assert_allclose(moved[3:, :-7], crop[:-3, 7:], atol=0.01)
    assert there[3:, :-7].all()
    assert not there[:3].any()
    assert not there[:, -7:].any()


@settings(max_examples=15)
@given(SEEDS)
def test_a_thin_plate_brings_each_point_to_its_place(seed):
    rng = np.random.default_rng(seed)
    to_xy = FRONTAL + rng.uniform(-4, 4, FRONTAL.shape)
    rows, columns = np.indices((SIDE, SIDE))
    # A picture whose colours say where its pixels lie.
    ramp = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    bent, _ = warp_thin_plate(ramp, FRONTAL.astype(float), to_xy)
    for (x, y), (from_x, from_y) in zip(np.rint(to_xy).astype(int), FRONTAL, strict=True):
        assert np.abs(bent[y, x, :2] - (from_x, from_y)).max() < 1.5


@settings(max_examples=30)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_colours_come_back_from_lab(rgb):
    pixel = np.array([[rgb]], dtype=np.uint8)
    np.testing.assert_allclose(rgb_of(lab_of(pixel)), pixel, atol=0.6)


def test_lab_has_its_known_values():
    lab = lab_of(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], dtype=np.uint8))
    np.testing.assert_allclose(lab, [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.05)


def test_matched_colours_have_the_targets_mean_inside_the_mask():
    source, target = picture(1) // 2 + 60, picture(2) // 3 + 70
    mask = disc(SIDE, 40).astype(float)
    matched = lab_of(np.rint(match_colours(source, target, mask)).astype(np.uint8))
    before, wanted = (lab_of(part)[mask > 0].mean(axis=0) for part in (source, target))
    reached = matched[mask > 0].mean(axis=0)
    assert np.abs(before - wanted).max() > 3
    assert np.abs(reached - wanted).max() < 0.5


def test_tones_shift_a_little_and_not_always():
    crop = picture(1)
    changes = [np.abs(shift_tone(crop, np.random.default_rng(i)) - crop).mean() for i in range(30)]
    assert min(changes) == 0
    assert 3 < max(changes) < 60


@pytest.mark.parametrize("region", OUTLINES)
def test_outlines_follow_the_face(region):
    large = outline_of(FRONTAL * 2 + 10, region)
    np.testing.assert_allclose(large, outline_of(FRONTAL, region) * 2 + 10, atol=1e-3)
    turned = np.column_stack([SIDE - 1 - FRONTAL[:, 1], FRONTAL[:, 0]])
    own = outline_of(FRONTAL, region)
    np.testing.assert_allclose(
        outline_of(turned, region), np.column_stack([SIDE - 1 - own[:, 1], own[:, 0]]), atol=1e-3
    )


def test_the_face_holds_the_landmarks_and_each_part_lies_in_it():
    face = fill_outline(outline_of(FRONTAL, "face_and_forehead"), height=SIDE, width=SIDE)
    assert all(face[round(y), round(x)] == 1 for x, y in FRONTAL)
    for region in OUTLINES:
        part = fill_outline(outline_of(FRONTAL, region), height=SIDE, width=SIDE)
        assert part.sum() > 0.05 * face.sum()
        assert (part - face).clip(0).sum() < 0.03 * part.sum()


def test_a_turned_head_is_narrower_on_that_side():
    turned = FRONTAL.copy()
    turned[2, 0] += 8
    outline = outline_of(turned, "face")
    middle = face_frame(turned).origin_xy[0]
    assert face_frame(turned).turn > 0.1 > abs(face_frame(FRONTAL).turn)
    assert outline[:, 0].max() - middle < 0.9 * (middle - outline[:, 0].min())


def test_an_ellipse_has_its_area():
    filled = fill_ellipse(np.array([60.0, 50.0]), (30, 12), 0.7, height=SIDE, width=SIDE)
    assert filled.sum() == pytest.approx(np.pi * 30 * 12, rel=0.03)


@settings(max_examples=20)
@given(SEEDS)
def test_masks_stay_masks_and_stay_where_they_were(seed):
    rng = np.random.default_rng(seed)
    mask = disc(SIDE, 30).astype(np.float32)
    bent = deform_mask(mask, rng)
    soft = soften_mask(bent, rng)
    for changed in (bent, soft):
        assert changed.dtype == np.float32
        assert 0 <= changed.min() <= changed.max() <= 1
    assert bent.sum() == pytest.approx(mask.sum(), rel=0.2)
    assert not soft[~disc(SIDE, 50)].any()
    assert soft[SIDE // 2, SIDE // 2] > 0.9


def test_all_upsamplings_come_near_to_the_crop_and_the_learnt_one_nearest():
    crop = np.asarray(Image.fromarray(draw(8, side=SIDE))).astype(np.float32)
    small = crop.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3))
    errors = {}
    for name, up in UPSAMPLERS.items():
        rebuilt = up(small, crop, np.random.default_rng(0))
        assert rebuilt.shape == crop.shape
        errors[name] = float(np.abs(rebuilt - crop)[8:-8, 8:-8].mean())
    assert max(errors.values()) < 4
    assert errors["learnt"] <= 1.05 * min(errors.values())


def test_only_a_transposed_convolution_leaves_a_chequerboard_on_plain_ground():
    plain = np.full((32, 32, 3), 120, np.float32)
    wanted = np.full((64, 64, 3), 120, np.float32)
    for name, up in UPSAMPLERS.items():
        rebuilt = [up(plain, wanted, np.random.default_rng(i))[8:-8, 8:-8] for i in range(4)]
        spread = max(float(each.std()) for each in rebuilt)
        assert (spread > 0.2) == (name == "transposed")
        # Whatever the pattern, it comes again every two pixels.
        for each in rebuilt:
            np.testing.assert_allclose(each[2:], each[:-2], atol=0.01)


def test_each_phase_of_a_pixel_shuffle_has_a_kernel_of_its_own():
    grain = np.random.default_rng(0).normal(128, 20, (32, 32, 3)).astype(np.float32)
    spreads = {
        name: [float(up[y::2, x::2].std()) for y in (0, 1) for x in (0, 1)]
        for name in ("bilinear", "pixel_shuffle")
        for up in [UPSAMPLERS[name](grain, np.zeros((64, 64, 3), np.float32), np.random.default_rng(1))]
    }
    assert np.ptp(spreads["pixel_shuffle"]) > 3 * np.ptp(spreads["bilinear"])


def test_fewer_numbers_for_each_patch_lose_more():
    crop = picture(9).astype(np.float32)
    losses = [
        np.abs(rebuild_from_patches(crop, np.random.default_rng(3), n_kept=n) - crop).mean()
        for n in (192, 96, 32, 8)
    ]
    assert losses == sorted(losses)
    assert losses[0] < 0.01


def test_detail_is_restored_to_what_it_was():
    crop = picture(4).astype(np.float32)
    soft = np.asarray(Image.fromarray(picture(4)).resize((90, 90)).resize((SIDE, SIDE)), np.float32)

    def detail(image):
        return np.abs(np.diff(image, axis=0)).mean()

    none, half, full = (detail(restore_detail(soft, crop, share=share)) for share in (0, 0.5, 1))
    assert none < half < full
    assert none == detail(soft)
    assert abs(full - detail(crop)) < 0.65 * abs(none - detail(crop))


def test_the_grid_of_a_splice_lies_where_it_was_moved_to():
    noisy = picture(2, side=160)
    compressed = compress_on_shifted_grid(noisy, 20, top=3, left=5).astype(int)
    steps = np.abs(np.diff(compressed, axis=1)).mean(axis=(0, 2))
    by_column = [steps[start::8].mean() for start in range(8)]
    # Between the last column of a block and the next: the first block has 3 columns of the picture.
    assert int(np.argmax(by_column)) == 2
    assert compressed.shape == noisy.shape


def test_smoothing_takes_grain_and_leaves_edges():
    step = np.zeros((64, 64, 3), np.float32)
    step[:, 32:] = 200
    noisy = step + np.random.default_rng(0).normal(0, 4, step.shape).astype(np.float32)
    smooth = smooth_between_edges(noisy, 4, spread=20)
    assert smooth[:, :24].std() < 0.4 * noisy[:, :24].std()
    assert (smooth[:, 33] - smooth[:, 30]).mean() > 180


def real(number, *, split="train", group="", folder="web", identity="", turn=0.0, target=1):
    row = ManifestRow(
        f"/{number}.png", f"{split}/{ID2LABEL[target]}/{folder}/{number:032x}.png", folder, split,
        ID2LABEL[target], target, group=group, identity=identity, sha256=f"{number:064x}",
    )  # fmt: skip
    rng = np.random.default_rng(number)
    features = np.array([turn, *rng.normal(size=4)])
    return RealCrop(row, row.destination_path, key=f"{number:064x}", landmarks=FRONTAL, features=features)


PEOPLE = st.lists(
    st.tuples(st.sampled_from("abcdefghijk"), st.sampled_from(("web", "film"))), min_size=1, max_size=30
)


@settings(max_examples=40)
@given(PEOPLE, st.randoms(use_true_random=False))
def test_each_group_swaps_with_one_other_or_with_two_where_one_is_left(people, random):
    # A group has one split, whatever its sources.
    splits = {name: ("train", "val", "test")[ord(name) % 3] for name, _ in people}
    reals = [real(i, split=splits[g], group=g, folder=f) for i, (g, f) in enumerate(people)]
    partners = pair_groups(reals)
    assert set(partners) == {(splits[name], name) for name, _ in people}
    n_in_split = {split: sum(s == split for s in splits.values()) for split in splits.values()}
    for (split, name), names in partners.items():
        assert name not in names
        assert all(name in partners[split, other] for other in names)
        assert len(names) <= 2
        assert (len(names) == 0) == (n_in_split[split] == 1)
    for split, n in n_in_split.items():
        threes = [name for (of, name), names in partners.items() if of == split and len(names) == 2]
        assert len(threes) == (3 if n % 2 and n > 1 else 0)
    shuffled = list(reals)
    random.shuffle(shuffled)
    assert pair_groups(shuffled) == partners


def test_partners_come_from_one_source_and_are_alike_where_that_can_be():
    reals = [real(i, group=f"g{i}", folder="film" if i % 2 else "web", turn=i // 4) for i in range(8)]
    reals = [replace(each, features=np.array([each.features[0], 0, 0, 0, 0])) for each in reals]
    partners = pair_groups(reals)
    assert partners["train", "g0"] == ("g2",)
    assert partners["train", "g5"] == ("g7",)


def test_nobody_swaps_with_themselves_or_with_who_looks_elsewhere():
    rng = np.random.default_rng(0)
    sitter = real(1, identity="ann")
    assert choose_other(sitter, [real(2, identity="bob; ann")], rng) is None
    assert choose_other(sitter, [real(2, turn=9.0)], rng) is None
    assert choose_other(sitter, [real(2, identity="bob")], rng).row.identity == "bob"


def made_of(first, other=None, *, method="swap", number=0):
    row = replace(
        first.row, folder=f"forged_{method}", target=0, target_class="fake", group=group_of(first.row),
        destination_path=f"{first.row.split}/fake/{method}/{first.key[-8:]}{number}.png",
    )  # fmt: skip
    return MadeForgery(row, method, number, first.row, other.row if other else None)


def test_groups_that_swapped_are_one_and_others_stay():
    a, b, c, d = (real(i, group=name) for i, name in enumerate("abcd"))
    made = [made_of(b, a), made_of(a, b), made_of(c, method="splice")]
    rows = [each.row for each in (a, b, c, d)] + [forgery.row for forgery in made]
    merged, n = merge_groups(rows, made)
    assert [row.group for row in merged] == ["a+b", "a+b", "c", "d", "a+b", "a+b", "c"]
    assert n == 2


def test_rows_without_a_group_are_merged_by_the_path_that_they_share():
    a, b = real(1), real(2)
    fake = replace(a.row, folder="gan", image_path="/gan/1.png", target=0, target_class="fake")
    made = [made_of(a, b)]
    merged, _ = merge_groups([a.row, b.row, fake, made[0].row], made)
    assert {row.group for row in merged} == {"1+2"}


def test_forgeries_that_look_like_a_crop_of_another_split_are_dropped():
    one, two = real(1, group="a"), real(2, group="b", split="test")
    hashes = ["0" * 64, "f" * 64, "f" * 63 + "e", "a5" * 32]
    rows = [replace(one.row, phash=hashes[0]), replace(two.row, phash=hashes[1])]
    made = [made_of(one, number=n) for n in range(2)]
    made = [replace(m, row=replace(m.row, phash=hash_)) for m, hash_ in zip(made, hashes[2:], strict=True)]
    assert find_leaks([*rows, *(m.row for m in made)]).near
    kept, still, dropped = drop_look_alikes_across(rows, made)
    assert [m.number for m in dropped] == [0]
    assert [m.number for m in still] == [1]
    assert not find_leaks(kept).any


def test_features_tell_turn_light_and_size():
    crop = np.full((SIDE, SIDE, 3), 90, np.uint8)
    base = features_of(Portrait(crop, FRONTAL))
    turned = FRONTAL.copy()
    turned[2, 0] += 8
    changed = [
        features_of(Portrait(crop, turned)),
        features_of(Portrait(crop + np.uint8(60), FRONTAL)),
        features_of(Portrait(crop, FRONTAL * 0.7)),
    ]
    moved = [np.flatnonzero(np.abs(each - base) > 0.3).tolist() for each in changed]
    assert moved == [[0], [1], [4]]

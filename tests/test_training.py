"""The parts of training: batches, schedules, optimisers, losses."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceauth.degradations.degrade import DEGRADATIONS, AtLevel
from faceauth.errors import ConfigError, InputError
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.training.batches import BalancedSampler, CropDataset, plain_loader, train_loader
from faceauth.training.losses import LOSSES
from faceauth.training.optimizers import OPTIMIZERS, build_optimizer
from faceauth.training.schedules import SCHEDULES, Schedule
from faceauth.training.settings import DataSettings, OptimizerSettings, ScheduleSettings, TrainSettings


def rows_of(sizes):
    """Rows of sources as {(target, folder): n}."""
    return [
        ManifestRow("", f"train/{folder}_{i}.png", folder, "train", "real" if target else "fake", target)
        for (target, folder), n in sizes.items()
        for i in range(n)
    ]


@pytest.fixture
def manifest(tmp_path):
    rows = rows_of({(1, "camera"): 6, (0, "gan"): 4, (0, "swap"): 2})
    rng = np.random.default_rng(0)
    (tmp_path / "train").mkdir()
    for row in rows:
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
            tmp_path / row.destination_path
        )
    return Manifest(rows, tmp_path, tmp_path / "manifest.xlsx", "0" * 64)


SIZES = {(1, "camera"): 50, (0, "gan"): 90, (0, "swap"): 10}


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        ("generator", {"camera": 75, "gan": 37.5, "swap": 37.5}),
        ("class", {"camera": 75, "gan": 67.5, "swap": 7.5}),
        ("all", {"camera": 50, "gan": 90, "swap": 10}),
    ],
)
def test_sources_are_drawn_as_often_as_asked(draw, expected):
    rows = rows_of(SIZES)
    counts = Counter()
    for seed in range(40):
        counts.update(rows[position].folder for position, _ in BalancedSampler(rows, draw=draw, seed=seed))
    for folder, n in expected.items():
        assert counts[folder] / 40 == pytest.approx(n, abs=2)


def test_no_row_is_drawn_twice_while_another_of_its_source_waits():
    rows = rows_of(SIZES)
    counts = Counter(position for position, _ in BalancedSampler(rows, draw="generator", seed=3))
    for (_, folder), n in SIZES.items():
        drawn = [counts[i] for i, row in enumerate(rows) if row.folder == folder]
        assert len(drawn) == n
        assert max(drawn) - min(drawn) <= 1


def test_a_draw_of_everything_is_a_permutation_and_changes_with_the_epoch():
    sampler = BalancedSampler(rows_of(SIZES), draw="all", seed=0)
    first = list(sampler)
    assert sorted(position for position, _ in first) == list(range(150))
    assert [place for _, place in first] == list(range(150))
    assert list(sampler) == first
    sampler.epoch = 1
    assert list(sampler) != first


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.dictionaries(
        st.tuples(st.integers(0, 1), st.sampled_from("abcd")), st.integers(1, 12), min_size=1
    ),
    draw=st.sampled_from(["generator", "class", "all"]),
)
def test_an_epoch_has_as_many_images_as_there_are_rows(sizes, draw):
    rows = rows_of(sizes)
    sampler = BalancedSampler(rows, draw=draw, seed=1)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == len(rows)
    assert all(0 <= position < len(rows) for position, _ in drawn)


def test_batches_hold_the_pixels_of_the_files_in_order(manifest):
    batches = list(plain_loader(manifest.rows, manifest, batch_size=5, workers=0))
    assert torch.cat([batch["positions"] for batch in batches]).tolist() == list(range(12))
    images = torch.cat([batch["images_rgb_uint8"] for batch in batches])
    assert images.shape == (12, 3, 40, 40)
    for row, image in zip(manifest.rows, images, strict=True):
        expected = np.asarray(Image.open(manifest.crop_path(row)))
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    assert torch.cat([batch["targets"] for batch in batches]).tolist() == [
        row.target for row in manifest.rows
    ]


def test_augmented_epochs_do_not_depend_on_the_number_of_workers(manifest):
    data = DataSettings(augment=dict.fromkeys(DEGRADATIONS.names(), 0.5))

    def epoch(workers, number):
        loader, dataset, sampler = train_loader(
            manifest.rows, manifest, dataclasses.replace(data, workers=workers), batch_size=4, seed=7
        )
        dataset.epoch = sampler.epoch = number
        return torch.cat([batch["images_rgb_uint8"] for batch in loader])

    assert torch.equal(epoch(0, 2), epoch(2, 2))
    assert not torch.equal(epoch(0, 2), epoch(0, 3))


def test_crops_of_two_sizes_are_refused(manifest):
    Image.new("RGB", (30, 40)).save(manifest.crop_path(manifest.rows[1]))
    with pytest.raises(InputError, match="30 x 40, 40 x 40"):
        list(plain_loader(manifest.rows, manifest, batch_size=4, workers=0))


def test_a_missing_crop_is_named(manifest):
    manifest.crop_path(manifest.rows[0]).unlink()
    with pytest.raises(InputError, match="camera_0"):
        CropDataset(manifest.rows, manifest)[0]


@pytest.mark.parametrize(("batch_size", "workers"), [(12, 0), (5, 2), (1, 1)])
def test_altered_crops_depend_on_the_picture_alone(manifest, batch_size, workers):
    at = AtLevel("gaussian_noise", 8.0, seed=3)
    loader = plain_loader(manifest.rows, manifest, batch_size=batch_size, workers=workers, alter=at)
    images = torch.cat([batch["images_rgb_uint8"] for batch in loader])
    for row, image in zip(manifest.rows, images, strict=True):
        expected = at(np.asarray(Image.open(manifest.crop_path(row))))
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_a_probability_above_one_is_refused():
    with pytest.raises(ConfigError, match=r"data\.augment\.flip"):
        TrainSettings(data=DataSettings(augment={"flip": 1.5}))


def optimizer_of(rate=0.1):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=rate)


def test_cosine_rises_falls_and_ends_at_zero():
    schedule = Schedule(optimizer_of(), ScheduleSettings("cosine", warmup_updates=5), total_updates=25)
    rates = []
    for _ in range(25):
        rates.append(schedule.learning_rate)
        schedule.after_update()
    assert rates[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[15] == pytest.approx(0.05)
    assert schedule.learning_rate == pytest.approx(0.0, abs=1e-12)


def test_plateau_equals_torchs_own_rule():
    val_losses = [1.0, 0.9, 0.95, 0.91, 0.92, 0.89999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.4]
    theirs = optimizer_of()
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, mode="min", factor=0.5, patience=2)
    schedule = Schedule(optimizer_of(), ScheduleSettings("plateau", factor=0.5, patience=2), total_updates=99)
    for loss in val_losses:
        reference.step(loss)
        schedule.after_epoch(loss)
        assert schedule.learning_rate == pytest.approx(theirs.param_groups[0]["lr"])
    assert schedule.learning_rate < 0.1


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_a_resumed_schedule_goes_on_alike(name):
    def make():
        return Schedule(
            optimizer_of(), ScheduleSettings(name, warmup_updates=3, patience=0), total_updates=20
        )

    whole, begun, resumed = make(), make(), make()
    for schedule in (whole, begun):
        for _ in range(7):
            schedule.after_update()
        schedule.after_epoch(1.0)
        schedule.after_epoch(2.0)
    resumed.load_state_dict(begun.state_dict())
    for schedule in (whole, resumed):
        schedule.after_update()
        schedule.after_epoch(3.0)
    assert resumed.learning_rate == whole.learning_rate
    assert math.isfinite(resumed.learning_rate)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_decay_spares_biases_and_norms(name):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    optimizer = build_optimizer(model, OptimizerSettings(name, learning_rate=0.1, weight_decay=0.3))
    decay_of = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {key: decay_of[id(p)] for key, p in model.named_parameters()} == {
        "0.weight": 0.3,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }


def test_frozen_parameters_are_not_moved():
    model = torch.nn.Linear(3, 4)
    model.weight.requires_grad_(False)
    optimizer = build_optimizer(model, OptimizerSettings())
    assert [p is model.bias for group in optimizer.param_groups for p in group["params"]] == [True]


def test_cross_entropy_is_the_originals_loss_on_the_difference_of_logits():
    logits, targets = torch.randn(9, 2), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1])
    original = torch.nn.BCEWithLogitsLoss()(logits[:, 1] - logits[:, 0], targets.float())
    torch.testing.assert_close(LOSSES.get("cross_entropy")(logits, targets), original)


@pytest.mark.parametrize("name", LOSSES.names())
def test_losses_fall_when_the_right_logit_rises(name):
    logits = torch.zeros(2, 2, requires_grad=True)
    LOSSES.get(name)(logits, torch.tensor([0, 1])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]
    assert logits.grad[1, 1] < 0 < logits.grad[1, 0]

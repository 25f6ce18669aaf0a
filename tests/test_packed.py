"""Packed weights: what rounding costs, what a file means, and what is refused."""

import json
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_detectors import save, some_images, tiny
from transformers.utils import SAFE_WEIGHTS_NAME

from faceauth.detectors.architecture import DETECTORS
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import Detector, build_detector, scores_and_features
from faceauth.detectors.folder import PACKED_NAME, find_weights
from faceauth.detectors.packed import (
    FORMAT,
    Layout,
    from_bytes,
    load_packed,
    read_packed,
    to_bytes,
    unpack,
    write_packed,
)
from faceauth.detectors.packing import count_layers, pack
from faceauth.detectors.rounding import BITS, round_weights
from faceauth.errors import DetectorError, UsageError

# Wide enough that its layers are packed.
WIDE = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "patch_size": 8,
}


@pytest.fixture(scope="module")
def wide():
    torch.manual_seed(0)
    detector = build_detector("vit", weights="random", image_size=32, options=WIDE)
    detector.model.eval()
    with torch.no_grad():
        for name, parameter in detector.model.named_parameters():
            if name.endswith("weight") and parameter.ndim == 2:
                # Fresh weights are so small that no layer does anything to speak of.
                parameter.mul_(4)
    return detector


def correlated_inputs(n=2000, columns=96, seed=0):
    """Inputs of few directions and different strengths, as those inside of networks are."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(12, columns, generator=generator)
    return torch.randn(n, 12, generator=generator) @ directions + 0.1 * torch.randn(
        n, columns, generator=generator
    )


def pixels(detector, *, n=24, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 3, 4, 4), dtype=np.uint8)
    # Neighbouring pixels are alike, as those of photographs are.
    return detector.pixel_values(torch.from_numpy(coarse.repeat(8, axis=2).repeat(8, axis=3)))


def logits_of(model, pixel_values):
    with torch.inference_mode():
        return model(pixel_values=pixel_values).logits


def make_packed(detector, folder, **settings):
    """A checkpoint folder of the detector with packed weights."""
    save(detector, folder)
    (folder / SAFE_WEIGHTS_NAME).unlink()
    packed = pack(detector.model, keep=detector.architecture.heads, **settings)
    write_packed(folder / PACKED_NAME, packed)
    return folder, packed


def rewrite(path, edit):
    """Writes a packed file again with other tensors and another header."""
    packed = read_packed(path)
    layouts = {name: vars(layout).copy() for name, layout in packed.layouts.items()}
    tensors = dict(packed.tensors)
    header, layouts, tensors = edit({"version": 1}, layouts, tensors)
    save_file(tensors, path, {FORMAT: json.dumps({**header, "layouts": layouts})})


@given(st.integers(1, 8), st.integers(1, 7), st.integers(1, 33), st.integers(0, 2**32 - 1))
def test_integers_come_back_from_their_bytes(bits, rows, columns, seed):
    top = 2 ** (bits - 1)
    integers = np.random.default_rng(seed).integers(-top, top, (rows, columns)).astype(np.int8)
    content = to_bytes(integers, bits=bits)
    assert content.shape == (rows, -(-columns * bits // 8))
    np.testing.assert_array_equal(from_bytes(content, bits=bits, columns=columns), integers)


@settings(max_examples=40)
@given(
    st.sampled_from(BITS),
    st.sampled_from([None, 1, 8, 64]),
    st.integers(1, 20),
    st.integers(-60, 60),
    st.integers(0, 2**32 - 1),
)
def test_no_weight_is_further_off_than_a_step_of_its_group(bits, group_size, columns, exponent, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(4, columns, generator=generator) * 2.0**exponent
    weights[0] = 0.0
    rounded = round_weights(weights, bits=bits, group_size=group_size)
    values = rounded.values()
    assert torch.equal(values[0], weights[0])
    width = min(group_size or columns, columns)
    for start in range(0, columns, width):
        group, error = weights[:, start : start + width], (values - weights)[:, start : start + width].abs()
        step = group.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 2.5)
        # The largest may be cut off by up to three steps, for the good of all others.
        assert bool((error <= 3.01 * step).all())
        assert float((error**2).sum()) <= float((step**2 / 4).expand_as(error).sum()) * 1.05


@settings(max_examples=25)
@given(st.sampled_from(BITS), st.integers(-20, 20), st.integers(0, 2**32 - 1))
def test_a_power_of_two_and_a_sign_change_nothing_but_the_scale(bits, exponent, seed):
    weights = torch.randn(3, 16, generator=torch.Generator().manual_seed(seed))
    values = round_weights(weights, bits=bits, group_size=8).values()
    scaled = round_weights(weights * 2.0**exponent, bits=bits, group_size=8).values()
    assert torch.equal(scaled, values * 2.0**exponent)
    assert torch.equal(round_weights(-weights, bits=bits, group_size=8).values(), -values)


def test_more_bits_and_finer_groups_lose_less():
    weights = torch.randn(32, 256, generator=torch.Generator().manual_seed(0)) ** 3
    errors = [
        float((round_weights(weights, bits=bits, group_size=group_size).values() - weights).norm())
        for bits, group_size in ((4, 256), (4, 64), (4, 16), (5, 16), (6, 16), (8, 16))
    ]
    assert errors == sorted(errors, reverse=True)


def test_rounded_for_its_inputs_a_layer_answers_nearer_to_what_it_did():
    inputs = correlated_inputs()
    weights = torch.randn(40, 96, generator=torch.Generator().manual_seed(1))
    moments = inputs.T @ inputs / len(inputs)
    seen, unseen = inputs, correlated_inputs(seed=0, n=4000)[2000:]
    for x in (seen, unseen):
        blind, aimed = (
            float(
                ((round_weights(weights, bits=4, group_size=32, moments=m).values() - weights) @ x.T).norm()
            )
            for m in (None, moments)
        )
        assert aimed < 0.5 * blind


def test_inputs_that_are_always_0_do_no_harm():
    weights = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    plain = round_weights(weights, bits=4).values()
    assert torch.equal(round_weights(weights, bits=4, moments=torch.zeros(16, 16)).values(), plain)
    half_silent = torch.diag(torch.cat([torch.ones(8), torch.zeros(8)]))
    assert bool(round_weights(weights, bits=4, moments=half_silent).values().isfinite().all())


@pytest.mark.parametrize("bits", BITS)
def test_a_packed_checkpoint_answers_bit_for_bit_like_its_unpacked_form(wide, tmp_path, bits):
    folder, packed = make_packed(wide, tmp_path / "packed", bits=bits)
    unpacked = tiny_copy(wide)
    unpacked.model.load_state_dict(unpack(packed))
    plain = save(unpacked, tmp_path / "plain")
    pixel_values = pixels(wide)
    answers = []
    for of_one in (folder, plain):
        detector, card = load_checkpoint(of_one)
        assert not detector.model.training
        answers.append((*scores_and_features(detector, pixel_values), card))
    torch.testing.assert_close(answers[0][0], answers[1][0], rtol=0, atol=0)
    torch.testing.assert_close(answers[0][1], answers[1][1], rtol=0, atol=0)
    assert answers[0][2] == answers[1][2]


def tiny_copy(detector):
    model = build_detector("vit", weights="random", image_size=32, options=WIDE).model.eval()
    return Detector(detector.name, model, detector.processor, detector.origin)


@pytest.mark.parametrize("name", DETECTORS.names())
def test_every_detector_can_be_packed_and_loaded(name, tmp_path):
    detector = tiny(name)
    detector.model.eval()
    before = {key: tensor.clone() for key, tensor in detector.model.state_dict().items()}
    folder, _ = make_packed(detector, tmp_path / name, bits=8)
    state = load_checkpoint(folder)[0].model.state_dict()
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in state.items()} == {
        key: (tensor.shape, tensor.dtype) for key, tensor in before.items()
    }
    for key, tensor in before.items():
        assert torch.equal(detector.model.state_dict()[key], tensor), "packing changed the network itself"
        loss = (state[key].double() - tensor.double()).norm()
        assert float(loss) <= 0.012 * float(tensor.double().norm()), key
    pixel_values = detector.pixel_values(some_images())
    torch.testing.assert_close(
        logits_of(load_packed(folder), pixel_values),
        logits_of(detector.model, pixel_values),
        atol=0.05,
        rtol=0.05,
    )


def test_heads_vectors_and_small_matrices_stay_as_they_are(wide):
    packed = pack(wide.model, bits=4, keep=wide.architecture.heads)
    state, unpacked = wide.model.state_dict(), unpack(packed)
    assert "vit.layers.0.mlp.fc1.weight" in packed.layouts
    assert packed.layouts["vit.embeddings.patch_embeddings.projection.weight"].bits == 8
    assert count_layers(wide.model, wide.architecture.heads) == len(packed.layouts) - 1
    for name in state.keys() - packed.layouts.keys():
        assert torch.equal(unpacked[name], state[name]), name
    everything_kept = pack(wide.model, bits=4, keep=["vit", "classifier"])
    assert not everything_kept.layouts
    assert all(torch.equal(everything_kept.tensors[name], state[name]) for name in state)


def test_fewer_bits_take_less_room(wide, tmp_path):
    sizes = []
    for bits in BITS:
        write_packed(tmp_path / PACKED_NAME, pack(wide.model, bits=bits))
        sizes.append((tmp_path / PACKED_NAME).stat().st_size)
    plain = sum(tensor.numel() * 4 for tensor in wide.model.state_dict().values())
    assert sizes == sorted(sizes)
    assert sizes[0] < plain / 4
    assert sizes[-1] < plain / 2.5


def test_crops_to_round_for_make_4_bits_answer_nearer_on_others(wide):
    batches = [pixels(wide, seed=1), pixels(wide, seed=2)]
    unseen = pixels(wide, n=48, seed=3)
    expected = logits_of(wide.model, unseen)
    errors = []
    calls = []
    for known in ((), batches):
        other = tiny_copy(wide)
        packed = pack(
            wide.model, bits=4, keep=wide.architecture.heads, batches=known, advance=lambda n: calls.append(n)
        )
        other.model.load_state_dict(unpack(packed))
        errors.append(float((logits_of(other.model, unseen) - expected).abs().mean()))
    assert errors[1] < 0.7 * errors[0]
    assert sum(calls) == 2 * count_layers(wide.model, wide.architecture.heads)


def test_packing_is_the_same_each_time(wide):
    first, second = (pack(wide.model, bits=4, batches=[pixels(wide)]) for _ in range(2))
    assert first.layouts == second.layouts
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_unknown_bits_and_broken_weights_are_refused(wide):
    with pytest.raises(UsageError, match="3 bits"):
        pack(wide.model, bits=3)
    broken = tiny_copy(wide)
    with torch.no_grad():
        broken.model.get_submodule("vit.layers.1.mlp.fc1").weight[0, 0] = torch.nan
    with pytest.raises(DetectorError, match=r"layers\.1\.mlp\.fc1\.weight holds infinite or undefined"):
        pack(broken.model, bits=8)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_cut_file_is_one_clear_message(wide, tmp_path, share):
    folder, _ = make_packed(wide, tmp_path / "packed", bits=4)
    content = (folder / PACKED_NAME).read_bytes()
    (folder / PACKED_NAME).write_bytes(content[: int(share * len(content))])
    with pytest.raises(DetectorError, match=r"packed\.safetensors cannot be read"):
        load_checkpoint(folder)


@settings(max_examples=40)
@given(st.data())
def test_whatever_bytes_are_changed_it_loads_or_says_why(wide, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "changed"
    if not folder.exists():
        make_packed(wide, folder, bits=4)
        (folder / PACKED_NAME).rename(folder / "whole")
    content = bytearray((folder / "whole").read_bytes())
    header_bytes = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, header_bytes))] = data.draw(st.integers(0, 255))
    (folder / PACKED_NAME).write_bytes(content)
    # Anything but a DetectorError fails the test.
    with suppress(DetectorError):
        load_checkpoint(folder)


def test_files_of_others_and_of_the_future_say_what_they_are(wide, tmp_path):
    folder, _ = make_packed(wide, tmp_path / "packed", bits=4)
    path = folder / PACKED_NAME
    content = path.read_bytes()
    rewrite(path, lambda header, layouts, tensors: ({"version": 2}, layouts, tensors))
    with pytest.raises(DetectorError, match=r"version 2.*--upgrade"):
        load_checkpoint(folder)
    for strange in (0, None, [1], "1"):
        path.write_bytes(content)
        rewrite(path, lambda header, layouts, tensors, v=strange: ({"version": v}, layouts, tensors))
        with pytest.raises(DetectorError, match="there is no version"):
            load_checkpoint(folder)
    path.write_bytes(content)
    save_file(load_file(path), path, {"format": "others"})
    with pytest.raises(DetectorError, match="holds no packed weights"):
        load_checkpoint(folder)
    save_file(unpack(pack(wide.model, bits=8)), path)
    with pytest.raises(DetectorError, match="holds no packed weights"):
        load_checkpoint(folder)


SOME_LAYER = "vit.layers.0.mlp.fc1.weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 3}, "out of range"),
        ({"bits": 8}, "is not there as U8"),
        ({"bits": True}, "not made of integers"),
        ({"group_size": 0}, "out of range"),
        ({"group_size": 7}, "is not there as F16"),
        ({"exponent": 100_000}, "out of range"),
        ({"shape": [128]}, "out of range"),
        ({"shape": [2**40, 2**40]}, "out of range"),
        ({"shape": [128, -64]}, "out of range"),
        ({"shape": [64, 64]}, "is not there as U8"),
        ({"shape": None}, "cannot be read"),
        ({"shape": [128, 32, 2]}, "does not fit the network"),
        ({"surprise": 1}, "cannot be read"),
    ],
)
def test_a_header_that_lies_is_refused_before_weights_are_read(wide, tmp_path, changes, message):
    folder, _ = make_packed(wide, tmp_path / "packed", bits=4)

    def lie(header, layouts, tensors):
        layouts[SOME_LAYER] |= changes
        return header, layouts, tensors

    rewrite(folder / PACKED_NAME, lie)
    with pytest.raises(DetectorError, match=message):
        load_checkpoint(folder)


def without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: without(tensors, "classifier.bias"),
        lambda tensors: without(tensors, f"{SOME_LAYER}.scales"),
        lambda tensors: {**tensors, "stranger": torch.zeros(3)},
        lambda tensors: {**tensors, "classifier.bias": torch.zeros(3)},
        lambda tensors: {**tensors, "classifier.bias": torch.zeros(2, dtype=torch.float64)},
        lambda tensors: {**tensors, f"{SOME_LAYER}.packed": torch.zeros(128, 32)},
    ],
)
def test_tensors_that_are_missing_or_of_another_kind_are_refused(wide, tmp_path, edit):
    folder, _ = make_packed(wide, tmp_path / "packed", bits=4)
    rewrite(folder / PACKED_NAME, lambda header, layouts, tensors: (header, layouts, edit(tensors)))
    with pytest.raises(DetectorError, match=r"packed\.safetensors"):
        load_checkpoint(folder)


def test_two_kinds_of_weights_in_one_folder_are_refused(wide, tmp_path):
    folder = save(wide, tmp_path / "both")
    assert find_weights(folder).name == SAFE_WEIGHTS_NAME
    write_packed(folder / PACKED_NAME, pack(wide.model, bits=8))
    with pytest.raises(DetectorError, match="holds both"):
        load_checkpoint(folder)
    (folder / SAFE_WEIGHTS_NAME).unlink()
    assert find_weights(folder).name == PACKED_NAME
    assert load_checkpoint(folder)


def test_the_file_is_plain_safetensors_that_others_can_read(wide, tmp_path):
    packed = pack(wide.model, bits=4)
    write_packed(tmp_path / PACKED_NAME, packed)
    stored = load_file(tmp_path / PACKED_NAME)
    layout = packed.layouts[SOME_LAYER]
    assert layout == Layout((128, 64), 4, 64, layout.exponent)
    # The meaning of the file, worked out by hand.
    content = stored[f"{SOME_LAYER}.packed"].numpy().astype(np.int64)
    integers = np.stack([content % 16, content // 16], axis=2).reshape(128, 64) - 8
    scales = stored[f"{SOME_LAYER}.scales"].numpy().astype(np.float64) * 2.0**layout.exponent
    np.testing.assert_array_equal(unpack(packed)[SOME_LAYER].numpy(), integers * scales)

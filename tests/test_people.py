import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from faceauth.errors import InputError, UsageError
from faceauth.intake.manifest import ManifestRow
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.pipeline.store import stored_crop
from faceauth.splits import people
from faceauth.splits.people import (
    FACE_EMBEDDERS,
    SamePersonSettings,
    find_people,
    load_face_embedder,
)

COLLECT = CollectSettings()


class ColourEmbedder:
    """A stand-in: the person is the colour of the crop. Counts what it was asked for."""

    fingerprint = "colours"

    def __init__(self):
        self.n_seen = 0

    def __call__(self, crops_rgb_uint8):
        self.n_seen += len(crops_rgb_uint8)
        mean = crops_rgb_uint8.reshape(len(crops_rgb_uint8), -1, 3).mean(axis=1, dtype=np.float32)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


@pytest.fixture
def crops(tmp_path):
    """A function that puts crops of given colours into a prepared folder and returns their rows."""

    def put(colours):
        rows = []
        for i, colour in enumerate(colours):
            row = ManifestRow(f"/{i}.png", "", "wiki", "", "real", 1, sha256=f"{i:032x}" * 2)
            path = stored_crop(tmp_path, row)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), colour).save(path)
            rows.append(row)
        return rows

    return put


def found_in(rows, folder, embed, **options):
    return find_people(rows, folder, embed=embed, collect=COLLECT, **options)


def test_faces_of_one_person_are_tied_to_the_first_of_them(crops, tmp_path):
    rows = crops([RED, GREEN, RED, BLUE, GREEN, RED])
    rows[4] = dataclasses.replace(rows[4], status="no_face")
    found = found_in(rows, tmp_path, ColourEmbedder())
    assert found.first_rows == [0, 1, 0, 3, 4, 0]
    assert found.to_json() == {"n_faces": 5, "n_people": 3, "largest": 3}


def test_ties_are_transitive_and_the_cosine_decides(crops, tmp_path):
    # Each is 45 degrees from the next.
    rows = crops([RED, (200, 200, 0), GREEN, BLUE])
    assert found_in(rows, tmp_path, ColourEmbedder(), min_cosine=0.70).first_rows == [0, 0, 0, 3]
    assert found_in(rows, tmp_path, ColourEmbedder(), min_cosine=0.72).first_rows == [0, 1, 2, 3]


def test_vectors_are_kept_and_only_new_faces_are_embedded(crops, tmp_path, monkeypatch):
    monkeypatch.setattr(people, "_SHARD_FACES", 2)
    rows = crops([RED, GREEN, RED, BLUE, GREEN])
    first = ColourEmbedder()
    whole = found_in(rows[:3], tmp_path, first)
    again = ColourEmbedder()
    more = found_in(rows, tmp_path, again)
    assert (first.n_seen, again.n_seen) == (3, 2)
    assert more.first_rows == [0, 1, 0, 3, 1]
    assert whole.first_rows == more.first_rows[:3]
    # A damaged shard is embedded again, and other weights share nothing.
    shard = next((tmp_path / ".prepare" / "people").rglob("*.safetensors"))
    shard.write_bytes(b"no tensors")
    once_more = ColourEmbedder()
    assert found_in(rows, tmp_path, once_more).first_rows == more.first_rows
    assert 1 <= once_more.n_seen <= 2
    other = ColourEmbedder()
    other.fingerprint = "other"
    found_in(rows, tmp_path, other)
    assert other.n_seen == 5


def test_a_stopped_run_goes_on_where_it_was(crops, tmp_path, monkeypatch):
    monkeypatch.setattr(people, "_SHARD_FACES", 2)
    rows = crops([RED, GREEN, RED, BLUE, GREEN])

    class Stopped(ColourEmbedder):
        def __call__(self, crops_rgb_uint8):
            if self.n_seen == 4:
                raise KeyboardInterrupt
            return super().__call__(crops_rgb_uint8)

    with pytest.raises(KeyboardInterrupt):
        found_in(rows, tmp_path, Stopped())
    rest = ColourEmbedder()
    assert found_in(rows, tmp_path, rest).first_rows == [0, 1, 0, 3, 1]
    assert rest.n_seen == 1


def test_one_group_that_swallows_most_faces_is_refused(crops, tmp_path):
    rows = crops([RED] * 15 + [GREEN] * 10)
    with pytest.raises(InputError, match=r"15 of 25 faces are one person.*--same-person-cosine"):
        found_in(rows, tmp_path, ColourEmbedder())
    assert found_in(rows[:5] + rows[15:], tmp_path, ColourEmbedder(), min_cosine=2.0).largest == 1


def test_without_a_face_there_are_no_people(tmp_path):
    row = ManifestRow("/a.png", "", "wiki", "", "real", 1, status="no_face")
    assert found_in([row], tmp_path, ColourEmbedder()).to_json() == {
        "n_faces": 0, "n_people": 0, "largest": 0
    }  # fmt: skip


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.floats(0.5, 0.99))
def test_people_are_those_of_brute_force_in_blocks_of_any_size(seed, n, min_cosine):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "_BLOCK_FACES", 7)
        patch.setattr(people, "_TILE_FACES", 11)
        patch.setattr(people, "_PAIRS_AT_ONCE", 20)
        found = people._same_people(vectors, min_cosine)
    exact = vectors.astype(np.float32)
    near = exact @ exact.T >= min_cosine
    expected = np.arange(n)
    for _ in range(n):
        expected = np.array([expected[near[i] | (np.arange(n) == i)].min() for i in range(n)], dtype=np.int64)
    assert found.tolist() == expected.tolist()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Weights of an untrained network, as facenet-pytorch saves them and as safetensors."""
    torch = pytest.importorskip("torch")
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    network = InceptionResnetV1(classify=True, num_classes=3).eval()
    folder = tmp_path_factory.mktemp("weights")
    torch.save(network.state_dict(), folder / "20180402-114759-vggface2.pt")
    other = folder / "safe"
    other.mkdir()
    save_file(network.state_dict(), other / "faces.safetensors")
    return folder


def test_weights_are_read_from_a_file_or_a_folder_of_either_format(checkpoints):
    rng = np.random.default_rng(0)
    crops_rgb = rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    file = checkpoints / "20180402-114759-vggface2.pt"
    found = []
    for weights in (file, checkpoints, checkpoints / "safe", checkpoints / "safe" / "faces.safetensors"):
        embed = load_face_embedder(SamePersonSettings(str(weights)))
        found.append(embed(crops_rgb))
        assert len(embed.fingerprint) == 64
    for vectors in found:
        assert vectors.shape == (2, 512)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert vectors == pytest.approx(found[0], abs=1e-6)


def test_the_network_sees_what_facenet_pytorch_would_show_it(checkpoints):
    import torch
    from facenet_pytorch import InceptionResnetV1, fixed_image_standardization

    crop = np.random.default_rng(1).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    network = InceptionResnetV1(classify=True, num_classes=3)
    network.load_state_dict(torch.load(checkpoints / "20180402-114759-vggface2.pt", weights_only=True))
    network.classify = False
    with torch.inference_mode():
        pixels = torch.from_numpy(crop).permute(2, 0, 1).float()
        expected = network.eval()(fixed_image_standardization(pixels)[None])
    embed = load_face_embedder(SamePersonSettings(str(checkpoints)))
    assert embed(crop[None]) == pytest.approx(expected.numpy(), abs=1e-5)


def test_weights_that_are_none_are_one_clear_message(tmp_path, checkpoints):
    import torch

    wrong = tmp_path / "wrong.pt"
    torch.save({"some.weight": torch.zeros(2)}, wrong)
    pickled = tmp_path / "pickled.pt"
    torch.save({"weight": SamePersonSettings("x")}, pickled)
    noise = tmp_path / "noise.safetensors"
    noise.write_bytes(b"\0" * 40)
    for path in (wrong, pickled, noise):
        with pytest.raises(InputError, match="cannot be read as weights of InceptionResnetV1"):
            load_face_embedder(SamePersonSettings(str(path)))
    with pytest.raises(UsageError, match="3 files of weights"):
        load_face_embedder(SamePersonSettings(str(tmp_path)))
    with pytest.raises(UsageError, match="Did you mean 'vggface2'"):
        load_face_embedder(SamePersonSettings("vggface"))
    with pytest.raises(UsageError, match="device"):
        load_face_embedder(SamePersonSettings(str(checkpoints)), device="nonsense")


def test_weights_by_name_come_from_the_cache_or_say_how_to_get_them(tmp_path, monkeypatch, checkpoints):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        InputError, match=r"HF_HUB_OFFLINE is set.*Download https.*--same-person PATH.*--groups"
    ):
        load_face_embedder(SamePersonSettings("vggface2"))
    monkeypatch.delenv("HF_HUB_OFFLINE")

    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    with pytest.raises(InputError, match="could not be downloaded: no route to host"):
        load_face_embedder(SamePersonSettings("casia-webface"))
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    (tmp_path / "checkpoints" / "20180402-114759-vggface2.pt").symlink_to(
        checkpoints / "20180402-114759-vggface2.pt"
    )
    load_face_embedder(SamePersonSettings("vggface2"))


def test_every_face_embedder_has_a_name_that_settings_know():
    assert SamePersonSettings("x").embedder in FACE_EMBEDDERS.names()

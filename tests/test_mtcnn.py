import pickle
import subprocess
import sys
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceauth.errors import InputError, UsageError
from faceauth.intake.faces.detectors import mtcnn
from faceauth.intake.faces.detectors.mtcnn import MtcnnFaces, smallest_face_px
from faceauth.intake.faces.face import load_face_detector
from faceauth.intake.faces.mtcnn.boxes import overlap_pairs, survivors
from faceauth.intake.faces.mtcnn.packed_sums import (
    LONGEST_SIDE_PX,
    bin_edges,
    pool_boxes,
    pool_image,
    sum_pixels,
)
from faceauth.intake.faces.mtcnn.pyramid import (
    CANVAS_HEIGHTS_PX,
    CANVAS_WIDTH_PX,
    canvas_height,
    find_levels,
    pack,
)
from faceauth.intake.faces.mtcnn.scratch import Scratch
from faceauth.intake.faces.mtcnn.torch_networks import TorchNetworks
from faceauth.intake.faces.mtcnn.weights import NETWORK_NAMES, read_weights

SIDES = st.integers(1, 90)
# Torch takes a plain mean, rounded otherwise, where the result is one pixel.
NEW_SIDES = st.integers(2, 90)
SEEDS = st.integers(0, 2**32 - 1)


@cache
def facenet():
    return MTCNN(keep_all=True, select_largest=False).eval()


@cache
def detector(min_face_px=None):
    return MtcnnFaces(min_face_px=min_face_px)


@pytest.fixture(scope="module")
def portraits(sample_photos):
    paths = sorted(sample_photos.rglob("*.jpg"))
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(image, width, height):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def group_photo(portraits):
    """Several portraits of several sizes on one canvas, of which two overlap its border."""
    canvas = noise(3, 431, 700) // 4 + 90
    for index, (side, top, left) in enumerate([(200, 10, 5), (91, 300, 220), (260, 120, 400), (60, 20, 330)]):
        canvas[top : top + side, left : left + side] = resized(portraits[index * 5], side, side)
    canvas[-150:, -120:] = resized(portraits[7], 200, 200)[:150, :120]
    return canvas


def assert_like_facenet(images, min_face_px=None):
    """Asserts that boxes, certainties and landmarks are those of facenet-pytorch; returns how many faces."""
    n_faces = 0
    for image, faces in zip(images, detector(min_face_px)(images), strict=True):
        facenet().min_face_size = min_face_px or smallest_face_px(image)
        boxes, p_faces, landmarks = facenet().detect(image, landmarks=True)
        assert len(faces) == (0 if boxes is None else len(boxes))
        if faces:
            np.testing.assert_allclose([face.box_xyxy for face in faces], boxes.astype(float), atol=0.02)
            np.testing.assert_allclose([face.p_face for face in faces], p_faces.astype(float), atol=1e-4)
            found = [face.landmarks for face in faces]
            np.testing.assert_allclose(found, landmarks.astype(float), atol=0.02)
        n_faces += len(faces)
    return n_faces


def as_tuples(found):
    return [[(face.box_xyxy, face.p_face, face.landmarks.tolist()) for face in faces] for faces in found]


def test_faces_of_portraits_are_those_of_facenet_pytorch(portraits):
    sizes = [(224, 224), (97, 131), (333, 250), (150, 401), (24, 24), (640, 512)]
    images = [resized(portraits[3 * index], *size) for index, size in enumerate(sizes)]
    images += [*portraits[::4], group_photo(portraits)]
    assert assert_like_facenet(images) > len(portraits[::4]) + 3
    assert assert_like_facenet([group_photo(portraits)], min_face_px=33) > 3


def test_levels_larger_than_a_canvas_are_tiled_without_a_trace(portraits):
    image = np.concatenate([group_photo(portraits)] * 2)
    (largest, *_) = find_levels(0, *image.shape[:2], min_face_px=20)
    assert largest.height > CANVAS_HEIGHTS_PX[-1]
    assert assert_like_facenet([image], min_face_px=20) > 3


@pytest.mark.parametrize(("height", "width"), [(24, 300), (113, 200), (257, 129), (180, 301)])
def test_pictures_without_faces_are_seen_as_facenet_pytorch_sees_them(height, width):
    ramp = np.linspace(0, 255, width)[None, :, None] * np.ones((height, 1, 3))
    images = [noise(height, height, width), ramp.astype(np.uint8), np.zeros((height, width, 3), np.uint8)]
    # Rough noise at a coarse scale brings candidates through the first stages.
    images.append(resized(noise(width, height // 8, width // 8), width, height))
    assert_like_facenet(images)


def test_a_batch_finds_what_each_image_alone_does_and_the_same_each_time(portraits):
    images = [*portraits[:5], group_photo(portraits), noise(1, 300, 77), resized(portraits[6], 500, 300)]
    detect = detector()
    found = detect(images)
    assert as_tuples(detect(images)) == as_tuples(found)
    backwards = detect(images[::-1])[::-1]
    for image, faces, others in zip(images, found, backwards, strict=True):
        for again in (detect([image])[0], others):
            assert len(again) == len(faces)
            for face, other in zip(faces, again, strict=True):
                np.testing.assert_allclose(face.box_xyxy, other.box_xyxy, atol=1e-2)
                np.testing.assert_allclose(face.landmarks, other.landmarks, atol=1e-2)


def test_threads_and_small_batches_find_the_same(portraits, monkeypatch):
    images = [*portraits[:6], group_photo(portraits)]
    found = detector()(images)
    monkeypatch.setattr(mtcnn, "BATCH_PIXELS", 70_000)
    for again in (detector()(images), MtcnnFaces(threads=3)(images)):
        for faces, others in zip(found, again, strict=True):
            assert len(faces) == len(others)
            boxes, other_boxes = ([face.box_xyxy for face in some] for some in (faces, others))
            np.testing.assert_allclose(boxes, other_boxes, atol=1e-2)


def test_torch_takes_the_place_of_openvino(portraits, monkeypatch):
    images = [*portraits[:3], group_photo(portraits)]
    found = detector()(images)
    monkeypatch.setitem(sys.modules, "faceauth.intake.faces.mtcnn.openvino_networks", None)
    fallback = MtcnnFaces()
    monkeypatch.undo()
    assert isinstance(fallback._cascades[0]._networks, TorchNetworks)
    assert not isinstance(MtcnnFaces()._cascades[0]._networks, TorchNetworks)
    for faces, others in zip(found, fallback(images), strict=True):
        assert len(faces) == len(others)
        for face, other in zip(faces, others, strict=True):
            np.testing.assert_allclose(face.box_xyxy, other.box_xyxy, atol=0.02)
            np.testing.assert_allclose(face.landmarks, other.landmarks, atol=0.02)


def test_small_images_have_no_faces_and_larger_ones_than_fit_are_refused(portraits):
    detect = load_face_detector("mtcnn")
    small = [np.zeros((10, 300, 3), np.uint8), np.zeros((23, 23, 3), np.uint8), noise(0, 1, 1)]
    found = detect([small[0], portraits[0], *small[1:]])
    assert [len(faces) for faces in found] == [0, len(found[1]), 0, 0]
    assert found[1][0].landmarks.shape == (5, 2)
    assert detect([]) == []
    assert detect(small) == [[], [], []]
    with pytest.raises(ValueError, match="shrink_for_search"):
        detect([np.zeros((30, LONGEST_SIDE_PX + 1, 3), np.uint8)])


def test_faces_of_6_percent_are_looked_for_but_none_below_20_px():
    assert smallest_face_px(np.zeros((900, 1000, 3))) == 54
    assert smallest_face_px(np.zeros((1000, 100, 3))) == 20


def test_a_device_that_is_not_there_is_one_clear_error():
    with pytest.raises(UsageError, match="'warp'"):
        load_face_detector("mtcnn", device="warp")


def test_a_detector_goes_to_another_process(portraits):
    images = portraits[:2]
    again = pickle.loads(pickle.dumps(MtcnnFaces(min_face_px=40)))
    assert as_tuples(again(images)) == as_tuples(MtcnnFaces(min_face_px=40)(images))


@settings(max_examples=60)
@given(SEEDS, SIDES, SIDES, NEW_SIDES, NEW_SIDES)
def test_resizing_is_adaptive_average_pooling(seed, height, width, new_height, new_width):
    image = noise(seed, height, width)
    sums = np.empty((height + 1, width + 1), np.uint64)
    sum_pixels(image, sums, Scratch())
    resized_image = np.empty((new_height, new_width, 3), np.float32)
    pool_image(sums, bin_edges(height, new_height), bin_edges(width, new_width), resized_image, Scratch())
    np.testing.assert_array_equal(resized_image, adaptive_pooling(image, (new_height, new_width)))


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 6), st.sampled_from([24, 48]))
def test_crops_of_several_images_are_adaptive_average_pooling(seed, n, side):
    rng = np.random.default_rng(seed)
    images = [noise(seed + index, *rng.integers(1, 90, 2)) for index in range(n)]
    tables = [np.empty((image.shape[0] + 1, image.shape[1] + 1), np.uint64) for image in images]
    scratch = Scratch()
    for image, table in zip(images, tables, strict=True):
        sum_pixels(image, table, scratch)
    starts = np.cumsum([0, *(table.size for table in tables)])
    which = rng.integers(0, n, 9)
    boxes = []
    for image in (images[index] for index in which):
        (y1, y2), (x1, x2) = (np.sort(rng.choice(size + 1, 2, replace=False)) for size in image.shape[:2])
        boxes.append((x1, y1, x2, y2))
    crops = np.empty((9, side, side, 3), np.float32)
    strides = np.array([tables[index].shape[1] for index in which])
    flat = np.concatenate([table.ravel() for table in tables])
    pool_boxes(flat, starts[which], strides, np.array(boxes), crops, scratch)
    for crop, index, (x1, y1, x2, y2) in zip(crops, which, boxes, strict=True):
        np.testing.assert_array_equal(crop, adaptive_pooling(images[index][y1:y2, x1:x2], (side, side)))


@pytest.mark.parametrize("size", [(12, 12), (LONGEST_SIDE_PX, 12), (24, 24)])
def test_the_brightest_image_of_the_largest_size_does_not_overflow(size):
    image = np.full((LONGEST_SIDE_PX, LONGEST_SIDE_PX, 3), 255, np.uint8)
    sums = np.empty((LONGEST_SIDE_PX + 1, LONGEST_SIDE_PX + 1), np.uint64)
    sum_pixels(image, sums, Scratch())
    small = np.empty((*size, 3), np.float32)
    pool_image(sums, *(bin_edges(LONGEST_SIDE_PX, n) for n in size), small, Scratch())
    assert (small == 255).all()
    (*_, coarsest) = find_levels(0, LONGEST_SIDE_PX, LONGEST_SIDE_PX, min_face_px=64)
    assert min(coarsest.height, coarsest.width) >= 12


def adaptive_pooling(image, size):
    channels = torch.from_numpy(image).permute(2, 0, 1).float().contiguous()
    return torch.nn.functional.adaptive_avg_pool2d(channels, size).permute(1, 2, 0).numpy()


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(24, 1056), st.integers(24, 1056)), min_size=1, max_size=6),
    st.integers(20, 90),
)
def test_every_window_of_every_level_lies_on_one_canvas_and_no_pixel_on_two(sizes, min_face_px):
    levels = [
        level
        for index, (height, width) in enumerate(sizes)
        for level in find_levels(index, height, width, min_face_px=min_face_px)
    ]
    windows = [np.zeros(level.cells, int) for level in levels]
    for pieces in pack(levels):
        canvas = np.zeros((canvas_height(pieces), CANVAS_WIDTH_PX), int)
        for piece in pieces:
            assert piece.top % 2 == piece.left % 2 == 0
            assert piece.top + piece.height <= canvas.shape[0]
            assert piece.left + piece.width <= CANVAS_WIDTH_PX
            canvas[piece.top : piece.top + piece.height, piece.left : piece.left + piece.width] += 1
            windows[piece.level][
                piece.row : piece.row + piece.n_rows, piece.column : piece.column + piece.n_columns
            ] += 1
        assert canvas.max() == 1
    assert all((seen == 1).all() for seen in windows)


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 60), st.booleans())
def test_the_best_of_overlapping_boxes_are_those_of_the_plain_loop(seed, n, of_smaller):
    rng = np.random.default_rng(seed)
    image_of = np.sort(rng.integers(0, 3, n))
    corners = rng.integers(0, 40, (n, 2))
    boxes = np.concatenate([corners, corners + rng.integers(5, 40, (n, 2))], axis=1).astype(np.float32)
    # Few values, so that many are equal.
    p_faces = rng.integers(0, 5, n).astype(np.float32)
    pairs = overlap_pairs(boxes, image_of, threshold=0.4, of_smaller=of_smaller)
    left = []
    for index in np.argsort(-p_faces, kind="stable"):
        if all(
            image_of[index] != image_of[other]
            or plain_overlap(boxes[index], boxes[other], of_smaller=of_smaller) <= np.float32(0.4)
            for other in left
        ):
            left.append(index)
    assert np.flatnonzero(survivors(p_faces, *pairs)).tolist() == sorted(left)


def plain_overlap(one, other, *, of_smaller):
    extra = 1 if of_smaller else 0
    width, height = (np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]) + extra).clip(0)
    areas = [np.prod(box[2:] - box[:2] + extra) for box in (one, other)]
    return width * height / (min(areas) if of_smaller else sum(areas) - width * height)


def test_weights_are_those_that_torch_reads():
    for name, arrays in read_weights().items():
        tensors = torch.load(f"{weights_folder()}/{name}.pt", weights_only=True)
        assert arrays.keys() == tensors.keys()
        for part, array in arrays.items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, tensors[part].numpy())


def weights_folder():
    return Path(find_spec("facenet_pytorch").origin).parent / "data"


class Boom:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("damage", ["missing", "empty", "half", "text", "zip", "code"])
def test_damaged_weights_are_one_clear_error_and_run_nothing(tmp_path, capsys, damage):
    for name in NETWORK_NAMES:
        (tmp_path / f"{name}.pt").write_bytes((weights_folder() / f"{name}.pt").read_bytes())
    path = tmp_path / "rnet.pt"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", "")
    else:
        start = pickle.dumps(0x1950A86A20F9469CFC6C)
        path.write_bytes(
            {
                "empty": b"",
                "half": content[: len(content) // 2],
                "text": b"no weights",
                "code": start + pickle.dumps(Boom()),
            }[damage]
        )
    with pytest.raises(InputError, match=r"rnet\.pt") as caught:
        read_weights(tmp_path)
    assert "pip install" in caught.value.hint
    assert capsys.readouterr().out == ""


WORKER = """
import sys
calls = []
sys.addaudithook(lambda event, details: calls.append(event) if event.startswith("socket.") else None)
import numpy as np
from faceauth.intake.faces.detectors.mtcnn import load_mtcnn
assert load_mtcnn(device="cpu")([np.zeros((64, 64, 3), np.uint8)]) == [[]]
heavy = {"torch", "facenet_pytorch", "cv2"} & set(sys.modules)
assert not heavy, heavy
assert not calls, calls
"""


@pytest.mark.launch
def test_a_worker_needs_no_torch_and_asks_nothing_of_the_network():
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

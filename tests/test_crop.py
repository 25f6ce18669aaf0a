import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import draw
from PIL import Image

from faceauth.intake.faces.crop import CropSettings, crop_face, perceptual_hash, square_around
from faceauth.intake.faces.face import SEARCH_LONG_SIDE_PX, Face, main_face, shrink_for_search

coordinates = st.floats(-50, 350, allow_nan=False)


@given(
    x=coordinates,
    y=coordinates,
    w=st.floats(0, 400),
    h=st.floats(0, 400),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    margin=st.floats(1, 4),
)
def test_the_square_lies_inside_the_image_and_is_as_large_as_it_can_be(x, y, w, h, width, height, margin):
    x1, y1, x2, y2 = square_around((x, y, x + w, y + h), width=width, height=height, margin_ratio=margin)
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert x2 - x1 == y2 - y1
    wanted = margin * max(w, h)
    assert abs((x2 - x1) - max(1, min(wanted, width, height))) <= 1


def test_the_square_is_centred_away_from_borders_and_shifted_at_them():
    assert square_around((100, 110, 140, 150), width=400, height=400, margin_ratio=1.5) == (90, 100, 150, 160)
    assert square_around((0, 110, 40, 150), width=400, height=400, margin_ratio=1.5) == (0, 100, 60, 160)
    assert square_around((370, 380, 410, 420), width=400, height=400, margin_ratio=1.5) == (
        340,
        340,
        400,
        400,
    )


def test_a_square_of_the_right_size_is_not_resampled():
    image = draw(1, side=100)
    crop = crop_face(image, (30, 20, 70, 60), CropSettings(margin_ratio=1.5, image_size=60))
    np.testing.assert_array_equal(crop, image[10:70, 20:80])


def test_pixels_keep_their_place_and_colour_when_resized():
    image = np.zeros((200, 200, 3), np.uint8)
    image[:100, :100] = (255, 0, 0)
    image[:100, 100:] = (0, 255, 0)
    image[100:, :100] = (0, 0, 255)
    crop = crop_face(image, (50, 50, 150, 150), CropSettings(margin_ratio=1.0, image_size=64))
    for rows, columns, colour in (
        (slice(0, 28), slice(0, 28), (255, 0, 0)),
        (slice(0, 28), slice(36, 64), (0, 255, 0)),
        (slice(36, 64), slice(0, 28), (0, 0, 255)),
    ):
        assert (crop[rows, columns] == colour).all()


def bits_apart(first, second):
    return (int(perceptual_hash(first), 16) ^ int(perceptual_hash(second), 16)).bit_count()


def test_the_perceptual_hash_bears_resizing_and_tells_pictures_apart():
    assert len(perceptual_hash(draw(1))) == 64
    smaller = np.asarray(Image.fromarray(draw(1, side=256)).resize((100, 100), Image.Resampling.LANCZOS))
    assert bits_apart(draw(1, side=256), smaller) <= 20
    assert min(bits_apart(draw(1), draw(seed)) for seed in range(2, 12)) > 80


def test_the_largest_certain_face_counts():
    small, large, doubtful = (
        Face((0.0, 0.0, side, side), p) for side, p in ((40.0, 0.99), (60.0, 0.95), (200.0, 0.5))
    )
    assert main_face([small, large, doubtful], min_confidence=0.9) is large
    assert main_face([doubtful], min_confidence=0.9) is None
    assert main_face([], min_confidence=0.9) is None


@pytest.mark.parametrize("size", [(3000, 2000), (2000, 3000), (30_000, 1)])
def test_large_images_are_made_small_for_the_search_only(size):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    small = shrink_for_search(image)
    assert max(small.shape) == SEARCH_LONG_SIDE_PX
    assert min(small.shape[:2]) == max(1, round(min(size) * SEARCH_LONG_SIDE_PX / max(size)))
    face = Face((1.0, 2.0, 3.0, 4.0), 0.9, np.ones((5, 2), np.float32)).scaled(2)
    assert face.box_xyxy == (2.0, 4.0, 6.0, 8.0)
    np.testing.assert_array_equal(face.landmarks, np.full((5, 2), 2, np.float32))


def test_small_images_are_searched_as_they_are():
    image = draw(1)
    assert shrink_for_search(image) is image

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import draw
from PIL import Image, ImageOps

from faceauth.intake.faces.crop import CropSettings, crop_face
from faceauth.intake.faces.face import SEARCH_LONG_SIDE_PX, Face
from faceauth.intake.manifest import OK, UNREADABLE
from faceauth.intake.pipeline import batch
from faceauth.intake.pipeline.batch import collect_batch
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.pixels.images import UnreadableImageError, decode_image, read_image
from faceauth.intake.sources.find import find_sources

SETTINGS = CollectSettings(crop=CropSettings(margin_ratio=1.2, image_size=96))
FACE = Face((300.0, 200.0, 420.0, 330.0), 0.99)


def jpeg(width, height, *, orientation=1, mode="RGB", **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    # Soft enough that all ways to make it smaller agree.
    soft = Image.fromarray(draw(5, side=64)).resize((4, 4), Image.Resampling.BOX)
    picture = soft.resize((width, height), Image.Resampling.BICUBIC)
    picture.convert(mode).save(buffer, "JPEG", quality=90, exif=exif, **options)
    return buffer.getvalue()


def large_photo(folder, *, orientation=1, size=(2600, 2100)):
    path = folder / "real/a/large.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(jpeg(*size, orientation=orientation))
    return path


@given(
    st.integers(90, 900),
    st.integers(90, 900),
    st.integers(25, 120),
    st.integers(1, 8),
    st.sampled_from(["RGB", "L", "CMYK"]),
)
def test_a_draft_is_the_same_picture_smaller_and_never_shorter_than_asked_for(
    width, height, side_px, orientation, mode
):
    content = jpeg(width, height, orientation=orientation, mode=mode)
    whole, draft = decode_image(content), decode_image(content, draft_side_px=side_px)
    full_height, full_width = whole.image_rgb_uint8.shape[:2]
    assert draft.size == whole.size == (full_width, full_height)
    facts = ("format", "jpeg_quality", "jpeg_subsampling", "n_bytes", "sha256", "note")
    assert all(getattr(draft, name) == getattr(whole, name) for name in facts)
    longer = max(draft.image_rgb_uint8.shape[:2])
    shrink = max(1, min(8, 2 ** int(np.log2(max(1, max(width, height) // side_px)))))
    assert longer == -(-max(width, height) // shrink)
    assert longer >= min(side_px, max(width, height))
    assert (draft.content is None) == (draft.full_size is None) == (shrink == 1)
    if shrink == 1:
        np.testing.assert_array_equal(draft.image_rgb_uint8, whole.image_rgb_uint8)
        return
    small = Image.fromarray(whole.image_rgb_uint8).resize(
        draft.image_rgb_uint8.shape[1::-1], Image.Resampling.BOX
    )

    def difference(picture):
        return np.abs(np.asarray(picture, float) - draft.image_rgb_uint8).mean()

    # As upright as the whole image.
    turned = (ImageOps.mirror(small), ImageOps.flip(small), small.rotate(180))
    assert difference(small) < 0.3 * min(difference(other) for other in turned)


def test_other_formats_have_no_drafts(tmp_path):
    Image.fromarray(draw(1, side=300)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", draft_side_px=50)
    assert image.image_rgb_uint8.shape == (300, 300, 3)
    assert image.content is None


@pytest.mark.parametrize("kept_bytes", [0, 2**28])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_crop_is_cut_from_all_pixels_of_a_large_jpeg(tmp_path, monkeypatch, orientation, kept_bytes):
    monkeypatch.setattr(batch, "KEPT_BYTES", kept_bytes)
    path = large_photo(tmp_path, orientation=orientation)
    searched = []

    def detect(images):
        searched.extend(images)
        return [[FACE] for _ in images]

    decoded = []
    monkeypatch.setattr(
        batch, "decode_image", lambda content: decoded.append(len(content)) or decode_image(content)
    )
    files = find_sources([str(tmp_path)])
    done = collect_batch(files, SETTINGS, detect)
    (row,) = done.rows
    (image,) = searched
    assert max(image.shape) == SEARCH_LONG_SIDE_PX

    whole = read_image(path)
    pixels = whole.image_rgb_uint8
    assert (row.status, row.width, row.height) == (OK, pixels.shape[1], pixels.shape[0])
    assert (row.jpeg_quality, row.jpeg_subsampling, row.sha256, row.n_bytes) == (
        whole.jpeg_quality,
        whole.jpeg_subsampling,
        whole.sha256,
        whole.n_bytes,
    )
    scale = pixels.shape[1] / image.shape[1]
    assert row.box == tuple(round(number * scale, 2) for number in FACE.box_xyxy)
    crop = np.asarray(Image.open(io.BytesIO(done.crops_png[0])))
    np.testing.assert_array_equal(crop, crop_face(pixels, row.box, SETTINGS.crop))
    # The bytes that were read and hashed are decoded again, and the file is not opened for it.
    assert decoded == ([path.stat().st_size] if kept_bytes else [])


def test_a_large_jpeg_without_a_face_is_never_decoded_in_full(tmp_path, monkeypatch):
    large_photo(tmp_path)

    def refuse(content):
        raise AssertionError

    monkeypatch.setattr(batch, "decode_image", refuse)
    done = collect_batch(find_sources([str(tmp_path)]), SETTINGS, lambda images: [[] for _ in images])
    assert done.rows[0].reason == "none found"


@pytest.mark.parametrize("lost", [0.02, 0.5])
def test_a_large_jpeg_without_its_end_is_noticed(tmp_path, lost):
    path = large_photo(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * (1 - lost))])
    with pytest.raises(UnreadableImageError) as caught:
        read_image(path)
    (row,) = collect_batch(
        find_sources([str(tmp_path)]), SETTINGS, lambda images: [[FACE] for _ in images]
    ).rows
    assert (row.status, row.reason.split(" (")[0]) == (UNREADABLE, str(caught.value).split(" (")[0])

import hashlib
import io

import numpy as np
import pytest
from pictures import draw
from PIL import Image

from faceauth.intake.pixels.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    UnreadableImageError,
    decode_image,
    read_image,
)


def encoded(image, fmt, **options):
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_lossless_formats_give_the_very_pixels(fmt):
    options = {"WEBP": {"lossless": True}}.get(fmt, {})
    decoded = decode_image(encoded(Image.fromarray(draw(1)), fmt, **options))
    np.testing.assert_array_equal(decoded.image_rgb_uint8, draw(1))
    assert (decoded.format, decoded.jpeg_quality, decoded.note) == (fmt, None, "")


@pytest.mark.parametrize("fmt", ["JPEG", "MPO", "GIF", "AVIF"])
def test_lossy_formats_give_nearly_the_pixels(fmt):
    decoded = decode_image(encoded(Image.fromarray(draw(1)), fmt))
    assert decoded.format == ("JPEG" if fmt == "MPO" else fmt)
    assert np.abs(decoded.image_rgb_uint8.astype(int) - draw(1)).mean() < 16


def test_the_facts_of_the_file_are_kept(tmp_path):
    content = encoded(Image.fromarray(draw(2)), "JPEG", quality=83)
    (tmp_path / "a.jpg").write_bytes(content)
    found = read_image(tmp_path / "a.jpg")
    assert found.n_bytes == len(content)
    assert found.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 90, 95, 100])
def test_jpeg_quality_is_estimated_from_the_tables(quality):
    for subsampling in (0, 2):
        content = encoded(Image.fromarray(draw(3)), "JPEG", quality=quality, subsampling=subsampling)
        assert abs(decode_image(content).jpeg_quality - quality) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = draw(4)[:48]
    turned = {
        1: raw,
        2: raw[:, ::-1],
        3: raw[::-1, ::-1],
        4: raw[::-1],
        5: raw.transpose(1, 0, 2),
        6: raw[::-1].transpose(1, 0, 2),
        7: raw[::-1, ::-1].transpose(1, 0, 2),
        8: raw[:, ::-1].transpose(1, 0, 2),
    }
    decoded = decode_image(encoded(Image.fromarray(raw), "PNG", exif=exif))
    np.testing.assert_array_equal(decoded.image_rgb_uint8, turned[orientation])


@pytest.mark.parametrize(
    "junk", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12"]
)
def test_broken_exif_does_not_cost_the_picture(junk):
    decoded = decode_image(encoded(Image.fromarray(draw(5)), "JPEG", exif=junk))
    assert decoded.image_rgb_uint8.shape == (64, 64, 3)


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    for fmt in ("PNG", "TIFF"):
        pixels = decode_image(encoded(Image.fromarray(ramp), fmt)).image_rgb_uint8
        np.testing.assert_allclose(pixels[:, :, 0], ramp / 257, atol=1)
        assert (pixels == pixels[:, :, :1]).all()
    wide = Image.fromarray(ramp.astype(np.int32) * 1000)
    with pytest.raises(UnreadableImageError, match="16 bits"):
        decode_image(encoded(wide, "TIFF"))
    with pytest.raises(UnreadableImageError, match="floating-point"):
        decode_image(encoded(Image.fromarray(ramp.astype(np.float32)), "TIFF"))


def test_cmyk_keeps_its_colours():
    cmyk = Image.fromarray(draw(6)).convert("CMYK")
    for fmt, options in (("TIFF", {}), ("JPEG", {"quality": 95})):
        pixels = decode_image(encoded(cmyk, fmt, **options)).image_rgb_uint8
        assert np.abs(pixels.astype(int) - draw(6)).mean() < 12


def test_palettes_greys_and_single_bits_become_rgb():
    image = Image.fromarray(draw(7))
    for mode in ("P", "L", "1"):
        pixels = decode_image(encoded(image.convert(mode), "PNG")).image_rgb_uint8
        np.testing.assert_array_equal(pixels, np.asarray(image.convert(mode).convert("RGB")))


def test_transparency_is_laid_over_white():
    clear = np.dstack([draw(8), np.zeros((64, 64), np.uint8)])
    clear[:32, :, 3] = 255
    pixels = decode_image(encoded(Image.fromarray(clear), "PNG")).image_rgb_uint8
    np.testing.assert_array_equal(pixels[:32], draw(8)[:32])
    assert (pixels[32:] == 255).all()
    palette = Image.fromarray(np.zeros((8, 8), np.uint8)).convert("P")
    assert (decode_image(encoded(palette, "PNG", transparency=0)).image_rgb_uint8 == 255).all()


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken_and_noted(fmt):
    frames = [Image.fromarray(np.full((32, 32, 3), value, np.uint8)) for value in (10, 120, 240)]
    options = {"WEBP": {"lossless": True}}.get(fmt, {})
    decoded = decode_image(encoded(frames[0], fmt, save_all=True, append_images=frames[1:], **options))
    assert decoded.note == "first of 3 frames"
    assert (decoded.image_rgb_uint8 == 10).all()


def test_a_broken_file_has_one_short_reason(tmp_path):
    good = encoded(Image.fromarray(draw(9, side=256)), "PNG")
    cases = {
        "empty": b"",
        "not an image": b"this is text\n",
        "not an image that can be decoded": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "broken": good[: len(good) // 2],
    }
    for reason, content in cases.items():
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        with pytest.raises(UnreadableImageError, match=reason) as caught:
            read_image(path)
        assert len(str(caught.value)) < 200
    for path in (tmp_path / "none.jpg", tmp_path, tmp_path / "a\0b.jpg", tmp_path / ("x" * 300)):
        with pytest.raises(UnreadableImageError, match="cannot be read"):
            read_image(path)


@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 8, 20_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side):
    content = encoded(Image.new("1", (side, side)), "PNG")
    assert len(content) < 200_000
    with pytest.raises(UnreadableImageError, match="at most 100,000,000"):
        decode_image(content)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_give_pixels_or_a_reason_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    fmt = ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "AVIF"][seed % 8]
    content = bytearray(encoded(Image.fromarray(draw(1)), fmt))
    for place in rng.integers(0, min(len(content), 400), 12):
        content[place] = rng.integers(0, 256)
    try:
        pixels = decode_image(bytes(content)).image_rgb_uint8
    except UnreadableImageError:
        return
    assert (pixels.dtype, pixels.ndim) == (np.uint8, 3)


def test_suffixes_are_lower_case_with_their_dot():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)

"""Lossy compression: JPEG once and twice, WebP, and a frame of H.264."""

import io
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from faceauth.degradations.degrade import degradation, whole_between
from faceauth.errors import InputError, MissingExtraError

# What a picture was saved with before it is saved again.
FIRST_QUALITY = 70
# Half a block: the second grid of 8 px blocks lies right between the lines of the first.
GRID_SHIFT_PX = 4
# As users of x264 leave it.
H264_PRESET = "medium"


def encode_jpeg(image_rgb_uint8: np.ndarray, quality: int) -> bytes:
    """Encodes (height, width, 3) uint8 as JPEG of a quality from 1 to 100, colours at half resolution."""
    stream = io.BytesIO()
    Image.fromarray(image_rgb_uint8).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return stream.getvalue()


def encode_webp(image_rgb_uint8: np.ndarray, quality: int) -> bytes:
    """Encodes (height, width, 3) uint8 as lossy WebP of a quality from 0 to 100."""
    stream = io.BytesIO()
    Image.fromarray(image_rgb_uint8).save(stream, "WEBP", quality=quality)
    return stream.getvalue()


def encode_h264(image_rgb_uint8: np.ndarray, crf: float) -> bytes:
    """Encodes an image as an H.264 stream of one frame, with libx264 and colours at half resolution.

    Args:
        image_rgb_uint8: (height, width, 3) uint8, both sides even.
        crf: Constant rate factor, 0 to 51; x264's default is 23.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    av = _import_av()
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = image_rgb_uint8.shape[:2]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 25)
    # Several threads cut the picture into slices, and the result would depend on the machine.
    encoder.thread_count = 1
    encoder.options = {"crf": f"{crf:g}", "preset": H264_PRESET}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_rgb_uint8), format="rgb24")
    frame = frame.reformat(format="yuv420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def decode_h264(stream: bytes) -> np.ndarray:
    """Decodes the first frame of an H.264 stream as (height, width, 3) uint8.

    Raises:
        MissingExtraError: PyAV is not installed.
        InputError: There is no frame in it.
    """
    av = _import_av()
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [*decoder.decode(av.Packet(stream)), *decoder.decode(None)]
    if not frames:
        raise InputError("The H.264 stream holds no frame.")
    return frames[0].to_ndarray(format="rgb24")


def check_av() -> None:
    """Makes sure that PyAV is installed.

    Raises:
        MissingExtraError: It is not.
    """
    _import_av()


@degradation(
    "jpeg", levels=(95, 85, 75, 65, 50, 40, 30, 20), unit="JPEG quality", draw=whole_between(30, 100)
)
def save_as_jpeg(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Saves as JPEG; training draws from 30 to 100, as in CNNSpot (arXiv 1912.11035, section 4.1)."""
    return _decode(encode_jpeg(image_rgb_uint8, round(level)))


@degradation(
    "double_jpeg", levels=(95, 85, 75, 65, 50, 35), unit="second JPEG quality", draw=whole_between(50, 95)
)
def save_twice_as_jpeg(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Saves as JPEG of quality 70, moves the grid of blocks by 4 px both ways, and saves again."""
    height, width = image_rgb_uint8.shape[:2]
    before = ((GRID_SHIFT_PX, 0), (GRID_SHIFT_PX, 0), (0, 0))
    first = _decode(encode_jpeg(np.pad(image_rgb_uint8, before, mode="edge"), FIRST_QUALITY))
    return _decode(encode_jpeg(first[-height:, -width:], round(level)))


@degradation("webp", levels=(95, 80, 65, 50, 35, 20), unit="WebP quality", draw=whole_between(30, 100))
def save_as_webp(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Saves as lossy WebP."""
    return _decode(encode_webp(image_rgb_uint8, round(level)))


@degradation(
    "h264",
    levels=(18, 23, 28, 33, 38, 43),
    unit="constant rate factor",
    draw=whole_between(18, 38),
    check=check_av,
)
def save_as_h264(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Encodes as the first frame of an H.264 video.

    Its sides must be even: odd ones get one more row or column, and lose it again.
    """
    height, width = image_rgb_uint8.shape[:2]
    even = np.pad(image_rgb_uint8, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return decode_h264(encode_h264(even, level))[:height, :width]


def _decode(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            "H.264 needs the package PyAV, which is not installed.",
            "Install it: pip install 'faceauth[video]'",
        ) from error
    return av

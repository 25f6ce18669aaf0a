"""Reads image files that strangers made: upright RGB pixels out, or one reason why not.

Every image of both classes passes through `read_image`, whether it is prepared, trained on or judged, so
that no difference in decoding can become a clue.
"""

import errno
import functools
import hashlib
import io
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from faceauth.errors import InputError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm"}
)
# Pillow also opens formats that call other programs (EPS) or are no pictures (PDF, FITS); those stay shut.
# Its JPEG reader opens MPO too, which has no name of its own among the readers.
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")

MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 100_000_000
# Larger images are brought to RGB in strips of so many pixels.
STRIP_PIXELS = 4_000_000
# Too many open files, no memory: faults of the machine and of this moment.
MACHINE_FAULTS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

# The EXIF tag that says how to turn an image upright, and the values with which its sides change places.
_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)

# Annex K of ITU-T T.81: the luminance table at quality 50, from which the usual encoders scale theirs.
_STANDARD_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)

# Sampling factors (columns, rows) of brightness and of both colours, and what people call them.
_SUBSAMPLING: dict[tuple[tuple[int, int], ...], str] = {
    ((1, 1), (1, 1), (1, 1)): "4:4:4",
    ((2, 1), (1, 1), (1, 1)): "4:2:2",
    ((2, 2), (1, 1), (1, 1)): "4:2:0",
    ((1, 2), (1, 1), (1, 1)): "4:4:0",
    ((4, 1), (1, 1), (1, 1)): "4:1:1",
    ((4, 2), (1, 1), (1, 1)): "4:1:0",
}


class UnreadableImageError(InputError):
    """A file that is empty, broken, too large or no image; the message is the reason, for one row."""


class TooManyPixelsError(UnreadableImageError):
    """An image, or a frame of a video, that has more pixels than are read."""


@dataclass(frozen=True)
class SourceImage:
    """A decoded image, and what its file was like.

    Attributes:
        image_rgb_uint8: Upright pixels, (height, width, 3) uint8.
        format: Pillow's name of the format, such as `JPEG`.
        jpeg_quality: 1 to 100 by the quantisation tables, None for other formats.
        n_bytes: Size of the file in bytes.
        sha256: Hash of the file's bytes as 64 hexadecimal digits.
        note: What a reader should know, such as that only the first frame was taken; mostly empty.
        jpeg_subsampling: How a JPEG's colour is stored, such as `4:2:0`; empty for other formats.
        frame: Index of the frame in a video; None for images.
        timestamp_s: When the video shows the frame, in seconds from its start; None for images.
        full_size: (width, height) of the upright image in pixels, where `image_rgb_uint8` is a smaller draft
            of it; None where it is the image itself.
        content: The file's bytes, with a draft; None otherwise.
    """

    image_rgb_uint8: np.ndarray
    format: str
    jpeg_quality: int | None
    n_bytes: int
    sha256: str
    note: str = ""
    jpeg_subsampling: str = ""
    frame: int | None = None
    timestamp_s: float | None = None
    full_size: tuple[int, int] | None = None
    content: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright image in pixels, also where the pixels are those of a draft."""
        height, width = self.image_rgb_uint8.shape[:2]
        return self.full_size or (width, height)


def read_image(path: Path, *, draft_side_px: int | None = None) -> SourceImage:
    """Reads an image file into upright 8-bit RGB.

    EXIF orientation is applied. 16-bit grey is scaled to 8 bits, transparency is laid over white, CMYK and
    palettes are converted, and of an animation the first frame is taken.

    Args:
        path: An image file.
        draft_side_px: See `decode_image`.

    Returns:
        The pixels with the facts of the file.

    Raises:
        UnreadableImageError: The file is empty, broken, too large (256 MiB, 100 megapixels) or no image.
    """
    try:
        status = path.stat()
        # Opening a named pipe waits for somebody to write into it, and a device may have no end.
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError(f"the file cannot be read: it is {_kind_of(status.st_mode)}")
        if status.st_size == 0:
            raise UnreadableImageError("the file is empty (0 bytes)")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableImageError(
                f"the file has {status.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read"
            )
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES)
    except OSError as error:
        if error.errno in MACHINE_FAULTS:
            # It says nothing of the image, which must not be called unreadable for good.
            raise
        raise UnreadableImageError(f"the file cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        # A spreadsheet may name a path that no file system knows, such as one with a null character.
        raise UnreadableImageError(f"the file cannot be read: {error}") from error
    return decode_image(content, draft_side_px=draft_side_px)


def decode_image(
    content: bytes, *, draft_side_px: int | None = None, max_pixels: int = MAX_PIXELS
) -> SourceImage:
    """Decodes the bytes of an image file; see `read_image`.

    Args:
        content: A whole image file.
        draft_side_px: A JPEG whose longer side is at least twice as long is decoded at a half, a quarter or
            an eighth of its size, still at least so long. It takes a third of the time, and shows whether
            the file is whole; no crop is ever cut from it.
        max_pixels: Larger images are refused before they are decoded.

    Returns:
        The pixels with the facts of the file.

    Raises:
        TooManyPixelsError: The image is too large.
        UnreadableImageError: The bytes are no image that can be decoded.
    """
    try:
        with warnings.catch_warnings():
            # The pixel count is checked below, against our own limit.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_readable_formats()) as image:
                if image.width * image.height > max_pixels:
                    raise TooManyPixelsError(
                        f"the image has {image.width:,} x {image.height:,} pixels; "
                        f"at most {max_pixels:,} are read"
                    )
                n_frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
                jpeg_quality = estimate_jpeg_quality(image)
                jpeg_subsampling = read_jpeg_subsampling(image)
                image_format = "JPEG" if image.format == "MPO" else (image.format or "")
                full_size = None if draft_side_px is None else _draft(image, draft_side_px)
                pixels = _to_rgb_uint8(_upright(image))
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError as error:
        # Pillow gives up at twice its own limit, before the size can be asked for.
        raise TooManyPixelsError(f"the image has too many pixels; at most {max_pixels:,} are read") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableImageError("the file is not an image that can be decoded") from error
    except Exception as error:
        # Pillow's plugins raise almost anything on hostile bytes, and one file must never end a run.
        raise UnreadableImageError(f"the image is broken: {error or type(error).__name__}") from error
    return SourceImage(
        image_rgb_uint8=pixels,
        format=image_format,
        jpeg_quality=jpeg_quality,
        n_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        note=f"first of {n_frames} frames" if n_frames > 1 else "",
        jpeg_subsampling=jpeg_subsampling,
        full_size=full_size,
        content=None if full_size is None else content,
    )


def convert_image(image: Image.Image) -> SourceImage:
    """Brings an image that is in memory to upright 8-bit RGB, as `read_image` brings a file.

    Args:
        image: An image of Pillow, of any mode; one that was opened from a file and not changed since still
            says what that file was like.

    Returns:
        The pixels; the size and hash of a file are 0 and empty.

    Raises:
        UnreadableImageError: Its pixels cannot be read, or are too many.
    """
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(
            f"the image has {image.width:,} x {image.height:,} pixels; at most {MAX_PIXELS:,} are read"
        )
    try:
        jpeg_quality, subsampling = estimate_jpeg_quality(image), read_jpeg_subsampling(image)
        pixels = _to_rgb_uint8(_upright(image))
    except UnreadableImageError:
        raise
    except Exception as error:
        # It may have been opened from hostile bytes, which are decoded only now.
        raise UnreadableImageError(f"the image is broken: {error or type(error).__name__}") from error
    return SourceImage(pixels, image.format or "", jpeg_quality, 0, "", jpeg_subsampling=subsampling)


def estimate_jpeg_quality(image: Image.Image) -> int | None:
    """Estimates the quality setting with which a JPEG was last saved.

    Finds the quality at which the Independent JPEG Group's encoder has a luminance table of the same sum.

    Args:
        image: An opened image.

    Returns:
        1 to 100, or None if the image is no JPEG.
    """
    tables = getattr(image, "quantization", None)
    if image.format not in ("JPEG", "MPO") or not tables:
        return None
    found = sum(tables[min(tables)])
    sums = _luminance_sums()
    return min(sums, key=lambda quality: abs(sums[quality] - found))


def read_jpeg_subsampling(image: Image.Image) -> str:
    """Tells at what resolution a JPEG stores its colour, against its brightness.

    Args:
        image: An opened image.

    Returns:
        `4:4:4`, `4:2:2`, `4:2:0` and the like as people write it; `4:0:0` for a grey JPEG; the sampling
        factors of all components, such as `2x1 1x2 1x1`, where there is no such name. Empty if the image is
        no JPEG.
    """
    # Pillow's own `get_sampling` knows three of them and raises on what has two components.
    layers = getattr(image, "layer", None)
    if image.format not in ("JPEG", "MPO") or not layers:
        return ""
    factors = tuple((columns, rows) for _, columns, rows, *_ in layers)
    if len(factors) == 1:
        return "4:0:0"
    written = " ".join(f"{columns}x{rows}" for columns, rows in factors)
    return _SUBSAMPLING.get(factors, written)


def _kind_of(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


@functools.cache
def _luminance_sums() -> dict[int, int]:
    sums = {}
    for quality in range(1, 101):
        percent = 5000 // quality if quality < 50 else 200 - 2 * quality
        sums[quality] = sum(min(255, max(1, (step * percent + 50) // 100)) for step in _STANDARD_LUMINANCE)
    return sums


@functools.cache
def _readable_formats() -> tuple[str, ...]:
    # Pillow may have been built without some codecs, and fails on the mere name of one that it lacks.
    Image.init()
    return tuple(name for name in PILLOW_FORMATS if name in Image.OPEN)


def _draft(image: Image.Image, side_px: int) -> tuple[int, int] | None:
    """Makes an image be decoded at a fraction of its size; returns its upright size if that can be done."""
    shrink = max(image.size) // side_px
    if image.format not in ("JPEG", "MPO") or shrink < 2:
        return None
    width, height = image.size
    # Of 1/2, 1/4 and 1/8 Pillow takes the smallest that is no smaller than what is asked for.
    image.draft(None, (max(1, width // shrink), max(1, height // shrink)))
    if image.size == (width, height):
        return None
    return (height, width) if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE else (width, height)


def _upright(image: Image.Image) -> Image.Image:
    # Some formats tell of it behind the pixels. Without it Pillow would make a copy.
    image.load()
    return image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def _to_rgb_uint8(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImageError("the grey values do not fit in 16 bits")
        # Pillow's own conversion clips at 255 and turns 16-bit photographs white.
        grey = (values // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise UnreadableImageError(
            "floating-point pixels have no agreed range; save the image with 8 or 16 bits"
        )
    if image.width * image.height <= STRIP_PIXELS:
        return _strip_rgb_uint8(image)
    # Pillow's copies of a large image would take several times what its pixels do.
    rgb_uint8 = np.empty((image.height, image.width, 3), np.uint8)
    step = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        bottom = min(top + step, image.height)
        rgb_uint8[top:bottom] = _strip_rgb_uint8(image.crop((0, top, image.width, bottom)))
    return rgb_uint8


def _strip_rgb_uint8(image: Image.Image) -> np.ndarray:
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))
    # Pillow copies an image that has the mode already.
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))

"""How every picture of the sample set is encoded: one law of JPEG quality, and one size of file.

The number of bytes of a JPEG tells how much fine detail it holds, and detail is what generators change. So
that a file's size gives nothing away, comment segments fill every file up to one size.
"""

import io

import numpy as np
from PIL import Image

from faceauth.samples.noise import FloatArray

_QUALITY_LOW, _QUALITY_HIGH = 85, 95
_BYTES_PER_PIXEL = 0.65
_BLOCK_BYTES = 1024
_COMMENT = b"\xff\xfe"
_COMMENT_OVERHEAD, _LONGEST_COMMENT = 4, 65533


def draw_jpeg_quality(rng: np.random.Generator) -> int:
    """Draws a quality from 85 to 95, every one as likely as the next."""
    return int(rng.integers(_QUALITY_LOW, _QUALITY_HIGH + 1))


def encode_jpeg(picture_srgb: FloatArray, *, quality: int) -> bytes:
    """Encodes a picture as a JPEG of a size that depends on its pixels' number alone.

    Args:
        picture_srgb: float32 (H, W, 3), sRGB values; what lies outside [0, 1] is cut off.
        quality: Pillow's JPEG quality; the colours are always stored at half resolution.

    Returns:
        The file's bytes.
    """
    pixels = (np.clip(picture_srgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return pad_jpeg(stream.getvalue(), n_bytes=padded_size(pixels.shape[0] * pixels.shape[1]))


def padded_size(n_pixels: int) -> int:
    """The size in bytes to which a JPEG of so many pixels is filled up."""
    return int(np.ceil(n_pixels * _BYTES_PER_PIXEL / _BLOCK_BYTES)) * _BLOCK_BYTES


def pad_jpeg(jpeg: bytes, *, n_bytes: int) -> bytes:
    """Fills a JPEG up with comment segments behind its first header segment.

    Args:
        jpeg: A JPEG file.
        n_bytes: The wanted size; a file that does not fit gets the next multiple of it.

    Returns:
        A JPEG file with the same pixels.
    """
    wanted = n_bytes
    while wanted - len(jpeg) < _COMMENT_OVERHEAD:
        wanted += n_bytes
    # Start of image (2 bytes), then the marker (2) and the length of the JFIF header.
    header_end = 4 + int.from_bytes(jpeg[4:6], "big")
    segments, missing = [], wanted - len(jpeg)
    while missing:
        payload = min(missing - _COMMENT_OVERHEAD, _LONGEST_COMMENT)
        # A rest too small for a segment of its own is left for the next one to share.
        if 0 < missing - _COMMENT_OVERHEAD - payload < _COMMENT_OVERHEAD:
            payload -= _COMMENT_OVERHEAD
        segments.append(_COMMENT + (payload + 2).to_bytes(2, "big") + b" " * payload)
        missing -= _COMMENT_OVERHEAD + payload
    return jpeg[:header_end] + b"".join(segments) + jpeg[header_end:]

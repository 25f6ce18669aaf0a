"""What an upload is by its first bytes, whatever its name and its Content-Type say."""

from dataclasses import dataclass

from faceauth.serving.refusals import RefusedError

# ISO base media files say what they are in the brands behind `ftyp`.
_AVIF_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BRANDS_BYTES = 64
_IMAGE_STARTS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    *(b"P%d" % number for number in range(1, 7)),  # PPM and its kin
)
_VIDEO_STARTS = {
    b"\x1aE\xdf\xa3": ".mkv",  # WebM, too
    b"\0\0\1\xba": ".mpg",
    b"\0\0\1\xb3": ".mpg",
}
# What old QuickTime files begin with, instead of `ftyp`.
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


@dataclass(frozen=True, slots=True)
class Kind:
    """What an upload is.

    Attributes:
        is_video: Whether it is a video; else it is a picture.
        suffix: What the name of such a video ends in; empty for pictures, which never become files.
    """

    is_video: bool
    suffix: str = ""


PICTURE = Kind(is_video=False)


def kind_of(content: bytes) -> Kind:
    """Tells pictures from videos by their first bytes.

    Args:
        content: The whole file, or its beginning.

    Raises:
        RefusedError: It is empty, or neither of both.
    """
    if not content:
        raise RefusedError(422, "The file is empty (0 bytes).", "Send a picture or a video.")
    if content.startswith(_IMAGE_STARTS):
        return PICTURE
    for start, suffix in _VIDEO_STARTS.items():
        if content.startswith(start):
            return Kind(is_video=True, suffix=suffix)
    if content.startswith(b"RIFF"):
        if content[8:12] == b"WEBP":
            return PICTURE
        if content[8:12] == b"AVI ":
            return Kind(is_video=True, suffix=".avi")
    if content[4:8] == b"ftyp":
        brands = content[8:_BRANDS_BYTES]
        if any(brand in brands for brand in _AVIF_BRANDS):
            return PICTURE
        if brands[:4] not in _HEIF_BRANDS:
            return Kind(is_video=True, suffix=".mp4")
        raise RefusedError(
            415, "The file is a HEIC picture, which cannot be read.", "Save it as JPEG and send that."
        )
    if content[4:8] in _QUICKTIME_ATOMS:
        return Kind(is_video=True, suffix=".mov")
    raise RefusedError(
        415,
        "The file is neither a picture nor a video.",
        "Send JPEG, PNG, WebP, AVIF, BMP, TIFF, GIF, JPEG 2000 or PPM; or MP4, MOV, MKV, WebM, AVI or MPEG.",
    )

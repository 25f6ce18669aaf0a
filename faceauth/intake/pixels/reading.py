"""Reads the pixels of any address: an image file, a frame of a video, a row of a table."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from faceauth.intake.pixels.images import SourceImage, UnreadableImageError, decode_image, read_image
from faceauth.intake.pixels.shards import read_row
from faceauth.intake.pixels.video import read_frames
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.remote import fetch_each, is_remote


def read_each(
    addresses: Sequence[Address], *, draft_side_px: int | None = None
) -> Iterator[SourceImage | UnreadableImageError]:
    """Reads several addresses in their order; frames of one video that follow each other in one go.

    Args:
        addresses: n addresses.
        draft_side_px: Large JPEGs may come as drafts whose longer side is at least so long; see
            `faceauth.intake.pixels.images.decode_image`.

    Yields:
        n times the image, or the error that says why there is none.

    Raises:
        InputError: A remote place does not answer, or lets nothing be read.
    """
    for video, run in groupby(addresses, key=_video_of):
        if video is not None:
            yield from read_frames(video, [address.time_s or 0.0 for address in run])
            continue
        for is_far, files in groupby(run, key=_is_remote_file):
            for file in fetch_each([address.path for address in files]) if is_far else files:
                yield _image_or_error(file, draft_side_px)


def _image_or_error(
    file: Address | bytes | UnreadableImageError, draft_side_px: int | None
) -> SourceImage | UnreadableImageError:
    try:
        if isinstance(file, bytes):
            return decode_image(file, draft_side_px=draft_side_px)
        if isinstance(file, UnreadableImageError):
            return file
        if file.row is not None:
            return read_row(file.path, file.row, draft_side_px=draft_side_px)
        return read_image(file.path, draft_side_px=draft_side_px)
    except UnreadableImageError as error:
        return error


def _is_remote_file(address: Address) -> bool:
    # Of a remote table only the rows that are asked for are fetched.
    return address.row is None and is_remote(address.path)


def _video_of(address: Address) -> Path | None:
    return None if address.time_s is None else address.path

"""Reads the pixels of any address: an image file, a frame of a video, a row of a table."""

from collections.abc import Iterator, Sequence

from faceauth.intake.address import Address
from faceauth.intake.images import SourceImage, UnreadableImageError, read_image


def read_each(addresses: Sequence[Address]) -> Iterator[SourceImage | UnreadableImageError]:
    """Reads several addresses in their order; frames of one video that follow each other in one go.

    Args:
        addresses: n addresses.

    Yields:
        n times the image, or the error that says why there is none.
    """
    for address in addresses:
        try:
            yield read_image(address.path)
        except UnreadableImageError as error:
            yield error

"""The record of one image, or video, that a source holds."""

import os
from dataclasses import dataclass

from faceauth.intake.sources.address import Address


@dataclass(frozen=True, order=True, slots=True)
class SourceFile:
    """One image, or one video, of a source.

    Attributes:
        image_path: The absolute path and the fragment of the address as valid text: of bytes that are no
            UTF-8, the hexadecimal numbers.
        folder: The source model: generator or collection.
        target: 1 for real, 0 for fake.
        key: The path inside its collection, without suffix. A fake often keeps the name of the photo that
            it was made from, so files with one key in several sources are taken as one group.
        group: The group that a groups file or a layout names, empty if there is none.
        address: Where the pixels lie.
        identity: Who is in the picture as a groups file or a layout says, separated by semicolons; mostly
            empty.
        split: The split that the data set's authors gave it: `train`, `val` or `test`; mostly empty.
    """

    image_path: str
    folder: str
    target: int
    key: str
    group: str
    address: Address
    identity: str = ""
    split: str = ""

    @property
    def is_named(self) -> bool:
        """True if somebody said what the image belongs to."""
        return bool(self.group or self.identity)


def source_file(
    address: Address,
    *,
    folder: str,
    target: int,
    key: str,
    group: str = "",
    identity: str = "",
    split: str = "",
) -> SourceFile:
    """Returns the record of what lies at an address, every name of it as valid text.

    Args:
        address: Where the pixels lie.
        folder: The source model: generator or collection.
        target: 1 for real, 0 for fake.
        key: What files of several sources that come from one photo have in common.
        group: The group that is known, if any.
        identity: Who is in the picture, if known, separated by semicolons.
        split: The split that the data set's authors gave it, if any.
    """
    return SourceFile(
        as_text(f"{address.path}{address.fragment}"),
        as_text(folder),
        target,
        as_text(key),
        as_text(group),
        address,
        as_text(identity),
        split,
    )


def as_text(name: str) -> str:
    """Makes a name of any bytes valid text: of bytes that are no UTF-8, the hexadecimal numbers."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")

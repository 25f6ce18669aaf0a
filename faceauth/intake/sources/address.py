"""Where the pixels of one image lie: in a file, in a frame of a video, or in a row of a table.

Each has one text, which stands in the manifest and leads back to the same pixels:

    photos/ann.jpg
    videos/012.mp4#t=3.200
    shards/train-00000.parquet#row=17
"""

import re
from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
SHARD_SUFFIXES = frozenset({".parquet", ".arrow"})

_FRAGMENT = re.compile(r"(?P<path>.+)#(?:t=(?P<time>\d+\.\d{3})|row=(?P<row>\d+))", re.DOTALL)


@dataclass(frozen=True, order=True)
class Address:
    """Where the pixels of one image lie.

    Attributes:
        path: The file; a path of `fsspec` (universal-pathlib) where it is no local one.
        time_s: When a video shows the frame, in seconds from its start; None if the file is no video.
        row: Index of the row of a table that holds the image's bytes; None if the file is no table.
    """

    path: Path
    time_s: float | None = None
    row: int | None = None

    @property
    def fragment(self) -> str:
        """What stands behind the path: nothing for an image file."""
        if self.time_s is not None:
            return f"#t={self.time_s:.3f}"
        return "" if self.row is None else f"#row={self.row}"


def split_fragment(text: str) -> tuple[str, float | None, int | None]:
    """Splits the text of an address into path, time in seconds, and row.

    A `#` in the name of an image is part of its name: only videos have times, and only tables rows.
    """
    match = _FRAGMENT.fullmatch(text)
    if match is not None:
        suffix = Path(match["path"]).suffix.lower()
        if match["time"] and suffix in VIDEO_SUFFIXES:
            return match["path"], float(match["time"]), None
        if match["row"] and suffix in SHARD_SUFFIXES:
            return match["path"], None, int(match["row"])
    return text, None, None

"""Where crops lie in a prepared folder: a folder for each split, class and source model."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from faceauth.files import whole_file
from faceauth.intake.pipeline.store import crop_name, stored_crop
from faceauth.intake.rows import OK, ManifestRow
from faceauth.labels import SPLITS

# Written as a folder's name: longer ones, or these characters, are trouble on some file system.
_FORBIDDEN_IN_FOLDERS = '<>:"/\\|?*'
MAX_FOLDER_CHARACTERS = 80
# File systems count bytes, of which a character may have four.
MAX_FOLDER_BYTES = 240
# Windows knows these as devices, with any suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# A rerun clears away crops that moved to another split, drafts of a run that was killed, and nothing that
# people put beside them.
_OUR_CROPS = re.compile(r"[0-9a-f]{32}\.png|\.[0-9a-f]{32}\.[0-9-]+\.draft\.png")


def folder_name(source_model: str) -> str:
    """Makes the name of a source model safe to be a folder's name inside the output.

    Args:
        source_model: Any text.

    Returns:
        One path component that cannot lead elsewhere, at most 80 characters long.
    """
    name = "".join(
        "_" if char in _FORBIDDEN_IN_FOLDERS or not char.isprintable() else char for char in source_model
    )
    name = name.strip(". ")[:MAX_FOLDER_CHARACTERS]
    name = name.encode()[:MAX_FOLDER_BYTES].decode(errors="ignore").rstrip(". ")
    return f"_{name}" if _DEVICES.fullmatch(name) else name or "_"


def destination_of(row: ManifestRow, split: str) -> str:
    """Returns where the crop of a row of that split lies, relative to the prepared folder."""
    return f"{split}/{row.target_class}/{folder_name(row.folder)}/{crop_name(row)}.png"


def place_crops(rows: Iterable[ManifestRow], output: Path) -> None:
    """Puts the crops of the chosen rows where their manifest says, as further names of the stored files.

    Args:
        rows: All rows.
        output: The prepared folder.
    """
    for row in rows:
        path = output / row.destination_path
        if row.status != OK or path.exists():
            continue
        source = stored_crop(output, row)
        with whole_file(path) as draft:
            try:
                os.link(source, draft)
            except OSError:
                shutil.copyfile(source, draft)


def clear_moved_crops(rows: Iterable[ManifestRow], output: Path) -> None:
    """Clears away crops that another split or another choice has moved, and nothing that people put there."""
    wanted = {output / row.destination_path for row in rows if row.status == OK}
    for split in SPLITS:
        for path in (output / split).rglob("*.png"):
            if path not in wanted and _OUR_CROPS.fullmatch(path.name):
                path.unlink()

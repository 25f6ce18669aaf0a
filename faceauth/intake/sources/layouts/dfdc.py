"""DFDC: videos of the Deepfake Detection Challenge, with a JSON file in each part that tells their class."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceauth.errors import InputError
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import (
    LAYOUTS,
    find_folders,
    media_below,
    not_laid_out,
    read_json_list,
    split_of_name,
    stem_of,
    target_of_name,
)
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import ID2LABEL, LABEL2ID

log = logging.getLogger(__name__)

METADATA_NAME = "metadata.json"


@LAYOUTS.register("dfdc")
def list_dfdc(root: Path) -> Iterator[SourceFile]:
    """Lists the DFDC data set (Dolhansky et al., arXiv:2006.07397), whole or in parts.

    Each part, such as `dfdc_train_part_0` or `train_sample_videos`, has a `metadata.json`:
    `{"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}}`; that of the published test set says
    `is_fake` instead of a label. Frames may lie in a folder for each video.

    Args:
        root: A part, or a folder with parts in it.

    Yields:
        Videos or frames that a metadata file names; a real video and the fakes made from it are one group.

    Raises:
        LayoutError: There is no such metadata file.
        InputError: A metadata file cannot be read.
    """
    parts = find_folders(root, lambda folder: (folder / METADATA_NAME).is_file(), depth=2)
    if not parts:
        raise not_laid_out("dfdc", root, f"parts such as dfdc_train_part_0 with a {METADATA_NAME}")
    for part in parts:
        facts_of = _facts(part / METADATA_NAME)
        if facts_of is None:
            raise not_laid_out(
                "dfdc", root, f"a {METADATA_NAME} that gives each video its label, REAL or FAKE"
            )
        # dfdc_train_part_0, train_sample_videos, test
        part_split = split_of_name(part.name.removeprefix("dfdc_").partition("_")[0])
        n_unknown = 0
        for path, relative in media_below(part):
            stem = stem_of(relative)
            # A video beside the metadata, or a frame in a folder of the video's name.
            video = next((name for name in reversed(stem.split("/")) if name in facts_of), None)
            if video is None:
                n_unknown += 1
                continue
            target, split, original = facts_of[video]
            yield source_file(
                Address(path),
                folder=f"dfdc_{ID2LABEL[target]}",
                target=target,
                key=f"dfdc/{part.name}/{stem}",
                group=f"dfdc/{original}",
                split=split or part_split,
            )
        if n_unknown:
            log.warning("%s: %d files that its %s does not name are left out", part, n_unknown, METADATA_NAME)


def _facts(path: Path) -> dict[str, tuple[int, str, str]] | None:
    """Returns class, official split and original of each video by its stem; None if the file is no such."""
    document = read_json_list(path)
    if not isinstance(document, dict):
        return None
    facts: dict[str, tuple[int, str, str]] = {}
    for name, entry in document.items():
        target = _target(entry)
        if target is None:
            if not facts:
                return None
            raise InputError(f"{path} gives '{name}' no label.", "Allowed: REAL, FAKE, or is_fake 0 or 1.")
        stem = stem_of(name)
        original = entry.get("original")
        facts[stem] = (
            target,
            split_of_name(str(entry.get("split") or "")),
            stem_of(original) if isinstance(original, str) and original else stem,
        )
    return facts or None


def _target(entry: Any) -> int | None:
    if not isinstance(entry, dict):
        return None
    if "is_fake" in entry:
        return LABEL2ID["fake" if entry["is_fake"] else "real"]
    return target_of_name(str(entry.get("label") or ""))

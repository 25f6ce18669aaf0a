"""GenImage: ImageNet and eight generators."""

import re
from collections.abc import Iterator
from pathlib import Path

from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import (
    LAYOUTS,
    find_folders,
    media_below,
    not_laid_out,
    split_of_name,
    stem_of,
)
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import LABEL2ID

SPLIT_FOLDERS = ("train", "val")
CLASS_FOLDERS = {"nature": LABEL2ID["real"], "ai": LABEL2ID["fake"]}
# `imagenet_ai_0419_sdv4`, `imagenet_midjourney`: what is behind names the generator.
_ARCHIVE = re.compile(r"imagenet_(?:ai_\d{4}_)?(?P<generator>\w+)", re.IGNORECASE)


@LAYOUTS.register("genimage")
def list_genimage(root: Path) -> Iterator[SourceFile]:
    """Lists GenImage (Zhu et al., arXiv:2306.08571), of which few images show faces.

    The archives unpack to `imagenet_ai_0419_sdv4/{train,val}/{ai,nature}/` and the like, some people keep
    them below a folder for each generator.

    Args:
        root: The folder of one generator, or one with such folders in it.

    Yields:
        The files with their official splits, `train` and `val`. The reals of all generators are of the
        collection `imagenet`, and one ImageNet photo that comes with several generators is one group.

    Raises:
        LayoutError: There are no `ai` and `nature` below `train` or `val`.
    """
    found = find_folders(root, _is_generator, depth=3)
    if not found:
        raise not_laid_out("genimage", root, "train and val with ai and nature in them, for each generator")
    for top in found:
        match = _ARCHIVE.fullmatch(top.name)
        generator = match["generator"] if match else top.name
        for split_folder in SPLIT_FOLDERS:
            for name, target in CLASS_FOLDERS.items():
                folder = top / split_folder / name
                for path, relative in media_below(folder) if folder.is_dir() else ():
                    stem = stem_of(relative)
                    photo = f"imagenet/{stem.rpartition('/')[2]}"
                    fake = f"genimage/{generator}/{split_folder}/{stem}"
                    yield source_file(
                        Address(path),
                        folder="imagenet" if name == "nature" else generator,
                        target=target,
                        key=photo if name == "nature" else fake,
                        split=split_of_name(split_folder),
                    )


def _is_generator(folder: Path) -> bool:
    return any((folder / split / name).is_dir() for split in SPLIT_FOLDERS for name in CLASS_FOLDERS)

"""140k Real and Fake Faces: FFHQ and StyleGAN, half and half, in official splits."""

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
from faceauth.labels import CLASSES, LABEL2ID

SPLIT_FOLDERS = ("train", "valid", "test")
COLLECTIONS = {"real": "ffhq", "fake": "stylegan"}


@LAYOUTS.register("real_and_fake_140k")
def list_real_and_fake_140k(root: Path) -> Iterator[SourceFile]:
    """Lists "140k Real and Fake Faces" as Kaggle has it: `real_vs_fake/real-vs-fake/train/real/00001.jpg`.

    Args:
        root: `real-vs-fake`, or a folder above it.

    Yields:
        The files with their official splits: reals are of the collection `ffhq`, fakes of `stylegan`. Names
        are numbers or drawn at random, and tie nothing.

    Raises:
        LayoutError: There is no folder `real-vs-fake` with `train`, `valid` or `test` in it.
    """
    found = find_folders(root, _is_top, depth=3)
    if not found:
        raise not_laid_out(
            "real_and_fake_140k",
            root,
            "real-vs-fake with train, valid and test in it, each with real and fake",
        )
    for top in found:
        for split_folder in SPLIT_FOLDERS:
            for label in CLASSES:
                folder = top / split_folder / label
                for path, relative in media_below(folder) if folder.is_dir() else ():
                    yield source_file(
                        Address(path),
                        folder=COLLECTIONS[label],
                        target=LABEL2ID[label],
                        key=f"real_and_fake_140k/{split_folder}/{label}/{stem_of(relative)}",
                        split=split_of_name(split_folder),
                    )


def _is_top(folder: Path) -> bool:
    return folder.name.lower().replace("_", "-") == "real-vs-fake" and any(
        (folder / name).is_dir() for name in SPLIT_FOLDERS
    )

"""CelebA-HQ: 30,000 numbered photographs of celebrities, of whom a list may tell who is who."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from faceauth.errors import InputError
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import (
    LAYOUTS,
    find_folders,
    media_below,
    not_laid_out,
    read_list,
    stem_of,
)
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import LABEL2ID

log = logging.getLogger(__name__)

MAPPING_NAME = "CelebA-HQ-to-CelebA-mapping.txt"
IDENTITY_NAME = "identity_CelebA.txt"
# CelebA-HQ-img of CelebAMask-HQ, celeba_hq_256, celebahq256_imgs, CelebA-HQ.
_FOLDER = re.compile(r"celeb-?_?a-?_?hq((-|_)?(img|imgs|images|\d+(x\d+)?)){0,2}", re.IGNORECASE)
_NUMBERED = re.compile(r"\d+")
# CelebA's own partition (list_eval_partition.txt), by the number of the photo from 1 on.
LAST_TRAIN_PHOTO = 162_770
LAST_VAL_PHOTO = 182_637


@LAYOUTS.register("celeba_hq")
def list_celeba_hq(root: Path) -> Iterator[SourceFile]:
    """Lists CelebA-HQ (Karras et al., arXiv:1710.10196), as it comes with CelebAMask-HQ or alone.

    With `CelebA-HQ-to-CelebA-mapping.txt` (of CelebAMask-HQ) beside the images, or above, each has the split
    of the CelebA photo that it was made from, and with `identity_CelebA.txt` (of CelebA) its person too.

    Args:
        root: A folder such as `CelebA-HQ-img`, `celeba_hq_256`, `celebahq256_imgs`, or one above it.

    Yields:
        The numbered images, all real, with `celeba-<person>` as identity where the lists tell it.

    Raises:
        LayoutError: There is no folder of such a name.
        InputError: A list cannot be read.
    """
    found = find_folders(root, lambda folder: bool(_FOLDER.fullmatch(folder.name)), depth=2)
    # CelebAMask-HQ's own folder may be called CelebA-HQ, with masks beside the images.
    found = [folder / "CelebA-HQ-img" if (folder / "CelebA-HQ-img").is_dir() else folder for folder in found]
    if not found:
        raise not_laid_out(
            "celeba_hq", root, "a folder such as CelebA-HQ-img, celeba_hq_256 or celebahq256_imgs"
        )
    photo_of, person_of = _photos(root, found), _persons(root, found)
    for folder in found:
        for path, relative in media_below(folder):
            stem = stem_of(relative)
            name = stem.rpartition("/")[2]
            if not _NUMBERED.fullmatch(name):
                continue
            photo = photo_of.get(int(name[:9]))
            person = person_of.get(photo, "") if photo else ""
            yield source_file(
                Address(path),
                folder="celeba_hq",
                target=LABEL2ID["real"],
                key=f"celeba_hq/{stem}",
                identity=f"celeba-{person}" if person else "",
                split=_split(photo) if photo else "",
            )


def _photos(root: Path, folders: list[Path]) -> dict[int, int]:
    """Returns the number of the CelebA photo, from 1 on, of each image, from 0 on."""
    path = _beside(root, folders, MAPPING_NAME)
    if path is None:
        return {}
    photos = {}
    for line in read_list(path).splitlines()[1:]:
        words = line.split()
        try:
            photos[int(words[0])] = int(words[2].partition(".")[0])
        except (IndexError, ValueError) as error:
            raise InputError(
                f"{path} has the line '{line[:80]}'.", "Each line has idx, orig_idx and orig_file."
            ) from error
    log.info("%s tells which CelebA photo %d images come from", path, len(photos))
    return photos


def _persons(root: Path, folders: list[Path]) -> dict[int, str]:
    path = _beside(root, folders, IDENTITY_NAME)
    if path is None:
        return {}
    persons = {}
    for line in read_list(path).splitlines():
        words = line.split()
        try:
            persons[int(words[0].partition(".")[0])] = str(int(words[1]))
        except (IndexError, ValueError) as error:
            raise InputError(
                f"{path} has the line '{line[:80]}'.", "Each line has a photo's name and a person's number."
            ) from error
    return persons


def _beside(root: Path, folders: list[Path], name: str) -> Path | None:
    places = [root, *(place for folder in folders for place in (folder, folder.parent))]
    return next((place / name for place in places if (place / name).is_file()), None)


def _split(photo: int) -> str:
    return "train" if photo <= LAST_TRAIN_PHOTO else "val" if photo <= LAST_VAL_PHOTO else "test"

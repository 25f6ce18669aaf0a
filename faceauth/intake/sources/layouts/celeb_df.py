"""Celeb-DF: videos of celebrities and the swaps between them."""

import re
from collections.abc import Iterator
from pathlib import Path

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

CLASS_FOLDERS = {
    "Celeb-real": LABEL2ID["real"],
    "YouTube-real": LABEL2ID["real"],
    "Celeb-synthesis": LABEL2ID["fake"],
}
TEST_LIST = "List_of_testing_videos.txt"
# Copies that hold frames have folders for them, and sometimes for videos, inside of each class.
_INNER_FOLDERS = ("videos", "frames", "images")
# `id0_0000` shows id0; `id0_id1_0000` is its video with the face of id1.
_PEOPLE = re.compile(r"(id\d+)(?:_(id\d+))?_\d+")


@LAYOUTS.register("celeb_df")
def list_celeb_df(root: Path) -> Iterator[SourceFile]:
    """Lists Celeb-DF, version 1 or 2 (Li et al., arXiv:1909.12962).

    The release has `Celeb-real/id0_0000.mp4`, `YouTube-real/00000.mp4`, `Celeb-synthesis/id0_id1_0000.mp4`
    and `List_of_testing_videos.txt` with lines such as `1 YouTube-real/00170.mp4`. Frames may lie in a folder
    for each video.

    Args:
        root: The folder with the three, or one above it.

    Yields:
        Videos or frames. Both people of a swap are identities, `celeb-df-id0`; a video of `YouTube-real`,
        whose people are not named, is a group. Videos of the list are `test`, all others `train`; without a
        list there is no official split.

    Raises:
        LayoutError: There is no `Celeb-real` and no `Celeb-synthesis`.
        InputError: The list cannot be read.
    """
    tops = find_folders(
        root,
        lambda folder: any((folder / name).is_dir() for name in ("Celeb-real", "Celeb-synthesis")),
        depth=1,
    )
    if not tops:
        raise not_laid_out("celeb_df", root, f"the folders {', '.join(CLASS_FOLDERS)}")
    for top in tops:
        tested = _tested(top / TEST_LIST)
        for name, target in CLASS_FOLDERS.items():
            if not (top / name).is_dir():
                continue
            for path, relative in media_below(top / name):
                stem = stem_of(relative)
                inner, _, rest = stem.partition("/")
                video = (rest if rest and inner in _INNER_FOLDERS else stem).partition("/")[0]
                match = _PEOPLE.fullmatch(video)
                people = [f"celeb-df-{person}" for person in match.groups() if person] if match else []
                yield source_file(
                    Address(path),
                    folder=name,
                    target=target,
                    key=f"celeb_df/{name}/{stem}",
                    group="" if people else f"celeb-df/{name}/{video}",
                    identity=";".join(people),
                    split="" if tested is None else "test" if f"{name}/{video}" in tested else "train",
                )


def _tested(path: Path) -> set[str] | None:
    if not path.is_file():
        return None
    lines = (line.split(maxsplit=1) for line in read_list(path).splitlines())
    return {stem_of(words[1].strip()) for words in lines if len(words) == 2}

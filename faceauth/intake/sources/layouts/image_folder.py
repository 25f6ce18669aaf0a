"""Folders by class: `real/<collection>/...` and `fake/<generator>/...`, as they are or below splits."""

from collections.abc import Iterator
from pathlib import Path

from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import (
    LAYOUTS,
    LayoutError,
    media_below,
    split_of_name,
    stem_of,
    subfolders,
    target_of_name,
)
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import CLASSES, ID2LABEL, LABEL2ID


@LAYOUTS.register("image_folder")
def list_image_folder(root: Path) -> Iterator[SourceFile]:
    """Lists a folder with one folder for each class, or one for each split with the classes below.

    Folders called exactly `real` and `fake` are taken; where there are none, those whose names mean a class,
    such as `Real`, `1_fake`, `training_real`, `original`, `manipulated`; where there are none of these
    either, those inside of folders whose names mean a split, such as `train`, `valid`, `test`.

    Args:
        root: The folder.

    Yields:
        The files. A folder below a class is a collection or generator; a file directly in a class is of a
        source of that name. The key is the path inside its source, and of files with an official split it
        begins with the split, since names mostly begin anew there.

    Raises:
        LayoutError: There is no folder of a class.
    """
    if by_class := _class_folders(root):
        for folder, target in by_class:
            yield from _files_of_class(folder, target, split=split_of_name(folder.name))
        return
    splits = [(folder, split) for folder in subfolders(root) if (split := split_of_name(folder.name))]
    below = [(folder, split, _class_folders(folder)) for folder, split in splits]
    if not any(by_class for _, _, by_class in below):
        raise LayoutError(
            f"{root} has neither a folder 'real' nor a folder 'fake'.",
            "Lay it out as real/<collection>/... and fake/<generator>/..., all of it below train/, val/ and "
            "test/ if it is split; or name the classes: real:<name>=PATH fake:<name>=PATH; or name a known "
            "data set: --layout NAME.",
        )
    for _, split, by_class in below:
        for folder, target in by_class:
            yield from _files_of_class(folder, target, split=split)


def _class_folders(root: Path) -> list[tuple[Path, int]]:
    exact = [(root / label, LABEL2ID[label]) for label in CLASSES if (root / label).is_dir()]
    if exact:
        return exact
    return [
        (folder, target) for folder in subfolders(root) if (target := target_of_name(folder.name)) is not None
    ]


def _files_of_class(folder: Path, target: int, *, split: str) -> Iterator[SourceFile]:
    for path, relative in media_below(folder):
        source, slash, inside = relative.partition("/")
        key = stem_of(inside if slash else relative)
        yield source_file(
            Address(path),
            folder=source if slash else ID2LABEL[target],
            target=target,
            key=f"{split}/{key}" if split else key,
            split=split,
        )

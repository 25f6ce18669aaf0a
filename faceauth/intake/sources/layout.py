"""Known layouts: how a data set lies on disk, and what its folders and names tell of class, group and split.

A layout is one function that walks a folder and yields its files. What several of them need is here: which
names mean a class or a split, where a known folder lies, and how a layout says that it is another's turn.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from faceauth.errors import FaceAuthError, InputError
from faceauth.intake.pixels.images import IMAGE_SUFFIXES
from faceauth.intake.sources.address import VIDEO_SUFFIXES
from faceauth.intake.sources.source_file import SourceFile
from faceauth.intake.sources.walk import is_archive, walk
from faceauth.labels import LABEL2ID
from faceauth.registry import Registry

log = logging.getLogger(__name__)

# The layout of a folder of which nobody said how it lies.
PLAIN_LAYOUT = "image_folder"
GROUPS_NAME = "groups.csv"
MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
# The longest list known here, of the people of CelebA, has some 3 MB.
MAX_LIST_BYTES = 256 * 2**20
MAX_FOUND_NAMES = 12

# As folders and labels are called in benchmarks and competitions: `1_fake`, `training_real`, `ai`, `nature`.
_REAL_WORDS = frozenset(
    {"real", "reals", "original", "originals", "authentic", "genuine", "nature", "pristine"}
)
_FAKE_WORDS = frozenset(
    {"fake", "fakes", "manipulated", "synthetic", "generated", "ai", "deepfake", "deepfakes", "forged"}
)
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
# Words that say nothing: `real_images`, `test_set`.
_FILLERS = frozenset(
    {"image", "images", "img", "imgs", "face", "faces", "photo", "photos", "video", "videos", "set", "data"}
)


class Layout(Protocol):
    """Walks a folder that is laid out in one known way."""

    def __call__(self, root: Path) -> Iterator[SourceFile]:
        """Yields every image and video below the folder.

        Raises:
            LayoutError: The folder is not laid out so.
        """


LAYOUTS: Registry[Layout] = Registry("layout", package="faceauth.intake.sources.layouts")


class LayoutError(InputError):
    """A folder that is not laid out as it was called."""


def list_layout(root: Path, name: str) -> Iterator[SourceFile]:
    """Lists the images and videos of a folder that is laid out in a known way.

    Args:
        root: The folder; for some layouts, a single file.
        name: Registered name of the layout.

    Yields:
        The files in no particular order.

    Raises:
        UnknownNameError: No layout has that name.
        InputError: The folder is not laid out so; the hint names the layouts that it does match.
    """
    files = LAYOUTS.get(name)(root)
    try:
        first = next(files, None)
    except LayoutError as error:
        others = [other for other in matching_layouts(root) if other != name]
        fits = f" It is laid out as: --layout {' or --layout '.join(others)}." if others else ""
        raise InputError(error.message, f"{error.hint}{fits}") from error
    return iter(()) if first is None else chain((first,), files)


def matching_layouts(root: Path) -> list[str]:
    """Returns the names of the layouts in which a folder has at least one file, plain folders last."""
    found = []
    for name in sorted(LAYOUTS.names(), key=lambda name: (name == PLAIN_LAYOUT, name)):
        try:
            if next(LAYOUTS.get(name)(root), None) is not None:
                found.append(name)
        except (FaceAuthError, OSError):
            continue
    return found


def not_laid_out(layout: str, root: Path, wanted: str) -> LayoutError:
    """Returns the error of a folder that is not laid out as a layout has it.

    Args:
        layout: The layout's name.
        root: The folder.
        wanted: What the layout looks for, as a list of names or a sentence.
    """
    names = [folder.name for folder in subfolders(root)] if root.is_dir() else []
    listed = ", ".join(names[:MAX_FOUND_NAMES]) + (", ..." if len(names) > MAX_FOUND_NAMES else "")
    return LayoutError(
        f"{root} is not laid out as '{layout}': "
        + (f"its folders are {listed}." if names else "it has no folders."),
        f"'{layout}' looks for {wanted}.",
    )


def media_below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Walks the images and videos below a folder.

    Args:
        folder: The folder.

    Yields:
        The path, and the path relative to the folder with slashes.
    """
    start = len(folder.as_posix().rstrip("/")) + 1
    n_other = n_archives = 0
    for path in walk(folder):
        if path.suffix.lower() in MEDIA_SUFFIXES:
            yield path, path.as_posix()[start:]
        elif path.name != GROUPS_NAME:
            n_other += 1
            n_archives += is_archive(path)
    if n_archives:
        log.warning("%s: %d archives were passed over; unpack them to use what they hold", folder, n_archives)
    if n_other:
        log.info("%s: %d files that are no images or videos were passed over", folder, n_other)


def stem_of(relative: str) -> str:
    """Returns a relative path without the suffix of its file."""
    folder, slash, name = relative.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def subfolders(folder: Path) -> list[Path]:
    """Returns the folders inside a folder, sorted by name, without hidden ones."""
    # Suffixes are asked first: of a folder with a million images each would else cost a look at the disk.
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.suffix.lower() not in MEDIA_SUFFIXES and entry.is_dir()
    )


def find_folders(root: Path, is_wanted: Callable[[Path], bool], *, depth: int) -> list[Path]:
    """Finds folders by what they are, since archives are often unpacked into a folder of their own.

    Args:
        root: Where to begin; it may be wanted itself.
        is_wanted: Tells a wanted folder; nothing is looked for inside of one.
        depth: How many levels below the root are searched.

    Returns:
        The wanted folders, sorted.
    """
    if not root.is_dir():
        return []
    if is_wanted(root):
        return [root]
    if depth == 0:
        return []
    return [
        found for folder in subfolders(root) for found in find_folders(folder, is_wanted, depth=depth - 1)
    ]


def target_of_name(name: str) -> int | None:
    """Returns the class that a folder's or label's name means, if it means one.

    Args:
        name: Such as `real`, `1_fake`, `training_real`, `AI`, `original`.

    Returns:
        1 for real, 0 for fake, None for any other name.
    """
    return _meaning(name)[0]


def split_of_name(name: str) -> str:
    """Returns the split that a folder's name means: `train`, `val` or `test`; empty for any other name.

    Args:
        name: Such as `train`, `valid`, `test_set`, `training_real`.
    """
    return _meaning(name)[1]


def _meaning(name: str) -> tuple[int | None, str]:
    words = {word for word in re.split(r"[^a-z]+", name.lower()) if word} - _FILLERS
    splits = {_SPLIT_WORDS[word] for word in words & _SPLIT_WORDS.keys()}
    if len(splits) > 1:
        return None, ""
    split = splits.pop() if splits else ""
    words -= _SPLIT_WORDS.keys()
    if not words:
        return None, split
    if words <= _REAL_WORDS:
        return LABEL2ID["real"], split
    # A word of any other kind may be a name: nothing is guessed.
    return (LABEL2ID["fake"], split) if words <= _FAKE_WORDS else (None, "")


def read_list(path: Path) -> str:
    """Reads a data set's list of files, splits or people.

    Args:
        path: A text file.

    Returns:
        Its text.

    Raises:
        InputError: It cannot be read, is no text, or has more than 256 MiB.
    """
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_LIST_BYTES:
            raise InputError(f"{path} has {n_bytes:,} bytes; at most {MAX_LIST_BYTES:,} are read.")
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_json_list(path: Path) -> Any:
    """Reads a JSON file that belongs to a data set.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        InputError: It cannot be read, has more than 256 MiB, or is no JSON.
    """
    text = read_list(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON that can be read: {error or type(error).__name__}") from error

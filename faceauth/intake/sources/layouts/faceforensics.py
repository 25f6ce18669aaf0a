"""FaceForensics++: videos of YouTube and of actors, and the face swaps between them."""

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
    read_json_list,
    stem_of,
    subfolders,
)
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import LABEL2ID, SPLITS

log = logging.getLogger(__name__)

CLASS_FOLDERS = {"original_sequences": LABEL2ID["real"], "manipulated_sequences": LABEL2ID["fake"]}
QUALITIES = ("raw", "c0", "c23", "c40")
FRAME_FOLDERS = ("images", "frames")
# `000` and `000_003`: the video, and the one whose face, or expression, was put into it.
_SEQUENCE = re.compile(r"(\d{3})(?:_(\d{3}))?")
# `01__exit_phone_room` and `01_02__walking_outside__YVGY8LOK` of DeepFakeDetection: its actors.
_ACTORS = re.compile(r"(\d{2})(?:_(\d{2}))?__.+")


@LAYOUTS.register("faceforensics")
def list_faceforensics(root: Path) -> Iterator[SourceFile]:
    """Lists FaceForensics++ (Rossler et al., arXiv:1901.08971) with DeepFakeDetection and FaceShifter.

    The release has `original_sequences/<collection>/<quality>/videos/000.mp4` and
    `manipulated_sequences/<method>/<quality>/videos/000_003.mp4`; its script extracts frames to
    `images/000_003/0000.png` beside `videos`. Where there are frames they are taken instead of the videos.
    Masks and models are passed over; of several qualities all are taken.

    A manipulated video depends on two: each is an identity, `ffpp-000` and `ffpp-003`, so that the pairs,
    which swap in both directions, end in one group. The actors of DeepFakeDetection are `dfd-01` and so on.
    The official splits are `train.json`, `val.json` and `test.json`, lists of pairs, in the folder or in
    `splits` or `dataset/splits` below; DeepFakeDetection has none.

    Args:
        root: The folder with `original_sequences` or `manipulated_sequences`, or one above it.

    Yields:
        Videos or frames.

    Raises:
        LayoutError: There is neither of the two folders.
        InputError: A file of the splits is no list of pairs.
    """
    tops = find_folders(root, lambda folder: any((folder / name).is_dir() for name in CLASS_FOLDERS), depth=1)
    if not tops:
        raise not_laid_out("faceforensics", root, f"the folders {' and '.join(CLASS_FOLDERS)}")
    for top in tops:
        split_of = _official_splits(root) or _official_splits(top)
        for class_name, target in CLASS_FOLDERS.items():
            if not (top / class_name).is_dir():
                continue
            for collection in subfolders(top / class_name):
                for quality in QUALITIES:
                    if (collection / quality).is_dir():
                        yield from _files(collection, quality, target, split_of)


def _files(collection: Path, quality: str, target: int, split_of: dict[str, str]) -> Iterator[SourceFile]:
    frames = [name for name in FRAME_FOLDERS if (collection / quality / name).is_dir()]
    if frames and (collection / quality / "videos").is_dir():
        log.info("%s: extracted frames are taken instead of the videos", collection / quality)
    for kind in frames or ["videos"]:
        if not (collection / quality / kind).is_dir():
            continue
        for path, relative in media_below(collection / quality / kind):
            stem = stem_of(relative)
            video = stem.partition("/")[0]
            identity, split = _people_and_split(video, split_of)
            yield source_file(
                Address(path),
                folder=collection.name,
                target=target,
                key=f"faceforensics/{collection.name}/{stem}",
                group="" if identity else f"faceforensics/{collection.name}/{video}",
                identity=identity,
                split=split,
            )


def _people_and_split(video: str, split_of: dict[str, str]) -> tuple[str, str]:
    if match := _SEQUENCE.fullmatch(video):
        sequences = [number for number in match.groups() if number]
        splits = {split_of.get(number, "") for number in sequences}
        # A pair of two splits belongs to neither.
        return ";".join(f"ffpp-{number}" for number in sequences), splits.pop() if len(splits) == 1 else ""
    if match := _ACTORS.fullmatch(video):
        return ";".join(f"dfd-{number}" for number in match.groups() if number), ""
    return "", ""


def _official_splits(root: Path) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for folder in (root, root / "splits", root / "dataset" / "splits"):
        for split in SPLITS:
            path = folder / f"{split}.json"
            if not path.is_file():
                continue
            pairs = read_json_list(path)
            if not (isinstance(pairs, list) and all(_is_pair(pair) for pair in pairs)):
                raise InputError(f'{path} is no list of pairs such as ["000", "003"].')
            split_of |= {number: split for pair in pairs for number in pair}
    return split_of


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(number, str) for number in pair)

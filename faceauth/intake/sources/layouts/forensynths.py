"""ForenSynths: the training set and the thirteen test sets of CNNDetection."""

from collections.abc import Iterator
from pathlib import Path

from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import (
    LAYOUTS,
    media_below,
    not_laid_out,
    split_of_name,
    stem_of,
    subfolders,
)
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import LABEL2ID

CLASS_FOLDERS = {"0_real": LABEL2ID["real"], "1_fake": LABEL2ID["fake"]}
# dataset/train/progan/airplane/0_real
DEPTH = 4
# The training set has a folder for each of ProGAN's categories, and no folder of the generator.
PROGAN_CATEGORIES = frozenset(
    (
        *("airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
        "tvmonitor",
    )
)
GENERATORS_WITH_CATEGORIES = frozenset({"progan", "stylegan", "stylegan2", "cyclegan"})
# What these make follows a photograph pixel by pixel, under its name.
GENERATORS_WITH_PAIRS = frozenset({"crn", "imle", "san", "seeingdark"})


@LAYOUTS.register("forensynths")
def list_forensynths(root: Path) -> Iterator[SourceFile]:
    """Lists the data of CNNDetection (Wang et al., arXiv:1912.11035), and what others laid out like it.

    Test sets lie as `<generator>/0_real/` and `<generator>/1_fake/`, some with a folder for each category
    between (`stylegan/car/0_real`); the training and validation sets as `<category>/0_real`, all of ProGAN.
    All of it may lie below `train`, `val` and `test`.

    Args:
        root: The folder of one set, of several, or one with the splits in it.

    Yields:
        The files. The reals that came with a generator are of the collection `<generator>_real`. Of the
        generators that work from a photograph (crn, imle, san, seeingdark) both of one name are a group;
        elsewhere names count and tie nothing. Files below `train`, `val` or `test`, or in
        `CNN_synth_testset`, have that official split.

    Raises:
        LayoutError: There are no folders `0_real` and `1_fake`.
    """
    is_any = False
    for folder, parts in _sets(root, ()):
        is_any = True
        split, generator, category = _named(root, parts)
        for name, target in CLASS_FOLDERS.items():
            inner = folder / name
            for path, relative in media_below(inner) if inner.is_dir() else ():
                place = "/".join(part for part in ("forensynths", split, generator, category) if part)
                own = place if generator in GENERATORS_WITH_PAIRS else f"{place}/{name}"
                yield source_file(
                    Address(path),
                    folder=generator if target == LABEL2ID["fake"] else f"{generator}_real",
                    target=target,
                    key=f"{own}/{stem_of(relative)}",
                    split=split,
                )
    if not is_any:
        raise not_laid_out("forensynths", root, "the folders 0_real and 1_fake, for each generator")


def _sets(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yields the folders that hold `0_real` or `1_fake`, and the names that lead there from the root."""
    if any((folder / name).is_dir() for name in CLASS_FOLDERS):
        yield folder, parts
    elif len(parts) < DEPTH:
        for inner in subfolders(folder):
            yield from _sets(inner, (*parts, inner.name))


def _named(root: Path, parts: tuple[str, ...]) -> tuple[str, str, str]:
    """Returns official split, generator and category of a set."""
    # `train` alone is a category too.
    split = split_of_name(parts[0]) if len(parts) > 1 else ""
    inner = parts[1:] if split else parts
    split = split or ("test" if root.name.lower() == "cnn_synth_testset" else split_of_name(root.name))
    if not inner or root.name.lower() in GENERATORS_WITH_CATEGORIES:
        return split, root.name, "/".join(inner)
    is_progan = split in ("train", "val") or "progan" in root.name.lower()
    if len(inner) == 1 and inner[0] in PROGAN_CATEGORIES and is_progan:
        return split, "progan", inner[0]
    return split, inner[0], "/".join(inner[1:])

"""IMDB-WIKI: photographs of people with dates of birth, from IMDb and from Wikipedia."""

import re
from collections.abc import Iterator
from pathlib import Path

from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import LAYOUTS, media_below, not_laid_out, stem_of
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import LABEL2ID

# The archives unpack into folders of these names, and each holds the folders 00 to 99.
FOLDERS = {"imdb": "imdb", "imdb_crop": "imdb", "wiki": "wiki", "wiki_crop": "wiki"}
# `nm0000001_rm124825600_1899-5-10_1968` of IMDb, `1004027_1979-05-25_2010` of Wikipedia.
_IMDB_NAME = re.compile(r"(?P<person>nm\d+)_rm\d+_[\d-]+_\d+")
_WIKI_NAME = re.compile(r"(?P<person>\d+)_[\d-]+_\d+")


@LAYOUTS.register("imdb_wiki")
def list_imdb_wiki(root: Path) -> Iterator[SourceFile]:
    """Lists IMDB-WIKI (Rothe, Timofte, Van Gool: DEX, ICCV workshops 2015): one person an identity.

    Args:
        root: The folder with `imdb_crop`, `wiki_crop`, `imdb` or `wiki` in it; or one of these, whatever its
            name, with `00` to `99` in it.

    Yields:
        The files, all real, with the person of the file name as `wiki-<number>` or `imdb-<number>`. Names of
        another form have no identity.

    Raises:
        LayoutError: There are no such folders, or the first image has another name.
    """
    tops = [root / name for name in FOLDERS if (root / name).is_dir()] or [root]
    tops = [top for top in tops if any((top / f"{number:02d}").is_dir() for number in range(100))]
    if not tops:
        raise _other(root)
    is_first = True
    for top in tops:
        for path, relative in media_below(top):
            stem = stem_of(relative)
            part, identity = _part_and_person(stem.rpartition("/")[2])
            if is_first and not identity:
                raise _other(root)
            is_first = False
            part = FOLDERS.get(top.name, part)
            yield source_file(
                Address(path),
                folder=part,
                target=LABEL2ID["real"],
                key=f"imdb_wiki/{part}/{stem}",
                identity=identity,
            )


def _part_and_person(name: str) -> tuple[str, str]:
    if match := _IMDB_NAME.fullmatch(name):
        return "imdb", f"imdb-{match['person']}"
    match = _WIKI_NAME.fullmatch(name)
    return "wiki", f"wiki-{match['person']}" if match else ""


def _other(root: Path) -> Exception:
    return not_laid_out(
        "imdb_wiki",
        root,
        f"folders 00 to 99, in itself or in {', '.join(FOLDERS)}, with names such as "
        "1004027_1979-05-25_2010.jpg",
    )

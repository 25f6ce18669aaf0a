"""DeepFakeFace of OpenRL: photographs of Wikipedia and three kinds of fakes made from them."""

import re
from collections.abc import Iterator
from pathlib import Path

from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import LAYOUTS, find_folders, media_below, not_laid_out, stem_of
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import LABEL2ID

REAL_FOLDER = "wiki"
FAKE_FOLDERS = ("inpainting", "insight", "text2img")
# `<person>_<date of birth>_<year>`, as IMDB-WIKI names the photos of Wikipedia.
_WIKI_NAME = re.compile(r"(?P<person>\d+)_[\d-]+_\d+")


@LAYOUTS.register("deepfakeface")
def list_deepfakeface(root: Path) -> Iterator[SourceFile]:
    """Lists DeepFakeFace (Song et al., arXiv:2309.02218): `wiki`, `inpainting`, `insight`, `text2img`.

    Each folder has the sub-folders and names of the Wikipedia part of IMDB-WIKI, and a fake the name of a
    photo: that of the photo that was inpainted, that of the person whose face InsightFace put into another
    photo, or, for text2img, that of a photo whose subject was not the one prompted for. So a photo and the
    fakes of its name are one group, and all but text2img show the person of the name. The photo *into*
    which a face was put has no name in the release; the pairs were drawn by the authors' scripts
    (`prompt/wiki.py`), and who has them can name them in a groups file.

    Args:
        root: The folder with the four, or one above it.

    Yields:
        The files; `identity` is `wiki-<person>`, as in the layout `imdb_wiki`.

    Raises:
        LayoutError: There is no folder `wiki`, or none of the fakes.
    """
    found = find_folders(root, _has_both, depth=1)
    if not found:
        raise not_laid_out(
            "deepfakeface", root, f"the folder {REAL_FOLDER} and at least one of {', '.join(FAKE_FOLDERS)}"
        )
    for top in found:
        for name in (REAL_FOLDER, *FAKE_FOLDERS):
            if not (top / name).is_dir():
                continue
            target = LABEL2ID["real" if name == REAL_FOLDER else "fake"]
            for path, relative in media_below(top / name):
                # Some copies unpack as wiki/wiki/00/...
                key = stem_of(relative.removeprefix(f"{name}/"))
                match = _WIKI_NAME.fullmatch(key.rpartition("/")[2])
                yield source_file(
                    Address(path),
                    folder=name,
                    target=target,
                    key=key,
                    group=f"wiki/{key}",
                    identity=f"wiki-{match['person']}" if match and name != "text2img" else "",
                )


def _has_both(folder: Path) -> bool:
    return (folder / REAL_FOLDER).is_dir() and any((folder / name).is_dir() for name in FAKE_FOLDERS)

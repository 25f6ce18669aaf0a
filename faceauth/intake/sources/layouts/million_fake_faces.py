"""1 Million Fake Faces: StyleGAN's faces in numbered parts."""

import re
from collections.abc import Iterator
from pathlib import Path

from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import LAYOUTS, find_folders, media_below, not_laid_out, stem_of
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import LABEL2ID

# Some copies have the letter l for the digit 1.
_PART = re.compile(r"[1l]m_faces(_\d\d)+", re.IGNORECASE)


@LAYOUTS.register("million_fake_faces")
def list_million_fake_faces(root: Path) -> Iterator[SourceFile]:
    """Lists 1 Million Fake Faces (archives `1m_faces_00` and on, or `1m_faces_00_01_02_03` on Kaggle).

    Args:
        root: A folder of that name, or one with such folders in it.

    Yields:
        The files, all fakes of the source model `1m_faces`: all parts come from one StyleGAN. Names are
        drawn at random and tie nothing.

    Raises:
        LayoutError: There is no folder of that name.
    """
    found = find_folders(root, lambda folder: bool(_PART.fullmatch(folder.name)), depth=2)
    if not found:
        raise not_laid_out("million_fake_faces", root, "folders such as 1m_faces_00")
    for part in found:
        for path, relative in media_below(part):
            yield source_file(
                Address(path),
                folder="1m_faces",
                target=LABEL2ID["fake"],
                key=f"1m_faces/{part.name}/{stem_of(relative)}",
            )

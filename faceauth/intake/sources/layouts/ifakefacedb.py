"""iFakeFaceDB: StyleGAN's faces without the generator's fingerprint."""

from collections.abc import Iterator
from pathlib import Path

from faceauth.intake.sources.address import Address
from faceauth.intake.sources.layout import LAYOUTS, find_folders, media_below, not_laid_out, stem_of
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import LABEL2ID


@LAYOUTS.register("ifakefacedb")
def list_ifakefacedb(root: Path) -> Iterator[SourceFile]:
    """Lists iFakeFaceDB (Neves et al., GANprintR, arXiv:1911.05351): about 87,000 fakes of 224 x 224 px.

    Args:
        root: A folder whose name has `iFakeFaceDB` in it, in any case, or one with such a folder in it. How
            the images lie below does not matter.

    Yields:
        The files, all fakes of the source model `iFakeFaceDB`. Names tie nothing.

    Raises:
        LayoutError: There is no folder of that name.
    """
    found = find_folders(root, lambda folder: "ifakefacedb" in folder.name.lower(), depth=2)
    if not found:
        raise not_laid_out(
            "ifakefacedb", root, f"a folder iFakeFaceDB; if it has another name, give fake:iFakeFaceDB={root}"
        )
    for top in found:
        for path, relative in media_below(top):
            yield source_file(
                Address(path),
                folder="iFakeFaceDB",
                target=LABEL2ID["fake"],
                key=f"iFakeFaceDB/{stem_of(relative)}",
            )

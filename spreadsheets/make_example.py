"""Makes the two spreadsheets of this folder: the dictionary of a manifest's columns, and a small example.

    python spreadsheets/make_example.py [FOLDER]

writes `columns.xlsx` and `example_manifest.xlsx`, beside this file or into FOLDER. Names, types and meanings
of the columns are read from `ManifestRow`, so that the dictionary cannot differ from the code. Every row of
the example is made up: there are no such pictures and no such people. The same versions of the packages give
the same bytes each time.
"""

import hashlib
import inspect
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from faceauth.files import whole_file
from faceauth.intake.manifest import (
    DUPLICATE,
    NO_FACE,
    ORIGINAL_COLUMNS,
    STATUSES,
    SURPLUS,
    TOO_SMALL,
    UNREADABLE,
    ManifestRow,
    write_manifest,
)
from faceauth.intake.spreadsheet import write_sheets
from faceauth.labels import FAKE, ID2LABEL, LABEL2ID, REAL

COLUMNS_NAME = "columns.xlsx"
EXAMPLE_NAME = "example_manifest.xlsx"
DICTIONARY_HEADER = ("column", "origin", "type", "meaning", "example")

# An xlsx file is a zip archive, which notes when each part was written; so does the workbook itself.
_FIXED_ZIP_TIME = (2000, 1, 1, 0, 0, 0)
_FIXED_TIME = b"2000-01-01T00:00:00Z"
_ISO_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def write_spreadsheets(folder: Path) -> None:
    """Writes both spreadsheets into a folder."""
    with tempfile.TemporaryDirectory() as drafts:
        rows = example_rows()
        example = write_manifest(rows, Path(drafts))
        dictionary = Path(drafts) / COLUMNS_NAME
        write_sheets(dictionary, DICTIONARY_HEADER, dictionary_rows(rows[0]), title="columns")
        _copy_without_times(example, folder / EXAMPLE_NAME)
        _copy_without_times(dictionary, folder / COLUMNS_NAME)


def example_rows() -> list[ManifestRow]:
    """Returns twelve made-up rows: both classes in every split, and most of what can become of an image.

    Such rows come of `faceauth prepare --balance class` with a groups file that names the people: a photo and
    the fake made from it share a group, and with it a split.
    """
    used = [
        _row("real", "studio", "anna_01", person="anna", split="train"),
        _row("real", "street", "boris_01", person="boris", split="val"),
        _row("real", "studio", "chen_01", person="chen", split="test"),
        _row("fake", "example_gan", "anna_01", person="anna", split="train"),
        _row("fake", "example_gan", "boris_01", person="boris", split="val"),
        _row("fake", "example_diffusion", "chen_01", person="chen", split="test"),
    ]
    surplus = replace(
        _row("real", "street", "anna_02", person="anna"), status=SURPLUS, reason="left out by --balance class"
    )
    copy = replace(
        used[0],
        image_path="real/street/anna_01_copy.jpg",
        folder="street",
        destination_path="",
        split="",
        status=DUPLICATE,
        reason=f"the same bytes as {used[0].image_path}",
    )
    distant = replace(
        _without_crop(_row("fake", "example_diffusion", "crowd_07")),
        status=TOO_SMALL,
        reason="the face is 31 px long; at least 40 are wanted",
        box=(702.5, 388.0, 727.25, 419.0),
        p_face=0.962114,
    )
    broken = ManifestRow(
        image_path="fake/example_gan/dora_01.jpg",
        destination_path="",
        folder="example_gan",
        split="",
        target_class=ID2LABEL[FAKE],
        target=FAKE,
        status=UNREADABLE,
        reason="the file is empty (0 bytes)",
        group="dora",
        identity="dora",
    )
    faceless = [
        _without_crop(
            replace(_row("real", "street", stem), status=NO_FACE, reason=reason, box=None, p_face=None)
        )
        for stem, reason in (
            ("empty_bench", "none found"),
            ("shop_window", "best p_face 0.72 of at least 0.9 wanted"),
        )
    ]
    return [*used, surplus, copy, *faceless, distant, broken]


def dictionary_rows(example: ManifestRow) -> Iterator[tuple[str, str, str, str, str]]:
    """Yields a row of the dictionary for each column of a manifest.

    Args:
        example: A row that gives the examples.
    """
    meanings = attribute_meanings(ManifestRow)
    statuses = "; ".join(f"{status}: {meaning}" for status, meaning in STATUSES.items())
    meanings["status"] = f"What became of the image. {statuses}."
    for column in fields(ManifestRow):
        origin = "original spreadsheet" if column.name in ORIGINAL_COLUMNS else "FaceAuth"
        value = getattr(example, column.name)
        text = "" if value is None else str(value)
        if isinstance(value, tuple):
            text = " ".join(f"{number:.2f}" for number in value)
        yield column.name, origin, inspect.formatannotation(column.type), meanings[column.name], text


def attribute_meanings(record: type) -> dict[str, str]:
    """Reads what a dataclass's docstring says of each attribute, in one line each."""
    _, _, attributes = (inspect.getdoc(record) or "").partition("Attributes:\n")
    meanings: dict[str, str] = {}
    for line in attributes.splitlines():
        text = line.strip()
        if line.startswith("    ") and not line.startswith("     "):
            name, _, text = text.partition(": ")
            meanings[name] = text
        elif text:
            name = list(meanings)[-1]
            meanings[name] += f" {text}"
    return meanings


def _row(target_class: str, folder: str, stem: str, *, person: str = "", split: str = "") -> ManifestRow:
    is_photo = target_class == ID2LABEL[REAL]
    name = f"{target_class}/{folder}/{stem}"
    digits = _digits(name)
    # Anything that looks like a face box; the digits of the hash move it about.
    left, top, side = (base + int(digits[i : i + 2], 16) for base, i in ((300, 0), (100, 2), (280, 4)))
    return ManifestRow(
        image_path=f"{name}.jpg",
        destination_path=f"{split}/{target_class}/{folder}/{digits[:32]}.png" if split else "",
        folder=folder,
        split=split,
        target_class=target_class,
        target=LABEL2ID[target_class],
        group=person or digits[:16],
        identity=person,
        sha256=digits,
        phash=_digits(f"look of {name}"),
        box=(left, top, left + side, top + 1.25 * side),
        p_face=round(0.99 + int(digits[6:8], 16) / 25600, 6),
        width=1600 if is_photo else 1024,
        height=1200 if is_photo else 1024,
        format="JPEG",
        jpeg_quality=92 if is_photo else 90,
        jpeg_subsampling="4:2:0",
        n_bytes=180_000 + int(digits[8:12], 16),
        mean_red=90.0 + int(digits[12:14], 16) / 4,
        mean_green=80.0 + int(digits[14:16], 16) / 4,
        mean_blue=70.0 + int(digits[16:18], 16) / 4,
        sharpness=round(2.0 + int(digits[18:20], 16) / 512, 4),
    )


def _without_crop(row: ManifestRow) -> ManifestRow:
    return replace(row, phash="", mean_red=None, mean_green=None, mean_blue=None, sharpness=None)


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _copy_without_times(source: Path, destination: Path) -> None:
    with (
        whole_file(destination) as draft,
        zipfile.ZipFile(source) as parts,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as copy,
    ):
        for name in parts.namelist():
            content = parts.read(name)
            if name == "docProps/core.xml":
                content = _ISO_TIME.sub(_FIXED_TIME, content)
            copy.writestr(zipfile.ZipInfo(name, _FIXED_ZIP_TIME), content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    write_spreadsheets(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

"""The manifest: one row for each image that came in, whatever became of it.

Two files hold the same rows. `manifest.xlsx` is for people: they may open, filter and correct it.
`manifest.parquet` is for machines: it is read a hundred times faster. Whoever reads a manifest gets the
rows of the one that was changed last, and the log says which.
"""

import hashlib
import logging
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import ManifestError
from faceauth.files import whole_file
from faceauth.intake.row_checks import REQUIRED_COLUMNS, rows_from_columns
from faceauth.intake.rows import (
    COLUMNS,
    DUPLICATE,
    FAILED_STATUSES,
    LABEL_CONFLICT,
    NO_FACE,
    OK,
    ORIGINAL_COLUMNS,
    STATUSES,
    SURPLUS,
    TOO_SMALL,
    UNREADABLE,
    ManifestRow,
    split_identities,
)
from faceauth.intake.spreadsheet import write_sheets
from faceauth.intake.tables import TABLE_SUFFIXES, read_columns
from faceauth.labels import FAKE, REAL

# Rows and what becomes of them are part of a manifest, and are imported from here.
__all__ = [
    "COLUMNS",
    "DUPLICATE",
    "FAILED_STATUSES",
    "LABEL_CONFLICT",
    "NO_FACE",
    "OK",
    "ORIGINAL_COLUMNS",
    "PARQUET_NAME",
    "REQUIRED_COLUMNS",
    "STATUSES",
    "SURPLUS",
    "TOO_SMALL",
    "UNREADABLE",
    "XLSX_NAME",
    "Manifest",
    "ManifestRow",
    "edited_by_hand",
    "newest_of_pair",
    "read_manifest",
    "split_identities",
    "write_manifest",
]

log = logging.getLogger(__name__)

XLSX_NAME = "manifest.xlsx"
PARQUET_NAME = "manifest.parquet"

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in COLUMNS[:5]),
        ("target", pa.int8()),
        *((name, pa.string()) for name in ("status", "reason", "group", "identity", "sha256", "phash")),
        # Of any length: older readers of Parquet fail on missing lists of a fixed length.
        ("box", pa.list_(pa.float64())),
        ("p_face", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("jpeg_quality", pa.int16()),
        ("jpeg_subsampling", pa.string()),
        ("n_bytes", pa.int64()),
        *((name, pa.float64()) for name in ("mean_red", "mean_green", "mean_blue", "sharpness")),
        ("frame", pa.int64()),
        ("timestamp_s", pa.float64()),
    ]
)
_XLSX_CONTENT = b"faceauth_xlsx_content"
_VALUES = attrgetter(*COLUMNS)
_BOX, _P_FACE = COLUMNS.index("box"), COLUMNS.index("p_face")
# Enough for good compression, few enough that writing takes no memory to speak of.
ROW_GROUP_ROWS = 32_768


@dataclass(frozen=True)
class Manifest:
    """The rows of a manifest and where they were read.

    Attributes:
        rows: All rows, whatever their status.
        root: The folder that destination paths are relative to.
        path: The file that was read.
        sha256: Hash of that file's bytes; saved with checkpoints and results.
    """

    rows: list[ManifestRow]
    root: Path
    path: Path
    sha256: str

    def crop_path(self, row: ManifestRow) -> Path:
        """Returns where a row's crop lies."""
        return self.root / row.destination_path

    def in_split(self, split: str) -> list[ManifestRow]:
        """Returns the usable rows of one split.

        Raises:
            ManifestError: There is none.
        """
        rows = [row for row in self.rows if row.split == split and row.status == OK]
        if not rows:
            present = sorted({row.split for row in self.rows if row.split})
            raise ManifestError(
                f"{self.path} has no usable rows in split '{split}'.",
                f"Splits in it: {', '.join(present) or 'none'}.",
            )
        return rows


def write_manifest(rows: Iterable[ManifestRow], folder: Path) -> Path:
    """Writes `manifest.xlsx` and `manifest.parquet`, each whole or not at all.

    Args:
        rows: The rows, in the order in which they shall stand.
        folder: The folder that destination paths are relative to.

    Returns:
        Path of the xlsx file.
    """
    xlsx, parquet = folder / XLSX_NAME, folder / PARQUET_NAME
    with whole_file(parquet) as draft, pq.ParquetWriter(draft, _SCHEMA, compression="zstd") as writer:
        # If this run is stopped between the two, an older Parquet file beside a newer xlsx would look as if
        # somebody had edited the xlsx.
        parquet.unlink(missing_ok=True)
        write_sheets(xlsx, COLUMNS, _recorded(rows, writer), title="manifest")
        writer.add_key_value_metadata({_XLSX_CONTENT: _content_hash(xlsx).encode()})
    return xlsx


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest: ours, the original project's spreadsheet, or any table with its columns.

    Of an xlsx and a Parquet file side by side the one that was changed last is read. Column names are
    matched without regard to case. The original's splits (`train`, `test`, `dev`) become `train`, `val`
    and `test`.

    Args:
        path: A prepared folder, or an `.xlsx`, `.parquet` or `.csv` file.

    Returns:
        The manifest.

    Raises:
        ManifestError: There is no manifest, a column is missing, a value is not allowed, or one
            destination path carries two labels.
    """
    path = newest_of_pair(path)
    rows = rows_from_columns(read_columns(path), path=path)
    _refuse_two_labels(rows, path)
    return Manifest(rows, path.parent, path, _sha256(path))


def newest_of_pair(path: Path) -> Path:
    """Returns the manifest file to read: of an xlsx and a Parquet file side by side, the one changed last.

    Args:
        path: A prepared folder, or a manifest file.

    Raises:
        ManifestError: There is no manifest, or the file is no table.
    """
    if path.is_dir():
        found = [path / name for name in (XLSX_NAME, PARQUET_NAME) if (path / name).exists()]
        if not found:
            raise ManifestError(
                f"{path} has no {XLSX_NAME}.", "Make one with: faceauth prepare SOURCE --output DIR"
            )
        path = found[0]
    if not path.exists():
        raise ManifestError(
            f"There is no manifest at {path}.", "Make one with: faceauth prepare SOURCE --output DIR"
        )
    if path.suffix.lower() not in TABLE_SUFFIXES:
        allowed = ", ".join(("a prepared folder", *TABLE_SUFFIXES))
        raise ManifestError(f"{path} is not a manifest.", f"Allowed: {allowed}.")
    if path.name not in (XLSX_NAME, PARQUET_NAME):
        return path
    xlsx, parquet = path.with_name(XLSX_NAME), path.with_name(PARQUET_NAME)
    if not (xlsx.exists() and parquet.exists()):
        return path
    # Copying a folder changes times but not contents, so the contents are asked first.
    if _belong_together(xlsx, parquet):
        return parquet
    newest = max(xlsx, parquet, key=lambda file: file.stat().st_mtime_ns)
    log.info("%s and %s differ; %s was changed last and is read", xlsx.name, parquet.name, newest.name)
    return newest


def edited_by_hand(folder: Path) -> bool:
    """Tells whether the folder's xlsx no longer holds what was written with its Parquet file."""
    xlsx, parquet = folder / XLSX_NAME, folder / PARQUET_NAME
    return xlsx.exists() and parquet.exists() and not _belong_together(xlsx, parquet)


def _recorded(rows: Iterable[ManifestRow], writer: pq.ParquetWriter) -> Iterator[list[Any]]:
    """Writes rows to the Parquet file, a row group at a time, and hands on their cells for the xlsx."""
    iterator = iter(rows)
    while batch := list(islice(iterator, ROW_GROUP_ROWS)):
        writer.write_table(_arrow_table(batch))
        yield from map(_cells, batch)


def _arrow_table(rows: list[ManifestRow]) -> pa.Table:
    columns = zip(*map(_VALUES, rows), strict=True)
    # Other tools have NaN for a missing number; in the files it is missing.
    arrays = [
        pa.array(cells, type=field.type, from_pandas=True)
        for field, cells in zip(_SCHEMA, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _cells(row: ManifestRow) -> list[Any]:
    cells = list(_VALUES(row))
    if row.box:
        cells[_BOX] = " ".join(f"{number:.2f}" for number in row.box)
    if row.p_face is not None:
        cells[_P_FACE] = round(row.p_face, 6)
    return cells


def _belong_together(xlsx: Path, parquet: Path) -> bool:
    try:
        kept = (pq.read_metadata(parquet).metadata or {}).get(_XLSX_CONTENT)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(
            f"{parquet} cannot be read as Parquet: {error}", "Delete it; the xlsx will do."
        ) from error
    return kept == _content_hash(xlsx).encode()


def _refuse_two_labels(rows: list[ManifestRow], path: Path) -> None:
    real, fake = ({row.destination_path for row in rows if row.target == target} for target in (REAL, FAKE))
    conflicts = (real & fake) - {""}
    if conflicts:
        raise ManifestError(
            f"{path} calls {len(conflicts):,} files both real and fake, such as {min(conflicts)}.",
            "Two images were copied to one name. Prepare them again from image_path: "
            f"faceauth prepare {path} --output DIR",
        )


def _content_hash(xlsx: Path) -> str:
    # The checksums in the zip's directory say what a workbook holds and, unlike its bytes, not when it was
    # written: the same rows give the same Parquet file.
    try:
        with zipfile.ZipFile(xlsx) as archive:
            parts = sorted(
                f"{part.filename} {part.CRC} {part.file_size}"
                for part in archive.infolist()
                if not part.filename.startswith("docProps/")
            )
    except (zipfile.BadZipFile, OSError):
        return ""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

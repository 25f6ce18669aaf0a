"""The manifest: one row for each image that came in, whatever became of it.

Two files hold the same rows. `manifest.xlsx` is for people: they may open, filter and correct it.
`manifest.parquet` is for machines: it is read a hundred times faster. Whoever reads a manifest gets the
rows of the one that was changed last, and the log says which.
"""

import hashlib
import logging
import math
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import ManifestError, did_you_mean
from faceauth.files import whole_file
from faceauth.intake.spreadsheet import write_sheets
from faceauth.intake.tables import TABLE_SUFFIXES, read_table
from faceauth.labels import ID2LABEL, LABEL2ID, ORIGINAL_SPLITS, SPLITS, is_original_naming

log = logging.getLogger(__name__)

OK = "ok"
NO_FACE = "no_face"
TOO_SMALL = "too_small"
UNREADABLE = "unreadable"
DUPLICATE = "duplicate"
LABEL_CONFLICT = "label_conflict"
SURPLUS = "surplus"

STATUSES = {
    OK: "cropped, and in a split",
    NO_FACE: "no face was found with enough certainty",
    TOO_SMALL: "the face, or the image, has too few pixels",
    UNREADABLE: "the file is empty, broken, too large or no image",
    DUPLICATE: "the same bytes as another row of the same class",
    LABEL_CONFLICT: "the same bytes are called real in one place and fake in another",
    SURPLUS: "a good crop that was left out so that the sources are balanced, or alike",
}
FAILED_STATUSES = (NO_FACE, TOO_SMALL, UNREADABLE, LABEL_CONFLICT)


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image on its way from a source to a split. The first six fields are the original spreadsheet's.

    Attributes:
        image_path: Where the image came from, absolute or relative to the manifest's folder.
        destination_path: Where its crop lies, relative to the manifest's folder, with forward slashes;
            empty while there is none.
        folder: The source model: the generator of a fake, the collection of a real.
        split: `train`, `val` or `test`; empty for rows that are in none.
        target_class: `real` or `fake`.
        target: 1 for real, 0 for fake.
        status: One of `STATUSES`.
        reason: Why the status is not `ok`, for people.
        group: Rows of one group (a person, a photo and the fakes made from it, a video) share a split.
        identity: Who is in the picture, as far as it is known; several, such as both people of a face swap,
            are separated by semicolons. Rows that share an identity share a split.
        sha256: Hash of the source file's bytes, 64 hexadecimal digits; empty if it could not be read.
        phash: Perceptual hash of the crop, 64 hexadecimal digits; empty while there is no crop.
        box: The face in the upright source image as (x1, y1, x2, y2) in pixels; may leave the image.
        p_face: The face detector's confidence in [0, 1].
        width: Width of the upright source image in pixels.
        height: Height of the upright source image in pixels.
        format: The source file's format as Pillow names it, such as `JPEG` or `PNG`.
        jpeg_quality: Quality 1 to 100 estimated from the quantisation tables; None if it is no JPEG.
        jpeg_subsampling: How a JPEG's colour is stored, such as `4:2:0`; `4:0:0` is grey; empty if it is no
            JPEG.
        n_bytes: Size of the source file in bytes.
        mean_red: Mean of the crop's red in [0, 255]; None while there is no crop.
        mean_green: Mean of the crop's green in [0, 255].
        mean_blue: Mean of the crop's blue in [0, 255].
        sharpness: Logarithm to base 10 of 1 plus the variance of the Laplacian of the crop's luma.
        frame: Index of the frame in a video; None for images.
        timestamp_s: When the video shows the frame, in seconds from its start; None for images.
    """

    image_path: str
    destination_path: str
    folder: str
    split: str
    target_class: str
    target: int
    status: str = OK
    reason: str = ""
    group: str = ""
    identity: str = ""
    sha256: str = ""
    phash: str = ""
    box: tuple[float, float, float, float] | None = None
    p_face: float | None = None
    width: int | None = None
    height: int | None = None
    format: str = ""
    jpeg_quality: int | None = None
    jpeg_subsampling: str = ""
    n_bytes: int | None = None
    mean_red: float | None = None
    mean_green: float | None = None
    mean_blue: float | None = None
    sharpness: float | None = None
    frame: int | None = None
    timestamp_s: float | None = None

    @property
    def identities(self) -> tuple[str, ...]:
        """The people that the row depends on, each once."""
        return split_identities(self.identity)


COLUMNS = tuple(field.name for field in fields(ManifestRow))
ORIGINAL_COLUMNS = COLUMNS[:6]
REQUIRED_COLUMNS = ("destination_path", "folder", "split")

XLSX_NAME = "manifest.xlsx"
PARQUET_NAME = "manifest.parquet"

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in COLUMNS[:5]),
        ("target", pa.int8()),
        *((name, pa.string()) for name in ("status", "reason", "group", "identity", "sha256", "phash")),
        # Of any length: older readers of Parquet fail on missing lists of a fixed length.
        ("box", pa.list_(pa.float32())),
        ("p_face", pa.float32()),
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
_INTEGERS = ("target", "width", "height", "jpeg_quality", "n_bytes", "frame")
_NUMBERS = ("p_face", "mean_red", "mean_green", "mean_blue", "sharpness", "timestamp_s")
_PHASH = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


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


def split_identities(text: str) -> tuple[str, ...]:
    """Reads a cell that names people, separated by semicolons; each once, in their order."""
    return tuple(dict.fromkeys(name for part in text.split(";") if (name := part.strip())))


def write_manifest(rows: Iterable[ManifestRow], folder: Path) -> Path:
    """Writes `manifest.xlsx` and `manifest.parquet`, each whole or not at all.

    Args:
        rows: The rows, in the order in which they shall stand.
        folder: The folder that destination paths are relative to.

    Returns:
        Path of the xlsx file.
    """
    rows = list(rows)
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    table = pa.table(columns, schema=_SCHEMA)
    xlsx, parquet = folder / XLSX_NAME, folder / PARQUET_NAME
    # If this run is stopped between the two, an older Parquet file beside a newer xlsx would look as if
    # somebody had edited the xlsx.
    parquet.unlink(missing_ok=True)
    write_sheets(xlsx, COLUMNS, map(_cells, rows), title="manifest")
    table = table.replace_schema_metadata({_XLSX_CONTENT: _content_hash(xlsx).encode()})
    with whole_file(parquet) as draft:
        pq.write_table(table, draft, compression="zstd")
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
    header, records = read_table(path)
    rows = rows_from_records(header, records, path=path)
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


def rows_from_records(
    header: list[str],
    records: list[dict[str, Any]],
    *,
    path: Path,
    required: Iterable[str] = REQUIRED_COLUMNS,
) -> list[ManifestRow]:
    """Turns table records into rows, with every value checked.

    Args:
        header: The column names as they stand in the file.
        records: One dictionary a row.
        path: The file, for messages.
        required: Columns that must be there, besides `target` or `target_class`.

    Raises:
        ManifestError: A column is missing or a value is not allowed; the message names the row.
    """
    name_of = {name: name.strip().lower() for name in header if name}
    present = set(name_of.values())
    missing = [name for name in required if name not in present]
    if not present & {"target", "target_class"}:
        missing.append("target")
    if missing:
        hint = did_you_mean(missing[0], sorted(present - set(COLUMNS)) or sorted(present))
        raise ManifestError(
            f"{path} has no column '{missing[0]}'.", f"Columns in it: {', '.join(header)}. {hint}"
        )
    named = [{name_of[key]: value for key, value in record.items() if key in name_of} for record in records]
    split_names = {str(record.get("split") or "").strip().lower() for record in named} - {""}
    splits = {name: name for name in SPLITS}
    if is_original_naming(split_names):
        splits = ORIGINAL_SPLITS
        log.info("%s follows the original naming of splits: its test is read as val, its dev as test", path)
    return [_row(record, splits, f"{path}, row {number}") for number, record in enumerate(named, start=2)]


def _row(record: dict[str, Any], splits: dict[str, str], place: str) -> ManifestRow:
    values = {name: record[name] for name in COLUMNS if name in record and not _is_empty(record[name])}
    texts = {
        name: _text(value) for name, value in values.items() if name not in (*_INTEGERS, *_NUMBERS, "box")
    }
    try:
        integers = {name: _integer(name, values[name]) for name in _INTEGERS if name in values}
        numbers = {name: _number(name, values[name]) for name in _NUMBERS if name in values}
        box = _box(values.get("box"))
    except ValueError as error:
        raise ManifestError(f"{place}: {error}.") from error
    target_class = texts.get("target_class", "").strip().lower()
    target = integers.pop("target", None)
    if target_class and target_class not in LABEL2ID:
        raise ManifestError(f"{place}: target_class is '{target_class}'.", "Allowed: real, fake.")
    if target is not None and target not in ID2LABEL:
        raise ManifestError(f"{place}: target is {target}.", "Allowed: 1 for real, 0 for fake.")
    if target is None and not target_class:
        raise ManifestError(f"{place}: neither target nor target_class is filled in.")
    if target is not None and target_class and LABEL2ID[target_class] != target:
        raise ManifestError(
            f"{place}: target {target} and target_class '{target_class}' contradict each other.",
            "1 is real, 0 is fake.",
        )
    target = LABEL2ID[target_class] if target is None else target
    split = texts.get("split", "").strip().lower()
    if split and split not in splits:
        raise ManifestError(f"{place}: split is '{split}'.", f"Allowed: {', '.join(splits)}, or empty.")
    status = texts.get("status", OK)
    if status not in STATUSES:
        raise ManifestError(f"{place}: status is '{status}'.", did_you_mean(status, list(STATUSES)))
    if "phash" in texts and not _PHASH.fullmatch(texts["phash"]):
        raise ManifestError(
            f"{place}: phash is '{texts['phash'][:80]}'.", "It has 64 hexadecimal digits, or is empty."
        )
    texts |= {
        "image_path": texts.get("image_path", ""),
        "destination_path": texts.get("destination_path", ""),
        "folder": texts.get("folder", ""),
        "split": splits.get(split, ""),
        "target_class": ID2LABEL[target],
        "status": status,
    }
    return ManifestRow(**texts, **integers, **numbers, target=target, box=box)  # type: ignore[arg-type]


def _is_empty(value: Any) -> bool:
    # Other tools write a missing number as NaN.
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str:
    # A workbook holds every number as a float, and a person may well call a group 7.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} is '{value}', which is no number")
    return number


def _integer(name: str, value: Any) -> int:
    number = _number(name, value)
    if not number.is_integer():
        raise ValueError(f"{name} is {value}, which is no whole number")
    return int(number)


def _box(value: Any) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    parts = (
        value.split() if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    )
    if len(parts) != 4:
        raise ValueError(f"box has {len(parts)} numbers, not the 4 of x1 y1 x2 y2")
    x1, y1, x2, y2 = (_number("box", part) for part in parts)
    return x1, y1, x2, y2


def _cells(row: ManifestRow) -> list[Any]:
    box = " ".join(f"{number:.2f}" for number in row.box) if row.box else None
    p_face = round(row.p_face, 6) if row.p_face is not None else None
    replaced = {"box": box, "p_face": p_face}
    return [replaced.get(name, getattr(row, name)) for name in COLUMNS]


def _belong_together(xlsx: Path, parquet: Path) -> bool:
    try:
        kept = (pq.read_schema(parquet).metadata or {}).get(_XLSX_CONTENT)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(
            f"{parquet} cannot be read as Parquet: {error}", "Delete it; the xlsx will do."
        ) from error
    return kept == _content_hash(xlsx).encode()


def _refuse_two_labels(rows: list[ManifestRow], path: Path) -> None:
    target_of: dict[str, int] = {}
    conflicts = set()
    for row in rows:
        if row.destination_path and target_of.setdefault(row.destination_path, row.target) != row.target:
            conflicts.add(row.destination_path)
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

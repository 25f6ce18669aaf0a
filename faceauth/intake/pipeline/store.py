"""The hidden store of a prepared folder: all crops that were ever cut, and the journal of the files done.

Crops are named after the hash of the bytes they came from. A line of the journal is a batch of files, each
with a stamp that changes when the file does; of two lines for one stamp the later one holds.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceauth.console import progress
from faceauth.errors import UsageError
from faceauth.files import is_draft_of, parse_json
from faceauth.intake.faces.looks import look_of
from faceauth.intake.manifest import COLUMNS, OK, STATUSES, ManifestRow
from faceauth.intake.pixels.images import read_jpeg_subsampling
from faceauth.intake.sources.remote import version_of
from faceauth.intake.sources.source_file import SourceFile
from faceauth.labels import CLASSES, ID2LABEL, SPLITS

log = logging.getLogger(__name__)

STORE_NAME = ".prepare"
JOURNAL_NAME = "journal.jsonl"
LOCK_NAME = "lock"
# A line is a batch of rows, each of which has a few kilobytes at most.
MAX_LINE_BYTES = 64 * 2**20
_BATCH_ROWS = 32

_PHASH = re.compile(r"([0-9a-f]{64})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OURS = re.compile(r"[0-9a-f]{32}\.png|(journal|settings|manifest|prepare|audit)\.(jsonl?|xlsx|parquet)")
_TYPES: dict[str, Any] = {
    **dict.fromkeys(COLUMNS, str),
    "target": int,
    "box": list | tuple | None,
    **dict.fromkeys(("width", "height", "jpeg_quality", "n_bytes", "frame"), int | None),
    **dict.fromkeys(
        ("p_face", "mean_red", "mean_green", "mean_blue", "sharpness", "timestamp_s"), float | int | None
    ),
}
# As wide as the columns of the manifest.
_LIMITS = {"jpeg_quality": 2**15, "n_bytes": 2**62, "frame": 2**62}


def crop_name(row: ManifestRow) -> str:
    """Returns the name of a row's crop without suffix: 32 hexadecimal digits that follow from its source.

    From the hash of the source's bytes, and for a frame of a video from its index too.
    """
    if row.frame is None:
        return row.sha256[:32]
    return hashlib.sha256(f"{row.sha256}#{row.frame}".encode()).hexdigest()[:32]


def stored_crop(output: Path, row: ManifestRow) -> Path:
    """Returns where the store keeps the crop of a row."""
    name = crop_name(row)
    return output / STORE_NAME / "crops" / name[:2] / f"{name}.png"


def has_crop(output: Path, row: ManifestRow) -> bool:
    """Tells whether the store holds the crop of a row. An empty file is what a power failure may leave."""
    try:
        return stored_crop(output, row).stat().st_size > 0
    except OSError:
        return False


def refuse_links(output: Path) -> None:
    """Makes sure that nothing which is written into a prepared folder ends up elsewhere.

    Raises:
        UsageError: A folder or file that `prepare` writes to is a link.
    """
    store = output / STORE_NAME
    written = [store, *_entries(store), *_entries(store / "crops")]
    for split in SPLITS:
        written.append(output / split)
        for label in CLASSES:
            written += [output / split / label, *_entries(output / split / label)]
    for path in written:
        if path.is_symlink():
            raise UsageError(
                f"{path} is a link, and what is prepared would be written elsewhere.",
                "Put a folder in its place, or choose another --output.",
            )


def clear_drafts(output: Path) -> None:
    """Removes what killed runs left half-written in a prepared folder, and nothing that people put there."""
    store = output / STORE_NAME
    for folder in (output, store, *_entries(store / "crops")):
        for path in _entries(folder):
            if is_draft_of(path.name, _OURS):
                path.unlink(missing_ok=True)


def empty_store(output: Path) -> None:
    """Removes everything from the store but the lock.

    The crops go first and the settings last: whatever stops it, no crop remains without the settings that it
    was made with.
    """
    entries = [path for path in _entries(output / STORE_NAME) if path.name != LOCK_NAME]
    for path in sorted(entries, key=lambda path: (not path.is_dir(), path.name)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []


def stamp_of(file: SourceFile) -> str:
    """Returns what tells one version of a source file, in its class and folder, from any other."""
    return f"{file.target}|{file.folder}|{version_of(file.address.path)}|{file.image_path}"


@contextmanager
def open_journal(journal: Path) -> Iterator[Callable[[list[str], list[ManifestRow]], None]]:
    """Opens the journal to add batches to it.

    Yields:
        A function that adds a batch, as the stamps of its files and their rows: a whole line or nothing, also
        where the disk is full.
    """
    # Without a buffer: a line that did not fit must not come again when the file is closed.
    with journal.open("ab", buffering=0) as file:

        def add(stamps: list[str], rows: list[ManifestRow]) -> None:
            batch = {"stamps": stamps, "rows": [asdict(row) for row in rows]}
            rest = memoryview(json.dumps(batch, ensure_ascii=False).encode() + b"\n")
            end = file.seek(0, os.SEEK_END)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except BaseException as error:
                file.truncate(end)
                if isinstance(error, OSError):
                    error.filename = str(journal)
                raise

        yield add


def read_journal(journal: Path) -> dict[str, ManifestRow]:
    """Reads which files were done, as rows by stamp.

    A last line that was not finished is cut off. Lines that are damaged in other ways count as not written,
    and a warning says so: their images are done again.
    """
    if not journal.exists():
        return {}
    output = journal.parent.parent
    done: dict[str, ManifestRow] = {}
    n_damaged = end = 0
    # As bytes: the last line may end inside a character, and names may hold what Python takes for line ends.
    with journal.open("rb") as lines:
        while line := lines.readline(MAX_LINE_BYTES):
            if line.endswith(b"\n"):
                end = lines.tell()
            try:
                batch = _read_line(line)
            except (ValueError, KeyError, TypeError):
                n_damaged += 1
                continue
            for stamp, row in batch:
                if row.status != OK or has_crop(output, row):
                    done[stamp] = row
                else:
                    done.pop(stamp, None)
    if end < journal.stat().st_size:
        os.truncate(journal, end)
        n_damaged -= 1
    if n_damaged > 0:
        log.warning("%s has %d damaged lines: what they told of is done again", journal, n_damaged)
    return done


def _read_line(line: bytes) -> list[tuple[str, ManifestRow]]:
    if not line.endswith(b"\n"):
        raise ValueError("the line was not finished")
    batch = parse_json(line)
    return [
        (_text(stamp), _row_of(record)) for stamp, record in zip(batch["stamps"], batch["rows"], strict=True)
    ]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a stamp is text")
    return value


def _row_of(record: dict[str, Any]) -> ManifestRow:
    # Another version may have recorded more, or less.
    known = {name: record[name] for name in COLUMNS if name in record}
    for name, value in known.items():
        if not isinstance(value, _TYPES[name]):
            raise TypeError(f"{name} is {value}")
        if isinstance(value, str):
            value.encode()  # half a character cannot be written again
        elif isinstance(value, float | int):
            _check_number(value, _LIMITS.get(name, 2**31))
    box = known.get("box")
    if box is not None:
        for number in box:
            _check_number(number, 2**31)
        known["box"] = tuple(box)
    row = ManifestRow(**known)
    # Crops and folders are named after these: anything else might lead outside the output.
    if not _SHA256.fullmatch(row.sha256) and (row.sha256 or row.status == OK):
        raise ValueError("sha256 is no hash")
    if row.target_class != ID2LABEL[row.target] or row.status not in STATUSES:
        raise ValueError("there is no such class or status")
    if row.split or row.destination_path or not _PHASH.fullmatch(row.phash) or len(box or "four") != 4:
        raise ValueError("it was not written by `prepare`")
    return row


def _check_number(number: float, limit: int) -> None:
    # NaN and infinity do not pass either.
    if not -limit < number < limit:
        raise ValueError(f"{number} is out of range")


def complete_older_rows(
    files: list[SourceFile],
    stamps: dict[SourceFile, str],
    done: dict[str, ManifestRow],
    journal: Path,
) -> None:
    """Adds what an older version did not record, from crops and files, and without a search for faces.

    Args:
        files: The images.
        stamps: Their stamps.
        done: The rows that the journal holds, by stamp; older ones are replaced, and those whose crop cannot
            be read are taken out, to be cut anew.
        journal: The journal, to which the completed rows are added.
    """
    older = [
        file
        for file in files
        if (row := done.get(stamps[file])) is not None and row.status == OK and row.mean_red is None
    ]
    if not older:
        return
    log.info("%d crops are of an older version: their colour and sharpness are added", len(older))
    output = journal.parent.parent
    with (
        open_journal(journal) as add,
        ThreadPoolExecutor() as pool,
        progress("colour and sharpness", len(older)) as advance,
    ):
        iterator = iter(older)
        while batch := list(islice(iterator, _BATCH_ROWS)):
            rows = list(pool.map(lambda file: _completed(file, done[stamps[file]], output), batch))
            kept = [(stamps[file], row) for file, row in zip(batch, rows, strict=True) if row is not None]
            add([stamp for stamp, _ in kept], [row for _, row in kept])
            for file in batch:
                del done[stamps[file]]
            done.update(kept)
            advance(len(batch))


def _completed(file: SourceFile, row: ManifestRow, output: Path) -> ManifestRow | None:
    path = stored_crop(output, row)
    try:
        with Image.open(path) as image:
            look = look_of(np.asarray(image.convert("RGB")))
        with Image.open(file.address.path) as image:
            subsampling = read_jpeg_subsampling(image)
    except (OSError, ValueError, SyntaxError):
        path.unlink(missing_ok=True)
        return None
    return replace(row, jpeg_subsampling=subsampling, **asdict(look))

"""The hidden store of a prepared folder: all crops that were ever cut, and the journal of the files done.

Crops are named after the hash of the bytes they came from. A line of the journal is a batch of files, each
with a stamp that changes when the file does; of two lines for one stamp the later one holds.
"""

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from faceauth.console import progress
from faceauth.files import whole_file
from faceauth.intake.images import read_jpeg_subsampling
from faceauth.intake.looks import look_of
from faceauth.intake.manifest import COLUMNS, OK, ManifestRow
from faceauth.intake.sources import SourceFile

log = logging.getLogger(__name__)

STORE_NAME = ".prepare"
JOURNAL_NAME = "journal.jsonl"
_BATCH_ROWS = 32


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


def stamp_of(file: SourceFile) -> str:
    """Returns what tells one version of a source file, in its class and folder, from any other."""
    try:
        status = file.address.path.stat()
        version = f"{status.st_size}:{status.st_mtime_ns}"
    except (OSError, ValueError):
        version = "missing"
    return f"{file.target}|{file.folder}|{version}|{file.image_path}"


def journal_line(stamps: list[str], rows: list[ManifestRow]) -> str:
    """Returns the journal's line for a batch of rows with the stamps of their files."""
    return json.dumps({"stamps": stamps, "rows": [asdict(row) for row in rows]}, ensure_ascii=False) + "\n"


def read_journal(journal: Path) -> dict[str, ManifestRow]:
    """Reads which files were done, as rows by stamp, and cuts off a line that was not finished."""
    if not journal.exists():
        return {}
    done = {}
    kept = []
    # As bytes: the last line may end inside a character, and names may hold what Python takes for line ends.
    for line in journal.read_bytes().split(b"\n"):
        try:
            batch = json.loads(line)
        except ValueError:
            break  # the line that was being written when the run was killed
        kept.append(line + b"\n")
        for stamp, row in zip(batch["stamps"], batch["rows"], strict=True):
            # Another version may have recorded more, or less.
            known = {name: row[name] for name in COLUMNS if name in row}
            read = ManifestRow(**{**known, "box": tuple(row["box"]) if row["box"] else None})
            if read.status != OK or stored_crop(journal.parent.parent, read).exists():
                done[stamp] = read
            else:
                done.pop(stamp, None)
    with whole_file(journal) as draft:
        draft.write_bytes(b"".join(kept))
    return done


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
        journal.open("a", encoding="utf-8") as lines,
        ThreadPoolExecutor() as pool,
        progress("colour and sharpness", len(older)) as advance,
    ):
        iterator = iter(older)
        while batch := list(islice(iterator, _BATCH_ROWS)):
            rows = list(pool.map(lambda file: _completed(file, done[stamps[file]], output), batch))
            kept = [(stamps[file], row) for file, row in zip(batch, rows, strict=True) if row is not None]
            lines.write(journal_line([stamp for stamp, _ in kept], [row for _, row in kept]))
            lines.flush()
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

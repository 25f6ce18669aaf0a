"""Turns source files into face crops, restartably: what is missing is done, stored, and written in a journal.

Crops and journal lie in a hidden store inside the output folder (`faceauth.intake.pipeline.store`); where
crops go from there is decided when all are known (`faceauth.verbs.prepare`). A line of the journal is a
batch. A run that was stopped goes on with the batches that are not in it, so that batches, and with them
the last digits of the boxes, are those of a run that was never stopped.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from faceauth.errors import UsageError
from faceauth.files import read_json, whole_file, write_json
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.pipeline.engine import CollectedBatch, CollectSettings, Engine
from faceauth.intake.pipeline.store import (
    JOURNAL_NAME,
    STORE_NAME,
    complete_older_rows,
    has_crop,
    open_journal,
    read_journal,
    stamp_of,
    stored_crop,
)
from faceauth.intake.rows import ManifestRow
from faceauth.intake.sources.source_file import SourceFile

log = logging.getLogger(__name__)

SETTINGS_NAME = "settings.json"
# In the settings of a folder whose crops were changed after they were cut: none may be added to it.
EQUALISED_KEY = "equalised"
# The same for a folder with forgeries, of which no source has the files.
FORGED_KEY = "forged"
BATCH_FILES = 32


def collect_faces(
    files: list[SourceFile],
    output: Path,
    *,
    settings: CollectSettings,
    engine: Engine,
    progress: Callable[[CollectedBatch], None] | None = None,
) -> list[ManifestRow]:
    """Finds and crops the main face of every file, or says why there is none.

    Args:
        files: The images, sorted.
        output: The output folder; crops go to its hidden store.
        settings: What decides how crops look.
        engine: What does the work.
        progress: Called after each batch.

    Returns:
        One row a file, in the order of `files`, without split, destination and group.

    Raises:
        UsageError: The output folder holds crops made with other settings.
    """
    store = output / STORE_NAME
    _check_settings(store, settings)
    journal = store / JOURNAL_NAME
    rows = _rows_done(files, journal)
    n_done = len(rows) - rows.count(None)
    if n_done:
        log.info("%d of %d files were done before and are kept", n_done, len(files))
    # The batches in work, by their first file: the positions and stamps of all. A stamp is taken before its
    # file is read, and not kept for longer than needed: a million would take as much memory as the rows.
    in_work: dict[SourceFile, tuple[list[int], list[str]]] = {}

    def pending() -> Iterator[list[SourceFile]]:
        missing = (i for i, row in enumerate(rows) if row is None)
        while positions := list(islice(missing, BATCH_FILES)):
            batch = [files[i] for i in positions]
            in_work[batch[0]] = positions, [stamp_of(file) for file in batch]
            yield batch

    with open_journal(journal) as add, closing(engine(pending())) as batches:
        for batch in batches:
            positions, stamps = in_work.pop(batch.files[0])
            _store_crops(batch, output)
            add(stamps, batch.rows)
            for i, row in zip(positions, batch.rows, strict=True):
                rows[i] = row
            if progress:
                progress(batch)
    return [row for row in rows if row is not None]


def collected_with(output: Path) -> CollectSettings:
    """Returns the settings that a prepared folder's crops were made with; the defaults if it does not say."""
    path = output / STORE_NAME / SETTINGS_NAME
    if not path.exists():
        return CollectSettings()
    kept = read_json(path)
    for key in (EQUALISED_KEY, FORGED_KEY):
        kept.pop(key, None)
    return CollectSettings(**{**kept, "crop": CropSettings(**kept["crop"])})


def _rows_done(files: list[SourceFile], journal: Path) -> list[ManifestRow | None]:
    """Returns for each file the row that the journal has of it, None where it must be done."""
    done = read_journal(journal)
    if not done:
        return [None] * len(files)
    stamps = {file: stamp_of(file) for file in files}
    complete_older_rows(files, stamps, done, journal)
    return [done.get(stamps[file]) for file in files]


def _store_crops(batch: CollectedBatch, output: Path) -> None:
    for row, crop_png in zip(batch.rows, batch.crops_png, strict=True):
        if crop_png is None:
            continue
        if not has_crop(output, row):
            with whole_file(stored_crop(output, row)) as draft:
                draft.write_bytes(crop_png)


def _check_settings(store: Path, settings: CollectSettings) -> None:
    wanted = asdict(settings)
    path = store / SETTINGS_NAME
    if not path.exists():
        write_json(path, wanted)
        return
    kept = read_json(path)
    changed_how = next((key for key in (EQUALISED_KEY, FORGED_KEY) if key in kept), None)
    if changed_how:
        raise UsageError(
            f"{store.parent} holds {changed_how} crops, and no other crops may be mixed with them.",
            "Choose another --output, or begin anew with --overwrite.",
        )
    changed = [name for name in wanted if wanted[name] != kept.get(name)]
    if changed:
        changes = ", ".join(f"{name} was {kept.get(name)} and is {wanted[name]}" for name in changed)
        raise UsageError(
            f"{store.parent} holds crops made with other settings: {changes}.",
            "Choose another --output, or begin anew with --overwrite.",
        )

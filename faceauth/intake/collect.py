"""Turns source files into face crops, restartably: what is missing is done, stored, and written in a journal.

Crops and journal lie in a hidden store inside the output folder (`faceauth.intake.store`); where crops go
from there is decided when all are known (`faceauth.verbs.prepare`). A line of the journal is a whole batch. A
run that was stopped goes on with the batches that are not in it, so that batches, and with them the last
digits of the boxes, are those of a run that was never stopped.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from faceauth.errors import UsageError
from faceauth.files import read_json, whole_file, write_json
from faceauth.intake.crop import CropSettings
from faceauth.intake.engine import CollectedBatch, CollectSettings, Engine
from faceauth.intake.manifest import ManifestRow
from faceauth.intake.sources import SourceFile
from faceauth.intake.store import (
    JOURNAL_NAME,
    STORE_NAME,
    complete_older_rows,
    journal_line,
    read_journal,
    stamp_of,
    stored_crop,
)

log = logging.getLogger(__name__)

SETTINGS_NAME = "settings.json"
# In the settings of a folder whose crops were changed after they were cut: none may be added to it.
EQUALISED_KEY = "equalised"
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
    done = read_journal(journal)
    stamps = {file: stamp_of(file) for file in files}
    complete_older_rows(files, stamps, done, journal)
    pending = [file for file in files if stamps[file] not in done]
    if len(pending) < len(files):
        log.info("%d of %d files were done before and are kept", len(files) - len(pending), len(files))
    with journal.open("a", encoding="utf-8") as lines:
        for batch in engine(_batches(pending)):
            _store_crops(batch, output)
            lines.write(journal_line([stamps[file] for file in batch.files], batch.rows))
            lines.flush()
            for file, row in zip(batch.files, batch.rows, strict=True):
                done[stamps[file]] = row
            if progress:
                progress(batch)
    return [done[stamps[file]] for file in files]


def collected_with(output: Path) -> CollectSettings:
    """Returns the settings that a prepared folder's crops were made with; the defaults if it does not say."""
    path = output / STORE_NAME / SETTINGS_NAME
    if not path.exists():
        return CollectSettings()
    kept = read_json(path)
    kept.pop(EQUALISED_KEY, None)
    return CollectSettings(**{**kept, "crop": CropSettings(**kept["crop"])})


def _batches(files: list[SourceFile]) -> Iterator[list[SourceFile]]:
    iterator = iter(files)
    while batch := list(islice(iterator, BATCH_FILES)):
        yield batch


def _store_crops(batch: CollectedBatch, output: Path) -> None:
    for row, crop_png in zip(batch.rows, batch.crops_png, strict=True):
        if crop_png is None:
            continue
        path = stored_crop(output, row)
        if not path.exists():
            with whole_file(path) as draft:
                draft.write_bytes(crop_png)


def _check_settings(store: Path, settings: CollectSettings) -> None:
    wanted = asdict(settings)
    path = store / SETTINGS_NAME
    if not path.exists():
        write_json(path, wanted)
        return
    kept = read_json(path)
    if EQUALISED_KEY in kept:
        raise UsageError(
            f"{store.parent} holds equalised crops, and no other crops may be mixed with them.",
            "Choose another --output, or begin anew with --overwrite.",
        )
    changed = [name for name in wanted if wanted[name] != kept.get(name)]
    if changed:
        changes = ", ".join(f"{name} was {kept.get(name)} and is {wanted[name]}" for name in changed)
        raise UsageError(
            f"{store.parent} holds crops made with other settings: {changes}.",
            "Choose another --output, or begin anew with --overwrite.",
        )

"""Data sets of Hugging Face `datasets`: a folder that `save_to_disk` wrote, or shards of Parquet."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceauth.errors import InputError
from faceauth.intake.pixels.shards import ShardFacts, read_cells, shard_facts
from faceauth.intake.sources.address import SHARD_SUFFIXES, Address
from faceauth.intake.sources.layout import (
    LAYOUTS,
    not_laid_out,
    read_json_list,
    split_of_name,
    stem_of,
    target_of_name,
)
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.intake.sources.walk import walk
from faceauth.labels import ID2LABEL

log = logging.getLogger(__name__)

LABEL_COLUMNS = ("target_class", "label", "labels", "class", "target")
FOLDER_COLUMNS = ("folder", "generator", "source_model", "model", "method")
STATE_NAME = "state.json"
# Of a ClassLabel, -1 stands for no class.
UNLABELLED = frozenset({"", "-1"})


@LAYOUTS.register("huggingface")
def list_huggingface(root: Path) -> Iterator[SourceFile]:
    """Lists the rows of a data set whose shards hold the bytes of the images.

    `datasets.save_to_disk` writes `<split>/data-00000-of-00002.arrow` with a `state.json` that names the
    shards, and repositories of the Hub have `data/train-00000-of-00003.parquet`. The image column is a struct
    of bytes and path, or plain bytes. The class is the name of a label: a ClassLabel, or text, in a column
    `label`, `target_class` and the like. Numbers without names are refused, since 1 is fake to some and real
    to others. The columns `generator` (or `folder`, `model`, `method`), `group` and `identity` are taken over
    where they are.

    Args:
        root: The folder, or a single shard.

    Yields:
        The rows, with the split that the shard's name, or its folder's, means. Rows without a class are left
        out, with a warning.

    Raises:
        LayoutError: There is no shard.
        InputError: A shard cannot be read, has no images, or no names of classes.
    """
    shards = [root] if root.suffix.lower() in SHARD_SUFFIXES and root.is_file() else list(_shards(root))
    if not shards:
        raise not_laid_out(
            "huggingface", root, "files of Parquet, or a folder written by datasets.save_to_disk"
        )
    for shard in shards:
        yield from _rows(shard, root)


def _shards(root: Path) -> Iterator[Path]:
    """Yields Parquet files, and of Arrow files those that a `state.json` names: others are caches."""
    listed: dict[Path, set[str]] = {}
    for path in walk(root):
        suffix = path.suffix.lower()
        if suffix == ".parquet":
            yield path
        elif suffix == ".arrow":
            if path.parent not in listed:
                listed[path.parent] = _named_in_state(path.parent / STATE_NAME)
            if path.name in listed[path.parent]:
                yield path


def _named_in_state(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    document = read_json_list(path)
    files = document.get("_data_files") if isinstance(document, dict) else None
    if not isinstance(files, list):
        raise InputError(f"{path} names no data files.", "Write the folder anew with datasets.save_to_disk.")
    return {str(file.get("filename")) for file in files if isinstance(file, dict)}


def _rows(shard: Path, root: Path) -> Iterator[SourceFile]:
    facts = shard_facts(shard)
    label = _first(LABEL_COLUMNS, facts)
    if label is None:
        raise InputError(
            f"{shard} has no column that names the class.",
            f"Its columns: {', '.join(facts.columns)}. Looked for: {', '.join(LABEL_COLUMNS)}.",
        )
    folder = _first(FOLDER_COLUMNS, facts)
    columns = {
        "label": label,
        "folder": folder,
        **{name: _first((name,), facts) for name in ("group", "identity")},
    }
    # The file's own name, or the folder's: `train-00000-of-00003`, `default/train/0000`.
    split = _split(shard, root)
    data_set = root.parent.name if root == shard else root.name
    place = stem_of(shard.name if root == shard else shard.as_posix()[len(root.as_posix().rstrip("/")) + 1 :])
    cells = read_cells(shard, [name for name in columns.values() if name])
    n_rows = n_unlabelled = 0
    for row, record in enumerate(cells):
        values = {
            what: _named(record.get(name), facts.class_names.get(name, []))
            for what, name in columns.items()
            if name
        }
        n_rows += 1
        if values["label"] in UNLABELLED:
            n_unlabelled += 1
            continue
        target = target_of_name(values["label"])
        if target is None:
            raise _no_class(shard, row, label, values["label"])
        yield source_file(
            Address(shard, row=row),
            folder=values.get("folder") or f"{data_set}_{ID2LABEL[target]}",
            target=target,
            key=f"{data_set}/{place}/{row}",
            group=values.get("group", ""),
            identity=values.get("identity", ""),
            split=split,
        )
    if n_rows and n_unlabelled == n_rows:
        raise _no_class(shard, 0, label, "")
    if n_unlabelled:
        log.warning("%s: %d rows without a class are left out", shard, n_unlabelled)


def _first(wanted: tuple[str, ...], facts: ShardFacts) -> str | None:
    return next((name for word in wanted for name in facts.columns if name.lower() == word), None)


def _named(value: Any, names: list[str]) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    return "" if value is None else str(value).strip()


def _split(shard: Path, root: Path) -> str:
    inside = shard.as_posix()[len(root.as_posix()) :] or f"/{shard.name}"
    *folders, name = inside.strip("/").split("/")
    # Of `train-00000-of-00003` the first word; digits and `of` say nothing.
    for part in (name.partition(".")[0].partition("-")[0], *reversed(folders)):
        if split := split_of_name(part):
            return split
    return ""


def _no_class(shard: Path, row: int, column: str, value: str) -> InputError:
    return InputError(
        f"{shard}, row {row}: '{value[:80]}' in column '{column}' names no class.",
        "Name the classes, such as real and fake: as text in a column target_class, or with "
        'datasets: cast_column("label", ClassLabel(names=["fake", "real"])).',
    )

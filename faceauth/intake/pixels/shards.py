"""Images in the rows of Parquet and Arrow files: which column holds them, and the bytes of one row.

Rows are read forward and a few at a time: memory is bounded by these rows and a page of Parquet, which has at
most a row group, and going on in the order of the rows costs one pass over the file. Each process keeps its
place in the files that it read last.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import InputError
from faceauth.intake.pixels.images import MAX_FILE_BYTES, SourceImage, UnreadableImageError, decode_image
from faceauth.intake.sources.remote import is_remote

# Of several columns that may hold images the first of these is taken, and else the first of any name.
IMAGE_COLUMNS = ("image", "img", "face", "picture", "image_bytes", "image_data", "jpg", "png", "bytes")
READ_ROWS = 32
LABEL_ROWS = 8192
# A writer of Parquet may put a whole row group into one page, of which a worker holds up to two copies.
MAX_GROUP_BYTES = 2**30
MAX_OPEN_SHARDS = 4
_ARROW_FILE_MAGIC = b"ARROW1"

_ArrowTable: TypeAlias = pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader


@dataclass(frozen=True)
class ShardFacts:
    """What a shard says of its rows.

    Attributes:
        columns: Names of its columns.
        image_column: The one that holds the images.
        class_names: For each column of numbers that stand for names, the names in the order of the numbers.
    """

    columns: list[str]
    image_column: str
    class_names: dict[str, list[str]]


def read_row(path: Path, row: int, *, draft_side_px: int | None = None) -> SourceImage:
    """Reads the image in a row of a shard.

    Args:
        path: A `.parquet` file, or an `.arrow` file of either kind, stream or file.
        row: Index of the row, from 0 on.
        draft_side_px: See `faceauth.intake.pixels.images.decode_image`.

    Returns:
        The pixels with the facts of the image file that the row holds.

    Raises:
        UnreadableImageError: The shard cannot be read, has no such row, or the row holds no image.
    """
    try:
        with _clear_errors(path):
            cell = _reader_of(path).cell(row)
    except InputError as error:
        _forget(path)
        raise UnreadableImageError(error.message) from error
    is_struct = isinstance(cell, dict)
    content = cell.get("bytes") if is_struct else cell
    if not content:
        elsewhere = is_struct and cell.get("path")
        raise UnreadableImageError(
            "the row names an image file and does not hold it" if elsewhere else "the row holds no image"
        )
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableImageError(f"the row has {len(content):,} bytes; at most {MAX_FILE_BYTES:,} are read")
    return decode_image(content, draft_side_px=draft_side_px)


def shard_facts(path: Path) -> ShardFacts:
    """Reads what a shard says of its rows, and none of them.

    Args:
        path: A `.parquet` or `.arrow` file.

    Raises:
        InputError: It cannot be read, no column holds images, or a row group has more than 1 GiB of them.
    """
    with _clear_errors(path), ExitStack() as stack:
        table = _open(path, stack)
        facts = _facts(path, table)
        _group_starts(path, table, facts.image_column)
        return facts


def read_cells(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Reads some columns of a shard row by row, without reading the others.

    Args:
        path: A `.parquet` or `.arrow` file.
        columns: Names of columns; without any, each row is an empty dictionary.

    Yields:
        One dictionary a row.

    Raises:
        InputError: The file is damaged.
    """
    with _clear_errors(path), ExitStack() as stack:
        for batch in _batches(_open(path, stack), columns, first_group=0, n_rows=LABEL_ROWS):
            yield from batch.to_pylist() if columns else repeat({}, batch.num_rows)


class _Reader:
    """A place in a shard, from which later rows are reached without reading earlier ones again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._table = _open(path, self._stack)
        self._column = _facts(path, self._table).image_column
        self._group_starts = _group_starts(path, self._table, self._column)
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._start = self._end = 0
        self._cells: Any = ()

    def cell(self, row: int) -> Any:
        """Returns what the image column holds in a row.

        Raises:
            InputError: There is no such row.
        """
        if not self._start <= row < self._end:
            self._go_to(row)
        return self._cells[row - self._start].as_py()

    def _go_to(self, row: int) -> None:
        group = max(i for i, start in enumerate(self._group_starts) if start <= row)
        if self._batches is None or row < self._start or self._group_starts[group] > self._end:
            self._restart(group)
        assert self._batches is not None
        for batch in self._batches:
            self._start, self._end = self._end, self._end + batch.num_rows
            self._cells = batch.column(0)
            if row < self._end:
                return
        self._batches = None
        raise InputError(f"{self._path} has no row {row}.")

    def _restart(self, group: int) -> None:
        if not isinstance(self._table, pq.ParquetFile):
            # A stream cannot be turned back.
            self.close()
            self._table = _open(self._path, self._stack)
        self._start = self._end = self._group_starts[group]
        self._batches = _batches(self._table, [self._column], first_group=group, n_rows=READ_ROWS)

    def close(self) -> None:
        """Closes the file."""
        self._stack.close()


# By path and version: a file that was replaced is read anew.
_readers: OrderedDict[tuple[Path, tuple[int, int] | None], _Reader] = OrderedDict()


def _reader_of(path: Path) -> _Reader:
    # Behind a URL each question costs a request, and objects do not change under a run.
    status = None if is_remote(path) else path.stat()
    key = (path, (status.st_size, status.st_mtime_ns) if status else None)
    if key not in _readers:
        _readers[key] = _Reader(path)
        while len(_readers) > MAX_OPEN_SHARDS:
            _readers.popitem(last=False)[1].close()
    _readers.move_to_end(key)
    return _readers[key]


def _forget(path: Path) -> None:
    for key in [key for key in _readers if key[0] == path]:
        _readers.pop(key).close()


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"{path} cannot be read as a table: {lines[0][:300]}") from error


def _open(path: Path, stack: ExitStack) -> pq.ParquetFile | _ArrowTable:
    """Opens a shard; the stack closes what this opens."""
    if path.suffix.lower() == ".parquet":
        file = stack.enter_context(path.open("rb"))
        # Without a buffer of its own the reader takes a row group's whole column into memory at once.
        return stack.enter_context(pq.ParquetFile(file, buffer_size=2**20, pre_buffer=False))
    # A local file is mapped, so that what is passed over is never read.
    source: Any = path.open("rb") if is_remote(path) else pa.memory_map(str(path))
    stack.enter_context(source)
    is_file = source.read(len(_ARROW_FILE_MAGIC)) == _ARROW_FILE_MAGIC
    source.seek(0)
    return stack.enter_context(pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source))


def _batches(
    table: pq.ParquetFile | _ArrowTable, columns: list[str], *, first_group: int, n_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yields some columns of the rows from a row group on, at most `n_rows` of them at once."""
    if isinstance(table, pq.ParquetFile):
        # Each group alone: one that is damaged takes no rows of others with it.
        for group in range(first_group, table.metadata.num_row_groups):
            yield from table.iter_batches(n_rows, row_groups=[group], columns=columns, use_threads=False)
        return
    is_file = isinstance(table, pa.ipc.RecordBatchFileReader)
    for batch in (table.get_batch(i) for i in range(table.num_record_batches)) if is_file else table:
        chosen = batch.select(columns)
        # A slice copies nothing.
        yield from (chosen.slice(start, n_rows) for start in range(0, batch.num_rows, n_rows))


def _group_starts(path: Path, table: pq.ParquetFile | _ArrowTable, column: str) -> list[int]:
    """Returns the first row of each row group; Arrow has no groups that could be reached alone.

    Raises:
        InputError: A group is so large that a page of it may not fit into memory.
    """
    if not isinstance(table, pq.ParquetFile):
        return [0]
    starts, n_rows = [], 0
    for i in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(i)
        starts.append(n_rows)
        n_rows += group.num_rows
        parts = (group.column(j) for j in range(group.num_columns))
        sizes = (
            part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] == column
        )
        if (n_bytes := sum(sizes)) > MAX_GROUP_BYTES:
            raise InputError(
                f"{path} has a row group of {n_bytes:,} bytes; at most {MAX_GROUP_BYTES:,} are read.",
                "Write it anew with fewer rows in a group, such as 100.",
            )
    return starts or [0]


def _facts(path: Path, table: pq.ParquetFile | _ArrowTable) -> ShardFacts:
    schema = table.schema_arrow if isinstance(table, pq.ParquetFile) else table.schema
    features = _features(schema)
    holding = [field.name for field in schema if _holds_bytes(field.type)]
    called_images = [name for name in holding if features.get(name, {}).get("_type") == "Image"]
    known = [name for wanted in IMAGE_COLUMNS for name in holding if name.lower() == wanted]
    column = next(iter([*called_images, *known, *holding]), None)
    if column is None:
        raise InputError(
            f"{path} has no column of images.",
            f"Its columns: {', '.join(schema.names) or 'none'}. Images are bytes, or bytes with a path.",
        )
    names = {
        name: [str(word) for word in feature["names"]]
        for name, feature in features.items()
        if isinstance(feature.get("names"), list)
    }
    return ShardFacts(schema.names, column, names)


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Returns what `datasets` wrote of its columns into the schema, such as the names of classes."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b""))["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

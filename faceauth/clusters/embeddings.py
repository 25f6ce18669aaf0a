"""The embeddings table: what a detector sees in each face, and where that face comes from.

`faceauth embed` writes it, everything in this package reads it, and any other tool may do either:
it is a plain Parquet file with one row a face.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import InputError
from faceauth.files import whole_file
from faceauth.labels import FAKE, ID2LABEL, REAL

TEXT_COLUMNS = ("destination_path", "folder", "split", "group")
COLUMNS = ("destination_path", "folder", "split", "target", "group", "p_fake", "feature")


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """One row a face, as columns of equal length n.

    Attributes:
        destination_path: Where the crop lies, relative to the manifest's folder; (n,) object (str).
        folder: The source: generator of a fake, collection of a real; (n,) object (str).
        split: `train`, `val` or `test`; (n,) object (str).
        target: 1 for real, 0 for fake; (n,) int8.
        group: What must not be split: a person, a photo and its fakes; empty if unknown; (n,) object (str).
        p_fake: The detector's score in [0, 1], NaN where there is none; (n,) float32.
        features: What the detector's penultimate layer says; (n, d) float32, finite.
    """

    destination_path: np.ndarray
    folder: np.ndarray
    split: np.ndarray
    target: np.ndarray
    group: np.ndarray
    p_fake: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: np.ndarray) -> "Embeddings":
        """Returns the rows of these numbers, in this order."""
        return Embeddings(
            destination_path=self.destination_path[rows],
            folder=self.folder[rows],
            split=self.split[rows],
            target=self.target[rows],
            group=self.group[rows],
            p_fake=self.p_fake[rows],
            features=self.features[rows],
        )


def source_names(folder: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Names each face's source; a name that both classes use is told apart by its class.

    Args:
        folder: Folder names; (n,) of str.
        target: 1 for real, 0 for fake; (n,) of int.

    Returns:
        The folder's name, or `name (real)` and `name (fake)` where both exist; (n,) object (str).
    """
    shared = set(folder[target == REAL]) & set(folder[target == FAKE])
    return np.array(
        [
            f"{name} ({ID2LABEL[int(kind)]})" if name in shared else name
            for name, kind in zip(folder, target, strict=True)
        ],
        dtype=object,
    )


def check_embeddings(embeddings: Embeddings) -> None:
    """Refuses a table that contradicts itself.

    Raises:
        InputError: Columns differ in length, there is no row, or a value is out of its range.
    """
    features = embeddings.features
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError(f"Features have the shape {features.shape}.", "They must be (images, dimensions).")
    if len(features) == 0:
        raise InputError(
            "The embeddings hold no face.", "Look at the split and the status of the manifest's rows."
        )
    for column in (*TEXT_COLUMNS, "target", "p_fake"):
        shape = getattr(embeddings, column).shape
        if shape != (len(features),):
            raise InputError(
                f"Column '{column}' has the shape {shape}, but there are {len(features)} features."
            )
    broken_rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken_rows):
        first = embeddings.destination_path[broken_rows[0]]
        raise InputError(
            f"{len(broken_rows)} features are not finite, the first is of '{first}'.",
            "A detector that gives NaN or infinity has diverged, or ran in too low a precision.",
        )
    if not np.isin(embeddings.target, (FAKE, REAL)).all():
        raise InputError("Column 'target' holds other values than 1 (real) and 0 (fake).")
    scores = embeddings.p_fake[~np.isnan(embeddings.p_fake)]
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise InputError("Column 'p_fake' holds values outside [0, 1].")


def write_embeddings(embeddings: Embeddings, path: Path) -> None:
    """Writes the table as Parquet, whole or not at all.

    Raises:
        InputError: The table contradicts itself.
    """
    check_embeddings(embeddings)
    features = np.ascontiguousarray(embeddings.features, dtype=np.float32)
    p_fake = embeddings.p_fake.astype(np.float32)
    columns = {
        "destination_path": pa.array(embeddings.destination_path, pa.string()),
        "folder": pa.array(embeddings.folder, pa.string()),
        "split": pa.array(embeddings.split, pa.string()),
        "target": pa.array(embeddings.target.astype(np.int8), pa.int8()),
        "group": pa.array(embeddings.group, pa.string()),
        "p_fake": pa.array(p_fake, pa.float32(), mask=np.isnan(p_fake)),
        "feature": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1]),
    }
    with whole_file(path) as draft:
        pq.write_table(pa.table(columns), draft, compression="zstd")


def read_embeddings(path: Path) -> Embeddings:
    """Reads the table and checks it.

    Raises:
        InputError: There is no such file, it is no Parquet file, or it is not such a table.
    """
    if not path.is_file():
        raise InputError(f"There is no embeddings file '{path}'.", "`faceauth embed` writes one.")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"'{path}' cannot be read as Parquet: {error}") from error
    missing = [column for column in COLUMNS if column not in table.column_names]
    if missing:
        raise InputError(
            f"'{path}' lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}.",
            f"An embeddings table has {', '.join(COLUMNS)}.",
        )
    try:
        embeddings = Embeddings(
            **{column: _texts(table[column]) for column in TEXT_COLUMNS},
            target=table["target"].cast(pa.int8()).to_numpy(),
            p_fake=table["p_fake"].cast(pa.float32()).to_numpy(),
            features=_features(table["feature"]),
        )
        check_embeddings(embeddings)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"A column of '{path}' has another type than it should: {error}") from error
    except InputError as error:
        raise InputError(f"'{path}': {error.message}", error.hint) from error
    return embeddings


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.string()).fill_null("").to_numpy().astype(object)


def _features(column: pa.ChunkedArray) -> np.ndarray:
    """Returns (n, d) float32; a variable-length list of equal lengths, as other tools write it, will do."""
    if not (
        pa.types.is_list(column.type)
        or pa.types.is_large_list(column.type)
        or pa.types.is_fixed_size_list(column.type)
    ):
        raise InputError(f"Column 'feature' holds {column.type}.", "It must hold lists of numbers.")
    if column.null_count:
        raise InputError(f"{column.null_count} rows have no feature.")
    if len(column) == 0:
        return np.zeros((0, 1), dtype=np.float32)
    lengths = column.combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    if (lengths != lengths[0]).any():
        raise InputError(
            f"Features have between {lengths.min()} and {lengths.max()} dimensions.",
            "All must have the same.",
        )
    values = column.combine_chunks().flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
    return values.reshape(len(column), int(lengths[0]))

"""The scores table: one row a face, with the truth and what a detector said.

It is the seam between detectors and everything that is said of them. `score_tables` reads such tables, our
own and those of other tools.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceauth.errors import InputError
from faceauth.files import whole_file
from faceauth.labels import FAKE, REAL

COLUMNS = ("destination_path", "folder", "split", "target", "p_fake")
# Written and read only if they are known.
OPTIONAL_COLUMNS = ("group", "video", "degradation")
SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of n faces, as columns.

    Attributes:
        destination_path: Where each crop lies, object (n,) of str; empty if it is not known.
        folder: Source model of each face, object (n,) of str.
        split: Split of each face, object (n,) of str.
        target: 1 for real, 0 for fake, int64 (n,).
        p_fake: The detector's probability that the face is fake, float64 (n,) in [0, 1].
        group: Group of each face, object (n,) of str, empty for none; None if no groups are known.
        video: Video that each face is a frame of, object (n,) of str, empty for a picture of its own; None
            if no videos are known.
        degradation: What was done to each picture, such as `jpeg_30`, object (n,) of str, empty for nothing;
            None if that is not known.

    Raises:
        InputError: Columns differ in length, a target is neither 0 nor 1, or a score is no number in [0, 1].
    """

    destination_path: np.ndarray
    folder: np.ndarray
    split: np.ndarray
    target: np.ndarray
    p_fake: np.ndarray
    group: np.ndarray | None = None
    video: np.ndarray | None = None
    degradation: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self._columns().items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"The columns of the scores differ in length: {lengths}.")
        unknown = np.flatnonzero(~np.isin(self.target, (FAKE, REAL)))
        if len(unknown):
            row = int(unknown[0])
            raise InputError(f"The target of score {row} is {self.target[row]!r}.", "1 is real, 0 is fake.")
        unusable = np.flatnonzero(~((self.p_fake >= 0) & (self.p_fake <= 1)))
        if len(unusable):
            row = int(unusable[0])
            name = self.destination_path[row] or f"score {row}"
            raise InputError(
                f"p_fake of {name} is {self.p_fake[row]}.",
                "It is a probability between 0 and 1, not a logit.",
            )

    def __len__(self) -> int:
        return len(self.p_fake)

    @property
    def unit(self) -> np.ndarray | None:
        """What is independent evidence, object (n,) of str: the group, or else the video; None if neither."""
        if self.group is None or self.video is None:
            return self.video if self.group is None else self.group
        return np.where(self.group == "", self.video, self.group)

    def where(self, keep: np.ndarray) -> "Scores":
        """Returns the rows for which `keep`, bool (n,), is true."""
        return Scores(**{name: column[keep] for name, column in self._columns().items()})

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {name: getattr(self, name) for name in COLUMNS}
        return columns | {
            name: getattr(self, name) for name in OPTIONAL_COLUMNS if getattr(self, name) is not None
        }


def write_scores(scores: Scores, path: Path) -> None:
    """Writes a scores table, whole or not at all; its suffix, `.csv` or `.parquet`, says which kind.

    In a CSV a path keeps its first character even if that is one of `=+-@`: it is written for machines, and
    a changed path would not be found again.

    Raises:
        InputError: The suffix is neither.
    """
    suffix = known_suffix(path)
    columns = {name: column.tolist() for name, column in scores._columns().items()}
    with whole_file(path) as draft:
        if suffix == ".parquet":
            types = {"target": pa.int8(), "p_fake": pa.float64()}
            table = {name: pa.array(column, types.get(name, pa.string())) for name, column in columns.items()}
            pq.write_table(pa.table(table), draft)
        else:
            with draft.open("w", encoding="utf-8", newline="") as stream:
                # With its standard line ends the writer quotes a path that holds a carriage return.
                writer = csv.writer(stream)
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))


def known_suffix(path: Path) -> str:
    """Returns a scores file's suffix in small letters.

    Raises:
        InputError: It is no kind of scores file.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no kind of scores file.", f"Its name ends in {' or '.join(SUFFIXES)}.")
    return suffix

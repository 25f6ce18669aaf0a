"""Derives how often unseen sources are called unknown, or outside the domain, from a table of what was said.

python benchmarks/unknown_figures.py docs/scores/unknown.parquet --markdown
"""

import argparse
import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from generator_figures import share_called
from peer_tables import cell, markdown_table

from faceauth.console import harmless
from faceauth.decisions.attribution import UNKNOWN
from faceauth.errors import FaceAuthError, InputError
from faceauth.files import whole_file
from faceauth.labels import FAKE, REAL, TEST
from faceauth.scoring.scores import Scores

# In hexadecimal digits, as in `embedded_figures.py`.
HASH_LENGTH = 10


@dataclass(frozen=True, eq=False)
class Said:
    """What was said of faces, one row a face and fit.

    Attributes:
        left_out: What had been left out of the fit, object (n,) of str; empty if nothing was.
        face: Which face, object (n,) of str.
        group: What it must not be counted apart from, object (n,) of str; empty for a group of its own.
        folder: Its source, object (n,) of str.
        target: 1 for real, 0 for fake, int64 (n,).
        name: The generator that it was given, or `unknown`, object (n,) of str; whatever its `p_fake`.
        is_outside: Whether it was called outside the domain, bool (n,).
    """

    left_out: np.ndarray
    face: np.ndarray
    group: np.ndarray
    folder: np.ndarray
    target: np.ndarray
    name: np.ndarray
    is_outside: np.ndarray

    def where(self, rows: np.ndarray) -> "Said":
        """Returns some rows, by a bool (n,)."""
        return Said(*(getattr(self, field.name)[rows] for field in fields(Said)))


def write_said(said: Said, path: Path) -> None:
    """Writes the table, whole or not at all; names of files and groups become hashes."""
    columns = {
        "left_out": said.left_out.tolist(),
        "face": [_hash(name) for name in said.face.tolist()],
        "group": [_hash(name) for name in said.group.tolist()],
        "folder": said.folder.tolist(),
        "target": pa.array(said.target, pa.int8()),
        "name": said.name.tolist(),
        "is_outside": said.is_outside,
    }
    with whole_file(path) as draft:
        pq.write_table(pa.table(columns), draft, compression="zstd", compression_level=19)


def read_said(path: Path) -> Said:
    """Reads what `write_said` wrote.

    Raises:
        InputError: It is no such file.
    """
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}.") from error
    names = [field.name for field in fields(Said)]
    if missing := [name for name in names if name not in table.column_names]:
        raise InputError(f"{path} has no column '{missing[0]}'.", f"It needs {', '.join(names)}.")
    columns = {name: np.array(table.column(name).to_pylist(), dtype=object) for name in names}
    columns |= {
        "target": columns["target"].astype(np.int64),
        "is_outside": columns["is_outside"].astype(bool),
    }
    return Said(**columns)


def derive(path: Path) -> dict[str, Any]:
    """Derives every figure from a table.

    Args:
        path: What `write_said` wrote.

    Returns:
        `names`: for each generator, and `all`, the rates `known_right` and `known_unknown` of its test fakes
        where nothing was left out, and `unseen_unknown` where it was, with `unseen_called`, what it was
        called most often beside. `domain`: for each source and for `all` the rates `known_outside` and
        `unseen_outside`. `together`: for each set of sources that was left out at once, `unseen_outside`, and
        `unseen_unknown` of its fakes. Rates are null where no such face was judged.

    Raises:
        InputError: The file is no such file.
    """
    said = read_said(path)
    is_fake, is_known = said.target == FAKE, said.left_out == ""
    is_unseen = said.left_out == said.folder
    is_together = ~is_known & ~is_unseen
    document: dict[str, Any] = {"names": {}, "domain": {}, "together": {}}
    for name in (*sorted(set(said.folder[is_fake].tolist())), "all"):
        own = is_fake & ((said.folder == name) | (name == "all"))
        known, unseen = said.where(own & is_known), said.where(own & is_unseen)
        document["names"][name] = {
            "known_right": _rate(known, known.name == known.folder),
            "known_unknown": _rate(known, known.name == UNKNOWN),
            "unseen_unknown": _rate(unseen, unseen.name == UNKNOWN),
            "unseen_called": _most_common(unseen),
        }
    for target in (FAKE, REAL):
        of_class = said.target == target
        for name in sorted(set(said.folder[of_class].tolist())):
            own = of_class & (said.folder == name)
            known, unseen = said.where(own & is_known), said.where(own & is_unseen)
            document["domain"][name] = {
                "known_outside": _rate(known, known.is_outside),
                "unseen_outside": _rate(unseen, unseen.is_outside),
            }
        label = "all fakes" if target == FAKE else "all reals"
        known, unseen = said.where(of_class & is_known), said.where(of_class & is_unseen)
        document["domain"][label] = {
            "known_outside": _rate(known, known.is_outside),
            "unseen_outside": _rate(unseen, unseen.is_outside),
        }
    for name in sorted(set(said.left_out[is_together].tolist())):
        own = said.where(said.left_out == name)
        fakes, reals = own.where(own.target == FAKE), own.where(own.target == REAL)
        document["together"][name] = {
            "unseen_unknown": _rate(fakes, fakes.name == UNKNOWN),
            "fakes_outside": _rate(fakes, fakes.is_outside),
            "reals_outside": _rate(reals, reals.is_outside),
        }
    return document


def format_figures(document: dict[str, Any]) -> str:
    """Writes the figures as Markdown tables."""
    names = [
        [
            name,
            _count(figures["known_right"]),
            cell(figures["known_right"]),
            cell(figures["known_unknown"]),
            _count(figures["unseen_unknown"]),
            cell(figures["unseen_unknown"]),
            figures["unseen_called"] or "-",
        ]
        for name, figures in document["names"].items()
    ]
    header = ["generator", "n known", "right name", "unknown", "n left out", "unknown", "else mostly"]
    domain = [
        [
            name,
            _count(figures["known_outside"]),
            cell(figures["known_outside"]),
            _count(figures["unseen_outside"]),
            cell(figures["unseen_outside"]),
        ]
        for name, figures in document["domain"].items()
    ]
    domain_header = ["source", "n known", "outside", "n left out", "outside"]
    tables = [markdown_table(header, names), markdown_table(domain_header, domain)]
    if document["together"]:
        rows = [[name, *map(cell, figures.values())] for name, figures in document["together"].items()]
        together_header = ["left out at once", "fakes unknown", "fakes outside", "reals outside"]
        tables.append(markdown_table(together_header, rows))
    return "\n\n".join(tables)


def main() -> None:
    """Prints the figures as JSON or as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("said", type=Path)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    try:
        document = derive(arguments.said)
    except FaceAuthError as error:
        raise SystemExit(harmless(str(error))) from error
    print(format_figures(document) if arguments.markdown else json.dumps(document, indent=2, allow_nan=False))


def _rate(said: Said, is_hit: np.ndarray) -> dict[str, Any] | None:
    if not len(is_hit):
        return None
    rows = Scores(
        destination_path=said.face,
        folder=said.folder,
        split=np.full(len(is_hit), TEST, dtype=object),
        target=said.target,
        p_fake=is_hit.astype(np.float64),
        group=said.group,
    )
    return share_called(rows, is_hit).to_json()


def _most_common(said: Said) -> str | None:
    names, counts = np.unique(said.name[said.name != UNKNOWN].astype(str), return_counts=True)
    return str(names[counts.argmax()]) if len(names) else None


def _count(rate: dict[str, Any] | None) -> str:
    return str(rate["n_real"] + rate["n_fake"]) if rate else "0"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH] if text else ""


if __name__ == "__main__":
    main()

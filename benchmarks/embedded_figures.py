"""Derives the figures of the embedded detector from the scores of detectors that had left a source out.

python benchmarks/embedded_figures.py docs/scores/embedded.parquet --markdown
"""

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from generator_figures import (
    Part,
    find_own_collections,
    measure_false_alarms,
    measure_parts,
    stack_scores,
)
from peer_tables import cell, markdown_table
from scipy.special import expit, logit

from faceauth.console import harmless
from faceauth.decisions.calibration import CERTAINTY
from faceauth.errors import FaceAuthError, InputError
from faceauth.files import whole_file
from faceauth.labels import FAKE, REAL, TEST
from faceauth.scoring.intervals import DEFAULT_DRAWS
from faceauth.scoring.scores import Scores

FACTS = {
    "destination_path": pa.string(),
    "folder": pa.string(),
    "group": pa.string(),
    "target": pa.int8(),
}
# Further columns, `without_<source>`: logits of the detector that had left it out. Half precision keeps a
# thousandth of their size, and scores near 0 and 1 apart.
WITHOUT = "without_"
THRESHOLD = b"threshold"
# In hexadecimal digits: of 20,000 files with ten thousand faces each, one has two with the same 40 bits.
HASH_LENGTH = 10


@dataclass(frozen=True, eq=False)
class LeftOutScores:
    """What detectors said of the sources that they had not seen.

    Attributes:
        left_out: Source that the detector of each score had not seen, a generator or a collection, object
            (n,) of str.
        threshold: That detector's threshold, float64 (n,).
        scores: The scores; of a detector without a generator the scores of its fakes and of reals, of a
            detector without a collection the scores of its reals.
    """

    left_out: np.ndarray
    threshold: np.ndarray
    scores: Scores

    def parts(self) -> tuple[list[Part], list[Part]]:
        """Returns a part for each left-out generator and for each left-out collection.

        Raises:
            InputError: A part has no face of what was left out, fakes of other generators, or several
                thresholds; or a face is in it twice.
        """
        generators, collections = [], []
        for name in sorted(set(self.left_out.tolist())):
            rows = self.left_out == name
            scores, thresholds = self.scores.where(rows), set(self.threshold[rows].tolist())
            is_own = scores.folder == name
            targets = set(scores.target[is_own].tolist())
            if len(targets) != 1:
                raise InputError(
                    f"What was left out as '{name}' is no generator and no collection: it has "
                    f"{'both fakes and reals' if targets else 'no face of that name'}."
                )
            if others := set(scores.folder[(scores.target == FAKE) & ~is_own].tolist()):
                raise InputError(
                    f"The detector without '{name}' also scored fakes of {', '.join(sorted(others))}.",
                    "It has seen these; only what it has not seen is measured.",
                )
            if len(thresholds) > 1:
                raise InputError(f"The detector without '{name}' has {len(thresholds)} thresholds.")
            if len(set(scores.destination_path.tolist())) < len(scores):
                raise InputError(f"The detector without '{name}' scored a face twice.")
            part = Part(name, scores if targets == {FAKE} else scores.where(is_own), thresholds.pop())
            (generators if targets == {FAKE} else collections).append(part)
        return generators, collections


def write_left_out_scores(table: LeftOutScores, path: Path) -> None:
    """Writes scores compactly, whole or not at all: one row a face, one column a detector.

    Names of files and groups become hashes, scores logits in half precision. Figures of what was written can
    differ from those of the scores themselves in the third decimal; the file is what they are quoted from.

    Args:
        table: The scores.
        path: A `.parquet`.

    Raises:
        InputError: The scores cannot be measured, or two faces would have the same hash.
    """
    table.parts()
    scores = table.scores
    paths, first, row_of = np.unique(
        scores.destination_path.astype(str), return_index=True, return_inverse=True
    )
    groups = np.full(len(scores), "", dtype=object) if scores.group is None else scores.group
    hashes = [_hash(text) for text in paths.tolist()]
    if len(set(hashes)) < len(hashes):
        raise InputError(f"Two of {len(hashes):,} faces have one hash of {HASH_LENGTH} digits.")
    fields = [pa.field(name, kind) for name, kind in FACTS.items()]
    columns: list[Any] = [
        hashes,
        scores.folder[first].tolist(),
        [_hash(text) for text in groups[first].tolist()],
        scores.target[first],
    ]
    logits = logit(np.clip(scores.p_fake, CERTAINTY, 1 - CERTAINTY)).astype(np.float16)
    for name in sorted(set(table.left_out.tolist())):
        rows = np.flatnonzero(table.left_out == name)
        column = np.full(len(paths), np.nan, dtype=np.float16)
        column[row_of[rows]] = logits[rows]
        fields.append(
            pa.field(
                f"{WITHOUT}{name}", pa.float16(), metadata={THRESHOLD: repr(float(table.threshold[rows[0]]))}
            )
        )
        columns.append(column)
    # from_pandas: what is no number is missing.
    arrays = [
        pa.array(column, field.type, from_pandas=True) for column, field in zip(columns, fields, strict=True)
    ]
    with whole_file(path) as draft:
        pq.write_table(
            pa.Table.from_arrays(arrays, schema=pa.schema(fields)),
            draft,
            compression="zstd",
            compression_level=19,
            use_dictionary=["folder", "target"],
        )


def read_left_out_scores(path: Path) -> LeftOutScores:
    """Reads what `write_left_out_scores` wrote.

    Raises:
        InputError: It is no such file.
    """
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}.") from error
    detectors = [field for field in table.schema if field.name.startswith(WITHOUT)]
    if missing := [name for name in FACTS if name not in table.column_names]:
        raise InputError(f"{path} has no column '{missing[0]}'.", f"It needs {', '.join(FACTS)}.")
    if not detectors:
        raise InputError(f"{path} has no column whose name begins with '{WITHOUT}'.")
    facts = {name: np.array(table.column(name).to_pylist(), dtype=object) for name in FACTS}
    left_out, thresholds, rows, p_fake = [], [], [], []
    for field in detectors:
        logits = np.array(table.column(field.name).to_pylist(), dtype=np.float64)
        scored = np.flatnonzero(~np.isnan(logits))
        left_out.append(np.full(len(scored), field.name.removeprefix(WITHOUT), dtype=object))
        thresholds.append(np.full(len(scored), _threshold_of(field, path)))
        rows.append(scored)
        p_fake.append(expit(logits[scored]))
    row = np.concatenate(rows)
    target = facts.pop("target")[row].astype(np.int64)
    return LeftOutScores(
        left_out=np.concatenate(left_out),
        threshold=np.concatenate(thresholds),
        scores=Scores(
            **{name: column[row] for name, column in facts.items()},
            split=np.full(len(row), TEST, dtype=object),
            target=target,
            p_fake=np.concatenate(p_fake),
        ),
    )


def derive(
    scores_path: Path,
    *,
    own: Mapping[str, tuple[str, ...]] | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Derives every figure from a file of scores.

    Args:
        scores_path: What `write_left_out_scores` wrote.
        own: Collections that belong to generators, beside those that common groups show.
        draws: Number of resamples.
        seed: The same seed gives the same intervals.

    Returns:
        `n_real`, `n_fake`; the figures of `generator_figures.measure_parts`; `thresholds` of the detectors by
        what they had left out; `false_alarms` of each collection with the detectors that had left out a
        generator, and `false_alarms_left_out` of each with the detector that had left it out.

    Raises:
        InputError: The file is no such file, or what it holds cannot be measured.
    """
    table = read_left_out_scores(scores_path)
    generators, collections = table.parts()
    if not generators:
        raise InputError(f"{scores_path} has no left-out generator.")
    faces = stack_scores([part.scores for part in generators])
    found = find_own_collections(faces) | dict(own or {})
    return {
        "n_real": len(set(faces.destination_path[faces.target == REAL].tolist())),
        "n_fake": len(set(faces.destination_path[faces.target == FAKE].tolist())),
        "thresholds": {part.generator: part.threshold for part in (*generators, *collections)},
        **measure_parts(generators, own=found, draws=draws, seed=seed),
        "false_alarms": measure_false_alarms(generators, draws=draws, seed=seed),
        "false_alarms_left_out": measure_false_alarms(collections, draws=draws, seed=seed),
    }


def format_figures(document: Mapping[str, Any]) -> str:
    """Writes the figures as Markdown tables."""
    rows = [
        [
            name,
            str(figures["auroc"]["n_fake"]),
            cell(figures["auroc"]),
            cell(figures["auroc_own"]),
            cell(figures["tpr_at_fpr_5"]),
            cell(figures["recall_fake"]),
        ]
        for name, figures in document["generators"].items()
    ]
    n_fake = str(document["n_fake"])
    rows.append(["mean", n_fake, cell(document["mean_auroc"]), "", cell(document["mean_tpr_at_fpr_5"]), ""])
    header = ["left out", "n", "AUROC", "against its own reals", "TPR at 5 % FPR", "found at the threshold"]
    known, unseen = document["false_alarms"], document["false_alarms_left_out"]
    alarms = [
        [
            name,
            str((known.get(name) or unseen[name])["n_real"]),
            cell(known.get(name)),
            cell(unseen.get(name)),
        ]
        for name in {**known, **unseen}
    ]
    alarms_header = ["false alarms at the threshold", "n", "collection known", "collection left out"]
    return f"{markdown_table(header, rows)}\n\n{markdown_table(alarms_header, alarms)}"


def main() -> None:
    """Prints the figures as JSON or as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--own", action="append", default=[], metavar="GENERATOR=COLLECTION")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    own = {name: (collection,) for name, _, collection in (text.partition("=") for text in arguments.own)}
    try:
        document = derive(arguments.scores, own=own)
    except FaceAuthError as error:
        raise SystemExit(harmless(str(error))) from error
    print(format_figures(document) if arguments.markdown else json.dumps(document, indent=2, allow_nan=False))


def _threshold_of(field: pa.Field, path: Path) -> float:
    try:
        return float((field.metadata or {})[THRESHOLD])
    except (KeyError, ValueError) as error:
        raise InputError(f"Column '{field.name}' of {path} has no threshold in its metadata.") from error


def _hash(text: str) -> str:
    """Returns a short hash of a name; of no name, none."""
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH] if text else ""


if __name__ == "__main__":
    main()

"""Leaves each source out in turn and asks what attribution and domain say of it.

    python benchmarks/unknown_generators.py --embeddings embeddings.parquet --output unknown.parquet
    python benchmarks/unknown_generators.py --manifest prepared/ --model embedded --output unknown.parquet

Names of generators and the domain are fitted anew without the source, on the train split, with all limits
from val; then they judge what they have not seen: the faces of the source that share no group (person, video,
swap pair) with anything in the fit. Nothing is left out once: that fit judges the test split, whose sources
it knows. A source that is too small to be in the test split is dealt into folds by group, and each fold is
judged by a fit of its own. Every face is judged whatever its `p_fake`, real ones included.

An embedding table of `faceauth embed --split all` is of a detector that has seen every source. With
`--manifest` the detector's frozen trunk reads crops instead, and the embedding too is found anew in each fit
(`faceauth.detectors.discriminant`), from augmented crops as in training, but without forgeries.
"""

import argparse
import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from unknown_figures import Said, derive, format_figures, write_said

from faceauth.clusters.embeddings import Embeddings, read_embeddings
from faceauth.config import load_config
from faceauth.console import configure_logging, progress
from faceauth.decisions.attribution import attribute
from faceauth.decisions.attribution_fit import fit_attribution
from faceauth.decisions.domain import is_outside
from faceauth.decisions.domain_fit import fit_domain
from faceauth.detectors.detector import Detector
from faceauth.detectors.discriminant import find_directions
from faceauth.detectors.embedded import checkpoint_of, open_checkpoint
from faceauth.intake.manifest import Manifest, ManifestRow, read_manifest
from faceauth.labels import FAKE, TEST, TRAIN, VAL
from faceauth.splits.balance import order_key
from faceauth.training.frozen import (
    FIRST_VIEW,
    PLAIN_VIEW,
    Readings,
    ViewOfCrop,
    keep_readings,
    view_folder,
)
from faceauth.training.settings import TrainSettings

log = logging.getLogger("faceauth.unknown_generators")

FOLDS = 3
# Length of the embedding that is found anew, as in `configs/embedded.yaml`.
N_DIRECTIONS = 32


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", type=Path, help="Table of all splits, by faceauth embed --split all.")
    parser.add_argument("--manifest", type=Path, help="Prepared folder; the embedding is found anew.")
    parser.add_argument("--model", type=Path, default=Path("embedded"))
    parser.add_argument("--readings", type=Path, default=Path("readings"), help="Where readings are kept.")
    parser.add_argument(
        "--most", type=int, default=120, help="Faces of a source in train; half in val, test."
    )
    parser.add_argument("--output", type=Path, required=True, help="What was said, as Parquet.")
    parser.add_argument(
        "--together", action="append", default=[], metavar="A+B", help="Sources to leave out at once."
    )
    arguments = parser.parse_args()
    configure_logging(quiet=False)
    if (arguments.embeddings is None) == (arguments.manifest is None):
        parser.error("give --embeddings or --manifest")
    if arguments.embeddings is not None:
        table, n_directions = read_embeddings(arguments.embeddings), None
        is_augmented = np.zeros(len(table), dtype=bool)
    else:
        table, is_augmented = read_crops(
            arguments.manifest, arguments.model, arguments.readings, most=arguments.most
        )
        n_directions = N_DIRECTIONS
    said = judge_all(table, is_augmented, arguments.together, n_directions=n_directions)
    write_said(said, arguments.output)
    print(format_figures(derive(arguments.output)))


def read_crops(
    manifest_path: Path, model: Path, readings: Path, *, most: int
) -> tuple[Embeddings, np.ndarray]:
    """Makes a table whose features are what a frozen trunk reads of crops, at most some of each source.

    Returns:
        Augmented crops of train, crops of val and test as they are, and augmented ones of val; and which are
        those last, bool (n,).
    """
    manifest = read_manifest(manifest_path)
    detector, _ = open_checkpoint(model)
    seen = augmentation_of(model)
    places = view_places(detector, model, readings)
    rows = some_rows(manifest, most=most)
    of = {split: [row for row in rows if row.split == split] for split in (TRAIN, VAL, TEST)}
    keep_readings(detector, of[VAL] + of[TEST], manifest, places[PLAIN_VIEW])
    keep_readings(detector, of[TRAIN] + of[VAL], manifest, places[FIRST_VIEW], alter=seen)
    plain, augmented = (Readings(place) for place in places)
    found = [augmented[row] for row in of[TRAIN]]
    found += [plain[row] for row in of[VAL] + of[TEST]]
    found += [augmented[row] for row in of[VAL]]
    rows = of[TRAIN] + of[VAL] + of[TEST] + of[VAL]
    columns = {
        name: np.array([getattr(row, name) for row in rows], dtype=object)
        for name in ("destination_path", "folder", "split", "group")
    }
    table = Embeddings(
        **columns,
        target=np.array([row.target for row in rows], dtype=np.int8),
        p_fake=np.full(len(rows), np.nan, dtype=np.float32),
        features=np.stack(found).astype(np.float32),
    )
    return table, np.arange(len(rows)) >= len(rows) - len(of[VAL])


def augmentation_of(model: Path) -> ViewOfCrop:
    """Returns what the training of a checkpoint did to its crops, in the first augmented view."""
    settings = load_config(TrainSettings, str(checkpoint_of(model) / "train_config.yaml"))
    return ViewOfCrop(settings.data.augment, seed=settings.seed, view=FIRST_VIEW)


def view_places(detector: Detector, model: Path, readings: Path) -> tuple[Path, Path]:
    """Returns where readings of crops as they are, and of augmented ones, are kept."""
    seen = augmentation_of(model)
    plain, augmented = (
        view_folder(detector, readings, augment=seen.augment, seed=seen.seed, view=view)
        for view in (PLAIN_VIEW, FIRST_VIEW)
    )
    return plain, augmented


def some_rows(manifest: Manifest, *, most: int) -> list[ManifestRow]:
    """Takes at most some rows of each source in train, half as many in val and test, by their hashes."""
    rows: list[ManifestRow] = []
    for split in (TRAIN, VAL, TEST):
        of: dict[str, list[ManifestRow]] = defaultdict(list)
        for row in sorted(manifest.in_split(split), key=_by_chance):
            of[row.folder].append(row)
        rows += [row for name in sorted(of) for row in of[name][: most if split == TRAIN else most // 2]]
    return rows


def judge_all(
    table: Embeddings, is_augmented: np.ndarray, together: list[str], *, n_directions: int | None
) -> Said:
    """Fits once for each thing to leave out and each fold, and judges what that fit has not seen.

    Args:
        table: Faces of all splits.
        is_augmented: Which of them are further versions of faces of val, bool (n,).
        together: Sources to leave out at once, as `a+b`, beside each alone.
        n_directions: Length of an embedding that is found anew from features in each fit; None takes the
            features as they are.
    """
    units = np.where(table.group == "", table.destination_path, table.group)
    small = sorted(set(table.folder.tolist()) - set(table.folder[table.split == TEST].tolist()))
    moved = sorted(set(units[np.isin(table.folder, small)].tolist()), key=lambda name: order_key(name, 0))
    plan = list(_plan(sorted(set(table.folder.tolist())), small, together))
    parts = []
    with progress("fits", len(plan)) as advance:
        for left_out, fold in plan:
            in_test = (table.split == TEST) | np.isin(units, moved[fold::FOLDS])
            is_own = np.isin(table.folder, left_out.split("+"))
            used = ~in_test & ~is_own
            judged = is_own if left_out else in_test
            judged &= ~np.isin(units, np.unique(units[used].astype(str)))
            # Each fold judges its own small sources; large ones are judged once.
            judged &= in_test if fold else True
            judged &= np.isin(table.folder, small) if fold else (in_test | ~np.isin(table.folder, small))
            judged &= ~is_augmented
            if judged.any():
                parts.append(
                    judge(table, used, judged, is_augmented, left_out=left_out, n_directions=n_directions)
                )
            advance(1)
    return Said(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def judge(
    table: Embeddings,
    used: np.ndarray,
    judged: np.ndarray,
    is_augmented: np.ndarray,
    *,
    left_out: str,
    n_directions: int | None,
) -> tuple[np.ndarray, ...]:
    """Fits on the rows that may be used, and returns the columns of `Said` for those to judge."""
    features = table.features
    train, val = used & (table.split == TRAIN), used & (table.split == VAL)
    if n_directions is not None:
        features = _embed(table, train, n_directions=n_directions)
    is_fake = table.target == FAKE
    attribution = fit_attribution(
        features[train & is_fake],
        table.folder[train & is_fake],
        features[val & is_fake & ~is_augmented],
        table.folder[val & is_fake & ~is_augmented],
    )
    sources = np.char.add(np.where(is_fake, "fake/", "real/"), table.folder.astype(str))
    units = np.where(table.group == "", table.destination_path, table.group)
    domain = fit_domain(features[train], sources[train], features[val], sources[val], units[val])
    n = int(judged.sum())
    return (
        np.full(n, left_out, dtype=object),
        table.destination_path[judged],
        table.group[judged],
        table.folder[judged],
        table.target[judged].astype(np.int64),
        np.array([name for name, _ in attribute(features[judged], attribution)], dtype=object),
        is_outside(features[judged], domain),
    )


def _by_chance(row: ManifestRow) -> str:
    return hashlib.sha256(row.destination_path.encode()).hexdigest()


def _plan(names: list[str], small: list[str], together: list[str]) -> Iterator[tuple[str, int]]:
    for left_out in ("", *names, *together):
        is_small = not left_out or any(name in small for name in left_out.split("+"))
        yield from ((left_out, fold) for fold in range(FOLDS if is_small and small else 1))


def _embed(table: Embeddings, train: np.ndarray, *, n_directions: int) -> np.ndarray:
    """Finds the embedding anew on some rows, and returns that of all, (n, n_directions) float32.

    Sources count by the root of their size within their class, and both classes alike, as in
    `configs/embedded.yaml`.
    """
    targets, folders = table.target[train], table.folder[train].astype(str)
    weights = np.zeros(len(targets))
    for target in np.unique(targets):
        of_class = targets == target
        _, source, counts = np.unique(folders[of_class], return_inverse=True, return_counts=True)
        own = counts[source] ** -0.5
        weights[of_class] = own / own.sum()
    found = find_directions(table.features[train], targets, weights, n_directions=n_directions)
    return ((table.features - found.mean) / found.scale) @ found.directions.T


if __name__ == "__main__":
    main()

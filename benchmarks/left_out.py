"""Trains a detector once for each source that is left out, and keeps what it says of that source.

    python benchmarks/left_out.py --config embedded --manifest forged/ --output left-out/

The protocol behind the figures of the embedded detector. For each generator, a detector learns from the
train split without it, and judges the reals of the test split and those fakes of the generator that share no
group (person, video, swap pair) with anything that it learnt from. A source that is too small to be in the
test split is dealt into folds by group, and each fold is tested by a detector of its own. For each collection
of ordinary photographs, one detector learns without it, and without forgeries of it, and judges it.

Forgeries (`forged_...`) are training material: they are never tested. Every tested crop is brought through
one chain first, scaled down to 150 to 220 px and back and encoded as JPEG of quality 60 to 95, so that what
tells sources apart by their files is gone. Epoch, calibration and threshold come from val, without what is
left out. With a frozen trunk all trainings share its readings. Stopped, it goes on where it was.
"""

import argparse
import dataclasses
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from embedded_figures import LeftOutScores, write_left_out_scores
from generator_figures import stack_scores
from scipy.special import expit, logit

from faceauth.config import load_config
from faceauth.console import configure_logging
from faceauth.decisions.calibration import CERTAINTY, apply_calibration
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import p_fake_of_logits
from faceauth.intake.faces.equal import Chain, equalise_crop
from faceauth.intake.manifest import (
    PARQUET_NAME,
    XLSX_NAME,
    Manifest,
    ManifestRow,
    read_manifest,
    write_manifest,
)
from faceauth.labels import FAKE, REAL, TEST, TRAIN, VAL
from faceauth.scoring.score import score_rows
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores, write_scores
from faceauth.splits.balance import order_key
from faceauth.train import train
from faceauth.training.frozen import keep_readings, plain_reading_loader, probe_name, view_folder
from faceauth.training.plans import select_at_most
from faceauth.training.settings import TrainSettings

log = logging.getLogger("faceauth.left_out")

FOLDS = 3
FORGED = "forged_"
# The chain that every tested crop goes through.
ALIKE = partial(equalise_crop, chain=Chain(side_px=(150, 220), jpeg_quality=(60, 95)))
# Where scores are moved so that all detectors have one threshold.
THRESHOLD = 0.5


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="embedded")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--most-tested", type=int, default=300, help="Faces of each source that are tested.")
    parser.add_argument("--never-left-out", nargs="*", default=[], help="Generators that are material alone.")
    parser.add_argument(
        "--collections",
        nargs="*",
        default=["unsplash", "web_portraits", "celebrity_photos"],
        help="Collections of ordinary photographs, left out in turn.",
    )
    arguments = parser.parse_args()
    configure_logging(quiet=False)
    overrides = [*arguments.set, f"data.readings={arguments.output / 'readings'}"]
    settings = load_config(TrainSettings, arguments.config, overrides)
    leave_out(settings, arguments)


def leave_out(settings: TrainSettings, arguments: argparse.Namespace) -> None:
    """Trains, scores and writes `scores.parquet`, from which `embedded_figures.py` derives the figures."""
    manifest = read_manifest(arguments.manifest)
    small = find_small_sources(manifest)
    folds = [make_fold(manifest, fold, small, arguments.output / f"fold{fold}") for fold in range(FOLDS)]
    names = {target: {row.folder for row in folds[0].rows if row.target == target} for target in (FAKE, REAL)}
    tested = {
        name for name in names[FAKE] if not name.startswith(FORGED) and name not in arguments.never_left_out
    }
    trainings = [
        (name, fold) for name in sorted(tested) for fold in (range(FOLDS) if name in small else (0,))
    ]
    trainings += [(name, 0) for name in arguments.collections if name in names[REAL]]
    parts: list[tuple[str, Scores]] = []
    for number, (name, fold) in enumerate(trainings):
        path = arguments.output / "scores" / f"{name}-{fold}.csv"
        if not path.exists():
            manifest_of = (
                folds[fold] if name in tested else without_forgeries_of(name, folds[fold], arguments.output)
            )
            log.info("%d of %d: without %s, fold %d", number + 1, len(trainings), name, fold)
            own = dataclasses.replace(
                settings,
                data=dataclasses.replace(
                    settings.data,
                    manifest=str(manifest_of.root),
                    folders=tuple(sorted((names[FAKE] | names[REAL]) - {name})),
                ),
                output=str(arguments.output / "runs" / f"{name}-{fold}"),
            )
            rows = find_unseen(manifest_of, name, is_generator=name in tested)
            if name in small:
                # Each real is judged once, by the detector of one of the folds.
                rows = [row for row in rows if row.folder in small or _fold_of(row) == fold]
            rows = select_at_most(rows, most=arguments.most_tested, seed=settings.seed)
            write_scores(judge(train(own), rows, manifest_of, own), path)
        parts.append((name, read_scores(path)))
    table = LeftOutScores(
        left_out=np.concatenate([np.full(len(scores), name, dtype=object) for name, scores in parts]),
        threshold=np.full(sum(len(scores) for _, scores in parts), THRESHOLD),
        scores=stack_scores([scores for _, scores in parts]),
    )
    write_left_out_scores(table, arguments.output / "scores.parquet")
    print(arguments.output / "scores.parquet")


def find_small_sources(manifest: Manifest) -> set[str]:
    """Returns the sources that the test split has nothing of."""
    used = {row.folder for split in (TRAIN, VAL, TEST) for row in manifest.in_split(split)}
    return used - {row.folder for row in manifest.in_split(TEST)}


def make_fold(manifest: Manifest, fold: int, small: set[str], folder: Path) -> Manifest:
    """Writes a prepared folder with one fold of the small sources in its test split; its crops are links.

    Args:
        manifest: All that there is.
        fold: Number of the fold.
        small: Sources that the test split has nothing of.
        folder: Where it shall be.
    """
    rows = [row for split in (TRAIN, VAL, TEST) for row in manifest.in_split(split)]
    moved = sorted({_group(row) for row in rows if row.folder in small})
    moved = sorted(moved, key=lambda name: order_key(name, 0))[fold::FOLDS]
    return _linked(
        manifest,
        [dataclasses.replace(row, split=TEST) if _group(row) in moved else row for row in rows],
        folder,
    )


def without_forgeries_of(collection: str, manifest: Manifest, output: Path) -> Manifest:
    """Writes a prepared folder without the forgeries that were made from a collection's reals.

    Who has never seen a collection has not seen forgeries of it, which would make its look one of fakes.
    """
    rows = [row for split in (TRAIN, VAL, TEST) for row in manifest.in_split(split)]
    tied = {_group(row) for row in rows if row.folder == collection}
    kept = [row for row in rows if not (row.folder.startswith(FORGED) and _group(row) in tied)]
    return _linked(manifest, kept, output / f"without-{collection}")


def _linked(manifest: Manifest, rows: list[ManifestRow], folder: Path) -> Manifest:
    if not (folder / PARQUET_NAME).exists():
        folder.mkdir(parents=True, exist_ok=True)
        for entry in manifest.root.iterdir():
            if entry.name not in (PARQUET_NAME, XLSX_NAME) and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry.resolve())
        write_manifest(rows, folder)
    return read_manifest(folder)


def find_unseen(manifest: Manifest, name: str, *, is_generator: bool) -> list[ManifestRow]:
    """Returns what a detector without a source is judged on, none of it from a group that it saw."""
    seen = {_group(row) for split in (TRAIN, VAL) for row in manifest.in_split(split) if row.folder != name}
    reals = [row for row in manifest.in_split(TEST) if row.target == REAL and is_generator]
    own = [
        row
        for split in (TRAIN, VAL, TEST)
        for row in manifest.in_split(split)
        if row.folder == name and _group(row) not in seen
    ]
    return own + reals


def judge(
    checkpoint: Path, rows: Sequence[ManifestRow], manifest: Manifest, settings: TrainSettings
) -> Scores:
    """Scores rows, calibrated, and moved so that the checkpoint's threshold lies at 0.5 for all detectors."""
    detector, card = load_checkpoint(checkpoint)
    if settings.detector.freeze == "trunk":
        folder = Path(settings.data.readings or "")
        plain = view_folder(detector, folder, augment={}, seed=settings.seed, view=0)
        place = plain.with_name(f"equal-{plain.name}")
        keep_readings(detector, rows, manifest, place, alter=ALIKE, workers=settings.data.workers)
        probe = detector.model.get_submodule(probe_name(detector)).eval()
        with torch.inference_mode():
            logits = [probe(batch["readings"]) for batch in plain_reading_loader(rows, place, batch_size=64)]
        columns = {
            name: np.array([getattr(row, name) for row in rows], dtype=object)
            for name in ("destination_path", "folder", "split", "group")
        }
        scores = Scores(
            **columns,
            target=np.array([row.target for row in rows], dtype=np.int64),
            p_fake=p_fake_of_logits(torch.cat(logits)).numpy(),
        )
    else:
        scores, _ = score_rows(detector, rows, manifest, workers=settings.data.workers, alter=ALIKE)
    scores = apply_calibration(scores, card.calibration)
    bounds = (CERTAINTY, 1 - CERTAINTY)
    distance = logit(np.clip(scores.p_fake, *bounds)) - logit(np.clip(card.threshold["value"], *bounds))
    return dataclasses.replace(scores, p_fake=expit(distance))


def _fold_of(row: ManifestRow) -> int:
    return int(order_key(_group(row), 0)[:8], 16) % FOLDS


def _group(row: ManifestRow) -> str:
    return row.group or row.destination_path


if __name__ == "__main__":
    main()

"""Teaches a trained checkpoint the names of the generators that it learnt from.

comes in: a checkpoint folder, and the rows of its training
goes out: the same folder, whose card has an `attribution`
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from faceauth.decisions.attribution_fit import fit_attribution
from faceauth.detectors.checkpoint import CARD_NAME, load_checkpoint
from faceauth.detectors.detector import Detector
from faceauth.files import write_json
from faceauth.forgeries.rows import FOLDER_PREFIX
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.labels import FAKE, TRAIN, VAL
from faceauth.scoring.score import best_device, score_rows
from faceauth.training.frozen import plain_reading_loader, probe_name

# More say little more of where a generator's fakes lie, and each costs a forward pass.
MOST_FAKES = 300


def learn_generators(
    checkpoint: Path,
    rows: dict[str, list[ManifestRow]],
    manifest: Manifest,
    *,
    views: dict[str, Path] | None = None,
    workers: int = 0,
) -> None:
    """Embeds fakes of each known generator, fits the attribution, and adds it to the card.

    Where there are no fakes but forgeries, nobody is named, and the card says why.

    Args:
        checkpoint: A checkpoint folder; its card is replaced.
        rows: Usable rows of `train` and `val`.
        manifest: Where their crops lie.
        views: With a frozen trunk: where its readings of each split are kept.
        workers: Processes that read crops.
    """
    detector, card = load_checkpoint(checkpoint)
    fakes = {split: _some_fakes(rows[split]) for split in (TRAIN, VAL)}
    if all(fakes.values()):
        features, generators = {}, {}
        for split, some in fakes.items():
            generators[split] = [row.folder for row in some]
            if views is not None:
                features[split] = embed_readings(detector, some, views[split])
            else:
                _, features[split] = score_rows(
                    detector, some, manifest, workers=workers, device=best_device()
                )
        entry = fit_attribution(features[TRAIN], generators[TRAIN], features[VAL], generators[VAL])
    else:
        empty = next(split for split, some in fakes.items() if not some)
        entry = {"generators": [], "reason": f"the {empty} split has no fakes but forgeries"}
    write_json(checkpoint / CARD_NAME, asdict(replace(card, attribution=entry)))


@torch.inference_mode()
def embed_readings(detector: Detector, rows: Sequence[ManifestRow], view: Path) -> np.ndarray:
    """Embeds crops from what a frozen trunk read of them.

    Args:
        detector: In evaluation mode, on the CPU.
        rows: Rows whose readings are kept.
        view: Where.

    Returns:
        (n, d) float32: what goes into the last linear layer.
    """
    probe = detector.model.get_submodule(probe_name(detector))
    caught: list[np.ndarray] = []
    head = detector.model.get_submodule(detector.architecture.heads[0])
    hook = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].float().numpy()))
    try:
        for batch in plain_reading_loader(rows, view, batch_size=64):
            probe(batch["readings"])
    finally:
        hook.remove()
    return np.concatenate(caught)


def _some_fakes(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Returns at most `MOST_FAKES` rows of each generator, taken evenly; nobody forges as `forge` does."""
    of: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        if row.target == FAKE and not row.folder.startswith(FOLDER_PREFIX):
            of[row.folder].append(row)
    taken = []
    for name in sorted(of):
        places = np.unique(np.linspace(0, len(of[name]) - 1, min(MOST_FAKES, len(of[name]))).astype(int))
        taken += [of[name][place] for place in places]
    return taken

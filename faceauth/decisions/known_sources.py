"""Teaches a trained checkpoint its sources: the names of its generators, and where its domain ends.

comes in: a checkpoint folder, and the rows of its training
goes out: the same folder, whose card has an `attribution` and a `domain`
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faceauth.decisions.attribution_fit import fit_attribution
from faceauth.decisions.domain_fit import fit_domain
from faceauth.detectors.card import model_card
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import Detector
from faceauth.detectors.devices import best_device
from faceauth.detectors.folder import CARD_NAME
from faceauth.files import whole_file, write_json
from faceauth.forgeries.rows import FOLDER_PREFIX
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.labels import FAKE, TRAIN, VAL
from faceauth.scoring.score import score_rows
from faceauth.training.frozen import (
    FIRST_VIEW,
    ViewOfCrop,
    keep_readings,
    plain_reading_loader,
    probe_name,
)

# More say little more of where a source's faces lie, and each costs a forward pass.
MOST_FACES = 300


def learn_sources(
    checkpoint: Path,
    rows: dict[str, list[ManifestRow]],
    manifest: Manifest,
    *,
    augment: dict[str, float],
    seed: int,
    views: dict[str, Path] | None = None,
    workers: int = 0,
) -> None:
    """Embeds faces of each known source, fits attribution and domain, and adds them to the card.

    Nobody forges as `faceauth forge` does, so forgeries are no source. Where there are no other fakes, nobody
    is named, and the card says why. What training did to its crops is no reason to call a face a stranger:
    the domain knows, and its limit is chosen on, faces as they are and augmented ones.

    Args:
        checkpoint: A checkpoint folder; its card and model card are replaced.
        rows: Usable rows of `train` and `val`.
        manifest: Where their crops lie.
        augment: Degradations of the training with their chances.
        seed: Of the degradations.
        views: With a frozen trunk: where its readings of each split are kept, those of the first augmented
            view for `train`.
        workers: Processes that read crops.
    """
    detector, card = load_checkpoint(checkpoint)
    faces = {split: some_of_each_source(rows[split]) for split in (TRAIN, VAL)}
    augmented = ViewOfCrop(augment, seed=seed, view=FIRST_VIEW) if augment else None

    def embed(split: str, view: Path | None, alter: ViewOfCrop | None) -> np.ndarray:
        if view is None:
            device = best_device()
            return score_rows(detector, faces[split], manifest, workers=workers, device=device, alter=alter)[
                1
            ]
        keep_readings(detector, faces[split], manifest, view, alter=alter, workers=workers)
        return embed_readings(detector, faces[split], view)

    if views is None:
        features = {split: embed(split, None, None) for split in (TRAIN, VAL)}
        further = {split: embed(split, None, augmented) for split in (TRAIN, VAL)} if augmented else {}
    else:
        features = {TRAIN: embed(TRAIN, views[TRAIN], augmented), VAL: embed(VAL, views[VAL], None)}
        further = {VAL: embed(VAL, views[TRAIN], augmented)} if augmented else {}
    card = replace(
        card, attribution=_fit_names(faces, features), domain=fit_domain_of_rows(faces, features, further)
    )
    write_json(checkpoint / CARD_NAME, asdict(card))
    with whole_file(checkpoint / "README.md") as draft:
        draft.write_text(model_card(card), "utf-8")


def fit_domain_of_rows(
    faces: dict[str, list[ManifestRow]], *versions: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Fits the domain to embeddings of faces.

    Args:
        faces: Rows of `train` and `val`, of both classes.
        versions: Embeddings of them, float (n, d) for each split that there are any of: of the crops as they
            are, of augmented ones. Versions of a face are no further evidence.

    Returns:
        The `domain` of a card.
    """
    tables: dict[str, list[np.ndarray]] = {TRAIN: [], VAL: []}
    rows: dict[str, list[ManifestRow]] = {TRAIN: [], VAL: []}
    for features in versions:
        for split, table in features.items():
            tables[split].append(table)
            rows[split] += faces[split]
    sources = {split: [f"{row.target_class}/{row.folder}" for row in some] for split, some in rows.items()}
    groups = [row.group or row.destination_path for row in rows[VAL]]
    train, val = (np.concatenate(tables[split]) for split in (TRAIN, VAL))
    return fit_domain(train, sources[TRAIN], val, sources[VAL], groups)


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


def some_of_each_source(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Returns at most `MOST_FACES` rows of each source but forgeries, taken evenly, fakes first."""
    of: dict[tuple[int, str], list[ManifestRow]] = defaultdict(list)
    for row in rows:
        if not row.folder.startswith(FOLDER_PREFIX):
            of[row.target, row.folder].append(row)
    taken = []
    for source in sorted(of):
        n = len(of[source])
        places = np.unique(np.linspace(0, n - 1, min(MOST_FACES, n)).astype(int))
        taken += [of[source][place] for place in places]
    return taken


def _fit_names(faces: dict[str, list[ManifestRow]], features: dict[str, np.ndarray]) -> dict[str, Any]:
    is_fake = {split: np.array([row.target == FAKE for row in some]) for split, some in faces.items()}
    if empty := [split for split in (TRAIN, VAL) if not is_fake[split].any()]:
        return {"generators": [], "reason": f"the {empty[0]} split has no fakes but forgeries"}
    names = {split: np.array([row.folder for row in some], dtype=object) for split, some in faces.items()}
    fakes = ((features[split][is_fake[split]], names[split][is_fake[split]]) for split in (TRAIN, VAL))
    return fit_attribution(*(table for of_split in fakes for table in of_split))

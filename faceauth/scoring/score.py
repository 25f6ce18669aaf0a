"""Runs a detector over a manifest's crops: scores and embeddings in one pass."""

from collections.abc import Callable, Sequence

import numpy as np

from faceauth.detectors.detector import Detector, scores_and_features
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.scoring.scores import Scores
from faceauth.training.batches import batches_of, plain_loader


def score_rows(
    detector: Detector,
    rows: Sequence[ManifestRow],
    manifest: Manifest,
    *,
    batch_size: int = 32,
    workers: int = 2,
    device: str = "cpu",
    advance: Callable[[int], None] | None = None,
    alter: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[Scores, np.ndarray]:
    """Scores crops, and keeps the embedding that each score was made from.

    Args:
        detector: The detector; it is put into evaluation mode and moved to the device.
        rows: Usable rows, n of them.
        manifest: Where their crops lie.
        batch_size: Crops a step.
        workers: Processes that read crops beside the network.
        device: A torch device.
        advance: Called with the number of crops after each batch.
        alter: Turns each crop, (height, width, 3) uint8, into one of the same shape; None for nothing.

    Returns:
        The scores of the n rows in their order, and their embeddings, (n, d) float32.

    Raises:
        InputError: A crop cannot be read.
    """
    detector.model.to(device).eval()  # type: ignore[arg-type]
    p_fake, features = [], []
    loader = plain_loader(rows, manifest, batch_size=batch_size, workers=workers, alter=alter)
    for batch in batches_of(loader):
        pixel_values = detector.pixel_values(batch["images_rgb_uint8"].to(device))
        p_fake_of_batch, embedding = scores_and_features(detector, pixel_values)
        p_fake.append(p_fake_of_batch.double().cpu().numpy())
        features.append(embedding.cpu().numpy())
        if advance:
            advance(len(embedding))
    columns = {
        name: np.array([getattr(row, name) for row in rows], dtype=object)
        for name in ("destination_path", "folder", "split", "group")
    }
    if any(row.frame is not None for row in rows):
        videos = [row.video_path for row in rows]
        columns["video"] = np.array(videos, dtype=object)
    targets = np.array([row.target for row in rows], dtype=np.int64)
    # A float32 softmax can exceed 1 by a rounding error.
    scores = Scores(**columns, target=targets, p_fake=np.clip(np.concatenate(p_fake), 0.0, 1.0))
    return scores, np.concatenate(features)

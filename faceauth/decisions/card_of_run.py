"""The card of a training: what is decided on val, and what the detector learnt from."""

from collections import Counter

import numpy as np

from faceauth.decisions.calibration import fit_calibration
from faceauth.decisions.conformal import choose_unsure_band
from faceauth.decisions.thresholds import choose_threshold, list_thresholds
from faceauth.detectors.card import Card
from faceauth.detectors.detector import Detector
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.intake.pipeline.collect import collected_with
from faceauth.labels import FAKE, REAL, TRAIN, VAL
from faceauth.scoring.intervals import measure_rates
from faceauth.training.settings import TrainSettings
from faceauth.versions import installed_versions


def make_card(
    settings: TrainSettings,
    detector: Detector,
    manifest: Manifest,
    rows: dict[str, list[ManifestRow]],
    targets: np.ndarray,
    p_fake: np.ndarray,
    *,
    epoch: int,
) -> Card:
    """Decides calibration, threshold and unsure band on val, and writes down what they were decided on.

    Args:
        settings: Of the run.
        detector: The network as it is now.
        manifest: What is learnt from.
        rows: Its usable rows of `train` and `val`.
        targets: (n,) of the rows of val, 1 for real.
        p_fake: (n,) what the detector says of them, not calibrated.
        epoch: Number of the epoch.
    """
    groups = np.array([row.group for row in rows[VAL]], dtype=object)
    calibration = fit_calibration(targets, p_fake, method=settings.calibration, chosen_on=VAL)
    p_fake = calibration.apply(p_fake)
    threshold = choose_threshold(
        targets, p_fake, rule=settings.threshold_rule, chosen_on=VAL, groups=groups, seed=settings.seed
    )
    unsure = choose_unsure_band(
        targets,
        p_fake,
        coverage=settings.unsure_coverage,
        threshold=threshold.value,
        chosen_on=VAL,
        groups=groups,
    )
    rates = measure_rates(
        targets,
        p_fake,
        threshold=threshold.value,
        groups=groups,
        metrics=("auroc", "balanced_accuracy"),
        seed=settings.seed,
    )
    collected = collected_with(manifest.root)
    return Card(
        detector=detector.name,
        origin=detector.origin,
        crop=collected.crop,
        face_detector=collected.face_detector,
        threshold=threshold.to_json(),
        manifest_sha256=manifest.sha256,
        generators=sorted({row.folder for row in rows[TRAIN] if row.target == FAKE}),
        collections=sorted({row.folder for row in rows[TRAIN] if row.target == REAL}),
        n_train=dict(Counter(row.target_class for row in rows[TRAIN])),
        metrics={name: rate.to_json() for name, rate in rates.items()},
        epoch=epoch,
        versions=installed_versions(),
        thresholds=list_thresholds(targets, p_fake, chosen_on=VAL, groups=groups, seed=settings.seed),
        calibration=calibration.to_json(),
        unsure=unsure.to_json(),
    )

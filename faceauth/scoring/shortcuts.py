"""Shortcuts: what can be told about the class without looking at a single pixel.

A classifier sees only the facts of the files: format, size, bytes, JPEG quality, and where the face lies.
If it tells real from fake, a detector trained on these images may have learned no more than that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from faceauth.intake.manifest import ManifestRow
from faceauth.labels import FAKE
from faceauth.scoring.intervals import Rate, measure_rates

FOLDS = 5
FEATURES = (
    "format",
    "width_px",
    "height_px",
    "aspect_ratio",
    "bytes_per_pixel",
    "jpeg_quality",
    "face_center_x",
    "face_center_y",
    "face_size",
)


@dataclass(frozen=True)
class Shortcuts:
    """How far metadata alone goes.

    Attributes:
        overall: AUROC of the metadata-only classifier over all rows.
        by_folder: The same for each generator against all reals.
        features: What it leaned on, the strongest first, as (name, loss of AUROC when shuffled).
    """

    overall: Rate
    by_folder: dict[str, Rate]
    features: list[tuple[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Returns the part `shortcuts` of `audit.json`."""
        return {
            "overall": self.overall.to_json(),
            "by_folder": {folder: rate.to_json() for folder, rate in self.by_folder.items()},
            "features": [{"name": name, "importance": importance} for name, importance in self.features],
        }


def measure_shortcuts(rows: Sequence[ManifestRow], *, seed: int = 0) -> Shortcuts:
    """Trains and tests the metadata-only classifier, cross-validated by group.

    Args:
        rows: Usable rows of any split.
        seed: Of the folds and the bootstrap.

    Returns:
        AUROC with intervals; undefined, with the reason, where there are too few groups of a class.
    """
    targets = np.array([row.target for row in rows], dtype=np.int64)
    folders = np.array([row.folder for row in rows], dtype=object)
    groups = np.array([row.group or row.sha256 or row.image_path for row in rows], dtype=object)
    n_real, n_fake = int((targets != FAKE).sum()), int((targets == FAKE).sum())
    n_groups = min((len(set(groups[targets == target])) for target in (0, 1)), default=0)
    if n_groups < FOLDS:
        reason = f"metadata can be tested only with {FOLDS} groups of each class; there are {n_groups}"
        return Shortcuts(Rate(None, None, n_real, n_fake, reason), {}, [])
    values = _table(rows)
    # The trees are so small that threads would spend their time waiting for one another.
    with threadpool_limits(1):
        p_fake, losses = _cross_validate(values, targets == FAKE, groups, seed=seed)

    def auroc(keep: np.ndarray) -> Rate:
        return measure_rates(targets[keep], p_fake[keep], groups=groups[keep], metrics=("auroc",), seed=seed)[
            "auroc"
        ]

    is_real = targets != FAKE
    order = np.argsort(-losses)
    return Shortcuts(
        overall=auroc(np.ones(len(rows), dtype=bool)),
        by_folder={name: auroc(is_real | (folders == name)) for name in sorted(set(folders[~is_real]))},
        features=[(FEATURES[i], round(float(losses[i]), 4)) for i in order],
    )


def _cross_validate(
    values: np.ndarray, is_fake: np.ndarray, groups: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    p_fake = np.zeros(len(values))
    losses = np.zeros(len(FEATURES))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(values, is_fake, groups):
        # A column that nobody filled in says nothing, and the trees cannot bin it.
        said = ~np.isnan(values[train]).all(axis=0)
        fold_values = np.where(said, values, 0.0)
        # Small trees and a large minimum of rows: with nothing to find, the score should be 0.5.
        classifier = HistGradientBoostingClassifier(
            max_iter=60,
            max_depth=3,
            learning_rate=0.1,
            min_samples_leaf=20,
            categorical_features=[0],
            random_state=seed,
        )
        classifier.fit(fold_values[train], is_fake[train])
        p_fake[test] = classifier.predict_proba(fold_values[test])[:, 1]
        if is_fake[test].all() or not is_fake[test].any():
            continue  # no AUROC in this fold, so nothing to lose by shuffling
        shuffled = permutation_importance(
            classifier, fold_values[test], is_fake[test], scoring="roc_auc", n_repeats=2, random_state=seed
        )
        losses += shuffled.importances_mean / FOLDS
    return p_fake, losses


def _table(rows: Sequence[ManifestRow]) -> np.ndarray:
    formats = {name: i for i, name in enumerate(sorted({row.format for row in rows}))}
    return np.array([_features(row, formats) for row in rows], dtype=np.float64)


def _features(row: ManifestRow, formats: dict[str, int]) -> list[float]:
    if not row.width or not row.height:
        return [formats[row.format], *([np.nan] * (len(FEATURES) - 1))]
    x1, y1, x2, y2 = row.box or (np.nan,) * 4
    return [
        formats[row.format],
        row.width,
        row.height,
        row.width / row.height,
        np.nan if row.n_bytes is None else row.n_bytes / (row.width * row.height),
        np.nan if row.jpeg_quality is None else row.jpeg_quality,
        (x1 + x2) / 2 / row.width,
        (y1 + y2) / 2 / row.height,
        max(x2 - x1, y2 - y1) / min(row.width, row.height),
    ]

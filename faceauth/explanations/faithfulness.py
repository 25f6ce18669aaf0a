"""How far a heat map tells what the detector goes by: deletion and insertion curves, beside a random map's.

Petsiuk et al., "RISE: randomized input sampling for explanation of black-box models", arXiv 1806.07421. The
hottest parts of a face are replaced first (deletion), or brought back first into a face of which all was
replaced (insertion). If the map is right, `p_fake` soon falls, or soon rises.
"""

from dataclasses import dataclass

import numpy as np
import torch

from faceauth.detectors.detector import Detector
from faceauth.explanations.heatmap import Heat
from faceauth.explanations.subject import Subject, log_odds_of, pixel_values_of, private_copy

STEPS = 5


@dataclass(frozen=True)
class Faithfulness:
    """What became of n faces while they were taken apart and put together; p_fake is not calibrated here.

    Attributes:
        deletion: (n,) float32: mean height of the curve of `p_fake` while the hottest parts go first, in
            [0, 1]; the lower, the better.
        insertion: (n,) float32: the same while the hottest parts come first; the higher, the better.
        deletion_random: (n,) float32: the deletion by a random map of as many places.
        insertion_random: (n,) float32: the insertion by it.
        p_fake_whole: (n,) float32: of the faces as they are, where deletions begin.
        p_fake_replaced: (n,) float32: of what was put in their place, where deletions end. If it is no lower
            than `p_fake_whole`, nothing was found to put in the face's place that takes the traces away, and
            the curves say little.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    deletion_random: np.ndarray
    insertion_random: np.ndarray
    p_fake_whole: np.ndarray
    p_fake_replaced: np.ndarray


def measure_faithfulness(
    detector: Detector, crops_rgb_uint8: np.ndarray, heat: Heat, *, steps: int = STEPS, seed: int = 0
) -> Faithfulness:
    """Draws deletion and insertion curves of heat maps, and of random ones of the same coarseness.

    Args:
        detector: The detector, on any device; it is left as it is.
        crops_rgb_uint8: (n, height, width, 3) uint8.
        heat: What `explain` made of them.
        steps: Into how many equal parts each face is taken; a face costs about 4 times as many passes.
        seed: Of the random maps; all faces have the same.
    """
    own = private_copy(detector)
    rng = np.random.default_rng(seed)
    size = (crops_rgb_uint8.shape[1], crops_rgb_uint8.shape[2])
    # Pixels of even heat come in the random map's order.
    chance = _smooth(rng.random(heat.raw.shape[1:]), size)
    measured = [
        _measure_one(Subject(own, crop[None]), map_, chance, steps)
        for crop, map_ in zip(crops_rgb_uint8, heat.heat, strict=True)
    ]
    return Faithfulness(*np.asarray(measured, np.float32).reshape(-1, 6).T)


def _measure_one(subject: Subject, heat: np.ndarray, chance: np.ndarray, steps: int) -> list[float]:
    whole, replaced = subject.crops_rgb_uint8[0], subject.stand_ins_rgb_uint8[0]
    taken = []
    for keys in ((chance, heat), (chance,)):
        # From the coldest to the hottest; the last key counts first.
        order = np.lexsort([key.ravel() for key in keys])
        rank = np.empty(order.size)
        rank[order] = np.arange(order.size)
        hottest_first = 1 - (rank.reshape(heat.shape) + 0.5) / order.size
        taken += [(hottest_first < step / steps)[:, :, None] for step in range(1, steps)]
    pictures = [np.where(part, replaced, whole) for part in taken]
    pictures += [np.where(part, whole, replaced) for part in taken]
    passed = pixel_values_of(subject.detector, np.stack([whole, replaced, *pictures]))
    p_fake = log_odds_of(subject.detector, passed).sigmoid().numpy()
    begin, end, curves = p_fake[0], p_fake[1], p_fake[2:].reshape(2, 2, steps - 1)
    deletion, deletion_random = ((curve.sum() + (begin + end) / 2) / steps for curve in curves[0])
    insertion, insertion_random = ((curve.sum() + (begin + end) / 2) / steps for curve in curves[1])
    return [deletion, insertion, deletion_random, insertion_random, begin, end]


def _smooth(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Spreads (rows, columns) over a crop as heat maps are spread."""
    spread = torch.nn.functional.interpolate(
        torch.from_numpy(places)[None, None], size=size, mode="bilinear", align_corners=False
    )
    return spread[0, 0].numpy()

"""Tiny networks that have learnt a local trace: a small checkerboard in one half of a drawn face."""

import functools

import numpy as np
import torch
from pictures import draw

from faceauth.detectors.detector import Detector, build_detector
from faceauth.explanations.subject import log_odds_with_gradients

SIDE_PX = 64
PATCH_PX = 20
_TRANSFORMER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "patch_size": 8,
}
# Options, size of the input, steps of training.
NETWORKS = {
    "vit": (_TRANSFORMER, 64, 100),
    "deit": (_TRANSFORMER, 64, 220),
    "clip_layers": (
        {
            "layers": [1, 2],
            "head_size": 8,
            "vision_config": {
                name: _TRANSFORMER[name] for name in _TRANSFORMER if name != "num_hidden_layers"
            },
        },
        64,
        100,
    ),
    "densenet": ({"growth_rate": 8, "block_config": [2, 2]}, 64, 60),
}


def planted_crops(n: int, *, seed: int, is_fake: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Draws faces with, or without, a patch of checkerboard in one half.

    Returns:
        Crops (n, 64, 64, 3) uint8, and where each patch lies, (n, 64, 64) of bool.
    """
    rng = np.random.default_rng(seed)
    crops = np.stack([draw(int(rng.integers(2**31)), side=SIDE_PX) for _ in range(n)])
    places = np.zeros((n, SIDE_PX, SIDE_PX), dtype=bool)
    for place, number in zip(places, range(n), strict=True):
        half = number % 2 * SIDE_PX // 2
        x = half + int(rng.integers(0, SIDE_PX // 2 - PATCH_PX + 1))
        y = int(rng.integers(0, SIDE_PX - PATCH_PX + 1))
        place[y : y + PATCH_PX, x : x + PATCH_PX] = True
    if is_fake:
        board = (np.indices((SIDE_PX, SIDE_PX)) // 2).sum(axis=0) % 2 * 60 - 30
        crops = np.clip(crops + (board * places)[..., None], 0, 255).astype(np.uint8)
    return crops, places


@functools.cache
def planted_detector(name: str) -> Detector:
    """Trains a tiny network of an architecture to see such patches; seconds, once a process."""
    options, size, steps = NETWORKS[name]
    torch.manual_seed(0)
    detector = build_detector(name, weights="random", image_size=size, options=options)
    detector.model.train()
    optimizer = torch.optim.AdamW(detector.model.parameters(), lr=3e-3)
    fake, _ = planted_crops(192, seed=0)
    real, _ = planted_crops(192, seed=1, is_fake=False)
    seen = detector.pixel_values(torch.from_numpy(np.concatenate([fake, real])).permute(0, 3, 1, 2))
    # Not quite 1 and 0: a network that is as sure as can be does not change its mind for any one part.
    target = torch.tensor([0.95] * len(fake) + [0.05] * len(real))
    for _ in range(steps):
        drawn = torch.randperm(len(seen))[:32]
        found = log_odds_with_gradients(detector.model, seen[drawn])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(found, target[drawn])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    detector.model.eval()
    if name == "clip_layers":
        _recentre(detector, seen)
    return detector


@torch.no_grad()
def _recentre(detector: Detector, seen: torch.Tensor) -> None:
    """Has the head count from the mean of the training, as it does with a frozen tower; verdicts stay."""
    head, usual = detector.model.head, detector.model.read(seen).mean(dim=0)
    head.narrow.bias += head.narrow.weight @ ((usual - head.mean) / head.scale)
    head.mean.copy_(usual)

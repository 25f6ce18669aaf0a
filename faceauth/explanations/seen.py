"""Which part of a crop a network sees, and how a map over that part lies on the crop.

Most processors scale the whole crop to the network's input. Some scale it larger and cut the middle out, as
that of DeiT on the hub does; a map taken for one of the whole crop would then lie off its place.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from faceauth.detectors.detector import Detector
from faceauth.explanations.subject import pixel_values_of


@dataclass(frozen=True)
class SeenPart:
    """The part of a crop that becomes the network's input, in pixels of the crop, to a fraction of one.

    Attributes:
        left: Its left edge.
        top: Its upper edge.
        right: Its right edge.
        bottom: Its lower edge.
    """

    left: float
    top: float
    right: float
    bottom: float


def find_seen_part(detector: Detector, height: int, width: int) -> SeenPart:
    """Finds out what becomes of the edges of a crop, whatever its processor does.

    Ramps that grow from left to right and from top to bottom are prepared like crops. Where on the ramp a
    pixel of the network's input came from is then its value.

    Args:
        detector: The detector.
        height: Height of its crops in pixels.
        width: Width of its crops in pixels.
    """
    across = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    down = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    planes = np.stack([np.zeros((height, width)), np.full((height, width), 255), across, down])
    probes = np.repeat(planes.round().astype(np.uint8)[..., None], 3, axis=3)
    black, white, *ramps = pixel_values_of(detector, probes).mean(dim=1).cpu().double()
    from_left, from_top = ((ramp - black) / (white - black) for ramp in ramps)
    left, right = _edges(from_left.mean(dim=0), width)
    top, bottom = _edges(from_top.mean(dim=1), height)
    return SeenPart(left, top, right, bottom)


def spread_over_crop(maps: Tensor, seen: SeenPart, size: tuple[int, int]) -> Tensor:
    """Lays coarse maps over the crops that they belong to.

    Args:
        maps: (n, rows, columns) float32, over the seen part.
        seen: That part.
        size: Height and width of the crops in pixels.

    Returns:
        (n, height, width) float32, 0 where the network sees nothing.
    """
    down = (torch.arange(size[0]) + 0.5 - seen.top) / (seen.bottom - seen.top) * 2 - 1
    across = (torch.arange(size[1]) + 0.5 - seen.left) / (seen.right - seen.left) * 2 - 1
    places = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    spread = functional.grid_sample(
        maps[:, None],
        places.expand(len(maps), -1, -1, -1).to(maps.dtype),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return spread[:, 0] * (places.abs() <= 1).all(dim=-1)


def _edges(values: Tensor, n_pixels: int) -> tuple[float, float]:
    """Fits places on a ramp, (inputs,) in [0, 1], and returns where on the crop the input begins and ends."""
    places = values * (n_pixels - 1) + 0.5
    # At the borders of a crop filters see half of their neighbours.
    inner = slice(len(places) // 4, max(len(places) * 3 // 4, len(places) // 4 + 2))
    at = torch.arange(len(places), dtype=torch.float64)[inner]
    slope, start = np.polyfit(at.numpy(), places[inner].numpy(), 1)
    return float(start - slope / 2), float(start + slope * (len(places) - 0.5))

"""Occlusion: what the detector says when a part of the face is hidden. Slow, and true for any network."""

import torch
from torch import Tensor

from faceauth.explanations.heatmap import HEATMAPS, HeatMethod
from faceauth.explanations.subject import Subject, log_odds_of, pixel_values_of

# Windows along a side. Each hides what is nearest to its centre, and fades into its neighbours.
WINDOWS = 8


@HEATMAPS.register("occlusion")
def occlusion() -> HeatMethod:
    """By how much less a face speaks for fake with a soft window of it replaced, window by window."""
    return HeatMethod(
        summary="What is lost when a part of the face is hidden; for any network, 64 passes a face",
        source="Zeiler and Fergus, Visualizing and understanding convolutional networks, arXiv 1311.2901",
        unit="log-odds",
        fits=lambda model: True,
        find=_find,
    )


def _find(subject: Subject) -> Tensor:
    seen = subject.pixel_values
    stand_ins = pixel_values_of(subject.detector, subject.stand_ins_rgb_uint8)
    hidden = _windows(seen.shape[-2], seen.shape[-1]).to(seen)
    maps = []
    for crop, stand_in, whole in zip(seen, stand_ins, subject.log_odds, strict=True):
        # One face at a time: what is kept in memory does not grow with their number.
        without = log_odds_of(subject.detector, crop + hidden[:, None] * (stand_in - crop))
        maps.append((whole - without).view(WINDOWS, WINDOWS))
    return torch.stack(maps)


def _windows(height: int, width: int) -> Tensor:
    """Returns how much each window hides of each pixel, (windows, height, width) in [0, 1], row by row."""
    down, across = _along(height), _along(width)
    return (down[:, None, :, None] * across[None, :, None, :]).flatten(0, 1)


def _along(side: int) -> Tensor:
    centres = (torch.arange(WINDOWS) + 0.5) / WINDOWS
    places = (torch.arange(side) + 0.5) / side
    # Whole up to half a window from the centre, gone after one and a half: hard edges would be traces.
    return (1.5 - (places - centres[:, None]).abs() * WINDOWS).clamp(0, 1)

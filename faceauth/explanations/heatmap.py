"""Heat maps: the registry of their kinds, and the one function that makes them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from faceauth.detectors.detector import Detector
from faceauth.errors import InputError, UsageError
from faceauth.explanations.seen import SeenPart, find_seen_part, spread_over_crop
from faceauth.explanations.subject import Subject, private_copy
from faceauth.registry import Registry

# Crops whose gradients, or stand-ins, are kept in memory at once.
CHUNK_CROPS = 8


@dataclass(frozen=True)
class HeatMethod:
    """A way to make heat maps.

    Attributes:
        summary: What it does, one line.
        source: Where it is described: title and arXiv id.
        unit: What the numbers of `Heat.raw` mean.
        fits: Tells whether it can be used with a network.
        find: Makes the maps, (n, rows, columns) float32 on any device, over what the network sees of n crops;
            what speaks for fake is positive.
        check: Raises MissingExtraError if an optional package is needed and not installed.
    """

    summary: str
    source: str
    unit: str
    fits: Callable[[nn.Module], bool]
    find: Callable[[Subject], Tensor]
    check: Callable[[], None] = lambda: None


HEATMAPS: Registry[Callable[[], HeatMethod]] = Registry("heat map", package="faceauth.explanations.maps")
# The first that fits is the default.
PREFERRED = ("attention", "grad_cam", "occlusion")


@dataclass(frozen=True)
class Heat:
    """Heat maps of some crops, and the evidence that they share out.

    Attributes:
        method: Name of the kind of heat map.
        heat: (n, height, width) float32 in [0, 1], over the crops. 0: says nothing, or speaks for real; the
            hottest spot of each crop is as hot as the crop's `p_fake`. So two faces can be compared, and a
            face in which next to nothing speaks for fake is next to nowhere hot.
        raw: (n, rows, columns) float32: what the method found over what the network sees, negative where
            something speaks for real; in the unit of the method.
        log_odds: (n,) float32: the whole evidence, ln(p_fake / p_real) of the network, not calibrated.
        p_fake: (n,) float32 in [0, 1]: what the hottest spots were scaled to.
    """

    method: str
    heat: np.ndarray
    raw: np.ndarray
    log_odds: np.ndarray
    p_fake: np.ndarray


def explain(
    detector: Detector,
    crops_rgb_uint8: np.ndarray,
    *,
    method: str | None = None,
    p_fake: np.ndarray | None = None,
) -> Heat:
    """Finds out where in crops a detector sees what speaks for fake.

    Threads may share a detector; it is left as it is.

    Args:
        detector: On any device.
        crops_rgb_uint8: (n, height, width, 3) uint8, cut as for the detector's training.
        method: Name of the kind of heat map; None takes the one made for the network.
        p_fake: (n,) calibrated scores in [0, 1] for the scale of the maps; None takes the network's own.

    Returns:
        The heat maps. A crop's map does not depend on the other crops.

    Raises:
        InputError: The crops have another shape or type.
        MissingExtraError: The method needs a package that is not installed.
        UnknownNameError: There is no such method.
        UsageError: The method is not for this kind of network.
    """
    _check_crops(crops_rgb_uint8)
    own = private_copy(detector)
    name = method or default_method(own.model)
    kind = check_method(own.model, name)
    n, height, width, _ = crops_rgb_uint8.shape
    if not n:
        empty = np.zeros(0, np.float32)
        return Heat(
            name, np.zeros((0, height, width), np.float32), np.zeros((0, 1, 1), np.float32), empty, empty
        )
    seen = find_seen_part(own, height, width)
    raw, log_odds = [], []
    for start in range(0, n, CHUNK_CROPS):
        subject = Subject(own, crops_rgb_uint8[start : start + CHUNK_CROPS])
        raw.append(kind.find(subject).detach().float().cpu())
        log_odds.append(subject.log_odds)
    evidence = torch.cat(log_odds)
    scale = evidence.sigmoid() if p_fake is None else torch.from_numpy(np.asarray(p_fake, np.float32))
    found = torch.cat(raw)
    heat = _scaled(found, seen, (height, width), scale)
    return Heat(name, heat.numpy(), found.numpy(), evidence.numpy(), scale.numpy())


def default_method(model: nn.Module) -> str:
    """Returns the name of the kind of heat map that is made for a network."""
    return next(name for name in PREFERRED if HEATMAPS.get(name)().fits(model))


def check_method(model: nn.Module, name: str) -> HeatMethod:
    """Makes sure that a kind of heat map can be made of a network.

    Returns:
        The method.

    Raises:
        MissingExtraError: The method needs a package that is not installed.
        UnknownNameError: There is no such method.
        UsageError: The method is not for this kind of network.
    """
    kind = HEATMAPS.get(name)()
    if not kind.fits(model):
        fitting = [other for other in HEATMAPS.names() if HEATMAPS.get(other)().fits(model)]
        raise UsageError(
            f"Heat maps by '{name}' cannot be made of a {type(model).__name__}.",
            f"For this network there are: {', '.join(fitting)}.",
        )
    kind.check()
    return kind


def _scaled(raw: Tensor, seen: SeenPart, size: tuple[int, int], p_fake: Tensor) -> Tensor:
    spread = spread_over_crop(raw.clamp(min=0), seen, size)
    hottest = spread.amax(dim=(1, 2), keepdim=True)
    # Where nothing at all speaks for fake, the map is cold and not undefined.
    share = torch.where(hottest > 0, spread / hottest.clamp(min=torch.finfo(torch.float32).tiny), 0.0)
    return share * p_fake[:, None, None]


def _check_crops(crops_rgb_uint8: np.ndarray) -> None:
    shape, kind = np.shape(crops_rgb_uint8), getattr(crops_rgb_uint8, "dtype", None)
    if len(shape) != 4 or shape[3] != 3 or kind != np.uint8:
        raise InputError(
            f"Crops of shape {shape} and type {kind} cannot be explained.",
            "Give RGB pixels as (n, height, width, 3) uint8.",
        )

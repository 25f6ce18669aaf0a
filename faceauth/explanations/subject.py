"""What a heat map is made of: some crops, and a network that nobody else has hooks on."""

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from faceauth.detectors.detector import Detector
from faceauth.explanations.stand_ins import STAND_INS
from faceauth.labels import FAKE, REAL

# Crops that pass the network at once where no gradients are kept.
PASS_CROPS = 16


@dataclass(frozen=True)
class Subject:
    """Crops that are to be explained, with the detector that judged them.

    Attributes:
        detector: A private copy, see `private_copy`.
        crops_rgb_uint8: (n, height, width, 3) uint8.
    """

    detector: Detector
    crops_rgb_uint8: np.ndarray

    @cached_property
    def pixel_values(self) -> Tensor:
        """What the network sees of the crops, (n, 3, input height, input width) float32 on its device."""
        return pixel_values_of(self.detector, self.crops_rgb_uint8)

    @cached_property
    def log_odds(self) -> Tensor:
        """What the detector finds in each crop, (n,) float32, see `log_odds_of`."""
        return log_odds_of(self.detector, self.pixel_values)

    @cached_property
    def stand_ins_rgb_uint8(self) -> np.ndarray:
        """For each crop what to put in place of a region, (n, height, width, 3) uint8.

        Of the ways in `STAND_INS` the one that this detector finds least fake: what is put in place must not
        itself speak for fake, or hiding a trace would look like adding one. For a detector of fakes that is
        no small matter: grey and blurred faces, which are neutral to networks that name objects, are fake.
        """
        ways = [np.stack([make(crop) for crop in self.crops_rgb_uint8]) for make in STAND_INS.values()]
        found = [log_odds_of(self.detector, pixel_values_of(self.detector, way)) for way in ways]
        best = torch.stack(found).argmin(dim=0).tolist()
        return np.stack([ways[way][i] for i, way in enumerate(best)])


def private_copy(detector: Detector) -> Detector:
    """Returns a detector with modules of its own that shares the weights.

    Hooks and settings of the copy touch no other thread's pass, and it takes no memory worth speaking of.

    Returns:
        The copy, in evaluation mode, on the same device.
    """
    shared = {id(tensor): tensor for tensor in (*detector.model.parameters(), *detector.model.buffers())}
    model = copy.deepcopy(detector.model, shared).eval()
    for head in detector.architecture.heads:
        # Another thread may be in the middle of a pass that catches what goes into them.
        model.get_submodule(head)._forward_pre_hooks.clear()
    return Detector(detector.name, model, detector.processor, detector.origin)


def pixel_values_of(detector: Detector, crops_rgb_uint8: np.ndarray) -> Tensor:
    """Turns (n, height, width, 3) uint8 into what the network sees, float32 on the network's device."""
    images = torch.from_numpy(np.array(crops_rgb_uint8)).permute(0, 3, 1, 2)
    return detector.pixel_values(images.to(detector.model.device))


def log_odds_of(detector: Detector, pixel_values: Tensor) -> Tensor:
    """Asks the detector how much speaks for fake.

    Args:
        detector: In evaluation mode.
        pixel_values: (n, 3, input height, input width) float32.

    Returns:
        (n,) float32 on the CPU: ln(p_fake / p_real) of the network itself, not calibrated; 0 is even.
    """
    with torch.inference_mode():
        parts = pixel_values.split(PASS_CROPS)
        found = torch.cat([log_odds_with_gradients(detector.model, part) for part in parts])
    return found.cpu().clone()


def log_odds_with_gradients(model: torch.nn.Module, pixel_values: Tensor) -> Tensor:
    """Runs one batch as it is, so that gradients can be taken; see `log_odds_of`."""
    logits = model(pixel_values=pixel_values).logits.float()
    return logits[:, FAKE] - logits[:, REAL]

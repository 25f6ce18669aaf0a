"""MTCNN's networks in torch: on GPUs, and where OpenVINO is not to be had."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from faceauth.intake.faces.mtcnn.networks import with_plain_pixels
from faceauth.intake.faces.mtcnn.weights import Weights


class TorchNetworks:
    """The three networks on one device; see `faceauth.intake.faces.mtcnn.networks.Networks`.

    Args:
        weights: As from `faceauth.intake.faces.mtcnn.weights.read_weights`.
        device: A torch device.

    Raises:
        RuntimeError: There is no such device here.
    """

    def __init__(self, weights: Weights, *, device: str) -> None:
        self._device = torch.device(device)
        on_cpu = self._device.type == "cpu"
        self.sizes_24 = (64,) if on_cpu else (1024, 128)
        self.sizes_48 = (16,) if on_cpu else (256, 32)
        self._weights = {
            name: {part: self._put(torch.from_numpy(array)) for part, array in network.items()}
            for name, network in with_plain_pixels(weights).items()
        }

    def propose(self, canvas_rgb_float32: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Runs P-net over a canvas."""
        weights = self._weights["pnet"]
        with torch.inference_mode():
            layer = _convolved(self._pictures(canvas_rgb_float32[None]), weights, 1)
            layer = _pooled(layer + self._put(torch.from_numpy(mask)), 2)
            layer = _convolved(_convolved(layer, weights, 2), weights, 3)
            return _head(layer, weights)[0]

    def refine(self, crops_rgb_float32: np.ndarray) -> np.ndarray:
        """Runs R-net on crops."""
        weights = self._weights["rnet"]
        with torch.inference_mode():
            layer = _pooled(_convolved(self._pictures(crops_rgb_float32), weights, 1), 3)
            layer = _pooled(_convolved(layer, weights, 2), 3)
            layer = _convolved(_convolved(layer, weights, 3), weights, 4)
            return _head(layer, weights)[:, 0, 0]

    def finish(self, crops_rgb_float32: np.ndarray) -> np.ndarray:
        """Runs O-net on crops."""
        weights = self._weights["onet"]
        with torch.inference_mode():
            layer = _pooled(_convolved(self._pictures(crops_rgb_float32), weights, 1), 3)
            layer = _pooled(_convolved(layer, weights, 2), 3)
            layer = _pooled(_convolved(layer, weights, 3), 2)
            layer = _convolved(_convolved(layer, weights, 4), weights, 5)
            return _head(layer, weights)[:, 0, 0]

    def _pictures(self, pictures_rgb_float32: np.ndarray) -> Tensor:
        # A view: what has its channels last in memory is what torch calls channels-last.
        return self._put(torch.from_numpy(pictures_rgb_float32)).permute(0, 3, 1, 2)

    def _put(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device)


def _convolved(layer: Tensor, weights: dict[str, Tensor], number: int) -> Tensor:
    layer = functional.conv2d(layer, weights[f"kernel{number}"], weights[f"bias{number}"])
    return functional.prelu(layer, weights[f"slope{number}"])


def _pooled(layer: Tensor, side: int) -> Tensor:
    return functional.max_pool2d(layer, side, 2, ceil_mode=True)


def _head(layer: Tensor, weights: dict[str, Tensor]) -> np.ndarray:
    found = functional.conv2d(layer, weights["head_kernel"], weights["head_bias"])
    return found.permute(0, 2, 3, 1).cpu().numpy()

"""MTCNN's networks in OpenVINO, which runs them on CPUs several times as fast as torch does.

The graphs are put together here from the weights: OpenVINO's own conversion would import torch, and a package
that reports usage.
"""

from typing import Any

import numpy as np
import openvino
from openvino import opset13

from faceauth.intake.faces.mtcnn.networks import with_plain_pixels
from faceauth.intake.faces.mtcnn.weights import Weights

# One thread each: work is shared out by images, not inside a layer. Boxes in bfloat16, which some CPUs would
# take by default, are others.
_OPTIONS = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
    "ENABLE_CPU_PINNING": False,
}


class OpenvinoNetworks:
    """The three networks on one CPU core; see `faceauth.intake.faces.mtcnn.networks.Networks`.

    Args:
        weights: As from `faceauth.intake.faces.mtcnn.weights.read_weights`.
    """

    sizes_24 = (64, 8)
    sizes_48 = (16, 4)

    def __init__(self, weights: Weights) -> None:
        self._weights = with_plain_pixels(weights)
        self._core = openvino.Core()
        # By name and shape of the input. Shapes are few, and each is compiled when it is first met: a network
        # of free shape is a third slower.
        self._requests: dict[tuple[str, tuple[int, ...]], openvino.InferRequest] = {}

    def propose(self, canvas_rgb_float32: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Runs P-net over a canvas."""
        return self._run("pnet", canvas_rgb_float32[None], mask[None, :, :, None])[0]

    def refine(self, crops_rgb_float32: np.ndarray) -> np.ndarray:
        """Runs R-net on crops."""
        return self._run("rnet", crops_rgb_float32)[:, 0, 0]

    def finish(self, crops_rgb_float32: np.ndarray) -> np.ndarray:
        """Runs O-net on crops."""
        return self._run("onet", crops_rgb_float32)[:, 0, 0]

    def _run(self, name: str, *inputs: np.ndarray) -> np.ndarray:
        key = name, inputs[0].shape
        if key not in self._requests:
            model = _BUILDERS[name](self._weights[name], inputs[0].shape)
            self._requests[key] = self._core.compile_model(model, "CPU", _OPTIONS).create_infer_request()
        # Neither inputs nor outputs are copied: an output lasts until the next run of its network.
        found = self._requests[key].infer(list(inputs), share_inputs=True, share_outputs=True)
        return found[0]


def _build_pnet(weights: dict[str, np.ndarray], shape: tuple[int, ...]) -> openvino.Model:
    pixels = opset13.parameter(shape, np.float32)
    mask = opset13.parameter((1, shape[1] - 2, shape[2] - 2, 1), np.float32)
    layer = opset13.add(_convolved(_channels_first(pixels), weights, 1), _channels_first(mask))
    layer = _pooled(layer, 2)
    layer = _convolved(layer, weights, 2)
    layer = _convolved(layer, weights, 3)
    return openvino.Model([_head(layer, weights)], [pixels, mask], "pnet")


def _build_rnet(weights: dict[str, np.ndarray], shape: tuple[int, ...]) -> openvino.Model:
    crops = opset13.parameter(shape, np.float32)
    layer = _pooled(_convolved(_channels_first(crops), weights, 1), 3)
    layer = _pooled(_convolved(layer, weights, 2), 3)
    layer = _convolved(layer, weights, 3)
    layer = _convolved(layer, weights, 4)
    return openvino.Model([_head(layer, weights)], [crops], "rnet")


def _build_onet(weights: dict[str, np.ndarray], shape: tuple[int, ...]) -> openvino.Model:
    crops = opset13.parameter(shape, np.float32)
    layer = _pooled(_convolved(_channels_first(crops), weights, 1), 3)
    layer = _pooled(_convolved(layer, weights, 2), 3)
    layer = _pooled(_convolved(layer, weights, 3), 2)
    layer = _convolved(layer, weights, 4)
    layer = _convolved(layer, weights, 5)
    return openvino.Model([_head(layer, weights)], [crops], "onet")


_BUILDERS = {"pnet": _build_pnet, "rnet": _build_rnet, "onet": _build_onet}


def _convolved(layer: Any, weights: dict[str, np.ndarray], number: int) -> Any:
    layer = _with_kernel(layer, weights[f"kernel{number}"], weights[f"bias{number}"])
    return opset13.prelu(layer, opset13.constant(weights[f"slope{number}"]))


def _head(layer: Any, weights: dict[str, np.ndarray]) -> Any:
    return opset13.transpose(_with_kernel(layer, weights["head_kernel"], weights["head_bias"]), [0, 2, 3, 1])


def _with_kernel(layer: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
    layer = opset13.convolution(layer, opset13.constant(kernel), [1, 1], [0, 0], [0, 0], [1, 1])
    return opset13.add(layer, opset13.constant(bias.reshape(1, -1, 1, 1)))


def _pooled(layer: Any, side: int) -> Any:
    # The operation has a second output, the places of the maxima.
    return opset13.max_pool(layer, [2, 2], [1, 1], [0, 0], [0, 0], [side, side], rounding_type="ceil").output(
        0
    )


def _channels_first(picture: Any) -> Any:
    return opset13.transpose(picture, [0, 3, 1, 2])

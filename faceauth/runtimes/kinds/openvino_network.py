"""`openvino`: on the CPU without torch, faster than with it.

A checkpoint folder is converted once (`faceauth.runtimes.converted`); an ONNX file is read as it is.
"""

import threading
from typing import Any

import numpy as np
import openvino
from openvino import opset13

from faceauth.errors import DetectorError, UsageError
from faceauth.intake.pipeline.workers import usable_cores
from faceauth.runtimes.converted import convert
from faceauth.runtimes.network import RUNTIMES, Model, Network, Pass
from faceauth.runtimes.pixels import PixelRecipe, scaling_weights

# In bfloat16, which some CPUs would take by default, scores are others than those that the threshold is for.
# Pinned threads would stand in the way of the processes that find faces.
_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}


@RUNTIMES.register("openvino")
def open_in_openvino(model: Model, device: str) -> Network:
    """Reads an ONNX file, or converts a checkpoint folder.

    Raises:
        DetectorError: The model cannot be read, converted or run.
        UsageError: Another device than the CPU was asked for.
    """
    if device != "cpu":
        raise UsageError(f"OpenVINO runs on the CPU here, not on '{device}'.", "Use --runtime torch.")
    if model.pixels is None:
        raise DetectorError(
            f"The image processor of {model.path} does something that only transformers can do.",
            "Use --runtime torch.",
        )
    try:
        graph = openvino.Core().read_model(model.path) if model.is_onnx else convert(model)
        return OpenvinoNetwork(graph, model.pixels)
    except RuntimeError as error:
        raise DetectorError(f"{model.path} cannot be run by OpenVINO: {str(error)[:300]}") from error


class OpenvinoNetwork:
    """A network in OpenVINO on all cores of the CPU.

    Args:
        graph: Takes pixel values (n, 3, height, width) float32, gives logits and embeddings.
        pixels: How crops become pixel values; that is made part of the graph.
    """

    def __init__(self, graph: openvino.Model, pixels: PixelRecipe) -> None:
        self._core = openvino.Core()
        self._graph = graph
        self._pixels = pixels
        self._threads = usable_cores()
        # By height and width of the crops: a detector meets one size.
        self._requests: dict[tuple[int, int], openvino.InferRequest] = {}
        self._one_at_a_time = threading.Lock()

    @property
    def runs_on(self) -> str:
        """What runs it."""
        return "OpenVINO on the CPU"

    def __call__(self, crops_rgb_uint8: np.ndarray) -> Pass:
        """Runs n crops, (n, height, width, 3) uint8."""
        _, height, width, _ = crops_rgb_uint8.shape
        with self._one_at_a_time:
            if (height, width) not in self._requests:
                graph = _from_crops(self._graph.clone(), self._pixels, height, width)
                options = _OPTIONS | {"INFERENCE_NUM_THREADS": self._threads}
                compiled = self._core.compile_model(graph, "CPU", options)
                self._requests[height, width] = compiled.create_infer_request()
            answers = self._requests[height, width].infer([np.ascontiguousarray(crops_rgb_uint8)])
            return Pass(*(np.array(answers[number], dtype=np.float32) for number in (0, 1)))


def _from_crops(graph: openvino.Model, pixels: PixelRecipe, height: int, width: int) -> openvino.Model:
    """Puts the way from crops to pixel values before a network; see `PixelRecipe.__call__`."""
    crops = opset13.parameter([-1, height, width, 3], np.uint8)
    layer = opset13.convert(opset13.transpose(crops, [0, 3, 1, 2]), np.float32)
    if width != pixels.width_px:
        weights, bits = scaling_weights(width, pixels.width_px, pixels.resample)
        layer = _grey_levels(opset13.matmul(layer, opset13.constant(weights), False, False), bits)
    if height != pixels.height_px:
        weights, bits = scaling_weights(height, pixels.height_px, pixels.resample)
        columns = opset13.constant(np.ascontiguousarray(weights.T))
        layer = _grey_levels(opset13.matmul(columns, layer, False, False), bits)
    if pixels.crop_px is not None:
        top, left = pixels.corner
        layer = opset13.slice(
            layer, [top, left], [top + pixels.crop_px, left + pixels.crop_px], [1, 1], [2, 3]
        )
    mean, std = pixels.normalisation
    layer = opset13.divide(opset13.subtract(layer, mean[None]), std[None])
    (old,) = graph.get_parameters()
    for place in old.output(0).get_target_inputs():
        place.replace_source_output(layer.output(0))
    return openvino.Model(graph.get_results(), [crops], "faceauth")


def _grey_levels(sums: Any, bits: int) -> Any:
    half = np.float32(1 << (bits - 1))
    levels = opset13.floor(opset13.multiply(opset13.add(sums, half), np.float32(1 / (1 << bits))))
    return opset13.clamp(levels, 0.0, 255.0)

"""`onnxruntime`: ONNX files on the CPU. It gains by 8-bit weights where OpenVINO does not: without VNNI."""

import threading
from typing import TYPE_CHECKING

import numpy as np

from faceauth.errors import DetectorError, MissingExtraError, UsageError
from faceauth.intake.pipeline.workers import usable_cores
from faceauth.runtimes.network import RUNTIMES, Model, Network, Pass
from faceauth.runtimes.onnx_file import INPUT_NAME, OUTPUT_NAMES
from faceauth.runtimes.pixels import PixelRecipe

if TYPE_CHECKING:
    import onnxruntime


@RUNTIMES.register("onnxruntime")
def open_in_onnxruntime(model: Model, device: str) -> Network:
    """Opens an ONNX file.

    Raises:
        DetectorError: It cannot be run, or is a checkpoint folder.
        MissingExtraError: ONNX Runtime is not installed.
        UsageError: Another device than the CPU was asked for.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "ONNX Runtime is not installed.", 'Install it: pip install "faceauth[onnx]"'
        ) from error
    if device != "cpu":
        raise UsageError(f"ONNX Runtime runs on the CPU here, not on '{device}'.", "Use --runtime torch.")
    if not model.is_onnx or model.pixels is None:
        raise DetectorError(
            f"{model.path} is no ONNX file.",
            f"Export it first: faceauth export --model {model.path} --format onnx --output DIR",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    # Threads that spin between passes would take the cores from the processes that find faces.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common parent but this
        raise DetectorError(f"ONNX Runtime cannot run {model.path}: {str(error)[:300]}") from error
    return OnnxruntimeNetwork(session, model.pixels)


class OnnxruntimeNetwork:
    """A network in ONNX Runtime.

    Args:
        session: An `onnxruntime.InferenceSession`.
        pixels: How crops become pixel values.
    """

    def __init__(self, session: "onnxruntime.InferenceSession", pixels: PixelRecipe) -> None:
        self._session = session
        self._pixels = pixels
        self._one_at_a_time = threading.Lock()

    @property
    def runs_on(self) -> str:
        """What runs it."""
        return "ONNX Runtime on the CPU"

    def __call__(self, crops_rgb_uint8: np.ndarray) -> Pass:
        """Runs n crops, (n, height, width, 3) uint8."""
        with self._one_at_a_time:
            answers = self._session.run(list(OUTPUT_NAMES), {INPUT_NAME: self._pixels(crops_rgb_uint8)})
        return Pass(*(np.asarray(answer, dtype=np.float32) for answer in answers))

"""`torch`: the network as it was trained, on any device."""

import threading
from typing import TYPE_CHECKING

import numpy as np

from faceauth.detectors.embedded import is_embedded_folder, load_embedded
from faceauth.errors import DetectorError
from faceauth.runtimes.network import RUNTIMES, Model, Network, Pass

if TYPE_CHECKING:
    from faceauth.detectors.detector import Detector

# Hooks of a network catch the embedding, and would catch that of another thread's pass, too. The embedded
# detector is one network for all who load it.
_ONE_AT_A_TIME = threading.Lock()


@RUNTIMES.register("torch")
def open_in_torch(model: Model, device: str) -> Network:
    """Loads a checkpoint folder with transformers.

    Raises:
        DetectorError: It cannot be loaded, or is an ONNX file.
        UsageError: There is no such device.
    """
    from faceauth.detectors.checkpoint import load_checkpoint

    if model.is_onnx:
        raise DetectorError(
            f"{model.path} is an ONNX file, which torch does not run.",
            "Use --runtime openvino or onnxruntime, or give the checkpoint folder that it was made from.",
        )
    is_embedded = is_embedded_folder(model.path)
    detector, _ = load_embedded() if is_embedded else load_checkpoint(model.path)
    return TorchNetwork(detector, device)


class TorchNetwork:
    """A detector in torch.

    Args:
        detector: A `faceauth.detectors.detector.Detector`; it is put into evaluation mode and moved.
        device: A torch device.

    Raises:
        UsageError: There is no such device.
    """

    def __init__(self, detector: "Detector", device: str = "cpu") -> None:
        self._detector = detector
        from faceauth.detectors.devices import check_device

        check_device(device)
        self._device = device
        detector.model.to(device).eval()  # type: ignore[arg-type]

    @property
    def runs_on(self) -> str:
        """What runs it."""
        return f"torch on {self._device}"

    def __call__(self, crops_rgb_uint8: np.ndarray) -> Pass:
        """Runs n crops, (n, height, width, 3) uint8."""
        import torch

        from faceauth.detectors.detector import logits_and_features

        images = torch.from_numpy(crops_rgb_uint8).permute(0, 3, 1, 2)
        with _ONE_AT_A_TIME:
            pixel_values = self._detector.pixel_values(images.to(self._device))
            logits, features = logits_and_features(self._detector, pixel_values)
        return Pass(logits.float().cpu().numpy(), features.cpu().numpy())

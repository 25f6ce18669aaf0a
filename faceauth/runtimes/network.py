"""A network that is ready to judge crops, whatever runs it, and the registry of what can run one.

comes in: crops as uint8 pixels
goes out: logits and embeddings, as NumPy arrays
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from faceauth.detectors.card import Card
from faceauth.registry import Registry
from faceauth.runtimes.pixels import PixelRecipe


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """What a network says of n crops.

    Attributes:
        logits: (n, 2) float32 as fake, real.
        embedding: (n, d) float32: what goes into the last linear layer, or the mean over the layers where
            there are two.
    """

    logits: np.ndarray
    embedding: np.ndarray


class Network(Protocol):
    """Runs crops; several threads may ask it at once."""

    @property
    def runs_on(self) -> str:
        """What runs it, for the log, such as `OpenVINO on the CPU`."""

    def __call__(self, crops_rgb_uint8: np.ndarray) -> Pass:
        """Runs n >= 1 crops, (n, height, width, 3) uint8."""


@dataclass(frozen=True)
class Model:
    """A detector on disk, before anything runs it.

    Attributes:
        path: A checkpoint folder, or an ONNX file of `faceauth export --format onnx`.
        card: What is known of it.
        pixels: How crops become its input; None if only transformers knows.
    """

    path: Path
    card: Card
    pixels: PixelRecipe | None

    @property
    def is_onnx(self) -> bool:
        """Whether it is an ONNX file."""
        return self.path.suffix.lower() == ONNX_SUFFIX


ONNX_SUFFIX = ".onnx"

# Takes a model and a device of torch's. Raises a DetectorError where it cannot run the model.
RUNTIMES: Registry[Callable[[Model, str], Network]] = Registry("runtime", package="faceauth.runtimes.kinds")

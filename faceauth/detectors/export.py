"""Export formats: other files that hold the same detector, for less room or for other programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from faceauth.detectors.detector import Detector
from faceauth.registry import Registry

# From pixel values (n, 3, height, width) float32 to logits (n, 2) as fake, real.
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ExportSettings:
    """How a detector is exported.

    Attributes:
        bits: Bits of a weight, where the format has fewer than 32.
    """

    bits: int = 8


class Export(Protocol):
    """Writes one format."""

    def __call__(
        self,
        detector: Detector,
        checkpoint: Path,
        folder: Path,
        *,
        settings: ExportSettings,
        batches: Sequence[Tensor],
    ) -> Network:
        """Writes a detector.

        Args:
            detector: The detector, on the CPU and in evaluation mode.
            checkpoint: The checkpoint folder that it was loaded from.
            folder: An empty folder that the files go to.
            settings: How.
            batches: Pixel values of crops of the training split, (n, 3, height, width) float32 each, for a
                format that loses less if it knows some; empty if there are none.

        Returns:
            The network as it is read back from the written files.
        """


EXPORTS: Registry[Export] = Registry("export format", package="faceauth.detectors.exports")

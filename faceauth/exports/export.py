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
        bits: Bits of a weight; None for what is usual in the format.
    """

    bits: int | None = None


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        network: The network as it is read back from the written files.
        bits: Bits of a weight in them.
    """

    network: Network
    bits: int


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
    ) -> Exported:
        """Writes a detector.

        Args:
            detector: The detector, on the CPU and in evaluation mode.
            checkpoint: The checkpoint folder that it was loaded from.
            folder: An empty folder that the files go to.
            settings: How.
            batches: Pixel values of crops of the training split, (n, 3, height, width) float32 each, for a
                format that loses less if it knows some; empty if there are none.

        Returns:
            What was written.
        """


EXPORTS: Registry[Export] = Registry("export format", package="faceauth.exports.kinds")

"""`packed`: a checkpoint folder with weights as small integers, which FaceAuth loads like any other."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from faceauth.console import progress
from faceauth.detectors.detector import Detector
from faceauth.detectors.folder import CARD_NAME, PACKED_NAME, TEST_READS_NAME
from faceauth.detectors.packed import load_packed, write_packed
from faceauth.detectors.packing import FINE_BITS, count_layers, pack
from faceauth.exports.export import EXPORTS, Exported, ExportSettings

log = logging.getLogger(__name__)

COPIED = ("config.json", "preprocessor_config.json", CARD_NAME, "train_config.yaml", TEST_READS_NAME)

USUAL_BITS = 8


@EXPORTS.register("packed")
def export_packed(
    detector: Detector,
    checkpoint: Path,
    folder: Path,
    *,
    settings: ExportSettings,
    batches: Sequence[Tensor],
) -> Exported:
    """Packs the weights of linear layers into `bits`; the last layers stay as they are."""
    bits = settings.bits or USUAL_BITS
    if bits < FINE_BITS and not batches:
        log.warning(
            "without --manifest every weight is rounded by itself; at %d bits that costs much more than with "
            "crops to round for",
            bits,
        )
    architecture = detector.architecture
    keep = [*architecture.heads, *([architecture.probe] if architecture.probe else [])]
    with progress("packed layers", count_layers(detector.model, keep)) as advance:
        packed = pack(detector.model, bits=bits, keep=keep, batches=batches, advance=advance)
    write_packed(folder / PACKED_NAME, packed)
    for name in COPIED:
        if (checkpoint / name).exists():
            shutil.copyfile(checkpoint / name, folder / name)
    model = load_packed(folder)
    return Exported(lambda pixel_values: model(pixel_values=pixel_values).logits, bits)

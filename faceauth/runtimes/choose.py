"""Opens what `--model` names in a runtime: the one that was asked for, or the fastest that can run it."""

import importlib.util
import logging
import sys
from pathlib import Path

from faceauth.detectors.card import Card, read_card
from faceauth.detectors.embedded import checked_embedded_folder, checkpoint_of, is_embedded
from faceauth.detectors.folder import CARD_NAME, PIXELS_NAME
from faceauth.errors import DetectorError, InputError
from faceauth.files import read_json
from faceauth.runtimes.network import ONNX_SUFFIX, RUNTIMES, Model, Network
from faceauth.runtimes.onnx_file import FILE_NAME, read_onnx
from faceauth.runtimes.pixels import read_pixel_recipe

log = logging.getLogger(__name__)

CPU = "cpu"
TORCH, OPENVINO, ONNXRUNTIME = "torch", "openvino", "onnxruntime"


def open_network(
    model: str | Path, *, runtime: str | None = None, device: str | None = None
) -> tuple[Network, Card]:
    """Opens a detector for judging.

    Args:
        model: A checkpoint or run folder, an ONNX file that `faceauth export` wrote or its folder, a hub id,
            or `embedded`.
        runtime: A name in `RUNTIMES`; None for torch where there is a GPU, and else what is fastest on the
            CPU: OpenVINO, or ONNX Runtime for an ONNX file where it is installed.
        device: A torch device; None for the best that the runtime knows.

    Returns:
        The network and its card.

    Raises:
        DetectorError: There is no such model, or it cannot be run.
        UnknownNameError: There is no such runtime.
        UsageError: There is no such device, or the runtime does not know it.
    """
    found = find_model(Path(model))
    if runtime is not None:
        open_in = RUNTIMES.get(runtime)
        return open_in(found, device or (_best_device() if runtime == TORCH else CPU)), found.card
    if found.is_onnx:
        name = ONNXRUNTIME if importlib.util.find_spec("onnxruntime") else OPENVINO
        return RUNTIMES.get(name)(found, device or CPU), found.card
    device = device or _best_device()
    if device == CPU and found.pixels is not None:
        try:
            return RUNTIMES.get(OPENVINO)(found, device), found.card
        except DetectorError as error:
            log.warning("torch is used instead: %s", error.message)
    return RUNTIMES.get(TORCH)(found, device), found.card


def find_model(model: Path) -> Model:
    """Finds a detector on disk and reads what is known of it, without torch.

    Raises:
        DetectorError: There is none, or it was damaged.
    """
    if model.suffix.lower() == ONNX_SUFFIX:
        return read_onnx(model)
    if (model / FILE_NAME).is_file() and not (model / CARD_NAME).is_file():
        return read_onnx(model / FILE_NAME)
    folder = checked_embedded_folder() if is_embedded(model) else checkpoint_of(model)
    try:
        pixels = read_pixel_recipe(read_json(folder / PIXELS_NAME))
    except (InputError, OSError) as error:
        raise DetectorError(f"{folder} cannot be loaded: {error}") from error
    return Model(folder, read_card(folder), pixels)


def _best_device() -> str:
    """Returns the best torch device, without waiting for torch where there can be no GPU."""
    drivers = (*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("kfd"))
    if sys.platform == "linux" and not drivers:
        return CPU
    from faceauth.detectors.devices import best_device

    return best_device()

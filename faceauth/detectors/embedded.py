"""The embedded detector: the checkpoint folder that comes with the package, for whoever names no other.

Its name stands wherever a model is asked for: `--model embedded`.
"""

import hashlib
import threading
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from faceauth.detectors.card import Card
from faceauth.detectors.folder import CARD_NAME, PACKED_NAME, find_checkpoint
from faceauth.detectors.hub import fetch_checkpoint, parse_hub_id
from faceauth.errors import DetectorError

if TYPE_CHECKING:
    from faceauth.detectors.detector import Detector

EMBEDDED_NAME = "embedded"
# Of packed.safetensors in faceauth/embedded. It guards against damage, not against malice: whoever can change
# that file can change this line as well.
EMBEDDED_SHA256 = "d3e87c59014d971c77c3507ab01475f8036658ec859d9495f6c8c89f40884767"

_REINSTALL = "Install it again: pip install --force-reinstall --no-deps faceauth"
_loading = threading.Lock()


def load_embedded() -> tuple["Detector", Card]:
    """Loads the detector that comes with the package, once a process.

    Returns:
        The detector, in evaluation mode, and its card: the same objects for all who ask.

    Raises:
        DetectorError: Its files are missing or damaged.
    """
    # The cache alone would let two threads load it at once.
    with _loading:
        return _load_embedded()


@cache
def _load_embedded() -> tuple["Detector", Card]:
    # Whoever only asks where it lies, or runs it without torch, does not wait for torch.
    from faceauth.detectors.checkpoint import load_checkpoint

    return load_checkpoint(checked_embedded_folder())


def checked_embedded_folder() -> Path:
    """Returns the checkpoint folder that comes with the package, once its weights have the right hash.

    Raises:
        DetectorError: Its files are missing or damaged.
    """
    folder = embedded_folder()
    with (folder / PACKED_NAME).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != EMBEDDED_SHA256:
        raise DetectorError(
            f"The embedded detector is damaged: {folder / PACKED_NAME} has the SHA-256 {found}, "
            f"not {EMBEDDED_SHA256}.",
            _REINSTALL,
        )
    return folder


def embedded_folder() -> Path:
    """Returns the checkpoint folder that comes with the package.

    Raises:
        DetectorError: It is not there.
    """
    folder = _place()
    for name in (CARD_NAME, PACKED_NAME):
        if not (folder / name).is_file():
            raise DetectorError(
                f"This installation has no embedded detector: {folder / name} is missing.",
                f"{_REINSTALL}, or name a model of your own: --model FOLDER",
            )
    return folder


def is_embedded_folder(folder: Path) -> bool:
    """Tells whether a checkpoint folder is the one that comes with the package, which need not be there."""
    return folder == _place()


def is_embedded(model: Path) -> bool:
    """Tells whether a model is the embedded detector by its name.

    Raises:
        DetectorError: A checkpoint folder of that name lies here, and either may be meant.
    """
    if str(model) != EMBEDDED_NAME:
        return False
    if any((folder / CARD_NAME).is_file() for folder in (model, model / "checkpoint")):
        raise DetectorError(
            f"'{EMBEDDED_NAME}' is the name of the detector that comes with the package, and here is a "
            "checkpoint folder of that name.",
            f"Give the folder as {model.absolute()}, or call it something else.",
        )
    return True


def open_checkpoint(model: Path) -> tuple["Detector", Card]:
    """Loads what `--model` names: a checkpoint or run folder, an id of the Hugging Face hub, or `embedded`.

    Raises:
        DetectorError: It cannot be loaded, or it is not clear which is meant.
    """
    if is_embedded(model):
        return load_embedded()
    from faceauth.detectors.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint_of(model))


def checkpoint_of(model: Path) -> Path:
    """Returns the checkpoint folder of what `--model` names.

    Raises:
        DetectorError: There is none, or it is not clear which is meant.
    """
    if is_embedded(model):
        return embedded_folder()
    on_hub = parse_hub_id(model)
    return find_checkpoint(model) if on_hub is None else fetch_checkpoint(on_hub)


def _place() -> Path:
    return Path(str(resources.files("faceauth"))) / EMBEDDED_NAME

"""InceptionResnetV1 (arXiv 1602.07261), trained to tell people apart.

facenet-pytorch has the network, and its weights are a download of 107 MB that no package carries.
"""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import interpolate

from faceauth.errors import InputError, UsageError, did_you_mean
from faceauth.splits.people import FACE_EMBEDDERS, FaceEmbedder

RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
WEIGHTS = {
    "vggface2": "20180402-114759-vggface2.pt",
    "casia-webface": "20180408-102900-casia-webface.pt",
}
INPUT_PX = 160
_SUFFIXES = (".pt", ".safetensors")


@FACE_EMBEDDERS.register("inception_resnet_v1")
def load_inception_resnet_v1(weights: str, *, device: str) -> FaceEmbedder:
    """Loads the network.

    Args:
        weights: A file of weights (`.pt` or `.safetensors`), a folder with one in it, or `vggface2` or
            `casia-webface`, which are looked for in torch's cache and downloaded if they are not there.
        device: A torch device.

    Raises:
        UsageError: There is no such file, name or device.
        InputError: The weights cannot be had, or are those of something else.
    """
    path = find_weights(weights)
    network = InceptionResnetV1()
    try:
        network.load_state_dict(_read_weights(path))
    except (RuntimeError, ValueError, TypeError, pickle.UnpicklingError, SafetensorError, EOFError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(
            f"{path} cannot be read as weights of InceptionResnetV1: {reason}",
            f"It needs a state_dict such as {WEIGHTS['vggface2']} of facenet-pytorch.",
        ) from error
    try:
        return InceptionResnetFaces(network, fingerprint=_sha256(path), device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"The device '{device}' cannot be used: {reason}", "Use --device cpu.") from error


def find_weights(weights: str) -> Path:
    """Finds the file of weights that a user meant, and downloads it if it is a known one.

    Args:
        weights: See `load_inception_resnet_v1`.

    Raises:
        UsageError: There is no such file or name, or a folder has several.
        InputError: A download failed, or is not wanted because of `HF_HUB_OFFLINE`.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        known = [path / name for name in WEIGHTS.values() if (path / name).is_file()]
        found = known or sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
        if len(found) != 1:
            raise UsageError(
                f"{path} has {len(found)} files of weights.", "Name one that ends in .pt or .safetensors."
            )
        return found[0]
    if weights not in WEIGHTS:
        raise UsageError(
            f"'{weights}' is neither a file nor a folder of weights nor the name of any.",
            did_you_mean(weights, list(WEIGHTS)),
        )
    return _cached_or_downloaded(WEIGHTS[weights])


def _cached_or_downloaded(name: str) -> Path:
    # Where facenet-pytorch itself looks, and where torch does.
    home = Path(os.environ.get("TORCH_HOME", Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"))
    places = [folder.expanduser() / "checkpoints" / name for folder in (home, Path(torch.hub.get_dir()))]
    for path in places:
        if path.is_file():
            return path
    hint = (
        f"Download {RELEASE}{name} (107 MB) elsewhere and give that file: --same-person PATH. Or name "
        "people in a groups file: --groups people.csv."
    )
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise InputError(f"{name} is not in {places[0].parent}, and HF_HUB_OFFLINE is set.", hint)
    places[0].parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(RELEASE + name, str(places[0]), progress=False)
    except OSError as error:
        raise InputError(f"{name} could not be downloaded: {error}.", hint) from error
    return places[0]


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        found = load_file(path)
    else:
        # weights_only: a pickle could run a stranger's code.
        found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict):
        raise TypeError(f"it holds a {type(found).__name__} and no state_dict")
    # The last layer names the people of the training set, which are of no use here.
    return {name: values for name, values in found.items() if not str(name).startswith("logits.")}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class InceptionResnetFaces:
    """Turns crops into vectors of 512 numbers; see `faceauth.splits.people.FaceEmbedder`."""

    def __init__(self, network: InceptionResnetV1, *, fingerprint: str, device: str) -> None:
        self.fingerprint = fingerprint
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()

    def __call__(self, crops_rgb_uint8: np.ndarray) -> np.ndarray:
        """Returns (n, 512) float32 of length 1 for (n, height, width, 3) uint8 crops."""
        pixels = torch.from_numpy(crops_rgb_uint8).to(self._device).permute(0, 3, 1, 2).float()
        if pixels.shape[-2:] != (INPUT_PX, INPUT_PX):
            pixels = interpolate(pixels, size=(INPUT_PX, INPUT_PX), mode="bilinear", antialias=True)
        with torch.inference_mode():
            # The network was trained on pixels that were scaled so.
            return self._network((pixels - 127.5) / 128).float().cpu().numpy()

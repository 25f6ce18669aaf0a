"""Reads the weights of the three networks out of facenet-pytorch's wheel, without importing it or torch.

Both take seconds and hundreds of megabytes to import, which every worker of the preparation would pay. The
files are in torch's older format: pickles, then the numbers of all storages one after the other.
"""

import importlib.util
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from faceauth.errors import InputError

NETWORK_NAMES = ("pnet", "rnet", "onet")
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C

Weights = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies: elements from the start of a storage, in sizes and strides of elements."""

    key: str
    start: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


class _TensorsOnly(pickle.Unpickler):
    """Knows the three names that such files need, and builds no other object."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
            ("torch", "FloatStorage"): np.float32,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in a file of weights")
        return known[module, name]

    def persistent_load(self, pid: Any) -> str:
        return str(pid[2])


def read_weights(folder: Path | None = None) -> Weights:
    """Reads the weights of all three networks.

    Args:
        folder: Where `pnet.pt`, `rnet.pt` and `onet.pt` lie; by default in the installed facenet-pytorch.

    Returns:
        For each of `NETWORK_NAMES` its float32 arrays by their names in facenet-pytorch, such as
        `conv1.weight` as (output channels, input channels, height, width).

    Raises:
        InputError: A file is missing, damaged, or holds anything but float32 arrays.
    """
    folder = _installed_folder() if folder is None else folder
    return {name: _read(folder / f"{name}.pt") for name in NETWORK_NAMES}


def _installed_folder() -> Path:
    # Finds the package without running it.
    found = importlib.util.find_spec("facenet_pytorch")
    if found is None or found.origin is None:
        raise InputError(
            "The face detector 'mtcnn' needs facenet-pytorch, which is not installed.",
            "pip install facenet-pytorch==2.5.3",
        )
    return Path(found.origin).parent / "data"


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            return _read_tensors(file)
    except (OSError, EOFError, pickle.UnpicklingError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"The weights of a face network cannot be read from {path}: {error}.",
            "Install facenet-pytorch again: pip install --force-reinstall --no-deps facenet-pytorch==2.5.3",
        ) from error


def _read_tensors(file: IO[bytes]) -> dict[str, np.ndarray]:
    magic_number, _protocol, _system = (_TensorsOnly(file).load() for _ in range(3))
    if magic_number != _MAGIC_NUMBER:
        raise ValueError("it is not in torch's older format")
    tensors = _TensorsOnly(file).load()
    storages = {}
    for key in _TensorsOnly(file).load():
        n_numbers = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(4 * n_numbers), "<f4", count=n_numbers)
    return {name: _laid_out(tensor, storages[tensor.key]) for name, tensor in tensors.items()}


def _rebuilt(key: str, start: int, sizes: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(key, start, tuple(sizes), tuple(strides))


def _laid_out(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    last = tensor.start + sum(
        (size - 1) * step for size, step in zip(tensor.sizes, tensor.strides, strict=True)
    )
    if min(tensor.start, *tensor.strides) < 0 or last >= len(storage):
        raise ValueError("an array reaches beyond its storage")
    strides = [4 * step for step in tensor.strides]
    return np.array(np.lib.stride_tricks.as_strided(storage[tensor.start :], tensor.sizes, strides))

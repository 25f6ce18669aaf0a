"""Packed weights: a network in a quarter or an eighth of the room, in one safetensors file.

`packed.safetensors` takes the place of `model.safetensors` in a checkpoint folder. A packed matrix NAME lies
there as `NAME.packed`, its integers bit by bit, and as `NAME.scales`; the header says how. What is not packed
keeps its name. Unpacked weights are float32, and the same on every machine.

`faceauth.detectors.packing` makes such weights from a network.
"""

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel

from faceauth.detectors.folder import PACKED_NAME
from faceauth.detectors.rounding import BITS, Rounded
from faceauth.errors import DetectorError
from faceauth.files import parse_json, whole_file

FORMAT, VERSION = "faceauth-packed", 1
# Ten times the largest network of the zoo.
MAX_PACKED_BYTES = 4 * 2**30
# The largest number of values in a tensor of the file's: 16 GiB as float32.
MAX_VALUES = 2**32
MAX_EXPONENT = 140

_INTEGERS, _SCALES = ".packed", ".scales"
_DAMAGED = "It was damaged or is something else: get it again, or export it again."

# Making a network without weights changes torch for the whole process until it is made.
_building = threading.Lock()


@dataclass(frozen=True)
class Layout:
    """How a matrix is packed.

    Attributes:
        shape: Of the tensor that it stands for: its first axis are the rows, all others together the columns.
        bits: Bits of an integer.
        group_size: Columns that share a scale; the last group may be narrower.
        exponent: The scales are those in the file times `2 ** exponent`.

    Raises:
        ValueError: There can be no such matrix.
    """

    shape: tuple[int, ...]
    bits: int
    group_size: int
    exponent: int

    def __post_init__(self) -> None:
        numbers = (*self.shape, self.bits, self.group_size, self.exponent)
        # A header is JSON, in which true and 1.5 might stand as well.
        if any(type(number) is not int for number in numbers):
            raise ValueError(f"{self} is not made of integers")
        in_range = self.bits in BITS and self.group_size > 0 and abs(self.exponent) <= MAX_EXPONENT
        if not in_range or len(self.shape) < 2 or min(self.shape) < 1 or math.prod(self.shape) > MAX_VALUES:
            raise ValueError(f"{self} is out of range")

    @property
    def columns(self) -> int:
        """Number of columns."""
        return math.prod(self.shape[1:])

    @property
    def stored_shapes(self) -> tuple[list[int], list[int]]:
        """Shapes of what lies in the file: the bytes of the integers, and the scales."""
        rows = self.shape[0]
        return [rows, -(-self.columns * self.bits // 8)], [rows, -(-self.columns // self.group_size)]


@dataclass(frozen=True, eq=False)
class Packed:
    """The weights of a network as they lie in the file.

    Attributes:
        tensors: By their names in the file: uint8 bytes and float16 scales of packed matrices; all others
            float32, float16 or int64.
        layouts: Of every packed matrix, by its name in the network.
    """

    tensors: Mapping[str, Tensor]
    layouts: Mapping[str, Layout]


def pack_matrix(name: str, rounded: Rounded, shape: tuple[int, ...]) -> Packed:
    """Packs one weight.

    Args:
        name: Its name in the network.
        rounded: Its rows and columns.
        shape: Its shape in the network.
    """
    layout = Layout(shape, rounded.bits, rounded.group_size, rounded.exponent)
    content = torch.from_numpy(to_bytes(rounded.integers.numpy(), bits=rounded.bits))
    return Packed({name + _INTEGERS: content, name + _SCALES: rounded.scales}, {name: layout})


def unpack(packed: Packed) -> dict[str, Tensor]:
    """Returns the weights that a network computes with.

    Returns:
        All tensors by their names in the network: float32, and int64 for counters.
    """
    state = {}
    for name, layout in packed.layouts.items():
        integers = from_bytes(
            packed.tensors[name + _INTEGERS].numpy(), bits=layout.bits, columns=layout.columns
        )
        rounded = Rounded(
            torch.from_numpy(integers),
            packed.tensors[name + _SCALES],
            layout.exponent,
            layout.bits,
            layout.group_size,
        )
        state[name] = rounded.values().reshape(layout.shape)
    of_matrices = {name + suffix for name in packed.layouts for suffix in (_INTEGERS, _SCALES)}
    for name, tensor in packed.tensors.items():
        if name not in of_matrices:
            state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def write_packed(path: Path, packed: Packed) -> None:
    """Writes packed weights, whole or not at all."""
    layouts = {name: asdict(layout) for name, layout in packed.layouts.items()}
    # In one entry: safetensors writes several in any order, and the same weights shall be the same file.
    header = {FORMAT: json.dumps({"version": VERSION, "layouts": layouts})}
    with whole_file(path) as draft:
        save_file({name: tensor.contiguous() for name, tensor in packed.tensors.items()}, draft, header)


def read_packed(path: Path) -> Packed:
    """Reads packed weights that anybody may have written.

    Raises:
        DetectorError: The file is cut, too large, something else, or by a newer version.
        OSError: There is none.
    """
    if (n_bytes := path.stat().st_size) > MAX_PACKED_BYTES:
        raise DetectorError(f"{path} has {n_bytes:,} bytes; at most {MAX_PACKED_BYTES:,} are read.")
    try:
        with safe_open(path, framework="pt") as file:
            layouts = _read_layouts(path, file.metadata() or {})
            names = list(file.keys())
            _check_stored({name: file.get_slice(name) for name in names}, layouts)
            return Packed({name: file.get_tensor(name) for name in names}, layouts)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise DetectorError(f"{path} cannot be read as packed weights: {error}.", _DAMAGED) from error


def load_packed(folder: Path) -> PreTrainedModel:
    """Makes the network of a packed checkpoint folder, in evaluation mode.

    Its weights are never drawn at random first, and there is one float32 copy of them.

    Raises:
        DetectorError: The weights cannot be read, or are not those of the network in `config.json`.
        OSError: `config.json` or the weights are missing.
        ValueError: transformers does not know the network.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    packed = read_packed(folder / PACKED_NAME)
    with _building, init_empty_weights(include_buffers=False):
        model: PreTrainedModel = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state = unpack(packed)
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            raise DetectorError(
                f"{folder / PACKED_NAME} does not fit the network in config.json: {name} has shape "
                f"{found.get(name, 'none')} there and {wanted.get(name, 'none')} in the network.",
                "The files of a checkpoint folder belong together: copy all of them from one place.",
            )
    model.load_state_dict(state, assign=True)
    return model.eval()


def to_bytes(integers: np.ndarray, *, bits: int) -> np.ndarray:
    """Writes integers one after the other, the lowest bit first, each row beginning a byte.

    Args:
        integers: int8 (rows, columns), each in [-2 ** (bits - 1), 2 ** (bits - 1) - 1].
        bits: 1 to 8.

    Returns:
        uint8 (rows, columns * bits / 8, rounded up).
    """
    unsigned = (integers.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    if bits == 8:
        return unsigned
    as_bits = np.unpackbits(unsigned[:, :, None], axis=2, count=bits, bitorder="little")
    return np.packbits(as_bits.reshape(len(integers), -1), axis=1, bitorder="little")


def from_bytes(content: np.ndarray, *, bits: int, columns: int) -> np.ndarray:
    """Reads what `to_bytes` wrote.

    Args:
        content: uint8 (rows, columns * bits / 8, rounded up).
        bits: 1 to 8.
        columns: Integers in a row.

    Returns:
        int8 (rows, columns).
    """
    if bits == 8:
        unsigned = content
    elif bits == 4:
        # The same as below, several times as fast.
        halves = np.stack([content & 15, content >> 4], axis=2)
        unsigned = halves.reshape(len(content), -1)[:, :columns]
    else:
        as_bits = np.unpackbits(content, axis=1, count=columns * bits, bitorder="little")
        padded = np.packbits(as_bits.reshape(len(content), columns, bits), axis=2, bitorder="little")
        unsigned = padded[:, :, 0]
    return (unsigned.astype(np.int16) - 2 ** (bits - 1)).astype(np.int8)


def _read_layouts(path: Path, header: dict[str, str]) -> dict[str, Layout]:
    if FORMAT not in header:
        raise DetectorError(f"{path} holds no packed weights: its header knows no {FORMAT}.", _DAMAGED)
    described = parse_json(header[FORMAT].encode())
    version, layouts = described["version"], described["layouts"]
    if type(version) is int and version > VERSION:
        raise DetectorError(
            f"{path} has version {version} of packed weights; this FaceAuth reads up to {VERSION}.",
            "Get a newer one: pip install --upgrade faceauth",
        )
    if version != VERSION or not isinstance(layouts, dict):
        raise ValueError(f"there is no version {version!r}")
    return {name: _read_layout(facts) for name, facts in layouts.items()}


def _read_layout(facts: dict[str, Any]) -> Layout:
    return Layout(**{**facts, "shape": tuple(facts["shape"])})


def _check_stored(stored: dict[str, Any], layouts: Mapping[str, Layout]) -> None:
    """Makes sure that the tensors of a file are as they must be, before any is read.

    Args:
        stored: By their names in the file, what safetensors knows of them: `get_dtype()`, `get_shape()`.
        layouts: What the header says of them.

    Raises:
        ValueError: One is missing, or has another type or shape.
    """
    of_matrices = set()
    for name, layout in layouts.items():
        integers, scales = layout.stored_shapes
        for part, dtype, shape in ((name + _INTEGERS, "U8", integers), (name + _SCALES, "F16", scales)):
            found = stored.get(part)
            if found is None or found.get_dtype() != dtype or found.get_shape() != shape:
                raise ValueError(f"{part} is not there as {dtype} of shape {shape}")
            of_matrices.add(part)
    for name, found in stored.items():
        if name not in of_matrices and found.get_dtype() not in ("F16", "F32", "I64"):
            raise ValueError(f"{name} is {found.get_dtype()}, and not one of F16, F32, I64")

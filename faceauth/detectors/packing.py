"""From a network to packed weights: what is packed, how finely, and what makes good for the rest.

Linear layers get as few bits as were asked for. Convolutions get 8: in a transformer they are a small part
that feeds all the rest. The last layers, small matrices and everything with one axis stay float32; other
matrices, such as embeddings of positions, become float16.

With crops, the layers are packed in the order in which they work. Each is rounded for the inputs that it gets
from what was packed before, so that its outputs stay near to those of the unpacked layer.
"""

import copy
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from faceauth.detectors.packed import Layout, Packed, pack_matrix
from faceauth.detectors.rounding import BITS, Rounded, round_weights
from faceauth.errors import DetectorError, UsageError

# Finer groups cost room: a scale of 16 bits each.
GROUP_SIZE = 64
FINE_BITS = 8
# Smaller matrices are not worth an error.
MIN_VALUES = 4096
# float16 holds these with 11 digits of the largest value.
_HALF_RANGE = (2.0**-10, 65504.0)

Advance = Callable[[int], None]
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def pack(
    model: PreTrainedModel,
    *,
    bits: int,
    group_size: int | None = None,
    keep: Collection[str] = (),
    batches: Sequence[Tensor] = (),
    advance: Advance | None = None,
) -> Packed:
    """Packs the weights of a network; the network itself stays as it is.

    Args:
        model: On the CPU.
        bits: Of the weights of linear layers, one of `BITS`.
        group_size: Columns that share a scale; None: 64 below 8 bits, a whole row at 8.
        keep: Names of modules that are not packed, such as the last layers.
        batches: Pixel values of crops like those that it will judge, (n, 3, height, width) float32 each; 32
            crops and more, and none of those on which the result is measured. Without them each weight is
            rounded by itself: good at 8 bits, a great loss at 4.
        advance: Called with the number of layers after each.

    Raises:
        UsageError: There are no such bits.
        DetectorError: A weight is not finite.
    """
    if bits not in BITS:
        raise UsageError(
            f"Weights cannot be packed with {bits} bits.",
            f"Use {', '.join(map(str, BITS[:-1]))} or {BITS[-1]}.",
        )
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise DetectorError(f"{name} holds infinite or undefined weights.", "Train again.")
    network = copy.deepcopy(model).float().eval()
    linear, convolutions = _large(network, nn.Linear, keep), _large(network, nn.Conv2d, keep)
    rounded = {}
    with torch.no_grad():
        halves = _round_to_half(network, {*linear, *convolutions, *keep})
        for name, convolution in convolutions.items():
            rounded[name] = _replace(convolution, bits=FINE_BITS, group_size=GROUP_SIZE)
        group_size = group_size or (None if bits >= FINE_BITS else GROUP_SIZE)
        for block in _blocks_in_order(network, linear, batches):
            inputs = _observe(network, block, batches)
            for name, module in block.items():
                rounded[name] = _replace(module, bits=bits, group_size=group_size, inputs=inputs.get(name))
                if advance:
                    advance(1)
    return _collect(network, {f"{name}.weight": matrix for name, matrix in rounded.items()}, halves)


def count_layers(model: PreTrainedModel, keep: Collection[str] = ()) -> int:
    """Returns how often `pack` calls `advance`."""
    return len(_large(model, nn.Linear, keep))


@dataclass
class _Inputs:
    """What went into a layer: the number of vectors of d values, their sum (d,), and that of x xᵀ (d, d)."""

    n: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, inputs: Tensor) -> None:
        vectors = inputs.reshape(-1, inputs.shape[-1])
        self.n += len(vectors)
        self.total = self.total + vectors.sum(dim=0)
        self.squares = self.squares + vectors.T @ vectors


class _EnoughSeenError(Exception):
    """Ends a forward pass whose rest nobody needs."""


def _large(network: nn.Module, kind: type[Layer], keep: Collection[str]) -> dict[str, Layer]:
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, kind) and module.weight.numel() >= MIN_VALUES and not _is_within(name, keep)
    }


def _is_within(name: str, modules: Collection[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _blocks_in_order(
    network: nn.Module, layers: dict[str, nn.Linear], batches: Sequence[Tensor]
) -> list[dict[str, nn.Linear]]:
    """Puts layers into the order in which they work; those of one numbered block are packed together."""
    seen: list[str] = []
    if batches:
        with _watch(layers, lambda name, inputs: seen.append(name)):
            network(pixel_values=batches[0][:1])
    blocks: dict[str, dict[str, nn.Linear]] = {}
    for name in dict.fromkeys([*seen, *layers]):
        # Such as `encoder.layers.3` of `encoder.layers.3.mlp.fc1`.
        numbered = re.match(r".*\.\d+(?=\.)", name)
        blocks.setdefault(numbered.group() if numbered else name, {})[name] = layers[name]
    return list(blocks.values())


def _observe(
    network: nn.Module, block: dict[str, nn.Linear], batches: Sequence[Tensor]
) -> dict[str, _Inputs]:
    """Sums up what goes into the layers of a block, as the network is now."""
    seen: dict[str, _Inputs] = {}
    for batch in batches:
        with _watch(block, _Watcher(set(block), seen)), suppress(_EnoughSeenError):
            network(pixel_values=batch)
    return seen


@dataclass
class _Watcher:
    """Adds what goes into layers to what is known, and ends the pass when all have been seen."""

    waited_for: set[str]
    seen: dict[str, _Inputs]

    def __call__(self, name: str, inputs: Tensor) -> None:
        self.seen.setdefault(name, _Inputs()).add(inputs)
        self.waited_for.discard(name)
        if not self.waited_for:
            raise _EnoughSeenError


@contextmanager
def _watch(layers: dict[str, nn.Linear], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Calls `see` with the name of each layer and what goes into it."""

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _layer, inputs: see(name, inputs[0])

    hooks = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _replace(
    layer: nn.Linear | nn.Conv2d, *, bits: int, group_size: int | None, inputs: _Inputs | None = None
) -> Rounded:
    """Rounds the weights of a layer in place; its bias takes up what is lost on the mean input."""
    weights = layer.weight.flatten(1)
    moments = None if inputs is None else inputs.squares / inputs.n
    rounded = round_weights(weights, bits=bits, group_size=group_size, moments=moments)
    values = rounded.values()
    if inputs is not None and layer.bias is not None:
        layer.bias += (weights - values) @ (inputs.total / inputs.n)
    layer.weight.copy_(values.reshape(layer.weight.shape))
    return rounded


def _round_to_half(network: nn.Module, others: Collection[str]) -> set[str]:
    """Rounds matrices outside of certain modules to float16, in place, and returns their names."""
    low, high = _HALF_RANGE
    halves = set()
    for name, tensor in network.state_dict().items():
        is_matrix = tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() >= MIN_VALUES
        if is_matrix and not _is_within(name, others) and low <= float(tensor.abs().max()) <= high:
            tensor.copy_(tensor.half())
            halves.add(name)
    return halves


def _collect(network: nn.Module, rounded: dict[str, Rounded], halves: set[str]) -> Packed:
    tensors: dict[str, Tensor] = {}
    layouts: dict[str, Layout] = {}
    for name, tensor in network.state_dict().items():
        if name in rounded:
            packed = pack_matrix(name, rounded[name], tuple(tensor.shape))
            tensors.update(packed.tensors)
            layouts.update(packed.layouts)
        else:
            tensors[name] = tensor.half() if name in halves else tensor
    return Packed(tensors, layouts)

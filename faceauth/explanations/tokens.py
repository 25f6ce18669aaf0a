"""What a transformer reads its verdict from: which tokens of which layers, and how much each of them says."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from faceauth.detectors.layered_clip import LayeredClipForImageClassification
from faceauth.labels import FAKE, REAL


@dataclass(frozen=True)
class ReadTokens:
    """One pass of n crops through a transformer, with gradients.

    Attributes:
        log_odds: (n,) float32, as in `faceauth.explanations.subject.log_odds_of`.
        attentions: For each layer (n, heads, tokens, tokens): how much each token, by row, takes from each.
        evidence: By layer, counted from 1: (n, tokens) float32, what each of its tokens adds to
            `log_odds`, or to a share of it.
        grid: Rows and columns of patches, the last tokens.
    """

    log_odds: Tensor
    attentions: tuple[Tensor, ...]
    evidence: dict[int, Tensor]
    grid: tuple[int, int]


def patch_size_of(model: nn.Module) -> int | None:
    """Returns the side of a transformer's patches in pixels; None for other networks."""
    config = getattr(model, "config", None)
    size = getattr(getattr(config, "vision_config", config), "patch_size", None)
    return size if isinstance(size, int) else None


def read_tokens(model: PreTrainedModel, pixel_values: Tensor) -> ReadTokens:
    """Runs a batch through a transformer.

    Args:
        model: A private copy: how it computes attention is changed, for the faster ways give no weights.
        pixel_values: (n, 3, height, width) float32.

    Returns:
        What was read; gradients can be taken of `log_odds` by `attentions`.
    """
    patch_size = patch_size_of(model)
    assert patch_size is not None
    grid = (pixel_values.shape[-2] // patch_size, pixel_values.shape[-1] // patch_size)
    # Weights need a gradient even where the network's own are frozen.
    pixel_values = pixel_values.detach().clone().requires_grad_()
    read = _read_layered if isinstance(model, LayeredClipForImageClassification) else _read_plain
    return ReadTokens(*read(model, pixel_values, grid[0] * grid[1]), grid)


_Read = tuple[Tensor, tuple[Tensor, ...], dict[int, Tensor]]


def _read_plain(model: PreTrainedModel, pixel_values: Tensor, n_patches: int) -> _Read:
    """Reads a network whose heads read the tokens before the patches: CLS, and DeiT's distillation token."""
    model.set_attn_implementation("eager")
    passed = model(pixel_values=pixel_values, output_attentions=True)
    n, _, n_tokens, _ = passed.attentions[-1].shape
    n_read = n_tokens - n_patches
    evidence = torch.zeros(n, n_tokens, device=pixel_values.device)
    evidence[:, :n_read] = 1 / n_read
    return _difference(passed.logits.float()), passed.attentions, {len(passed.attentions): evidence}


def _read_layered(model: PreTrainedModel, pixel_values: Tensor, n_patches: int) -> _Read:
    """Reads a network whose head reads CLS, mean and spread of patches of several layers.

    All but the spread goes into the verdict linearly, and the spread is shared out by squared distances from
    the mean; so what the tokens say adds up to the log-odds, but for what an average face of the training
    would get, which is nobody's evidence.
    """
    assert isinstance(model, LayeredClipForImageClassification)
    model.tower.set_attn_implementation("eager")
    passed = model.tower(pixel_values=pixel_values, output_attentions=True, output_hidden_states=True)
    logits = model.head(model.summarise(passed.hidden_states)).float()
    head, config = model.head, model.config
    weight = (head.classifier.weight[FAKE] - head.classifier.weight[REAL]) @ head.narrow.weight / head.scale
    n_each = len(config.layers) * len(config.readings)
    weights, usual = iter(weight.view(n_each, -1)), iter(head.mean.view(n_each, -1))
    evidence = {}
    with torch.no_grad():
        for layer in config.layers:
            tokens = passed.hidden_states[layer]
            said = torch.zeros(tokens.shape[:2], device=tokens.device)
            for reading in config.readings:
                first, shares = _SHARES[reading](tokens[:, -n_patches:], tokens[:, 0], next(usual))
                said[:, first : first + shares.shape[1]] += shares @ next(weights)
            evidence[layer] = said
    return _difference(logits), passed.attentions, evidence


_Shares = tuple[int, Tensor]


def _of_cls(patches: Tensor, cls: Tensor, usual: Tensor) -> _Shares:
    return 0, (cls - usual)[:, None]


def _of_mean(patches: Tensor, cls: Tensor, usual: Tensor) -> _Shares:
    return 1, (patches - usual) / patches.shape[1]


def _of_spread(patches: Tensor, cls: Tensor, usual: Tensor) -> _Shares:
    spread = patches.std(dim=1, keepdim=True).clamp(min=1e-12)
    squares = (patches - patches.mean(dim=1, keepdim=True)) ** 2
    return 1, squares / ((patches.shape[1] - 1) * spread) - usual / patches.shape[1]


# What each reading of a layer owes to which tokens: the first of them, and (n, tokens, features), which add
# up to the reading less what is usual.
_SHARES: dict[str, Callable[[Tensor, Tensor, Tensor], _Shares]] = {
    "cls": _of_cls,
    "mean": _of_mean,
    "spread": _of_spread,
}


def _difference(logits: Tensor) -> Tensor:
    return logits[:, FAKE] - logits[:, REAL]

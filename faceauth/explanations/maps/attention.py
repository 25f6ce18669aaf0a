"""Attention for transformers: from the tokens that the verdict is read from, back to where they looked."""

import torch
from torch import Tensor

from faceauth.explanations.heatmap import HEATMAPS, HeatMethod
from faceauth.explanations.subject import Subject
from faceauth.explanations.tokens import patch_size_of, read_tokens


@HEATMAPS.register("attention")
def attention() -> HeatMethod:
    """Attention weighted by its gradient and followed through all layers.

    In each layer what a token takes from others is its attention, averaged over the heads, as far as more of
    it would speak for fake. Followed back layer by layer this says what each token knows of each patch.
    """
    return HeatMethod(
        summary="Where a transformer looked, as far as looking there spoke for fake",
        source="Chefer et al., Generic attention-model explainability, arXiv 2103.15679; followed "
        "through the layers as in Abnar and Zuidema, attention rollout, arXiv 2005.00928",
        unit="none",
        fits=lambda model: patch_size_of(model) is not None,
        find=_find,
    )


def _find(subject: Subject) -> Tensor:
    with torch.enable_grad():
        read = read_tokens(subject.detector.model, subject.pixel_values)
        gradients = torch.autograd.grad(read.log_odds.sum(), read.attentions)
    with torch.no_grad():
        n, _, n_tokens, _ = read.attentions[0].shape
        rows, columns = read.grid
        first = n_tokens - rows * columns
        known = torch.eye(n_tokens, device=read.log_odds.device).expand(n, -1, -1)
        found = torch.zeros(n, n_tokens, device=read.log_odds.device)
        for layer, (weights, gradient) in enumerate(zip(read.attentions, gradients, strict=True), start=1):
            taken = (weights * gradient).clamp(min=0).mean(dim=1)
            known = known + taken @ known
            if layer in read.evidence:
                said = read.evidence[layer].clone()
                # What all patches say alike tells nothing of where it is.
                said[:, first:] -= said[:, first:].mean(dim=1, keepdim=True)
                found = found + torch.einsum("nt,nts->ns", said, known)
        return found[:, first:].view(n, rows, columns)

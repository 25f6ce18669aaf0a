"""Losses on two logits. They are computed by us, since some models return none (DeiT with a teacher does)."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from faceauth.registry import Registry

# Each takes logits (n, 2) float32 and targets (n,) int64, and returns the mean loss, a scalar.
LOSSES: Registry[Callable[[Tensor, Tensor], Tensor]] = Registry("loss", package="faceauth.training.losses")

SMOOTHING = 0.1


@LOSSES.register("cross_entropy")
def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy; with z = logit_real - logit_fake it is the original's BCEWithLogitsLoss of z."""
    return functional.cross_entropy(logits, targets)


@LOSSES.register("label_smoothing")
def label_smoothing(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy against 0.95 and 0.05 instead of 1 and 0 (arXiv 1512.00567, section 7, with 0.1)."""
    return functional.cross_entropy(logits, targets, label_smoothing=SMOOTHING)

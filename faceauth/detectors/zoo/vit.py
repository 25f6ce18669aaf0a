"""The plain vision transformer."""

from typing import Any

from transformers import PreTrainedModel, ViTConfig, ViTForImageClassification

from faceauth.detectors.architecture import DETECTORS, HALF_MEAN, HALF_STD, Architecture
from faceauth.detectors.transformers_networks import two_class_config


@DETECTORS.register("vit")
def vit() -> Architecture:
    """ViT-B/16 at 224 px."""
    return Architecture(
        summary="Vision transformer on patches of 16 px",
        source="Dosovitskiy et al., An image is worth 16x16 words: transformers for image recognition at "
        "scale, arXiv 2010.11929",
        default_weights="google/vit-base-patch16-224",
        image_size=224,
        mean=HALF_MEAN,
        std=HALF_STD,
        heads=("classifier",),
        build=_build,
    )


def _build(image_size: int, options: dict[str, Any]) -> PreTrainedModel:
    return ViTForImageClassification(two_class_config(ViTConfig, image_size, options))

"""DeiT with a distillation token, the namesake project's detector."""

from typing import Any

from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher, PreTrainedModel

from faceauth.detectors.architecture import DETECTORS, IMAGENET_MEAN, IMAGENET_STD, Architecture
from faceauth.detectors.transformers_networks import two_class_config


@DETECTORS.register("deit")
def deit() -> Architecture:
    """DeiT-B distilled at 384 px. Its logits are the mean of the class head's and the distillation head's."""
    return Architecture(
        summary="Data-efficient image transformer with a distillation token",
        source="Touvron et al., Training data-efficient image transformers & distillation through attention, "
        "arXiv 2012.12877",
        default_weights="facebook/deit-base-distilled-patch16-384",
        image_size=384,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        heads=("cls_classifier", "distillation_classifier"),
        build=_build,
    )


def _build(image_size: int, options: dict[str, Any]) -> PreTrainedModel:
    return DeiTForImageClassificationWithTeacher(two_class_config(DeiTConfig, image_size, options))

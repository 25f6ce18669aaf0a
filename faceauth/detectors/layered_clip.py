"""A CLIP image tower that is cut after some layers, and a head that reads several of the layers at once.

Early and middle layers of CLIP keep the low-level traces that the last layers drop for the sake of meaning;
RINE (Koutlis and Papadopoulos, "Leveraging representations from intermediate encoder-blocks for synthetic
image detection", arXiv 2402.19091) reads the CLS token of every layer. Here the mean and the spread of the
patch tokens are read besides, and what lies after the last layer that is read is cut off.
"""

from typing import Any, ClassVar

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

# What is read of a layer: the CLS token, the mean of the patch tokens, and their standard deviation.
READINGS = ("cls", "mean", "spread")


class LayeredClipConfig(PreTrainedConfig):
    """Settings of the network.

    Attributes:
        vision_config: Of the tower; its `num_hidden_layers` is where the tower is cut.
        layers: Which layers the head reads, counted from 1.
        readings: What it reads of each, of `READINGS`.
        head_size: Width of the head's hidden layer, which is the embedding; 0 for a linear head.
        head_dropout: Chance that a reading is dropped while the head learns.
    """

    model_type = "faceauth_layered_clip"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": CLIPVisionConfig}

    def __init__(
        self,
        vision_config: dict[str, Any] | CLIPVisionConfig | None = None,
        layers: tuple[int, ...] | list[int] = (5, 6, 7),
        readings: tuple[str, ...] | list[str] = READINGS,
        head_size: int = 64,
        head_dropout: float = 0.2,
        **further: Any,
    ) -> None:
        if isinstance(vision_config, CLIPVisionConfig):
            vision_config = vision_config.to_dict()
        self.layers = sorted(layers)
        settings = {"patch_size": 16, **(vision_config or {}), "num_hidden_layers": max(self.layers)}
        self.vision_config = CLIPVisionConfig(**settings)
        self.readings = list(readings)
        self.head_size = head_size
        self.head_dropout = head_dropout
        self.image_size = self.vision_config.image_size
        super().__init__(**further)
        if unknown := sorted(set(self.readings) - set(READINGS)) or not self.readings:
            raise ValueError(f"readings are of {', '.join(READINGS)}, not {unknown}")
        if self.layers[0] < 1:
            raise ValueError(f"layers are counted from 1, not {self.layers[0]}")

    @property
    def n_features(self) -> int:
        """Length of what the head reads of an image."""
        return len(self.layers) * len(self.readings) * int(self.vision_config.hidden_size)


class LayeredHead(nn.Module):
    """Standardises what was read, narrows it to an embedding, and decides.

    The statistics of the standardisation are learnt from the training set, without parameters of their own:
    layers differ in scale by a factor of ten, and no layer shall drown another.
    """

    def __init__(self, config: LayeredClipConfig) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(config.n_features, affine=False)
        self.dropout = nn.Dropout(config.head_dropout)
        self.narrow = nn.Linear(config.n_features, config.head_size) if config.head_size else nn.Identity()
        self.activate = nn.GELU() if config.head_size else nn.Identity()
        self.classifier = nn.Linear(config.head_size or config.n_features, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Turns (n, n_features) into logits (n, 2)."""
        return self.classifier(self.activate(self.narrow(self.dropout(self.standardise(features)))))


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
        hidden_states = self.tower(pixel_values=pixel_values, output_hidden_states=True).hidden_states
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

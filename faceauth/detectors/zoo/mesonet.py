"""MesoNet-4: the small convolutional network that many tools for face swaps begin with.

transformers has no such network, so this file brings one and makes it known under its own model type. Plain
`pipeline("image-classification", model=folder)` opens its checkpoints once this module has been imported;
`load_checkpoint` sees to that by itself.
"""

from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from faceauth.detectors.architecture import DETECTORS, TWO_CLASSES, Architecture
from faceauth.detectors.transformers_networks import two_class_config
from faceauth.errors import DetectorError

# Maps of each block, side of its kernel, and by how much its pooling shrinks both sides (section 3.1).
BLOCKS = ((8, 3, 2), (8, 5, 2), (16, 5, 2), (16, 5, 4))
SHRINKS_BY = 32
HIDDEN = 16


@DETECTORS.register("mesonet4")
def mesonet4() -> Architecture:
    """MesoNet-4 at 256 px, for pixels in [0, 1] as they are; its embedding is the hidden layer, 16 values."""
    return Architecture(
        summary="Four convolutions, 28,000 weights; trained from nothing",
        source="Afchar et al., MesoNet: a compact facial video forgery detection network, arXiv 1809.00888",
        default_weights="random",
        image_size=256,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        heads=("classifier",),
        build=_build,
    )


class MesoNetConfig(PreTrainedConfig):
    """What a MesoNet-4 is built from.

    Args:
        image_size: Side of the input in pixels, a multiple of 32.
        dropout: Share of values that training drops before each of the two linear layers.
        others: What every configuration of transformers knows, such as the labels.
    """

    model_type = "mesonet4"

    def __init__(self, image_size: int = 256, dropout: float = 0.5, **others: Any) -> None:
        self.image_size = image_size
        self.dropout = dropout
        super().__init__(**others)


class MesoNetForImageClassification(PreTrainedModel):
    """Four blocks of convolution, normalisation and pooling, a hidden layer, and one logit a class.

    The paper's network ends in one sigmoid; two logits, of which only the difference counts, say the same.
    """

    config_class = MesoNetConfig
    main_input_name = "pixel_values"

    def __init__(self, config: MesoNetConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        n_in = 3
        for n_out, side, pool in BLOCKS:
            layers += [
                nn.Conv2d(n_in, n_out, side, padding=side // 2),
                nn.ReLU(),
                nn.BatchNorm2d(n_out),
                nn.MaxPool2d(pool),
            ]
            n_in = n_out
        self.features = nn.Sequential(*layers)
        n_values = n_in * (config.image_size // SHRINKS_BY) ** 2
        self.hidden = nn.Sequential(
            nn.Flatten(), nn.Dropout(config.dropout), nn.Linear(n_values, HIDDEN), nn.LeakyReLU(0.1)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(HIDDEN, TWO_CLASSES["num_labels"])
        self.post_init()

    def forward(self, pixel_values: Tensor, **others: Any) -> ImageClassifierOutput:
        """From (n, 3, side, side) float32 in [0, 1] to `.logits` (n, 2) as fake, real."""
        hidden = self.hidden(self.features(pixel_values))
        return ImageClassifierOutput(logits=self.classifier(self.dropout(hidden)))

    def _init_weights(self, module: nn.Module) -> None:
        # Glorot's, as in the paper's code: transformers' own are far smaller, and made for transformers.
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


AutoConfig.register(MesoNetConfig.model_type, MesoNetConfig)
AutoModelForImageClassification.register(MesoNetConfig, MesoNetForImageClassification)


def _build(image_size: int, options: dict[str, Any]) -> PreTrainedModel:
    if image_size % SHRINKS_BY:
        raise DetectorError(
            f"MesoNet-4 cannot be built for {image_size} px.", f"Its input is a multiple of {SHRINKS_BY} px."
        )
    return MesoNetForImageClassification(two_class_config(MesoNetConfig, image_size, options))

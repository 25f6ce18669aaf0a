"""Configurations of transformers models, with misspelt options refused."""

from typing import Any, TypeVar

from transformers import PreTrainedConfig

from faceauth.detectors.architecture import TWO_CLASSES
from faceauth.errors import DetectorError, did_you_mean

Config = TypeVar("Config", bound=PreTrainedConfig)


def two_class_config(kind: type[Config], image_size: int, options: dict[str, Any]) -> Config:
    """Makes the configuration of a network with two logits.

    Args:
        kind: A configuration class of transformers.
        image_size: Side of the input in pixels.
        options: Further settings of that class.

    Raises:
        DetectorError: The class has no such setting; transformers itself would keep it silently.
    """
    known = sorted(kind().to_dict())
    for name in options:
        if name not in known:
            raise DetectorError(f"{kind.__name__} has no option '{name}'.", did_you_mean(name, known))
    settings = {"image_size": image_size, **TWO_CLASSES, **options}
    return kind(**settings)

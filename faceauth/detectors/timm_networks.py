"""Networks of timm as transformers models: two logits, and a folder that plain transformers can load."""

from typing import Any

from transformers import PreTrainedModel, TimmWrapperConfig, TimmWrapperForImageClassification

from faceauth.detectors.architecture import TWO_CLASSES


def build_timm(architecture: str, options: dict[str, Any]) -> PreTrainedModel:
    """Makes a timm network with random weights.

    Args:
        architecture: timm's name of the model.
        options: Further arguments of timm's model function.
    """
    config = TimmWrapperConfig(architecture=architecture, model_args=options or None, **TWO_CLASSES)
    return TimmWrapperForImageClassification(config)

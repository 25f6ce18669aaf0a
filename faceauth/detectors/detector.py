"""A detector in memory: its network, the processor of its pixels, and where its weights came from."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    BaseImageProcessor,
    PreTrainedModel,
)
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from faceauth.detectors.architecture import DETECTORS, TWO_CLASSES, Architecture
from faceauth.errors import DetectorError
from faceauth.labels import FAKE, ID2LABEL, REAL

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detector:
    """A network that tells real from fake.

    Attributes:
        name: Registered name of its architecture.
        model: Takes `pixel_values` (n, 3, height, width) float32, gives `.logits` (n, 2) as fake, real.
        processor: Turns uint8 images into `pixel_values`; the only place that knows size and normalisation.
        origin: Where the weights came from, such as `random weights`.
    """

    name: str
    model: PreTrainedModel
    processor: BaseImageProcessor
    origin: str

    @property
    def architecture(self) -> Architecture:
        """The entry of the zoo that this detector was made from."""
        return DETECTORS.get(self.name)()

    def pixel_values(self, images_rgb_uint8: Tensor) -> Tensor:
        """Prepares a batch of crops.

        Args:
            images_rgb_uint8: (n, 3, height, width) uint8.

        Returns:
            (n, 3, input height, input width) float32.
        """
        return self.processor(images=images_rgb_uint8, return_tensors="pt")["pixel_values"]


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keeps transformers from drawing a bar for every file that it reads or writes."""
    was_on = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            enable_progress_bar()


def build_detector(
    name: str,
    *,
    weights: str = "default",
    image_size: int | None = None,
    options: dict[str, Any] | None = None,
) -> Detector:
    """Builds a detector to be trained.

    Args:
        name: Registered name of the architecture.
        weights: `default`, `random`, `package`, a local folder, or an id on the Hugging Face hub.
        image_size: Side of the input in pixels; None keeps what the weights were made for.
        options: Further settings of the architecture, with random weights only.

    Returns:
        The detector; the log says where its weights came from.

    Raises:
        UnknownNameError: There is no such architecture.
        DetectorError: Weights cannot be found or do not fit.
    """
    architecture = DETECTORS.get(name)()
    weights = architecture.default_weights if weights == "default" else weights
    options = options or {}
    if options and weights != "random" and architecture.load_trunk is None:
        raise DetectorError(
            f"detector.options {sorted(options)} change the network, so weights '{weights}' would not fit.",
            "Use detector.weights=random with them.",
        )
    if weights == "random" or weights == "package":
        size = image_size or architecture.image_size
        model = _build(name, architecture, size, options)
        origin = "random weights"
        if weights == "package":
            if architecture.load_package is None:
                raise DetectorError(f"No package carries weights of '{name}'.", _alternatives(name))
            origin = f"{architecture.package_weights} of {architecture.load_package(model)}"
        detector = Detector(name, model, architecture.image_processor(size), origin)
    elif architecture.load_trunk is not None:
        model = _build(name, architecture, image_size or architecture.image_size, options)
        try:
            with without_progress_bars():
                origin = f"weights of {architecture.load_trunk(model, weights)}"
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise _unavailable(name, weights, error) from error
        detector = Detector(name, model, architecture.image_processor(model.config.image_size), origin)
    else:
        detector = _load_pretrained(name, architecture, weights, image_size)
    log.info("detector %s: %s", name, detector.origin)
    return detector


def scores_and_features(detector: Detector, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    """Runs a batch once and takes both the verdict and the embedding.

    Args:
        detector: In evaluation mode, or the embedding depends on the rest of the batch.
        pixel_values: (n, 3, height, width) float32 on the model's device.

    Returns:
        `p_fake` (n,) float64 in [0, 1] on the CPU, not calibrated; and the embedding (n, d) float32 on the
        model's device: what goes into the last linear layer, or the mean over the layers where there are two.
    """
    logits, features = logits_and_features(detector, pixel_values)
    return p_fake_of_logits(logits), features


def logits_and_features(detector: Detector, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    """Does the same as `scores_and_features`, with logits (n, 2) on the model's device for scores."""
    with torch.inference_mode():
        logits, features = TwoAnswers(detector)(pixel_values)
    # Made outside of inference mode, a tensor may serve in what has gradients.
    return logits, features.float().clone()


class TwoAnswers(nn.Module):
    """A detector's network with two outputs, logits and embedding, as exports and other runtimes have it.

    Args:
        detector: The detector; the network is shared, not copied.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network = detector.model
        self._heads = [detector.model.get_submodule(head) for head in detector.architecture.heads]

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Turns (n, 3, height, width) into logits (n, 2) and embeddings (n, d)."""
        caught: list[Tensor] = []

        def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            caught.append(inputs[0])

        hooks = [head.register_forward_pre_hook(catch) for head in self._heads]
        try:
            logits = self.network(pixel_values=pixel_values).logits
        finally:
            for hook in hooks:
                hook.remove()
        return logits, torch.stack(caught).mean(dim=0)


def p_fake_of_logits(logits: Tensor) -> Tensor:
    """Turns logits into scores without a loss of certainty.

    A float32 softmax takes all logits that differ by more than 17 for the same; here, scores stay apart up to
    a difference of 36, and calibration gets back the difference that it works on.

    Args:
        logits: (n, 2) as fake, real, of any float type on any device.

    Returns:
        `p_fake` (n,) float64 in [0, 1], on the CPU, since not every device knows float64.
    """
    logits = logits.cpu().double()
    return (logits[:, FAKE] - logits[:, REAL]).sigmoid()


def _build(
    name: str, architecture: Architecture, image_size: int, options: dict[str, Any]
) -> PreTrainedModel:
    try:
        return architecture.build(image_size, options)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise DetectorError(
            f"'{name}' cannot be built with image_size {image_size} and options {options}: {error}"
        ) from error


def _load_pretrained(name: str, architecture: Architecture, weights: str, image_size: int | None) -> Detector:
    try:
        # use_safetensors: a pickle could run a stranger's code.
        with without_progress_bars():
            model = AutoModelForImageClassification.from_pretrained(
                weights,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                trust_remote_code=False,
                **TWO_CLASSES,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unavailable(name, weights, error) from error
    _check_fits(name, architecture, model, weights)
    model.config.id2label, model.config.label2id = dict(ID2LABEL), TWO_CLASSES["label2id"]
    try:
        processor = AutoImageProcessor.from_pretrained(weights, trust_remote_code=False)
    except (OSError, ValueError):
        # timm's folders have no preprocessor_config.json.
        processor = architecture.image_processor(image_size or architecture.image_size)
    if image_size and architecture.any_size:
        processor = architecture.image_processor(image_size)
    elif image_size and image_size != model.config.image_size:
        raise DetectorError(
            f"The weights '{weights}' are for {model.config.image_size} px, not {image_size} px.",
            "Leave detector.image_size empty, choose other weights, or detector.weights=random.",
        )
    kind = "the folder" if Path(weights).is_dir() else "the hub id"
    return Detector(name, model, processor, f"weights of {kind} {weights}")


def _check_fits(name: str, architecture: Architecture, model: PreTrainedModel, weights: str) -> None:
    modules = dict(model.named_modules())
    missing = [head for head in architecture.heads if head not in modules]
    if missing:
        raise DetectorError(
            f"The weights '{weights}' are of a {type(model).__name__} without {missing[0]}, not of '{name}'.",
            "Choose the detector that they belong to; `faceauth models` lists them.",
        )


def _unavailable(name: str, weights: str, error: Exception) -> DetectorError:
    if Path(weights).is_dir():
        return DetectorError(f"The folder {weights} holds no weights that can be loaded: {error}")
    return DetectorError(
        f"The weights '{weights}' are no folder here, and could not be had from the Hugging Face hub: "
        f"{_first_line(error)}",
        _alternatives(name),
    )


def _alternatives(name: str) -> str:
    packaged = next(name for name in DETECTORS.names() if DETECTORS.get(name)().default_weights == "package")
    return (
        "Without a network use one of: detector.weights=FOLDER with files that you brought, "
        f"detector.weights=random, or detector.name={packaged}, whose weights come with pip."
    )


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."

"""The checkpoint folder: what it takes to judge a face with a trained detector, and to trust the answer.

Beside the files of a transformers model (`config.json`, `model.safetensors`, `preprocessor_config.json`)
there are `faceauth.json` with all that transformers does not know, `train_config.yaml`, and `README.md`,
the model card. Plain `pipeline("image-classification", model=folder)` answers `fake` and `real`.

With `packed.safetensors` in place of `model.safetensors` a folder is smaller, and for FaceAuth alone.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from faceauth.detectors.architecture import DETECTORS
from faceauth.detectors.card import Card, model_card, read_card
from faceauth.detectors.detector import Detector, without_progress_bars
from faceauth.detectors.folder import (
    CARD_NAME,
    CONFIG_NAME,
    PACKED_NAME,
    TEST_READS_NAME,
    find_checkpoint,
    find_weights,
)
from faceauth.detectors.packed import load_packed
from faceauth.errors import DetectorError
from faceauth.files import read_json, whole_folder, write_json
from faceauth.labels import ID2LABEL, LABEL2ID


def save_checkpoint(
    folder: Path, detector: Detector, card: Card, *, write_train_config: Callable[[Path], None]
) -> None:
    """Writes a checkpoint folder, whole or not at all; an older one stays until then.

    Args:
        folder: Where it shall be.
        detector: The detector, on any device.
        card: What transformers does not know.
        write_train_config: Writes the run's settings to a given path.
    """
    with whole_folder(folder) as draft, without_progress_bars():
        detector.model.save_pretrained(draft)
        detector.processor.save_pretrained(draft)
        config = read_json(draft / CONFIG_NAME)
        # timm's wrapper leaves the labels out; other tools look for both.
        config |= {"id2label": {str(i): label for i, label in ID2LABEL.items()}, "label2id": LABEL2ID}
        write_json(draft / CONFIG_NAME, config)
        write_json(draft / CARD_NAME, asdict(card))
        write_train_config(draft / "train_config.yaml")
        (draft / "README.md").write_text(model_card(card), "utf-8")
        if (folder / TEST_READS_NAME).exists():
            # Better weights do not undo that the test split was looked at.
            shutil.copyfile(folder / TEST_READS_NAME, draft / TEST_READS_NAME)


def load_checkpoint(folder: Path) -> tuple[Detector, Card]:
    """Loads a checkpoint folder, plain or packed, or a run folder that holds one, in evaluation mode.

    Raises:
        DetectorError: The folder is none, or its files cannot be read.
    """
    folder = find_checkpoint(folder)
    # transformers knows networks of our own once the zoo has been read.
    DETECTORS.names()
    card = read_card(folder)
    try:
        with without_progress_bars():
            model = _load_network(folder)
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DetectorError(f"{folder} cannot be loaded: {error}") from error
    return Detector(card.detector, model.eval(), processor, f"checkpoint {folder}"), card


def _load_network(checkpoint: Path) -> PreTrainedModel:
    if find_weights(checkpoint).name == PACKED_NAME:
        return load_packed(checkpoint)
    return AutoModelForImageClassification.from_pretrained(
        checkpoint, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )

"""The files of a checkpoint folder: their names, and where they are found. Nothing here imports torch."""

from pathlib import Path

from faceauth.errors import DetectorError

CARD_NAME = "faceauth.json"
CONFIG_NAME = "config.json"
PIXELS_NAME = "preprocessor_config.json"
WEIGHTS_NAME = "model.safetensors"
PACKED_NAME = "packed.safetensors"
TEST_READS_NAME = "test_reads.jsonl"


def find_checkpoint(folder: Path) -> Path:
    """Returns a checkpoint folder itself, or the one in a run folder.

    Raises:
        DetectorError: It is neither.
    """
    for found in (folder, folder / "checkpoint"):
        if (found / CARD_NAME).is_file():
            return found
    raise DetectorError(
        f"{folder} is no checkpoint folder: it has no {CARD_NAME}.",
        "Give the folder that `faceauth train` wrote, or its checkpoint/ inside.",
    )


def find_weights(checkpoint: Path) -> Path:
    """Returns the file that holds the weights of a checkpoint folder, packed or not.

    Raises:
        DetectorError: There are both kinds, and nothing says which of them is meant.
    """
    plain, packed = checkpoint / WEIGHTS_NAME, checkpoint / PACKED_NAME
    if plain.exists() and packed.exists():
        raise DetectorError(
            f"{checkpoint} holds both {WEIGHTS_NAME} and {PACKED_NAME}.",
            "Remove the one that is not meant: they may be of different detectors.",
        )
    return packed if packed.exists() else plain

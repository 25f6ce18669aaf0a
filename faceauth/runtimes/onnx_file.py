"""The ONNX file of an exported detector: one file with network, card and pixel recipe.

The network takes `pixel_values` (n, 3, height, width) float32 and gives `logits` (n, 2) and `face_embedding`
(n, d). What it takes to make pixel values of crops, and verdicts of logits, lies in the file's metadata under
`faceauth`, as JSON.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openvino

from faceauth.detectors.card import Card, card_of_json
from faceauth.errors import DetectorError
from faceauth.files import parse_json
from faceauth.runtimes.network import Model
from faceauth.runtimes.pixels import PixelRecipe

FILE_NAME = "model.onnx"
METADATA_KEY = "faceauth"
VERSION = 1
INPUT_NAME, OUTPUT_NAMES = "pixel_values", ("logits", "face_embedding")
# Ten times the largest network of the zoo; protobuf itself ends at 2 GiB.
MAX_BYTES = 2**31

_EXPORT_AGAIN = "Give a file that `faceauth export --format onnx` wrote, or a checkpoint folder."


def metadata_of(card: Card, pixels: PixelRecipe) -> dict[str, str]:
    """Returns the metadata that an exported file bears."""
    document = {"version": VERSION, "card": asdict(card), "pixels": pixels.to_json()}
    return {METADATA_KEY: json.dumps(document, ensure_ascii=False)}


def read_onnx(path: Path) -> Model:
    """Reads what an ONNX file says of itself; its network is not run.

    Raises:
        DetectorError: It is missing, too large, no ONNX file, or none of ours.
    """
    try:
        if (n_bytes := path.stat().st_size) > MAX_BYTES:
            raise DetectorError(f"{path} has {n_bytes:,} bytes; at most {MAX_BYTES:,} are read.")
        graph = openvino.Core().read_model(path)
    except OSError as error:
        raise DetectorError(f"{path} cannot be opened: {error.strerror}.", _EXPORT_AGAIN) from error
    except RuntimeError as error:
        raise DetectorError(f"{path} is no ONNX file that can be read.", _EXPORT_AGAIN) from error
    try:
        document = _metadata(graph)
        card = card_of_json(document["card"])
        pixels = PixelRecipe.from_json(document["pixels"])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DetectorError(f"{path} bears no card of FaceAuth's: {error}", _EXPORT_AGAIN) from error
    names = [set(port.names) for port in (*graph.inputs, *graph.outputs)]
    wanted = (INPUT_NAME, *OUTPUT_NAMES)
    if len(names) != len(wanted) or any(name not in of for name, of in zip(wanted, names, strict=True)):
        raise DetectorError(f"{path} has other inputs and outputs than {', '.join(wanted)}.", _EXPORT_AGAIN)
    return Model(path, card, pixels)


def _metadata(graph: openvino.Model) -> dict[str, Any]:
    document = parse_json(graph.get_rt_info(["framework", METADATA_KEY]).value.encode())
    if document["version"] > VERSION:
        raise ValueError(f"it is of version {document['version']}, and {VERSION} is the newest that is known")
    return document

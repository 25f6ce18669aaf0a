"""Networks converted for OpenVINO, once a checkpoint and a machine, and kept in the user's cache folder.

Converting takes torch and some seconds; what was converted starts without torch. A network is kept only if it
answers as torch does. `FACEAUTH_CACHE` names another folder; what lies there can be deleted at any time.
"""

import hashlib
import logging
import os
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino

from faceauth.detectors.embedded import is_embedded_folder, load_embedded
from faceauth.detectors.folder import CONFIG_NAME, PIXELS_NAME, find_weights
from faceauth.errors import DetectorError
from faceauth.runtimes.network import Model

if TYPE_CHECKING:
    from faceauth.detectors.detector import Detector

log = logging.getLogger(__name__)

# Another way to convert gives other files, and this a new number.
VERSION = 1
GRAPH_NAME = "network.xml"
# Of the last ones used; each is as large as its weights in float32.
MOST_KEPT = 4
# Logits that differ by more are another network's.
TOLERANCE = 1e-3


def cache_folder() -> Path:
    """Returns the folder that converted networks are kept in; it need not exist."""
    if named := os.environ.get("FACEAUTH_CACHE"):
        return Path(named) / "openvino"
    from platformdirs import user_cache_path

    return user_cache_path("faceauth", appauthor=False) / "openvino"


def convert(model: Model) -> openvino.Model:
    """Returns the graph of a checkpoint folder, from the cache or made now.

    Args:
        model: A checkpoint folder whose pixel recipe is known.

    Returns:
        Takes pixel values (n, 3, height, width) float32; gives logits (n, 2) and embeddings (n, d).

    Raises:
        DetectorError: The checkpoint cannot be loaded, or OpenVINO does not answer as torch does.
    """
    kept = cache_folder() / _key(model.path)
    path = kept / GRAPH_NAME
    if path.is_file():
        with suppress(RuntimeError, OSError):
            graph = openvino.Core().read_model(path)
            os.utime(kept)
            return graph
        log.warning("%s cannot be read and is made anew", path)
    log.info("converting %s for OpenVINO, once; it is kept in %s", model.path.name, cache_folder())
    graph = _converted(model)
    try:
        _keep(graph, kept)
    except (OSError, RuntimeError) as error:
        log.warning("%s cannot be kept, and will be converted again: %s", kept, error)
    return graph


def _keep(graph: openvino.Model, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A draft of its own for each process: several may convert the same network at once.
    draft = Path(tempfile.mkdtemp(prefix=".", dir=kept.parent))
    try:
        openvino.save_model(graph, draft / GRAPH_NAME, compress_to_fp16=False)
        if kept.exists():
            shutil.rmtree(kept, ignore_errors=True)
        draft.replace(kept)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _forget_old(kept.parent)


def _key(checkpoint: Path) -> str:
    """Returns the hash of all that decides what a converted network is."""
    found = hashlib.sha256(f"{VERSION} {openvino.get_version()}".encode())
    for path in (checkpoint / CONFIG_NAME, checkpoint / PIXELS_NAME, find_weights(checkpoint)):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:32]


def _converted(model: Model) -> openvino.Model:
    from faceauth.detectors.checkpoint import load_checkpoint

    is_embedded = is_embedded_folder(model.path)
    detector, _ = load_embedded() if is_embedded else load_checkpoint(model.path)
    try:
        graph = graph_of(detector)
    except Exception as error:  # OpenVINO's front end and torch's tracer raise what they like.
        raise DetectorError(
            f"OpenVINO cannot convert {model.path}: {str(error)[:300]}", "Use --runtime torch."
        ) from error
    _compare(detector, graph, model)
    return graph


def graph_of(detector: "Detector") -> openvino.Model:
    """Converts a network that is in evaluation mode, on the CPU.

    Through OpenVINO's front end itself: its `convert_model` would load a package that reports usage.
    """
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    from faceauth.detectors.detector import TwoAnswers

    size = detector.pixel_values(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape[1:]
    # Two images, or a tracer takes the number for a constant.
    example = torch.zeros(2, *size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(TwoAnswers(detector).eval(), example_input=(example,))
        front_end = FrontEndManager().load_by_framework("pytorch")
        graph = front_end.convert(front_end.load(decoder))
    graph.reshape({0: [-1, *size]})
    return graph


def _compare(detector: "Detector", graph: openvino.Model, model: Model) -> None:
    """Makes sure that a converted network, with the pixels of its recipe, answers as torch does.

    Raises:
        DetectorError: It does not.
    """
    import torch

    from faceauth.detectors.detector import logits_and_features

    side = model.card.crop.image_size
    crops = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    pixel_values = detector.pixel_values(torch.from_numpy(crops).permute(0, 3, 1, 2))
    wanted = [answer.numpy() for answer in logits_and_features(detector, pixel_values)]
    if model.pixels is None:
        raise DetectorError(f"The image processor of {model.path} is not known.", "Use --runtime torch.")
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    answers = openvino.Core().compile_model(graph, "CPU", options)([model.pixels(crops)])
    for number, of_torch in enumerate(wanted):
        largest = float(np.abs(answers[number] - of_torch).max()) / max(1.0, float(np.abs(of_torch).max()))
        if not largest <= TOLERANCE:
            raise DetectorError(
                f"OpenVINO's answers for {model.path} differ from torch's by {largest:.2g}; "
                f"at most {TOLERANCE:g} is taken.",
                "Use --runtime torch.",
            )


def _forget_old(folder: Path) -> None:
    """Removes all converted networks but the last ones used."""
    kept = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in kept[:-MOST_KEPT]:
        shutil.rmtree(path, ignore_errors=True)

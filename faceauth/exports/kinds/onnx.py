"""`onnx`: one file for ONNX Runtime, OpenVINO and whatever else reads ONNX, with 32-bit or 8-bit weights.

With 8 bits, matrices are rounded by themselves and what goes into them while the network runs (dynamic
quantisation); convolutions need to know the range of their inputs, and learn it from crops of the training
split (static quantisation). Weights keep to 7 of the bits: on CPUs without VNNI sums of more would overflow.
"""

import logging
import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faceauth.detectors.card import read_card
from faceauth.detectors.detector import Detector, TwoAnswers
from faceauth.detectors.folder import PIXELS_NAME
from faceauth.errors import DetectorError, MissingExtraError, UsageError
from faceauth.exports.export import EXPORTS, Exported, ExportSettings, Network
from faceauth.files import read_json
from faceauth.runtimes.onnx_file import FILE_NAME, INPUT_NAME, OUTPUT_NAMES, metadata_of
from faceauth.runtimes.pixels import read_pixel_recipe

FLOAT_BITS, INTEGER_BITS = 32, 8
# What float32 arithmetic in another order may cost.
TOLERANCE = 1e-3


@EXPORTS.register("onnx")
def export_onnx(
    detector: Detector,
    checkpoint: Path,
    folder: Path,
    *,
    settings: ExportSettings,
    batches: Sequence[Tensor],
) -> Exported:
    """Writes `model.onnx`: pixel values of any batch size in, logits and embedding out, the card inside.

    Raises:
        DetectorError: The network cannot be written, or the file does not answer as torch does.
        MissingExtraError: ONNX's packages are not installed.
        UsageError: There is no such number of bits, or 8 of a convolutional network without crops.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter asks for it late, and in other words
    except ImportError as error:
        raise MissingExtraError(
            f"Exporting to ONNX needs the package {error.name}.", 'Install it: pip install "faceauth[onnx]"'
        ) from error
    bits = settings.bits or FLOAT_BITS
    if bits not in (FLOAT_BITS, INTEGER_BITS):
        raise UsageError(f"ONNX files have no weights of {bits} bits here.", "Give --bits 32 or 8.")
    pixels = read_pixel_recipe(read_json(checkpoint / PIXELS_NAME))
    if pixels is None:
        raise DetectorError(f"The image processor of {checkpoint} does what no ONNX file can say.")
    path = folder / FILE_NAME
    example = torch.zeros(2, *pixels.input_shape)
    _write_float(detector, example, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    _compare(detector, _network(session), torch.rand(3, *example.shape[1:]) * 2 - 1)
    if bits == INTEGER_BITS:
        _round(path, batches)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, metadata_of(read_card(checkpoint), pixels))
    onnx.save(graph, path)
    return Exported(_network(session), bits)


def _network(session: Any) -> Network:
    def run(pixel_values: Tensor) -> Tensor:
        return torch.from_numpy(session.run(OUTPUT_NAMES[:1], {INPUT_NAME: pixel_values.numpy()})[0])

    return run


def _write_float(detector: Detector, example: Tensor, path: Path) -> None:
    try:
        with warnings.catch_warnings(), _without_notes():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                TwoAnswers(detector).eval(),
                (example,),
                str(path),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=[INPUT_NAME],
                output_names=list(OUTPUT_NAMES),
                dynamic_shapes=({0: torch.export.Dim("n")},),
            )
    except Exception as error:  # the exporter raises what it likes
        raise DetectorError(f"'{detector.name}' cannot be written as ONNX: {str(error)[:300]}") from error


def _compare(detector: Detector, network: Network, pixel_values: Tensor) -> None:
    with torch.inference_mode():
        wanted = detector.model(pixel_values=pixel_values).logits
    largest = float((network(pixel_values) - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))
    if not largest <= TOLERANCE:
        raise DetectorError(
            f"The ONNX file's logits differ from torch's by {largest:.2g}; at most {TOLERANCE:g} is taken."
        )


def _round(path: Path, batches: Sequence[Tensor]) -> None:
    """Rounds the weights of a file to 8 bits, in place."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    class Crops(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[Tensor] = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT_NAME: batch.numpy()}

    is_convolutional = _share_of_convolutions(onnx.load(path)) > 0.5
    if is_convolutional and not batches:
        raise UsageError(
            "To round convolutions to 8 bits, it takes crops.",
            "Give --manifest; crops of train are looked at.",
        )
    with tempfile.TemporaryDirectory() as scratch, _without_notes():
        rounded = Path(scratch) / path.name
        if is_convolutional:
            quantize_static(
                path,
                rounded,
                Crops(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
            )
        else:
            quantize_dynamic(
                path,
                rounded,
                op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
            )
        path.write_bytes(rounded.read_bytes())


@contextmanager
def _without_notes() -> Iterator[None]:
    """Keeps exporters from telling people what only those who export by hand can heed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _share_of_convolutions(graph: Any) -> float:
    """Returns the share of a network's weights that lie in convolutions."""
    of_convolutions = {node.input[1] for node in graph.graph.node if node.op_type == "Conv"}
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.graph.initializer}
    return sum(sizes.get(name, 0) for name in of_convolutions) / max(1, sum(sizes.values()))

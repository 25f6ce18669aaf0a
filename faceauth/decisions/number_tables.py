"""Tables of numbers in JSON: half precision in Base64, each column scaled to its largest number."""

import base64
import binascii
from typing import Any

import numpy as np


def pack_table(table: np.ndarray) -> dict[str, Any]:
    """Packs a table of finite numbers, float (n, d), for JSON."""
    scales = np.maximum(np.abs(table).max(axis=0), 1e-30)
    numbers = base64.b64encode((table / scales).astype("<f2").tobytes()).decode("ascii")
    packed_scales = base64.b64encode(scales.astype("<f4").tobytes()).decode("ascii")
    return {"shape": list(table.shape), "float16": numbers, "scales_float32": packed_scales}


def unpack_table(packed: dict[str, Any]) -> np.ndarray:
    """Returns the table that `pack_table` packed, float64 (n, d).

    Raises:
        ValueError, KeyError, TypeError: It did not.
    """
    try:
        numbers = np.frombuffer(base64.b64decode(packed["float16"], validate=True), "<f2")
        scales = np.frombuffer(base64.b64decode(packed["scales_float32"], validate=True), "<f4")
    except binascii.Error as error:
        raise ValueError(f"a table is no Base64: {error}") from error
    table = numbers.reshape(packed["shape"]).astype(np.float64) * scales
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError("what should be a table of finite numbers is none")
    return table

"""Arrays for passing use whose memory is kept: fresh memory takes the system longer than us to fill it."""

import math

import numpy as np


class Scratch:
    """Hands out arrays by name, each good until the next of its name is asked for; not for two threads."""

    def __init__(self) -> None:
        self._bytes: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        """Returns an array of zeros, or of what was left under that name."""
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        kept = self._bytes.get(name)
        if kept is None or len(kept) < n_bytes:
            kept = self._bytes[name] = np.zeros(n_bytes, np.uint8)
        return kept[:n_bytes].view(dtype).reshape(shape)

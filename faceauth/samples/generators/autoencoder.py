"""The trace of a picture that went through a narrow code: patches of low rank, without a sensor's grain."""

import numpy as np

from faceauth.samples.noise import FloatArray
from faceauth.samples.subjects import SIMULATED_GENERATORS, Subject

_PATCH, _STRIDE = 8, 4
_CODE_LENGTH = (20, 30)
_CODE_STEP = 0.04


@SIMULATED_GENERATORS.register("sim_autoencoder")
def rebuild_from_short_codes(subject: Subject, rng: np.random.Generator) -> FloatArray:
    """Writes each patch of the photograph as a short, rounded code and rebuilds the picture from the codes.

    The best linear autoencoder is a principal component analysis (Baldi and Hornik, Neural Networks 2,
    1989). Its codes hold the patches' common shapes; what does not fit, grain above all, is lost. Rounding
    stands for the code book of a quantised autoencoder (van den Oord et al., arXiv 1711.00937).

    Args:
        subject: Gives the photograph.
        rng: Draws the length of the code.
    """
    photograph = subject.photograph_srgb
    windows = np.lib.stride_tricks.sliding_window_view(photograph, (_PATCH, _PATCH), axis=(0, 1))
    # (rows, columns, 3, patch, patch), every fourth window both ways.
    windows = windows[::_STRIDE, ::_STRIDE]
    grid = windows.shape[:2]
    patches = windows.reshape(grid[0] * grid[1], -1)
    mean = patches.mean(axis=0)
    centred = patches - mean
    _, directions = np.linalg.eigh(centred.T @ centred)
    basis = directions[:, -int(rng.integers(*_CODE_LENGTH)) :]
    codes = centred @ basis
    codes = np.round(codes / _CODE_STEP) * np.float32(_CODE_STEP)
    rebuilt = (codes @ basis.T + mean).reshape(*grid, 3, _PATCH, _PATCH)
    return _overlap(rebuilt.astype(np.float32), photograph)


def _overlap(rebuilt: FloatArray, photograph: FloatArray) -> FloatArray:
    """Averages overlapping patches; what no patch reaches at the border stays as it was."""
    rows, columns = rebuilt.shape[:2]
    total = np.zeros_like(photograph)
    count = np.zeros((*photograph.shape[:2], 1), np.float32)
    for down in range(0, _PATCH, _STRIDE):
        for right in range(0, _PATCH, _STRIDE):
            tiles = rebuilt[:, :, :, down : down + _STRIDE, right : right + _STRIDE]
            block = tiles.transpose(0, 3, 1, 4, 2).reshape(rows * _STRIDE, columns * _STRIDE, 3)
            place = (slice(down, down + block.shape[0]), slice(right, right + block.shape[1]))
            total[place] += block
            count[place] += 1
    return np.where(count > 0, total / np.maximum(count, 1), photograph).astype(np.float32)

"""The trace of a network that grows its picture by transposed convolutions: a checkerboard."""

import numpy as np
from PIL import Image

from faceauth.samples.noise import FloatArray
from faceauth.samples.subjects import SIMULATED_GENERATORS, Subject

_STAGES = 2
_UNEVENNESS = (0.006, 0.015)
_FINEST_DETAIL = 0.55


@SIMULATED_GENERATORS.register("sim_upsampler")
def grow_by_transposed_convolution(subject: Subject, rng: np.random.Generator) -> FloatArray:
    """Shrinks the photograph twice by two and grows it again by stride-two transposed convolutions.

    A kernel of three taps at stride two overlaps itself unevenly: between two samples it adds two taps, on a
    sample one. Unless the taps balance, a checkerboard stays, and the spectrum has peaks at the multiples of
    1/2 and 1/4 of the sampling rate (Zhang et al., arXiv 1907.06515, section 3; Wang et al., arXiv
    1912.11035, section 5). As in a generator with skips, each stage adds detail of its own size.

    Args:
        subject: Gives the photograph.
        rng: Draws how badly the kernels balance.
    """
    levels = [subject.photograph_srgb]
    for _ in range(_STAGES):
        levels.append(_halve(levels[-1]))
    picture = levels[-1]
    for stage, wanted in enumerate(reversed(levels[:-1])):
        unevenness = rng.uniform(*_UNEVENNESS, size=(2, 3)) * rng.choice([-1, 1], size=(2, 1))
        detail = wanted - _double(_halve(wanted), np.zeros((2, 3)))
        keep = _FINEST_DETAIL if stage == _STAGES - 1 else 1.0
        picture = _double(picture, unevenness) + np.float32(keep) * detail
    return picture


def _halve(picture: FloatArray) -> FloatArray:
    size = (picture.shape[1] // 2, picture.shape[0] // 2)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(picture, -1, 0)]
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.BOX)) for plane in planes], axis=-1)


def _double(picture: FloatArray, unevenness: np.ndarray) -> FloatArray:
    """Transposed convolution with taps (1/2, 1, 1/2); `unevenness` (axis, channel) puts them off balance."""
    for axis in (0, 1):
        following = np.concatenate(
            [np.take(picture, range(1, picture.shape[axis]), axis), np.take(picture, [-1], axis)], axis
        )
        # The scale keeps the mean: only the difference between the two phases is a trace.
        gain = unevenness[axis].astype(np.float32)
        on_sample = picture * (1 - gain)
        between = 0.5 * (picture + following) * (1 + gain)
        shape = list(picture.shape)
        shape[axis] *= 2
        picture = np.stack([on_sample, between], axis=axis + 1).reshape(shape)
    return picture.astype(np.float32)

"""The trace of a denoiser: fine detail smoothed away, and grain that no sensor makes put in its place."""

import numpy as np
from scipy.ndimage import uniform_filter

from faceauth.samples.noise import FloatArray
from faceauth.samples.subjects import SIMULATED_GENERATORS, Subject

_RADIUS_PX = 3
_SMOOTHED_BELOW = 0.035
_GRAIN_SHARE = (0.35, 0.55)


@SIMULATED_GENERATORS.register("sim_diffusion")
def smooth_and_regrain(subject: Subject, rng: np.random.Generator) -> FloatArray:
    """Smooths whatever is fainter than an edge and adds white noise.

    Diffusion models reproduce the middle of the spectrum and miss its fine end (Ricker et al., arXiv
    2210.14571, section 5); what noise they leave is white, the same in light and dark, and knows nothing of a
    Bayer mosaic (Corvi et al., arXiv 2211.00680, section 3). The smoother is the guided filter with the
    picture as its own guide (He et al., ECCV 2010).

    Args:
        subject: Gives the photograph.
        rng: Draws the noise.
    """
    photograph = subject.photograph_srgb
    smooth = np.stack([_guided_filter(plane) for plane in np.moveaxis(photograph, -1, 0)], axis=-1)
    removed = float(np.std(photograph - smooth))
    grain = rng.standard_normal(photograph.shape, np.float32) * np.float32(
        removed * rng.uniform(*_GRAIN_SHARE)
    )
    return smooth + grain


def _guided_filter(plane: FloatArray) -> FloatArray:
    size = 2 * _RADIUS_PX + 1
    mean = uniform_filter(plane, size, mode="reflect")
    variance = np.maximum(uniform_filter(plane * plane, size, mode="reflect") - mean * mean, 0)
    gain = variance / (variance + np.float32(_SMOOTHED_BELOW**2))
    offset = mean - gain * mean
    return uniform_filter(gain, size, mode="reflect") * plane + uniform_filter(offset, size, mode="reflect")

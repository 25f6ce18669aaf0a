"""Lines of an average spectrum: one frequency along an axis that stands out whatever the other one is.

What repeats at a distance without repeating everywhere leaves no peak but a comb of lines: two alike eyes
64 px apart give a line at each multiple of 1/64 cycles per pixel. The level of a frequency along one axis is
its mean over the other axis from 0.1 to 0.4 cycles per pixel. A line is sought among these levels as a peak
is among all frequencies (see `faceauth.clusters.spectral_peaks`): above the median of the neighbours 2 to 5
bins away, by more than Bonferroni's limit, and the highest within 1 bin. A mean over many frequencies is not
skewed.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.stats import norm

from faceauth.clusters.spectra import AverageSpectrum, line_neighbours
from faceauth.clusters.spectral_peaks import (
    FALSE_ALARM_SHARE,
    JPEG_BLOCK_PX,
    LEAST_ERROR_DB,
    LOWEST_FREQUENCY,
    nearest_fraction,
)

AXES = ("x", "y")


@dataclass(frozen=True, slots=True)
class Line:
    """One frequency along an axis.

    Attributes:
        axis: `x` if it is a frequency from left to right, `y` if from top to bottom.
        frequency: Cycles per pixel, in [0.1, 1/2].
        height_db: Above its neighbours.
        z: How sure that is, in standard deviations of a normal distribution.
        fraction: The nearest fraction, such as `1/8`, if it is within half a bin; else None.
        on_jpeg_grid: Whether it is a multiple of 1/8, where JPEG's blocks leave lines too.
    """

    axis: str
    frequency: float
    height_db: float
    z: float
    fraction: str | None
    on_jpeg_grid: bool

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a dictionary."""
        return {name: getattr(self, name) for name in self.__slots__}


def find_lines(spectrum: AverageSpectrum, others: list[AverageSpectrum]) -> tuple[list[Line], float]:
    """Searches a source, or its difference to the mean of others, for lines.

    Args:
        spectrum: A source of at least `MIN_GROUPS` groups.
        others: Sources of at least as many, each with the same weight; none for the source itself.

    Returns:
        The lines, the highest z first, and the height in decibels below which a line stays unseen.
    """
    level = spectrum.lines_db
    variance = _variance(spectrum)
    if others:
        level = level - np.mean([other.lines_db for other in others], axis=0)
        variance = variance + np.sum([_variance(other) for other in others], axis=0) / len(others) ** 2
    error = np.sqrt(variance)
    p = 2 * (level.shape[1] - 1)
    frequency = np.arange(level.shape[1]) / p
    tested = (frequency >= LOWEST_FREQUENCY) & (error > LEAST_ERROR_DB)
    if not tested.any():
        return [], 0.0
    limit_z = float(norm.isf(FALSE_ALARM_SHARE / tested.sum()))
    height = line_heights(level)
    z = np.divide(height, error, out=np.zeros_like(height), where=tested)
    spread = max(1.0, 1.4826 * float(np.median(np.abs(z[tested] - np.median(z[tested])))))
    beside = np.maximum(height[:, line_neighbours(p, 1, 1)].max(axis=-1), height)
    is_top = tested & (z >= limit_z * spread) & (height == beside)
    lines = []
    for axis, k in np.argwhere(is_top):
        fraction = nearest_fraction(float(frequency[k]), p)
        lines.append(
            Line(
                axis=AXES[axis],
                frequency=float(frequency[k]),
                height_db=float(height[axis, k]),
                z=float(z[axis, k] / spread),
                fraction=None if fraction is None else str(fraction),
                on_jpeg_grid=_divides_block(fraction),
            )
        )
    limit_db = limit_z * spread * float(np.median(error[tested]))
    return sorted(lines, key=lambda line: (-line.z, line.axis, line.frequency)), limit_db


def line_heights(level: np.ndarray) -> np.ndarray:
    """Returns how far each frequency along an axis stands above the median of its neighbours.

    Args:
        level: Decibels, float64 (2, patch_px // 2 + 1).

    Returns:
        Decibels of the same shape.
    """
    return level - np.median(level[:, line_neighbours(2 * (level.shape[1] - 1))], axis=-1)


def _variance(spectrum: AverageSpectrum) -> np.ndarray:
    variance = spectrum.line_contrast_error_db**2
    around = variance[:, line_neighbours(2 * (variance.shape[1] - 1))].mean(axis=-1)
    return np.maximum(variance, around)


def _divides_block(fraction: Fraction | None) -> bool:
    return fraction is not None and JPEG_BLOCK_PX % fraction.denominator == 0

"""Peaks of an average spectrum: frequencies that stand above their neighbours by more than chance allows.

The height of a frequency is its level above the *highest* of three medians: of its neighbours along the row,
along the column, and all around. So a ridge along an axis, which horizontal and vertical edges make in any
picture, is no row of peaks, and a peak on a ridge is still found. Neighbours are 2 to 5 bins away: a grid of
pixels leaves a peak of 3 bins, which is what the window makes of it, and anything wider is no grid.

Height over its standard error is z. Three things would make it too large, and are kept from it:

* Of many errors some are small by chance. An error counts at least as much as the mean of those around.
* The logarithm of the power of noise is skewed, with heavy lows: its skewness is -1.14, and by the number of
  groups less for a mean. Where that makes a z look more certain than it is, the first term of Cornish and
  Fisher's expansion takes it back. With fewer than 10 groups the term is no longer enough, and no peaks are
  sought.
* Smooth structure that is no peak widens the spread of all z. If that is above 1, z is divided by it.

What stays above Bonferroni's limit, a chance of 5 % that any of all tested frequencies of a source passes it
without a cause, and is the highest within 1 bin is a peak. Frequencies below 0.1 cycles per pixel are not
tested: there eyes, teeth and lips of faces that lie alike make maxima of their own.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter, median_filter, uniform_filter
from scipy.stats import norm

from faceauth.clusters.spectra import NEIGHBOURHOOD_BINS, SMEARED_BINS, AverageSpectrum, whole_plane

FALSE_ALARM_SHARE = 0.05
LOWEST_FREQUENCY = 0.1
# What factors of 2 and 3 in an upsampler, and blocks of 8 in a codec, can leave.
DENOMINATORS = (1, 2, 3, 4, 6, 8, 16, 32)
JPEG_BLOCK_PX = 8
MIN_GROUPS = 10
# A smaller error is the rounding of pictures that do not differ at all.
LEAST_ERROR_DB = 1e-4
# Of the logarithm of an exponential variable, which the power of noise is.
LOG_POWER_SKEWNESS = -1.1395


@dataclass(frozen=True, slots=True)
class Peak:
    """One frequency with its mirror images.

    Attributes:
        fx: Cycles per pixel from left to right, in [0, 1/2].
        fy: Cycles per pixel from top to bottom, in [0, 1/2].
        height_db: Above its neighbours; below them, and negative, if it is a hole.
        z: How sure that is, in standard deviations of a normal distribution; negative for a hole.
        n_mirrored: In how many directions it was found: 2 if at (fx, fy) and (fx, -fy), else 1.
        fraction: The nearest fractions, such as `1/4, 0`, if both are within half a bin; else None.
        on_jpeg_grid: Whether JPEG's blocks of 8 pixels leave peaks there too: both are multiples of 1/8.
    """

    fx: float
    fy: float
    height_db: float
    z: float
    n_mirrored: int
    fraction: str | None
    on_jpeg_grid: bool

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a dictionary."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class PeakSearch:
    """What a search found, and what it could have found.

    Attributes:
        peaks: The highest z first.
        holes: The same below the neighbours.
        limit_z: From this z on it is a peak.
        limit_db: The height that this stands for at the median frequency: lower peaks stay unseen.
        n_tested: Number of frequencies.
    """

    peaks: list[Peak]
    holes: list[Peak]
    limit_z: float
    limit_db: float
    n_tested: int


def find_own_peaks(spectrum: AverageSpectrum) -> PeakSearch:
    """Searches the spectrum of one source, of at least `MIN_GROUPS` groups."""
    variance = _variance(spectrum)
    return _search(spectrum.log_power_db, variance, variance**1.5 / math.sqrt(spectrum.n_groups))


def find_peaks_against(spectrum: AverageSpectrum, others: list[AverageSpectrum]) -> PeakSearch:
    """Searches the difference between a source and the mean of others, each with the same weight.

    Errors of both sides are taken as independent. Where fakes share groups with the reals they were made
    from, the difference is surer than that.

    Args:
        spectrum: A source of at least `MIN_GROUPS` groups.
        others: At least one source, each of at least as many.
    """
    own = _variance(spectrum)
    of_others = [_variance(other) / len(others) ** 2 for other in others]
    skewed = own**1.5 / math.sqrt(spectrum.n_groups)
    for variance, other in zip(of_others, others, strict=True):
        # What is too low among the others is too high in the difference.
        skewed = skewed - variance**1.5 / math.sqrt(other.n_groups)
    mean = np.mean([other.log_power_db for other in others], axis=0)
    return _search(spectrum.log_power_db - mean, own + np.sum(of_others, axis=0), skewed)


def height_at(spectrum: AverageSpectrum, peak: Peak) -> float:
    """Returns how far a source's own spectrum stands above its neighbours where a peak is, in decibels."""
    p = len(spectrum.log_power_db)
    row, column = round(peak.fy * p), round(peak.fx * p)
    level = whole_plane(spectrum.log_power_db)
    reach = NEIGHBOURHOOD_BINS // 2
    heights = []
    for place in {(row, column), (-row % p, column)}:
        # The filters' values at one place are those of its neighbourhood alone.
        around = np.ix_(*(np.arange(middle - reach, middle + reach + 1) % p for middle in place))
        heights.append(level[place] - _medians(level[around])[:, reach, reach].max())
    return float(max(heights))


def nearest_fraction(frequency: float, p: int) -> Fraction | None:
    """Returns the fraction within half a bin that an upsampler or a codec may stand behind, or None.

    Args:
        frequency: Cycles per pixel, in [0, 1/2].
        p: Side of the patch in pixels; a bin is 1 / p.
    """
    candidates = {Fraction(round(frequency * q), q) for q in DENOMINATORS}
    nearest = min(candidates, key=lambda fraction: (abs(fraction - frequency), fraction.denominator))
    return nearest if abs(nearest - frequency) <= 0.5 / p else None


def _variance(spectrum: AverageSpectrum) -> np.ndarray:
    """Variance of the mean's contrast on the whole plane: its own, or that of its surroundings if larger."""
    variance = whole_plane(spectrum.contrast_error_db**2)
    return np.maximum(variance, uniform_filter(variance, NEIGHBOURHOOD_BINS, mode="wrap"))


def _search(level_db: np.ndarray, variance: np.ndarray, skewed: np.ndarray) -> PeakSearch:
    """Searches a half plane of levels, with whole planes of its variance and of its skew in dB ** 3."""
    level, error = whole_plane(level_db), np.sqrt(variance)
    p = len(level)
    frequency = np.fft.fftfreq(p)
    tested = (np.hypot(frequency[:, None], frequency) >= LOWEST_FREQUENCY) & (error > LEAST_ERROR_DB)
    # Each frequency is there twice, but for the few that are their own mirror image.
    n_tested = max(1, int(tested.sum()) // 2)
    limit_z = float(norm.isf(FALSE_ALARM_SHARE / n_tested))
    skewness = LOG_POWER_SKEWNESS * np.divide(skewed, error**3, out=np.zeros_like(error), where=tested)
    medians = _medians(level)
    found, limits_db = {}, []
    for sign, background in ((1, medians.max(axis=0)), (-1, medians.min(axis=0))):
        height = sign * (level - background)
        z = np.divide(height, error, out=np.zeros_like(height), where=tested)
        # Only where it makes z smaller: groups of several pictures are less skewed than one.
        excess = np.maximum(sign * skewness, 0) * (z**2 - 1) / 6
        z = np.where(z > 1, np.maximum(z - excess, 1), z)
        # The heights lie below 0 at most places; the spread is taken around their own middle.
        among = z[tested] if tested.any() else np.zeros(1)
        spread = max(1.0, 1.4826 * float(np.median(np.abs(among - np.median(among)))))
        is_top = tested & (z >= limit_z * spread)
        is_top &= height == maximum_filter(height, SMEARED_BINS, mode="wrap")
        found[sign] = _merge_mirrored(sign * height, sign * z / spread, is_top)
        limits_db.append(limit_z * spread * float(np.median(error)))
    return PeakSearch(found[1], found[-1], limit_z, limits_db[0], n_tested)


def _medians(level: np.ndarray) -> np.ndarray:
    """Medians of the neighbours of each frequency of a whole plane: all around, in the row, in the column."""
    reach = NEIGHBOURHOOD_BINS // 2
    smeared = slice(reach - SMEARED_BINS // 2, reach + SMEARED_BINS // 2 + 1)
    around = np.ones((NEIGHBOURHOOD_BINS, NEIGHBOURHOOD_BINS), bool)
    around[smeared, smeared] = False
    row = np.ones((1, NEIGHBOURHOOD_BINS), bool)
    row[0, smeared] = False
    return np.stack([median_filter(level, footprint=shape, mode="wrap") for shape in (around, row, row.T)])


def _merge_mirrored(height: np.ndarray, z: np.ndarray, is_top: np.ndarray) -> list[Peak]:
    p = len(height)
    places: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, column in np.argwhere(is_top):
        # Of each pair of opposite frequencies the one to the right is looked at.
        if column <= p // 2:
            places.setdefault((int(column), int(min(row, p - row))), []).append((row, column))
    peaks = []
    for (column, row), members in places.items():
        best = max(members, key=lambda place: abs(z[place]))
        fx, fy = column / p, row / p
        fractions = [nearest_fraction(f, p) for f in (fx, fy)]
        peaks.append(
            Peak(
                fx=fx,
                fy=fy,
                height_db=float(height[best]),
                z=float(z[best]),
                n_mirrored=len(members) if 0 < column < p // 2 and 0 < row < p // 2 else 1,
                fraction=None if None in fractions else ", ".join(map(str, fractions)),
                on_jpeg_grid=all(f is not None and JPEG_BLOCK_PX % f.denominator == 0 for f in fractions),
            )
        )
    return sorted(peaks, key=lambda peak: (-abs(peak.z), -abs(peak.height_db), peak.fx, peak.fy))

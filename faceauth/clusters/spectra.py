"""Average log spectra of each source: where upsampling generators, and the grid of a codec, leave peaks.

Peaks of upsampling are shown and explained by Zhang et al. (arXiv:1907.06515); profiles over the radius are
used by Durall et al. (arXiv:2003.01826), where power is averaged and not its logarithm.

The error of an average counts whole groups: photos of one person and frames of one video are no independent
evidence. Sums are kept of groups and never of single pictures, so that memory does not grow with the number
of pictures.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

import numpy as np

# A frequency is held against a square of so many bins around it, less the inner ones that the window smears.
NEIGHBOURHOOD_BINS = 11
SMEARED_BINS = 3


@dataclass
class Moments:
    """Sums over pictures and over groups of pictures, from which means and their errors follow.

    Attributes:
        n: Number of pictures.
        n_groups: Number of groups.
        total: Sum over pictures, float64 (n_values,).
        squares: Sum over groups of the square of the group's sum, float64 (n_values,).
        cross: Sum over groups of the group's sum times its number of pictures, float64 (n_values,).
        n_squares: Sum over groups of the square of the number of pictures.
        left_out: How many pictures had no part, by reason.
    """

    n: int = 0
    n_groups: int = 0
    total: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0
    cross: np.ndarray | float = 0.0
    n_squares: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add_group(self, group_total: np.ndarray, n: int) -> None:
        """Adds a whole group: the sum over its pictures, and how many there are."""
        self.merge(Moments(n, 1, group_total, group_total**2, n * group_total, n * n))

    def merge(self, other: "Moments") -> None:
        """Adds what was summed elsewhere, over other groups."""
        self.n += other.n
        self.n_groups += other.n_groups
        self.total = self.total + other.total
        self.squares = self.squares + other.squares
        self.cross = self.cross + other.cross
        self.n_squares += other.n_squares
        self.left_out.update(other.left_out)

    def mean_and_error(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean over pictures and its standard error by group, both float64 (n_values,).

        The error is the usual one of a ratio of sums over groups, with its small-sample factor; it is
        infinite where there is a single group.
        """
        mean = np.asarray(self.total / self.n)
        if self.n_groups < 2:
            return mean, np.full(mean.shape, np.inf)
        scatter = np.maximum(self.squares - 2 * mean * self.cross + mean**2 * self.n_squares, 0.0)
        return mean, np.sqrt(scatter * self.n_groups / (self.n_groups - 1)) / self.n


@dataclass(frozen=True)
class AverageSpectrum:
    """What is known of one source in one kind.

    Half planes have the rows of `fftfreq` and the columns of `rfftfreq`; the other half is the mirror image.

    Attributes:
        n: Number of pictures.
        n_groups: Number of groups.
        log_power_db: Mean log power, float64 (patch_px, patch_px // 2 + 1).
        error_db: Its standard error; the same shape.
        contrast_error_db: Standard error of the log power less its neighbourhood's mean; the same shape.
            It is smaller, since what a picture has more of at all neighbours cancels.
        profile_db: Mean log power on rings of 0, 1, ... patch_px // 2 cycles per patch, float64.
        profile_error_db: Its standard error; the same shape.
        high_frequency_db: Mean log power above 1/4 cycle per pixel less that from 1/8 to 1/4.
        high_frequency_error_db: Its standard error.
        lines_db: Mean log power at each frequency along an axis, over 0.1 to 0.4 cycles per pixel along the
            other; float64 (2, patch_px // 2 + 1), from left to right and from top to bottom.
        line_contrast_error_db: Standard error of these less the mean of their neighbours; the same shape.
    """

    n: int
    n_groups: int
    log_power_db: np.ndarray
    error_db: np.ndarray
    contrast_error_db: np.ndarray
    profile_db: np.ndarray
    profile_error_db: np.ndarray
    high_frequency_db: float
    high_frequency_error_db: float
    lines_db: np.ndarray
    line_contrast_error_db: np.ndarray


def average_spectra(moments: Moments, *, patch_px: int, kinds: tuple[str, ...]) -> dict[str, AverageSpectrum]:
    """Turns sums into averages with their errors.

    Args:
        moments: The sums over a source, of at least one picture.
        patch_px: Side of the patches.
        kinds: The kinds that were measured, in the same order.
    """
    plane = (patch_px, patch_px // 2 + 1)
    parts = (math.prod(plane), math.prod(plane), plane[1], 1, 2 * plane[1], 2 * plane[1])
    mean, error = (
        np.split(values, np.cumsum(parts * len(kinds))[:-1]) for values in moments.mean_and_error()
    )
    spectra = {}
    for i, kind in enumerate(kinds):
        power, contrast, profile, high, lines, line_contrast = range(len(parts) * i, len(parts) * (i + 1))
        spectra[kind] = AverageSpectrum(
            n=moments.n,
            n_groups=moments.n_groups,
            log_power_db=mean[power].reshape(plane),
            error_db=error[power].reshape(plane),
            contrast_error_db=error[contrast].reshape(plane),
            profile_db=mean[profile],
            profile_error_db=error[profile],
            high_frequency_db=float(mean[high][0]),
            high_frequency_error_db=float(error[high][0]),
            lines_db=mean[lines].reshape(2, -1),
            line_contrast_error_db=error[line_contrast].reshape(2, -1),
        )
    return spectra


def mean_of_sources(spectra: list[AverageSpectrum]) -> AverageSpectrum:
    """Averages sources with equal weight, so that the largest does not decide; errors follow from theirs.

    Args:
        spectra: At least one, of one kind. The sources are taken as they are: how they differ from one
            another is not in the errors.
    """

    def error_of(name: str) -> np.ndarray:
        return np.sqrt(sum(np.square(getattr(one, name)) for one in spectra)) / len(spectra)

    return AverageSpectrum(
        n=sum(one.n for one in spectra),
        n_groups=sum(one.n_groups for one in spectra),
        log_power_db=np.mean([one.log_power_db for one in spectra], axis=0),
        error_db=error_of("error_db"),
        contrast_error_db=error_of("contrast_error_db"),
        profile_db=np.mean([one.profile_db for one in spectra], axis=0),
        profile_error_db=error_of("profile_error_db"),
        high_frequency_db=float(np.mean([one.high_frequency_db for one in spectra])),
        high_frequency_error_db=float(error_of("high_frequency_error_db")),
        lines_db=np.mean([one.lines_db for one in spectra], axis=0),
        line_contrast_error_db=error_of("line_contrast_error_db"),
    )


def whole_plane(half: np.ndarray) -> np.ndarray:
    """Completes a half plane by its mirror image: (p, p // 2 + 1) becomes (p, p), rows and columns alike."""
    p = len(half)
    mirrored = np.roll(half[::-1], 1, axis=0)[:, p // 2 - 1 : 0 : -1]
    return np.concatenate([half, mirrored], axis=1)


@cache
def line_neighbours(
    patch_px: int, nearest: int = SMEARED_BINS // 2 + 1, farthest: int = NEIGHBOURHOOD_BINS // 2
) -> np.ndarray:
    """Returns the neighbours of each frequency along one axis, which is mirrored at 0 and at 1/2.

    Args:
        patch_px: Side of the patch.
        nearest: The nearest ones' distance in bins.
        farthest: The farthest ones' distance in bins.

    Returns:
        Indices, int64 (patch_px // 2 + 1, 2 * (farthest - nearest + 1)).
    """
    distance = np.arange(nearest, farthest + 1)
    index = np.arange(patch_px // 2 + 1)[:, None] + np.concatenate([-distance, distance])
    return np.abs((index + patch_px // 2) % patch_px - patch_px // 2)

"""Patches of pictures, and what of their spectra is averaged.

A picture gives a square patch of its luma. A Hann window keeps the patch's edges out of the spectrum, and
the power at each frequency is taken as decibels before anything is averaged, so that no bright picture
outweighs the others. Two kinds are measured on the same patch: the *pixels*, and the noise *residual*, which
is what a denoiser takes away, as in Marra et al. (arXiv:1812.11842). The denoiser is the local Wiener filter
(Lee 1980, IEEE TPAMI 2(2), 165-168) over 5 x 5 pixels. A linear filter would not do: in decibels it adds the
same to every source, and no difference would change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.fft import fft2
from scipy.ndimage import uniform_filter

from faceauth.clusters.spectra import NEIGHBOURHOOD_BINS, SMEARED_BINS, Moments, line_neighbours
from faceauth.intake.faces.crop import square_around
from faceauth.intake.pixels.images import SourceImage, UnreadableImageError
from faceauth.intake.pixels.reading import read_each
from faceauth.intake.sources.address import Address

PIXELS, RESIDUALS = KINDS = ("pixels", "residuals")
# Why a row has no part in the spectra.
MISSING, UNREADABLE, CHANGED, SMALL = LEFT_OUT = ("missing", "unreadable", "changed", "small")
LUMA_OF_RGB = (0.299, 0.587, 0.114)
DENOISER_PX = 5
# Variance of the rounding to whole grey levels: below it a file of 8 bits knows nothing.
ROUNDING_VARIANCE = 1 / 12
# Cycles per pixel: a middle and a high band, of which the difference says how much fine detail there is.
MIDDLE_BAND = (1 / 8, 1 / 4)
HIGH_BAND = (1 / 4, 1 / 2)
# Over what of the other axis a line is averaged: away from the ridges along the axes.
ACROSS_BAND = (0.1, 0.4)


@dataclass(frozen=True, slots=True)
class PatchSource:
    """Where a patch comes from.

    Attributes:
        address: Where the image lies.
        box_xyxy: The face in it, in pixels; None takes the middle of the whole image.
        margin_ratio: The patch lies in the square of this many longer box sides, cut as for a crop.
        sha256: What the file's bytes must hash to; empty asks nothing.
    """

    address: Address
    box_xyxy: tuple[float, float, float, float] | None = None
    margin_ratio: float = 1.0
    sha256: str = ""


def measure_patches(sources: list[list[PatchSource]], patch_px: int, kinds: tuple[str, ...]) -> Moments:
    """Reads pictures and sums their spectra; the work of one process at a time.

    Args:
        sources: Groups of pictures; no group may be in two calls for one source.
        patch_px: Side of the patch in pixels.
        kinds: Some of `KINDS`.

    Returns:
        The sums, with the pictures that could not be used counted by reason.
    """
    moments = Moments()
    for group in sources:
        total: np.ndarray | float = 0.0
        n = 0
        for patch, why_not in read_patches(group, patch_px):
            if patch is None:
                moments.left_out[why_not] += 1
                continue
            total = total + describe_patch(patch, kinds)
            n += 1
        if n:
            moments.add_group(np.asarray(total), n)
    return moments


def read_patches(sources: Sequence[PatchSource], patch_px: int) -> Iterator[tuple[np.ndarray | None, str]]:
    """Cuts a patch out of the middle of each face, without resampling.

    Args:
        sources: n pictures; frames of one video that follow each other are read in one go.
        patch_px: Side of the patch in pixels.

    Yields:
        n times the luma in [0, 255], float64 (patch_px, patch_px), and an empty text; or None and one of
        `LEFT_OUT`.
    """
    is_there = [_is_there(source.address) for source in sources]
    images = read_each([source.address for source, there in zip(sources, is_there, strict=True) if there])
    for source, there in zip(sources, is_there, strict=True):
        yield _patch_of(next(images), source, patch_px) if there else (None, MISSING)


def _is_there(address: Address) -> bool:
    try:
        return address.path.is_file()
    except (OSError, ValueError):
        # A name that no file system knows, such as one with a null character.
        return False


def _patch_of(
    image: SourceImage | UnreadableImageError, source: PatchSource, patch_px: int
) -> tuple[np.ndarray | None, str]:
    if isinstance(image, UnreadableImageError):
        return None, UNREADABLE
    if source.sha256 and source.sha256 != image.sha256:
        return None, CHANGED
    height, width = image.image_rgb_uint8.shape[:2]
    box_xyxy = source.box_xyxy or (0.0, 0.0, float(width), float(height))
    x1, y1, x2, y2 = square_around(box_xyxy, width=width, height=height, margin_ratio=source.margin_ratio)
    if x2 - x1 < patch_px:
        return None, SMALL
    left, top = (x1 + x2 - patch_px) // 2, (y1 + y2 - patch_px) // 2
    patch_rgb = image.image_rgb_uint8[top : top + patch_px, left : left + patch_px]
    return patch_rgb @ np.array(LUMA_OF_RGB), ""


def describe_patch(luma: np.ndarray, kinds: tuple[str, ...]) -> np.ndarray:
    """Describes one patch by the values of which averages are taken.

    Args:
        luma: In [0, 255], float64 (patch_px, patch_px).
        kinds: Some of `KINDS`.

    Returns:
        For each kind one after the other: log power, its contrast, profile, high frequencies, lines and their
        contrast; float64.
    """
    patch_px = len(luma)
    half = patch_px // 2 + 1
    values = []
    for kind in kinds:
        power_db = log_power(luma if kind == PIXELS else noise_residual(luma))
        contrast_db = power_db - _neighbourhood_mean(power_db)
        ring, in_ring = _rings(patch_px)
        profile_db = np.bincount(ring, power_db.ravel(), len(in_ring))[:half] / in_ring[:half]
        middle, high = _bands(patch_px)
        high_frequency_db = power_db[high].mean() - power_db[middle].mean()
        across = _across(patch_px)
        lines_db = np.stack([power_db[across, :half].mean(axis=0), power_db[:half, across].mean(axis=1)])
        line_contrast_db = lines_db - lines_db[:, line_neighbours(patch_px)].mean(axis=-1)
        values += [power_db[:, :half].ravel(), contrast_db[:, :half].ravel(), profile_db, [high_frequency_db]]
        values += [lines_db.ravel(), line_contrast_db.ravel()]
    return np.concatenate(values)


def log_power(luma: np.ndarray) -> np.ndarray:
    """Computes the log power spectrum of a patch under a Hann window, without its mean.

    0 dB is the power of white noise of standard deviation 1; its mean logarithm is 2.5 dB lower. The power of
    the rounding to 8 bits is added, so that an empty patch has a logarithm. Where both frequencies are 0 or
    1/2 the spectrum is a real number, and the mean logarithm of noise another 3 dB lower; these are added, so
    that noise is flat.

    Args:
        luma: float64 (patch_px, patch_px).

    Returns:
        Decibels, float64 (patch_px, patch_px), in the order of `fftfreq`.
    """
    window = _hann(len(luma))
    centred = luma - (luma * window).sum() / window.sum()
    power = np.abs(fft2(centred * window)) ** 2 / (window**2).sum()
    real = np.ix_((0, len(luma) // 2), (0, len(luma) // 2))
    power[real] *= 2
    return 10 * np.log10(power + ROUNDING_VARIANCE)


def noise_residual(luma: np.ndarray) -> np.ndarray:
    """Returns what the local Wiener filter takes away: grain and traces, little of edges and texture.

    The level of noise is the median of the local variances, and at least that of the rounding to 8 bits.

    Args:
        luma: float64 (height, width).

    Returns:
        The residual, float64 of the same shape.
    """
    mean = uniform_filter(luma, DENOISER_PX)
    variance = uniform_filter(luma**2, DENOISER_PX) - mean**2
    noise = max(float(np.median(variance)), ROUNDING_VARIANCE)
    return (luma - mean) * np.minimum(1.0, noise / np.maximum(variance, ROUNDING_VARIANCE))


def _neighbourhood_mean(power_db: np.ndarray) -> np.ndarray:
    outer = uniform_filter(power_db, NEIGHBOURHOOD_BINS, mode="wrap") * NEIGHBOURHOOD_BINS**2
    inner = uniform_filter(power_db, SMEARED_BINS, mode="wrap") * SMEARED_BINS**2
    return (outer - inner) / (NEIGHBOURHOOD_BINS**2 - SMEARED_BINS**2)


@cache
def _hann(patch_px: int) -> np.ndarray:
    # Periodic: its own spectrum has three values a side, and no more.
    ramp = np.hanning(patch_px + 1)[:-1]
    return ramp[:, None] * ramp


@cache
def _radius(patch_px: int) -> np.ndarray:
    frequency = np.fft.fftfreq(patch_px)
    return np.hypot(frequency[:, None], frequency)


@cache
def _rings(patch_px: int) -> tuple[np.ndarray, np.ndarray]:
    ring = np.rint(_radius(patch_px) * patch_px).astype(np.int64).ravel()
    return ring, np.bincount(ring)


@cache
def _bands(patch_px: int) -> tuple[np.ndarray, np.ndarray]:
    radius = _radius(patch_px)
    middle, high = ((radius >= low) & (radius < top) for low, top in (MIDDLE_BAND, HIGH_BAND))
    return middle, high


@cache
def _across(patch_px: int) -> np.ndarray:
    frequency = np.abs(np.fft.fftfreq(patch_px))
    return (frequency >= ACROSS_BAND[0]) & (frequency <= ACROSS_BAND[1])

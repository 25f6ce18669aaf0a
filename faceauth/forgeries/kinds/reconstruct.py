"""Reconstructions: the crop made small and brought up again, as the decoders of generators do.

Upsampling leaves copies of the spectrum, however it is done (arXiv 1907.06515), and each kind its own. Some
kinds are fixed filters, others are learnt from the crop itself, as a decoder learns from its training set.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter, uniform_filter

from faceauth.forgeries.forge import Portrait, forgery

# Twice the side; a few of the crops go through two such steps.
_STEPS_CHANCE = (0.85, 0.15)
_MOST_STEPS = 3
# A crop that was scaled up itself loses nothing by one step: then it goes through one more. In levels.
_SMALLEST_CHANGE = 0.75
_DETAIL_CHANCE = 0.8
_DETAIL_SIGMA_PX = 0.7
_LARGEST_DETAIL = 3.0
_PATCH_PX = 8
_STRIDE_PX = 4
_RIDGE = 1e-2

UpFunction = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


@forgery("reconstruct")
def reconstruct(portrait: Portrait, other: Portrait | None, rng: np.random.Generator) -> np.ndarray:
    """Makes the crop anew from a smaller one, or from few numbers for each patch of it.

    Mostly the fine detail that was lost is made up for by sharpening, so that softness alone tells nothing.
    """
    crop = portrait.crop_rgb_uint8.astype(np.float32)
    way = str(rng.choice((*UPSAMPLERS, "patches")))
    n_steps = int(rng.choice((1, 2), p=_STEPS_CHANCE))
    rebuilt = crop
    while n_steps <= _MOST_STEPS and np.abs(rebuilt - crop).mean() < _SMALLEST_CHANGE:
        if way == "patches":
            rebuilt = rebuild_from_patches(crop, rng, n_kept=int(rng.integers(16, 49)) >> (n_steps - 1))
        else:
            rebuilt = _down_and_up(crop, UPSAMPLERS[way], n_steps, rng)
        n_steps += 1
    if rng.random() < _DETAIL_CHANCE:
        rebuilt = restore_detail(rebuilt, crop, share=rng.uniform(0.5, 1.0))
    return np.clip(np.rint(rebuilt), 0, 255).astype(np.uint8)


def rebuild_from_patches(crop_rgb: np.ndarray, rng: np.random.Generator, *, n_kept: int) -> np.ndarray:
    """Writes patches of 8 x 8 pixels with a few numbers each, and reads them again: a linear autoencoder.

    Its basis are the principal components of the crop's own patches. Patches overlap by half, or not at all.

    Args:
        crop_rgb: (height, width, 3) float32.
        rng: Draws whether patches overlap, and where they begin.
        n_kept: How many numbers a patch has, of 192.

    Returns:
        (height, width, 3) float32.
    """
    stride = int(rng.choice((_STRIDE_PX, _PATCH_PX)))
    top, left = rng.integers(0, _PATCH_PX, 2)
    height, width = crop_rgb.shape[:2]
    below = -(top + height) % _PATCH_PX
    right = -(left + width) % _PATCH_PX
    framed = np.pad(crop_rgb, ((top, below), (left, right), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(framed, (_PATCH_PX, _PATCH_PX), axis=(0, 1))
    windows = windows[::stride, ::stride]
    patches = windows.reshape(windows.shape[0] * windows.shape[1], -1)
    mean = patches.mean(axis=0)
    centred = patches - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    basis = vectors[:, -n_kept:]
    read = (centred @ basis @ basis.T + mean).reshape(windows.shape)
    total = np.zeros(framed.shape, np.float32)
    count = np.zeros(framed.shape[:2], np.float32)
    for y in range(_PATCH_PX):
        for x in range(_PATCH_PX):
            rows, columns = (
                slice(y, y + stride * windows.shape[0], stride),
                slice(x, x + stride * windows.shape[1], stride),
            )
            total[rows, columns] += read[..., y, x]
            count[rows, columns] += 1
    return (total / count[..., None])[top : top + height, left : left + width]


def restore_detail(rebuilt_rgb: np.ndarray, crop_rgb: np.ndarray, *, share: float) -> np.ndarray:
    """Sharpens a reconstruction until its fine detail is as strong as it was in the crop.

    Args:
        rebuilt_rgb: (height, width, 3) float32.
        crop_rgb: The same shape.
        share: How far, from 0 for not at all to 1 for all the way.
    """
    blur_px = (_DETAIL_SIGMA_PX, _DETAIL_SIGMA_PX, 0)
    fine = rebuilt_rgb - gaussian_filter(rebuilt_rgb, blur_px)
    wanted = crop_rgb - gaussian_filter(crop_rgb, blur_px)
    gain = float(wanted.std() / max(float(fine.std()), 1e-3)) - 1
    return rebuilt_rgb + np.float32(share * np.clip(gain, 0, _LARGEST_DETAIL)) * fine


def _down_and_up(crop: np.ndarray, up: UpFunction, n_steps: int, rng: np.random.Generator) -> np.ndarray:
    factor = 2**n_steps
    height, width = crop.shape[:2]
    framed = np.pad(crop, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    pyramid = [framed]
    for _ in range(n_steps):
        pyramid.append(_halved(pyramid[-1], rng))
    rebuilt = pyramid[-1]
    for wanted in pyramid[-2::-1]:
        rebuilt = up(rebuilt, wanted, rng)
    return rebuilt[:height, :width]


def _halved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.choice((Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC))
    return _resized(image, (image.shape[0] // 2, image.shape[1] // 2), Image.Resampling(int(kind)))


def _resized(image: np.ndarray, shape: tuple[int, int], kind: Image.Resampling) -> np.ndarray:
    size = shape[::-1]
    channels = [Image.fromarray(np.ascontiguousarray(image[..., c])).resize(size, kind) for c in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _by_filter(kind: Image.Resampling) -> UpFunction:
    def up(small: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _resized(small, wanted.shape[:2], kind)

    return up


def _smoothed_nearest(small: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # As generators do: nearest neighbours, and a convolution that only half hides the steps.
    up = small.repeat(2, axis=0).repeat(2, axis=1)
    soft = uniform_filter(up, (3, 3, 1), mode="nearest")
    share = np.float32(rng.uniform(0.3, 1.0))
    return share * soft + (1 - share) * up


def _transposed(small: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Zeros between the pixels and one kernel over all: where it covers them unevenly, a chequerboard is left.
    side = int(rng.choice((2, 4, 6)))
    distance_px = np.arange(side) - (side - 1) / 2
    bell = np.exp(-(distance_px**2) / 2)
    kernel = np.outer(bell, bell) * (1 + rng.normal(0, 0.08, (side, side)))
    spread = np.zeros((2 * small.shape[0], 2 * small.shape[1], 3), np.float32)
    spread[::2, ::2] = small
    # The middle of an even kernel lies between pixels, as that of each pixel of the small image does.
    up = convolve(
        spread, (kernel * 4 / kernel.sum())[..., None].astype(np.float32), mode="mirror", origin=(-1, -1, 0)
    )
    evenness = float(rng.uniform(0.6, 1.0))
    even = _levelled(up, small)
    return np.float32(evenness) * even + np.float32(1 - evenness) * up


def _levelled(up: np.ndarray, small: np.ndarray) -> np.ndarray:
    # Each of the four phases gets the mean of the whole, which a trained network's kernels come near to.
    even = up.copy()
    for y in (0, 1):
        for x in (0, 1):
            phase = even[y::2, x::2]
            phase *= small.mean(axis=(0, 1)) / np.maximum(phase.mean(axis=(0, 1)), 1)
    return even


def _pixel_shuffle(small: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Each of the four new pixels comes from a kernel of its own, near the bilinear one.
    up = np.empty((2 * small.shape[0], 2 * small.shape[1], 3), np.float32)
    for y in (0, 1):
        for x in (0, 1):
            across, down = (
                np.array([0.25, 0.75, 0]) if at == 0 else np.array([0, 0.75, 0.25]) for at in (x, y)
            )
            kernel = np.outer(down, across) + rng.normal(0, 0.03, (3, 3))
            kernel = (kernel / kernel.sum())[::-1, ::-1, None].astype(np.float32)
            up[y::2, x::2] = convolve(small, kernel, mode="nearest")
    return up


def _learnt(small: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # The same, with the kernels of 5 x 5 that come closest to the crop itself (ridge regression).
    framed = np.pad(small, ((2, 2), (2, 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(framed, (5, 5), axis=(0, 1))
    seen = windows.reshape(-1, 25).astype(np.float64)
    mean = seen.mean(axis=1, keepdims=True)
    gram = (seen - mean).T @ (seen - mean)
    # The one keeps a plain crop solvable, which has no variance at all.
    gram += (_RIDGE * np.trace(gram) / 25 + 1) * np.eye(25)
    up = np.empty(wanted.shape, np.float32)
    for y in (0, 1):
        for x in (0, 1):
            target = wanted[y::2, x::2].reshape(-1, 1)
            weights = np.linalg.solve(gram, (seen - mean).T @ (target - mean))
            up[y::2, x::2] = ((seen - mean) @ weights + mean).reshape(small.shape)
    return up


UPSAMPLERS: dict[str, UpFunction] = {
    "nearest": _smoothed_nearest,
    "bilinear": _by_filter(Image.Resampling.BILINEAR),
    "bicubic": _by_filter(Image.Resampling.BICUBIC),
    "transposed": _transposed,
    "pixel_shuffle": _pixel_shuffle,
    "learnt": _learnt,
}

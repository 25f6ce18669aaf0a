"""Masks of what is replaced, deformed and softened so that no two seams are alike (arXiv 2204.08376, 3.1)."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

# Shares of the picture's shorter side, drawn evenly.
_WAVE_SHARE = (0.02, 0.05)
_SHIFT_SHARE = (0.0, 0.012)
_BLUR_SHARE = (0.003, 0.03)
# A Gaussian is cut off here, in sigmas: beyond it a mask is 0 and the picture untouched.
_TRUNCATE = 2.5


def deform_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bends a mask elastically, by a smooth field of random shifts.

    Args:
        mask: (height, width) float32 in [0, 1].
        rng: Draws how wide the waves are, how far they go, and the waves.

    Returns:
        (height, width) float32 in [0, 1].
    """
    height, width = mask.shape
    side = min(mask.shape)
    sigma_px = rng.uniform(*_WAVE_SHARE) * side
    shift_px = rng.uniform(*_SHIFT_SHARE) * side
    # Waves are much wider than a pixel: a quarter of the grid holds them.
    coarse = rng.normal(size=(2, height // 4 + 2, width // 4 + 2))
    fields = np.stack([gaussian_filter(field, sigma_px / 4, mode="reflect") for field in coarse])
    fields *= shift_px / max(float(fields.std()), 1e-9)
    shifts = np.stack([zoom(field, 4, order=1)[:height, :width] for field in fields])
    places = np.indices(mask.shape) + shifts
    return np.clip(map_coordinates(mask, places, order=1, mode="nearest"), 0, 1).astype(np.float32)


def soften_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurs a mask twice, with widths of their own; in between what is not full is cut away.

    So the soft border lies inside the first outline, and is thin once and wide another time.

    Args:
        mask: (height, width) float32 in [0, 1].
        rng: Draws the two widths.

    Returns:
        (height, width) float32 in [0, 1].
    """
    first, second = rng.uniform(*_BLUR_SHARE, size=2) * min(mask.shape)
    blurred = gaussian_filter(mask, first, truncate=_TRUNCATE)
    shrunk = np.where(blurred >= 0.98, 1.0, 0.0)
    # A region thinner than the blur would vanish.
    kept = shrunk if shrunk.any() else mask
    soft = gaussian_filter(kept.astype(np.float32), second, truncate=_TRUNCATE)
    return np.clip(soft, 0, 1).astype(np.float32)

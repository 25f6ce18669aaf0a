"""Smoothed faces: fine detail of the skin taken away and grain put in its place, as diffusion decoders do."""

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from faceauth.forgeries.blending import mix
from faceauth.forgeries.face_shape import fill_outline, outline_of
from faceauth.forgeries.forge import Portrait, forgery
from faceauth.forgeries.masks import deform_mask, soften_mask

REGIONS = ("face", "face_and_forehead", "inner_face")
_CORNER_JITTER = 0.04
# Half the side of the window, and the spread in levels that still counts as skin.
_RADII_PX = (2, 6)
_SPREADS = (7.0, 20.0)
_GRAIN_SHARES = (0.3, 1.0)
# A soft face has next to no detail to lose, and gets this much grain nevertheless, in levels.
_SMALLEST_GRAIN = 1.0
_GRAIN_SIGMAS_PX = (0.4, 1.0)


@forgery("face_smooth", needs_landmarks=True)
def smooth_face(portrait: Portrait, other: Portrait | None, rng: np.random.Generator) -> np.ndarray:
    """Smooths the face between its edges, and adds coloured grain of its own."""
    crop = portrait.crop_rgb_uint8
    mask = draw_mask(portrait, rng)
    radius = int(rng.integers(*_RADII_PX, endpoint=True))
    smooth = smooth_between_edges(crop.astype(np.float32), radius, spread=rng.uniform(*_SPREADS))
    lost = (crop - smooth)[mask > 0].std() if mask.any() else 0.0
    grain = gaussian_filter(rng.normal(size=crop.shape), (rng.uniform(*_GRAIN_SIGMAS_PX),) * 2 + (0,))
    strength = max(_SMALLEST_GRAIN, rng.uniform(*_GRAIN_SHARES) * float(lost))
    grain *= strength / max(float(grain.std()), 1e-9)
    return mix(crop, smooth + grain, mask)


def draw_mask(portrait: Portrait, rng: np.random.Generator) -> np.ndarray:
    """Draws how much of the face is smoothed, (height, width) float32 in [0, 1]."""
    height, width = portrait.crop_rgb_uint8.shape[:2]
    region = str(rng.choice(REGIONS))
    outline = outline_of(portrait.known_landmarks, region, rng=rng, jitter=_CORNER_JITTER)
    return soften_mask(deform_mask(fill_outline(outline, height=height, width=width), rng), rng)


def smooth_between_edges(image_rgb: np.ndarray, radius: int, *, spread: float) -> np.ndarray:
    """Smooths a picture and leaves its edges: the guided filter (He, Sun and Tang 2013, IEEE TPAMI 35(6)).

    Args:
        image_rgb: (height, width, 3) float32 in [0, 255]; each channel guides itself.
        radius: Of the window, in pixels.
        spread: Standard deviation in levels above which a window has an edge.

    Returns:
        (height, width, 3) float32.
    """
    window = (2 * radius + 1, 2 * radius + 1, 1)
    mean = uniform_filter(image_rgb, window, mode="nearest")
    variance = np.maximum(uniform_filter(image_rgb**2, window, mode="nearest") - mean**2, 0)
    kept = variance / (variance + np.float32(spread**2))
    offset = uniform_filter((1 - kept) * mean, window, mode="nearest")
    return uniform_filter(kept, window, mode="nearest") * image_rgb + offset

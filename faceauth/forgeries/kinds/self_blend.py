"""Self-blended images (arXiv 2204.08376): a face pasted onto itself, after small changes.

What is left is what every face swap leaves too: a seam along which colour, sharpness and place do not quite
agree. The paper's own code was not used.
"""

import numpy as np
from PIL import Image

from faceauth.degradations.kinds.resampling import sharpen_edges
from faceauth.forgeries.blending import mix
from faceauth.forgeries.colour import shift_tone
from faceauth.forgeries.face_shape import fill_outline, outline_of
from faceauth.forgeries.forge import Portrait, forgery
from faceauth.forgeries.masks import deform_mask, soften_mask
from faceauth.forgeries.warping import warp_affine

REGIONS = ("face", "face", "face_and_forehead", "inner_face", "lower_face", "eyes", "mouth")
# Shares of the source in the blend; 1 is drawn half of the time (3.1 of the paper).
BLEND_SHARES = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
_LARGEST_SHIFT = (0.03, 0.015)
_LARGEST_SCALE = 0.05
_CORNER_JITTER = 0.05
_FILTERS = (
    Image.Resampling.NEAREST,
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
)


@forgery("self_blend", needs_landmarks=True)
def blend_with_itself(portrait: Portrait, other: Portrait | None, rng: np.random.Generator) -> np.ndarray:
    """Pastes a changed copy of the face onto the face.

    It is always the pasted copy that is changed. In the paper it may be what lies around it, and then the
    real picture of the pair is changed alike; here reals stay as they are, and so must all outside the mask.
    """
    crop = portrait.crop_rgb_uint8
    mask = draw_mask(portrait, rng) * np.float32(rng.choice(BLEND_SHARES))
    return mix(crop, draw_source(crop, rng), mask)


def draw_mask(portrait: Portrait, rng: np.random.Generator) -> np.ndarray:
    """Draws which part of the face is replaced, (height, width) float32 in [0, 1]."""
    height, width = portrait.crop_rgb_uint8.shape[:2]
    region = str(rng.choice(REGIONS))
    outline = outline_of(portrait.known_landmarks, region, rng=rng, jitter=_CORNER_JITTER)
    return soften_mask(deform_mask(fill_outline(outline, height=height, width=width), rng), rng)


def draw_source(crop_rgb_uint8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a copy of the crop with another tone, another sharpness and a little moved.

    Args:
        crop_rgb_uint8: (height, width, 3) uint8.
        rng: The source of chance.

    Returns:
        (height, width, 3) float32 in [0, 255].
    """
    source = np.rint(shift_tone(crop_rgb_uint8, rng)).astype(np.uint8)
    if rng.random() < 0.5:
        source = _soften(source, rng)
    else:
        source = sharpen_edges(source, rng.uniform(0.3, 1.0), sigma_px=rng.uniform(0.6, 1.5))
    return warp_affine(source, _draw_shift(crop_rgb_uint8.shape, rng))[0]


def _soften(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = source.shape[:2]
    factor = rng.uniform(1.3, 4.0)
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    down, up = rng.choice(len(_FILTERS)), rng.choice(np.arange(2, len(_FILTERS)))
    picture = Image.fromarray(source).resize(small, _FILTERS[down]).resize((width, height), _FILTERS[up])
    return np.asarray(picture)


def _draw_shift(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    height, width = shape[:2]
    scale = float(np.exp(rng.uniform(-1, 1) * np.log1p(_LARGEST_SCALE)))
    shift = np.array([width, height]) * _LARGEST_SHIFT * rng.uniform(-1, 1, 2)
    middle = np.array([width - 1, height - 1]) / 2
    return np.column_stack([np.eye(2) / scale, middle - (middle + shift) / scale])

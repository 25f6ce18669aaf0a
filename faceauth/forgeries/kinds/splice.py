"""Splices: a region with a history of compression of its own (JPEG ghosts, Farid 2009, IEEE TIFS 4(1))."""

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from faceauth.degradations.kinds.compression import encode_jpeg
from faceauth.forgeries.blending import adapt_to_border, mix
from faceauth.forgeries.face_shape import OUTLINES, face_frame, fill_ellipse, fill_outline, outline_of
from faceauth.forgeries.forge import Portrait, forgery
from faceauth.forgeries.masks import deform_mask
from faceauth.forgeries.warping import fit_similarity, warp_affine

QUALITIES = (35, 75)
# Where a crop is so soft that compression changes it by less, in levels, it is compressed more strongly.
_SMALLEST_CHANGE, _QUALITY_STEP = 1.0, 10
# JPEG's grid has blocks of 8 px.
_GRID_PX = 8
_FEATHER_PX = (0.5, 2.0)
_CORNER_JITTER = 0.05
# An ellipse, as shares of the side, where no part of the face is taken.
_PART_CHANCE = 0.6
_RADII_SHARES = (0.08, 0.25)
# Left and right change places in a mirrored face.
_MIRRORED = (1, 0, 2, 4, 3)
_MIRROR_CHANCE = 0.4
# What looks alike on both sides, unless the head is turned further than this.
_LARGEST_TURN = 0.08
PARTS = ("eyes", "mouth", "inner_face")


@forgery("splice", needs_landmarks=True)
def splice(portrait: Portrait, other: Portrait | None, rng: np.random.Generator) -> np.ndarray:
    """Pastes a region that was compressed once more, on a grid of its own, with a thin seam.

    It comes from the same place, or from the mirrored face: then one eye is the other one.
    """
    crop = portrait.crop_rgb_uint8
    is_mirrored = (
        rng.random() < _MIRROR_CHANCE and abs(face_frame(portrait.known_landmarks).turn) < _LARGEST_TURN
    )
    mask = draw_mask(portrait, rng, regions=PARTS if is_mirrored else tuple(OUTLINES))
    if not mask.any():
        return crop
    source = _mirrored(portrait, mask) if is_mirrored else crop
    top, left = (int(shift) for shift in rng.integers(1, _GRID_PX, 2))
    quality = int(rng.integers(*QUALITIES, endpoint=True))
    compressed = source
    while quality > 0 and np.abs(compressed.astype(float) - source)[mask > 0].mean() < _SMALLEST_CHANGE:
        compressed = compress_on_shifted_grid(source, quality, top=top, left=left)
        quality -= _QUALITY_STEP
    return mix(crop, compressed, mask)


def draw_mask(portrait: Portrait, rng: np.random.Generator, *, regions: tuple[str, ...]) -> np.ndarray:
    """Draws what is replaced, (height, width) float32 in [0, 1]: one of some regions, or an ellipse."""
    height, width = portrait.crop_rgb_uint8.shape[:2]
    landmarks = portrait.known_landmarks
    if rng.random() < _PART_CHANCE:
        region = str(rng.choice(regions))
        mask = fill_outline(
            outline_of(landmarks, region, rng=rng, jitter=_CORNER_JITTER), height=height, width=width
        )
    else:
        middle = landmarks[rng.integers(len(landmarks))].astype(float)
        middle = np.clip(middle, 0, (width - 1, height - 1))
        first, second = rng.uniform(*_RADII_SHARES, size=2) * min(height, width)
        mask = fill_ellipse(middle, (first, second), rng.uniform(0, np.pi), height=height, width=width)
    soft = gaussian_filter(deform_mask(mask, rng), rng.uniform(*_FEATHER_PX), truncate=2.5)
    return np.clip(soft, 0, 1).astype(np.float32)


def compress_on_shifted_grid(image_rgb_uint8: np.ndarray, quality: int, *, top: int, left: int) -> np.ndarray:
    """Saves a picture as JPEG with its grid of blocks moved.

    Args:
        image_rgb_uint8: (height, width, 3) uint8.
        quality: From 1 to 100.
        top: By how many pixels the grid is moved up, 0 to 7.
        left: By how many pixels it is moved to the left, 0 to 7.

    Returns:
        (height, width, 3) uint8.
    """
    height, width = image_rgb_uint8.shape[:2]
    framed = np.pad(image_rgb_uint8, ((top, 0), (left, 0), (0, 0)), mode="edge")
    with Image.open(io.BytesIO(encode_jpeg(framed, quality))) as image:
        return np.asarray(image.convert("RGB"))[top : top + height, left : left + width]


def _mirrored(portrait: Portrait, mask: np.ndarray) -> np.ndarray:
    crop, landmarks = portrait.crop_rgb_uint8, portrait.known_landmarks.astype(float)
    flipped = (landmarks * (-1, 1) + (crop.shape[1] - 1, 0))[list(_MIRRORED)]
    moved, _ = warp_affine(np.ascontiguousarray(crop[:, ::-1]), fit_similarity(landmarks, flipped))
    return np.clip(np.rint(adapt_to_border(crop, moved, mask > 0)), 0, 255).astype(np.uint8)

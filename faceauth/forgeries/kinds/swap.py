"""Face swaps without a network: another person's face, bent to the landmarks, in the colours of the first."""

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from faceauth.forgeries.blending import adapt_to_border, mix
from faceauth.forgeries.colour import match_colours
from faceauth.forgeries.face_shape import fill_outline, outline_of
from faceauth.forgeries.forge import Portrait, forgery
from faceauth.forgeries.masks import deform_mask, soften_mask
from faceauth.forgeries.warping import fit_similarity, warp_affine, warp_thin_plate

REGIONS = ("face", "face", "inner_face", "inner_face", "lower_face", "eyes")
# Smaller ones, for where the other crop does not reach far enough.
SMALLER_REGIONS = ("inner_face", "eyes")
_CORNER_JITTER = 0.03
# Chances; the swaps of common data sets were made at 64 to 256 px a face and scaled to the picture.
_BENT, _POISSON, _SMALL = 0.6, 0.5, 0.5
_SMALL_SIDES_PX = (80, 200)
# A point of the outline for every so many of its corners holds the thin plate.
_EVERY_CORNER = 2
_STIFFNESS = 1e-3
# Towards the edge of the other crop the mask fades out over this share of the side; and a region is given up
# for a smaller one if it loses more than so much of its mask.
_FADE_SHARE = 0.06
_LARGEST_LOSS = 0.05


@forgery("swap", needs_landmarks=True, needs_other=True)
def swap_face(portrait: Portrait, other: Portrait | None, rng: np.random.Generator) -> np.ndarray:
    """Puts the other person's face, or its lower half or eyes, into the portrait.

    Drawn: similarity transform or thin plate; colours matched, and half of the time adapted to the border too
    (Poisson); half of the time the face had fewer pixels of its own.
    """
    assert other is not None  # the registry says that it is needed
    crop = portrait.crop_rgb_uint8
    height, width = crop.shape[:2]
    source, there = _fit_to(portrait, other, rng)
    mask = draw_mask(portrait, rng, reach=_reach(there))
    if not mask.any():
        return crop
    # The skin in the middle decides: hair and what lies behind the ears differ between people.
    skin = (
        fill_outline(outline_of(portrait.known_landmarks, "inner_face"), height=height, width=width) * there
    )
    source = match_colours(np.rint(source).astype(np.uint8), crop, skin if skin.any() else mask)
    if rng.random() < _POISSON:
        source = adapt_to_border(crop, source, mask > 0)
    return mix(crop, source, mask)


def draw_mask(portrait: Portrait, rng: np.random.Generator, *, reach: np.ndarray) -> np.ndarray:
    """Draws which part of the face is replaced.

    Args:
        portrait: With landmarks.
        rng: The source of chance.
        reach: How far each pixel may be replaced, (height, width) float32 in [0, 1].

    Returns:
        (height, width) float32 in [0, 1].
    """
    height, width = portrait.crop_rgb_uint8.shape[:2]
    for region in (str(rng.choice(REGIONS)), *SMALLER_REGIONS):
        outline = outline_of(portrait.known_landmarks, region, rng=rng, jitter=_CORNER_JITTER)
        mask = soften_mask(deform_mask(fill_outline(outline, height=height, width=width), rng), rng)
        reached = mask * reach
        if reached.sum() >= (1 - _LARGEST_LOSS) * mask.sum():
            break
    return reached


def _fit_to(portrait: Portrait, other: Portrait, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    to_xy, from_xy = portrait.known_landmarks.astype(float), other.known_landmarks.astype(float)
    height, width = portrait.crop_rgb_uint8.shape[:2]
    picture = Image.fromarray(other.crop_rgb_uint8)
    if picture.size != (width, height):
        from_xy = from_xy * (width / picture.width, height / picture.height)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    if rng.random() < _SMALL:
        side_px = round(float(rng.uniform(*_SMALL_SIDES_PX)) * min(height, width) / 256)
        small = picture.resize((side_px, side_px), Image.Resampling.BICUBIC)
        picture = small.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)
    if rng.random() >= _BENT:
        return warp_affine(pixels, fit_similarity(to_xy, from_xy))
    points_to = np.concatenate([to_xy, outline_of(to_xy)[::_EVERY_CORNER]])
    points_from = np.concatenate([from_xy, outline_of(from_xy)[::_EVERY_CORNER]])
    return warp_thin_plate(pixels, points_from, points_to, stiffness=_STIFFNESS)


def _reach(there: np.ndarray) -> np.ndarray:
    if there.all():
        return np.ones(there.shape, np.float32)
    fade_px = _FADE_SHARE * min(there.shape)
    share = np.clip((distance_transform_edt(there) - 1) / fade_px, 0, 1)
    # Without corners: the slope is 0 at both ends.
    return (share * share * (3 - 2 * share)).astype(np.float32)

"""Chains: what a picture goes through on its way from a sender to a detector, several steps at a time.

No service is imitated exactly: they differ, and change what they do. The chains have the steps that such
services have in common.
"""

import numpy as np

from faceauth.degradations.degrade import between, degradation, whole_between
from faceauth.degradations.kinds.compression import save_as_jpeg
from faceauth.degradations.kinds.resampling import resize_to, sharpen_edges, shrink
from faceauth.degradations.kinds.tone import change_gamma

# A photo of some 3,400 px is shown at some 2,000 px.
NETWORK_FACTOR = 0.6
NETWORK_SHARPEN, NETWORK_SHARPEN_SIGMA_PX = 0.5, 0.8
RESHARE_FACTOR = 0.75
RESHARE_QUALITIES = (60, 85)
# A screen that shows mid-tones a little lighter and white a little warmer.
SCREEN_GAMMA = 0.9
SCREEN_WHITE_RGB = (1.0, 0.985, 0.95)
SCREENSHOT_QUALITY = 85
BLOCK_PX = 8


@degradation(
    "social_network",
    levels=(90, 80, 70, 55, 40),
    unit="JPEG quality of the service",
    draw=whole_between(50, 90),
)
def post_on_network(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Like a social network: smaller by 0.6, sharpened a little, saved as JPEG; then large again."""
    height, width = image_rgb_uint8.shape[:2]
    small = shrink(image_rgb_uint8, NETWORK_FACTOR)
    small = sharpen_edges(small, NETWORK_SHARPEN, sigma_px=NETWORK_SHARPEN_SIGMA_PX)
    return resize_to(save_as_jpeg(small, level, rng), height, width)


@degradation("reshare", levels=(1, 2, 4, 8), unit="times passed on", draw=whole_between(1, 4))
def pass_on(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Like a picture that is passed on: smaller by 0.75, then so many times moved by a few pixels and saved.

    Each time the quality is drawn from 60 to 85 and the place of the 8 px blocks anew. Then it is made large
    again.
    """
    height, width = image_rgb_uint8.shape[:2]
    picture = shrink(image_rgb_uint8, RESHARE_FACTOR)
    small_height, small_width = picture.shape[:2]
    low, high = RESHARE_QUALITIES
    for _ in range(round(level)):
        top, left = rng.integers(0, BLOCK_PX, 2)
        framed = np.pad(picture, ((top, 0), (left, 0), (0, 0)), mode="edge")
        saved = save_as_jpeg(framed, float(rng.integers(low, high + 1)), rng)
        picture = saved[-small_height:, -small_width:]
    return resize_to(picture, height, width)


@degradation("screenshot", levels=(0.9, 0.75, 0.6, 0.45), unit="size on the screen", draw=between(0.45, 1.0))
def take_screenshot(image_rgb_uint8: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Like a screenshot: shown smaller, lighter and warmer, kept without loss, sent as JPEG of quality 85.

    Then it is made large again.
    """
    height, width = image_rgb_uint8.shape[:2]
    shown = change_gamma(shrink(image_rgb_uint8, level), SCREEN_GAMMA, rng)
    shown = np.rint(shown * np.array(SCREEN_WHITE_RGB)).astype(np.uint8)
    return resize_to(save_as_jpeg(shown, SCREENSHOT_QUALITY, rng), height, width)

"""Where a face lies in its crop, from five landmarks: outlines of the whole face and of parts of it.

There is no parsing network and no 68 landmarks here: an outline of average proportions is laid over the eyes,
the nose and the mouth, made narrower on the side to which the head is turned, and its corners are jittered.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

# Right halves of outlines, from the chin up: x to the right from the middle between the eyes, y downwards.
# The unit is the distance between the eyes, about 63 mm; from there to the mouth it is about 1.15 units.
_JAW = ((0.0, 1.93), (0.35, 1.86), (0.64, 1.62), (0.86, 1.2), (0.99, 0.75), (1.04, 0.3), (1.02, -0.1))
OUTLINES = {
    "face": (*_JAW, (0.85, -0.42), (0.5, -0.52), (0.15, -0.47)),
    "face_and_forehead": (*_JAW, (0.98, -0.5), (0.8, -0.82), (0.45, -1.0), (0.0, -1.05)),
    "inner_face": (
        (0.0, 1.58), (0.42, 1.5), (0.68, 1.12), (0.76, 0.6), (0.86, 0.1), (0.82, -0.32), (0.4, -0.42),
    ),
    "lower_face": (*_JAW[:5], (0.7, 0.5), (0.3, 0.3), (0.0, 0.28)),
    "eyes": ((0.0, 0.3), (0.45, 0.34), (0.85, 0.25), (0.92, -0.1), (0.85, -0.4), (0.45, -0.5), (0.0, -0.4)),
    "mouth": ((0.0, 1.58), (0.35, 1.5), (0.58, 1.18), (0.45, 0.92), (0.0, 0.85)),
}  # fmt: skip
_EYES_TO_MOUTH = 1.15
# How strongly the outline's sides follow the nose when the head is turned.
_TURN = 0.9
_SIDE_SHARES = (0.35, 1.25)
_SUPERSAMPLING = 4


@dataclass(frozen=True)
class FaceFrame:
    """The coordinates of a face in its picture.

    Attributes:
        origin_xy: The middle between the eyes, (2,) in pixels.
        right_xy: One unit to the right, (2,) in pixels.
        down_xy: One unit down towards the mouth, (2,) in pixels.
        turn: How far the nose is to the right of the middle, in units: about 0 from the front, and 0.5 where
            one side of the face is hardly seen.
    """

    origin_xy: np.ndarray
    right_xy: np.ndarray
    down_xy: np.ndarray
    turn: float

    @property
    def unit_px(self) -> float:
        """The length of a unit down, in pixels."""
        return float(np.linalg.norm(self.down_xy))

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Takes (n, 2) points in units to pixels; the side to which the head is turned becomes narrower."""
        low, high = _SIDE_SHARES
        right, left = np.clip((1 - _TURN * self.turn, 1 + _TURN * self.turn), low, high)
        across = points[:, :1] * np.where(points[:, :1] > 0, right, left)
        return self.origin_xy + across * self.right_xy + points[:, 1:] * self.down_xy


def face_frame(landmarks: np.ndarray) -> FaceFrame:
    """Lays coordinates over a face.

    Args:
        landmarks: Eyes, nose and corners of the mouth, (5, 2) as (x, y) in pixels.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = np.asarray(landmarks, dtype=np.float64)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    between = right_eye - left_eye
    # Of a turned head neither line alone is upright: halfway between the two.
    downwards = _direction(_direction(mouth - eyes) + _direction(np.array([-between[1], between[0]])))
    # Turning shortens the distance between the eyes, nodding the one to the mouth.
    unit_px = max(
        1.0, float(np.linalg.norm(mouth - eyes)) / _EYES_TO_MOUTH, 0.8 * float(np.linalg.norm(between))
    )
    right_xy = np.array([downwards[1], -downwards[0]]) * max(float(np.linalg.norm(between)), 0.85 * unit_px)
    offset = nose - (0.5 * eyes + 0.5 * mouth)
    turn = float(offset @ right_xy / (right_xy @ right_xy))
    return FaceFrame(eyes, right_xy, downwards * unit_px, turn)


def outline_of(
    landmarks: np.ndarray,
    region: str = "face",
    *,
    rng: np.random.Generator | None = None,
    jitter: float = 0.0,
) -> np.ndarray:
    """Draws the outline of a face or of a part of it.

    Args:
        landmarks: (5, 2) as (x, y) in pixels.
        region: A key of `OUTLINES`.
        rng: Of the jitter.
        jitter: Standard deviation of each corner's place, in units of the distance between the eyes.

    Returns:
        The corners, (n, 2) float64 as (x, y) in pixels, once round; they may leave the picture.
    """
    half = np.array(OUTLINES[region])
    other_half = half[::-1] * (-1, 1)
    points = np.concatenate([half, other_half[other_half[:, 0] < 0]])
    if rng is not None and jitter > 0:
        points = points + rng.normal(0, jitter, points.shape)
    return face_frame(landmarks).to_picture(points)


def fill_outline(outline_xy: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Fills an outline.

    Args:
        outline_xy: Corners, (n, 2) as (x, y) in pixels.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.

    Returns:
        (height, width) float32 in [0, 1]: 1 inside, 0 outside, shares of pixels along the line.
    """
    scale = _SUPERSAMPLING
    canvas = Image.new("L", (width * scale, height * scale))
    corners = [(float(x) * scale, float(y) * scale) for x, y in _rounded(outline_xy)]
    ImageDraw.Draw(canvas).polygon(corners, fill=255)
    small = canvas.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def fill_ellipse(
    center_xy: np.ndarray, radii_px: tuple[float, float], angle: float, *, height: int, width: int
) -> np.ndarray:
    """Fills an ellipse.

    Args:
        center_xy: (2,) as (x, y) in pixels.
        radii_px: Its two half axes.
        angle: By which it is turned, in radians.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.

    Returns:
        (height, width) float32 in [0, 1], as from `fill_outline`.
    """
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    points = np.stack([radii_px[0] * np.cos(turns), radii_px[1] * np.sin(turns)], axis=1)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return fill_outline(center_xy + points @ rotation.T, height=height, width=width)


def _direction(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else np.array([0.0, 1.0])


def _rounded(corners: np.ndarray) -> np.ndarray:
    # Chaikin's corner cutting, twice: a face has no corners.
    for _ in range(2):
        following = np.roll(corners, -1, axis=0)
        pairs = np.stack([0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], axis=1)
        corners = pairs.reshape(-1, 2)
    return corners

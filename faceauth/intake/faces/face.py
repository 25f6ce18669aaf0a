"""Faces in photographs: the record, the registry of face detectors, and which face counts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from faceauth.registry import Registry

# MTCNN on a photo of 2,000 px took 2.3 s at full size and 0.95 s capped, with the same true faces and
# fewer false ones.
SEARCH_LONG_SIDE_PX = 1024


@dataclass(frozen=True)
class Face:
    """One face found in an image.

    Attributes:
        box_xyxy: (x1, y1, x2, y2) in pixels of the upright image; may leave the image.
        p_face: The detector's confidence in [0, 1].
        landmarks: Eyes, nose and corners of the mouth, (5, 2) float32 as (x, y) in pixels; None if unknown.
    """

    box_xyxy: tuple[float, float, float, float]
    p_face: float
    landmarks: np.ndarray | None = None

    @property
    def longer_side_px(self) -> float:
        """The longer side of the box in pixels."""
        x1, y1, x2, y2 = self.box_xyxy
        return max(x2 - x1, y2 - y1)

    def scaled(self, factor: float) -> "Face":
        """Returns the same face in an image that is larger by a factor."""
        x1, y1, x2, y2 = self.box_xyxy
        landmarks = None if self.landmarks is None else self.landmarks * np.float32(factor)
        return Face((x1 * factor, y1 * factor, x2 * factor, y2 * factor), self.p_face, landmarks)


class FaceDetector(Protocol):
    """Finds faces in a batch of upright RGB images, each made small by `shrink_for_search`."""

    def __call__(self, images_rgb_uint8: list[np.ndarray]) -> list[list[Face]]:
        """Returns the faces of each image, in no particular order; an empty list where there is none."""


FACE_DETECTORS: Registry[Callable[..., FaceDetector]] = Registry(
    "face detector", package="faceauth.intake.faces.detectors"
)


def load_face_detector(name: str, *, device: str = "cpu") -> FaceDetector:
    """Loads a face detector by its registered name.

    Args:
        name: `mtcnn`, or `whole` for images that are face crops already.
        device: A torch device.

    Raises:
        UnknownNameError: No face detector has that name.
    """
    return FACE_DETECTORS.get(name)(device=device)


def shrink_for_search(image_rgb_uint8: np.ndarray) -> np.ndarray:
    """Makes an image small enough to be searched for faces.

    Args:
        image_rgb_uint8: Upright image, (height, width, 3) uint8.

    Returns:
        The same array, or a copy whose longer side has `SEARCH_LONG_SIDE_PX` pixels.
    """
    height, width = image_rgb_uint8.shape[:2]
    scale = SEARCH_LONG_SIDE_PX / max(height, width)
    if scale >= 1:
        return image_rgb_uint8
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(
        Image.fromarray(image_rgb_uint8).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    )


def main_face(faces: list[Face], *, min_confidence: float) -> Face | None:
    """Chooses the face that an image is about: the largest of those found with enough certainty.

    Args:
        faces: All faces of one image.
        min_confidence: Smallest `p_face` that counts, in [0, 1].

    Returns:
        The face, or None if there is none.
    """
    return next(iter(certain_faces(faces, min_confidence=min_confidence)), None)


def certain_faces(faces: list[Face], *, min_confidence: float) -> list[Face]:
    """Returns the faces that were found with enough certainty, the largest first.

    Args:
        faces: All faces of one image.
        min_confidence: Smallest `p_face` that counts, in [0, 1].
    """
    certain = [face for face in faces if face.p_face >= min_confidence]
    return sorted(certain, key=lambda face: face.longer_side_px, reverse=True)

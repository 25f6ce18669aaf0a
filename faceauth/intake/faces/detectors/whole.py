"""For images that are face crops already: the whole image is the face."""

import numpy as np

from faceauth.intake.faces.face import FACE_DETECTORS, Face, FaceDetector


@FACE_DETECTORS.register("whole")
def load_whole(*, device: str) -> FaceDetector:
    """Returns a detector that calls every image a face, box and all.

    Args:
        device: Not needed here; every face detector takes it.
    """
    return _whole_images


def _whole_images(images_rgb_uint8: list[np.ndarray]) -> list[list[Face]]:
    return [
        [Face((0.0, 0.0, float(image.shape[1]), float(image.shape[0])), 1.0)] for image in images_rgb_uint8
    ]

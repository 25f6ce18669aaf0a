"""MTCNN (arXiv 1604.02878) with the networks and weights that facenet-pytorch carries in its wheel.

Only `detect` is used: facenet-pytorch's own cropping stretches portrait boxes to squares and fails on a
batch in which one image has no face.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from facenet_pytorch import MTCNN

from faceauth.errors import UsageError
from faceauth.intake.faces import FACE_DETECTORS, Face, FaceDetector

SMALLEST_FACE_PX = 20
SMALLEST_FACE_RATIO = 0.06
# MTCNN's pyramid needs one level of 12 px, which smaller images cannot give (facenet-pytorch issue 176).
SMALLEST_IMAGE_PX = 24
BATCH_SIZE = 16


@FACE_DETECTORS.register("mtcnn")
def load_mtcnn(*, device: str) -> FaceDetector:
    """Loads the three networks.

    Args:
        device: A torch device.

    Returns:
        A detector that looks for faces down to 6 % of the image's short side, but not below 20 px.

    Raises:
        UsageError: There is no such device here.
    """
    try:
        return MtcnnFaces(device=device)
    except (RuntimeError, AssertionError) as error:
        # Torch's own message goes on for a page about backends.
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"The device '{device}' cannot be used: {reason}", "Use --device cpu.") from error


class MtcnnFaces:
    """Runs MTCNN on batches of equal-sized images."""

    def __init__(self, *, device: str) -> None:
        # The device must be given here: `.to()` leaves facenet-pytorch's own copy of it behind.
        self._mtcnn = MTCNN(keep_all=True, select_largest=False, device=torch.device(device)).eval()

    def __call__(self, images_rgb_uint8: list[np.ndarray]) -> list[list[Face]]:
        """Finds the faces of each image; see `faceauth.intake.faces.FaceDetector`."""
        faces: list[list[Face]] = [[] for _ in images_rgb_uint8]
        positions_by_size = defaultdict(list)
        for position, image in enumerate(images_rgb_uint8):
            if min(image.shape[:2]) >= SMALLEST_IMAGE_PX:
                positions_by_size[image.shape[:2]].append(position)
        with _one_thread():
            for positions in positions_by_size.values():
                for start in range(0, len(positions), BATCH_SIZE):
                    batch = positions[start : start + BATCH_SIZE]
                    found = self._detect([images_rgb_uint8[position] for position in batch])
                    for position, faces_of_image in zip(batch, found, strict=True):
                        faces[position] = faces_of_image
        return faces

    def _detect(self, images: list[np.ndarray]) -> list[list[Face]]:
        self._mtcnn.min_face_size = max(
            SMALLEST_FACE_PX, round(SMALLEST_FACE_RATIO * min(images[0].shape[:2]))
        )
        with torch.inference_mode():
            boxes, p_faces, landmarks = self._mtcnn.detect(np.stack(images), landmarks=True)
        return [
            [] if found is None else _faces_from_arrays(found, p_faces[index], landmarks[index])
            for index, found in enumerate(boxes)
        ]


@contextmanager
def _one_thread() -> Iterator[None]:
    # facenet-pytorch pools every candidate crop by itself, and torch's threads meet after each. With two
    # threads on a busy machine that took 700 ms an image, with one 50 ms; other cores decode meanwhile.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _faces_from_arrays(boxes: np.ndarray, p_faces: np.ndarray, landmarks: np.ndarray) -> list[Face]:
    # facenet-pytorch returns object arrays in some batches and float arrays in others.
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    landmarks = np.asarray(landmarks, dtype=np.float32).reshape(-1, 5, 2)
    return [
        Face((float(box[0]), float(box[1]), float(box[2]), float(box[3])), float(p_face), points)
        for box, p_face, points in zip(boxes, p_faces, landmarks, strict=True)
    ]

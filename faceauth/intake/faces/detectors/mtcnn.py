"""MTCNN (arXiv 1604.02878) with the networks and weights that facenet-pytorch carries in its wheel.

Its own `detect` takes images of one size only, and much of its time goes into single crops in a loop. Here
the networks are driven in batches of any sizes (`faceauth.intake.faces.mtcnn`), and find the boxes that it
finds in each image alone. (In a batch its last step sorts the boxes of all images together, and where it is
equally certain of several boxes of one face, another one may be left.)
"""

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat

import numpy as np

from faceauth.errors import UsageError
from faceauth.intake.faces.face import FACE_DETECTORS, Face, FaceDetector
from faceauth.intake.faces.mtcnn.cascade import Cascade, FoundFaces
from faceauth.intake.faces.mtcnn.networks import Networks
from faceauth.intake.faces.mtcnn.packed_sums import LONGEST_SIDE_PX
from faceauth.intake.faces.mtcnn.weights import Weights, read_weights

log = logging.getLogger(__name__)

SMALLEST_FACE_PX = 20
SMALLEST_FACE_RATIO = 0.06
# MTCNN's pyramid needs one level of 12 px, which smaller images cannot give (facenet-pytorch issue 176).
SMALLEST_IMAGE_PX = 24
# Pixels of all images that are searched at once. Their tables of sums take 8 bytes a pixel.
BATCH_PIXELS = 2**23


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
    return MtcnnFaces(device=device)


class MtcnnFaces:
    """Runs MTCNN on batches of images of any sizes.

    Args:
        device: A torch device. On `cpu` OpenVINO runs the networks if it is installed, else torch.
        threads: How many threads share the images of a batch. The preparation has a process for each core,
            and so one thread in each.
        min_face_px: Width of the smallest face that is looked for, at least 20; None for 6 % of the image's
            short side, but not below 20 px.

    Raises:
        InputError: The weights cannot be read.
        UsageError: There is no such device here.
    """

    def __init__(self, *, device: str = "cpu", threads: int = 1, min_face_px: int | None = None) -> None:
        # What is compiled for this process is of no use in another: there it is made anew.
        self._anew = partial(MtcnnFaces, device=device, threads=threads, min_face_px=min_face_px)
        weights = read_weights()
        self._cascades = [Cascade(_networks(weights, device)) for _ in range(threads)]
        self._min_face_px = min_face_px

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of work by stage, summed over all calls and threads."""
        total: Counter[str] = Counter()
        for cascade in self._cascades:
            total.update(cascade.seconds)
        return dict(total)

    def __call__(self, images_rgb_uint8: list[np.ndarray]) -> list[list[Face]]:
        """Finds the faces of each image; see `faceauth.intake.faces.face.FaceDetector`."""
        faces: list[list[Face]] = [[] for _ in images_rgb_uint8]
        with ThreadPoolExecutor(len(self._cascades)) as pool:
            shares = _shares(images_rgb_uint8, len(self._cascades))
            for found in pool.map(self._search, self._cascades, repeat(images_rgb_uint8), shares):
                for position, faces_of_image in found:
                    faces[position] = faces_of_image
        return faces

    def __reduce__(self) -> tuple[partial["MtcnnFaces"], tuple[()]]:
        return self._anew, ()

    def _search(
        self, cascade: Cascade, images: list[np.ndarray], positions: list[int]
    ) -> list[tuple[int, list[Face]]]:
        found = []
        for batch in _batches(images, positions):
            min_faces_px = [self._min_face_px or smallest_face_px(images[position]) for position in batch]
            faces = cascade([images[position] for position in batch], min_faces_px)
            starts = np.searchsorted(faces.image, np.arange(len(batch) + 1))
            for position, start, end in zip(batch, starts[:-1], starts[1:], strict=True):
                found.append((position, _faces_of_image(faces, slice(start, end))))
        return found


def smallest_face_px(image_rgb_uint8: np.ndarray) -> int:
    """Returns the width of the smallest face that is looked for in an image."""
    return max(SMALLEST_FACE_PX, round(SMALLEST_FACE_RATIO * min(image_rgb_uint8.shape[:2])))


def _networks(weights: Weights, device: str) -> Networks:
    if device == "cpu":
        try:
            from faceauth.intake.faces.mtcnn.openvino_networks import OpenvinoNetworks
        except ImportError as error:
            log.info("OpenVINO cannot be imported (%s): torch searches for faces, which is slower", error)
        else:
            return OpenvinoNetworks(weights)
    from faceauth.intake.faces.mtcnn.torch_networks import TorchNetworks

    try:
        return TorchNetworks(weights, device=device)
    except (RuntimeError, AssertionError) as error:
        # Torch's own message goes on for a page about backends.
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"The device '{device}' cannot be used: {reason}", "Use --device cpu.") from error


def _shares(images: list[np.ndarray], n: int) -> list[list[int]]:
    # From the largest to the smallest in turn, so that each thread has about as much to do.
    positions = [
        position for position, image in enumerate(images) if min(image.shape[:2]) >= SMALLEST_IMAGE_PX
    ]
    positions.sort(key=lambda position: -images[position].size)
    return [positions[start::n] for start in range(n)]


def _batches(images: list[np.ndarray], positions: list[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    n_pixels = 0
    for position in positions:
        height, width = images[position].shape[:2]
        if max(height, width) > LONGEST_SIDE_PX:
            raise ValueError(
                f"an image has {width} x {height} pixels; `shrink_for_search` makes such images small enough"
            )
        if batch and n_pixels + height * width > BATCH_PIXELS:
            yield batch
            batch, n_pixels = [], 0
        batch.append(position)
        n_pixels += height * width
    if batch:
        yield batch


def _faces_of_image(faces: FoundFaces, which: slice) -> list[Face]:
    found = zip(
        faces.boxes_xyxy[which].tolist(), faces.p_faces[which].tolist(), faces.landmarks[which], strict=True
    )
    return [Face((x1, y1, x2, y2), p_face, points) for (x1, y1, x2, y2), p_face, points in found]

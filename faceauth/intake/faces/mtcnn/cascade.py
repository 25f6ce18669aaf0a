"""The three stages of MTCNN over batches of images of any sizes, without a loop over boxes.

Follows facenet-pytorch's `detect_face` (models/utils/detect_face.py) step by step, so that boxes are the
same; only the order of the work differs. One of its steps is left out, since it does nothing: between P-net
and R-net it suppresses boxes of all levels that overlap by more than 0.7. Those of one level overlap by no
more than 0.5 by then, and squares of two levels, whose areas are as 1 to 2, cannot overlap by 0.7.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from faceauth.intake.faces.mtcnn.boxes import inside, moved, squared
from faceauth.intake.faces.mtcnn.candidates import Candidates, p_from_logits
from faceauth.intake.faces.mtcnn.networks import Networks
from faceauth.intake.faces.mtcnn.packed_sums import pool_boxes, sum_pixels
from faceauth.intake.faces.mtcnn.proposals import propose
from faceauth.intake.faces.mtcnn.scratch import Scratch

OVERLAP = 0.7


@dataclass(frozen=True)
class _Tables:
    """The tables of sums of a batch of images, one after the other."""

    flat: np.ndarray
    starts: np.ndarray
    sizes_xy: np.ndarray

    def of_each(self) -> list[np.ndarray]:
        return [
            self.flat[start : start + (height + 1) * (width + 1)].reshape(height + 1, width + 1)
            for start, (width, height) in zip(self.starts, self.sizes_xy, strict=True)
        ]


@dataclass(frozen=True)
class _Stage:
    """One of the two networks that look at crops: what they are like, and what passes."""

    name: str
    side_px: int
    n_values: int
    threshold: float


_REFINE = _Stage("R-net", side_px=24, n_values=5, threshold=0.7)
_FINISH = _Stage("O-net", side_px=48, n_values=15, threshold=0.7)


@dataclass(frozen=True)
class FoundFaces:
    """Faces of a batch of images, by image and falling certainty.

    Attributes:
        image: Index of the image of each, (n,) int64.
        boxes_xyxy: Boxes in pixels, (n, 4) float32; they may leave the image.
        p_faces: Certainty, (n,) float32 in [0, 1].
        landmarks: Eyes, nose and corners of the mouth as (x, y) in pixels, (n, 5, 2) float32.
    """

    image: np.ndarray
    boxes_xyxy: np.ndarray
    p_faces: np.ndarray
    landmarks: np.ndarray


class Cascade:
    """Searches batches of images, in one thread.

    Args:
        networks: The three networks.

    Attributes:
        seconds: Seconds of work by stage, summed over all calls.
    """

    def __init__(self, networks: Networks) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._networks = networks
        self._scratch = Scratch()

    def __call__(self, images_rgb_uint8: list[np.ndarray], min_faces_px: list[int]) -> FoundFaces:
        """Finds the faces of a batch of images.

        Args:
            images_rgb_uint8: The images, (height, width, 3) uint8, of any sizes up to `LONGEST_SIDE_PX`.
            min_faces_px: For each image the width of the smallest face that is looked for.
        """
        started = time.perf_counter()
        tables = self._sum_up(images_rgb_uint8)
        self.seconds["sums"] += time.perf_counter() - started
        found = propose(
            tables.of_each(), min_faces_px, self._networks, scratch=self._scratch, seconds=self.seconds
        )
        found = replace(found, boxes_xyxy=squared(moved(found.boxes_xyxy, found.offsets, extra_px=0)))

        networks = self._networks
        found = self._look_closer(_REFINE, found, tables, networks.refine, networks.sizes_24)
        found = found.by_certainty().best_of_overlapping(OVERLAP)
        found = replace(found, boxes_xyxy=squared(moved(found.boxes_xyxy, found.offsets, extra_px=1)))

        found = self._look_closer(_FINISH, found, tables, networks.finish, networks.sizes_48)
        boxes = moved(found.boxes_xyxy, found.offsets[:, :4], extra_px=1)
        found = replace(found, boxes_xyxy=boxes, offsets=_landmarks(found))
        found = found.taken(_sorted_by_numpy(found)).best_of_overlapping(OVERLAP, of_smaller=True)
        return FoundFaces(found.image, found.boxes_xyxy, found.p_faces, found.offsets)

    def _sum_up(self, images: list[np.ndarray]) -> _Tables:
        sizes_xy = np.array([image.shape[1::-1] for image in images], np.int64).reshape(-1, 2)
        ends = (sizes_xy + 1).prod(axis=1).cumsum()
        starts = np.concatenate([[0], ends])
        flat = self._scratch.array("sums", (int(starts[-1]),), np.uint64)
        tables = _Tables(flat, starts[:-1], sizes_xy)
        for image, table in zip(images, tables.of_each(), strict=True):
            sum_pixels(image, table, self._scratch)
        return tables

    def _look_closer(
        self,
        stage: _Stage,
        found: Candidates,
        tables: _Tables,
        run: Callable[[np.ndarray], np.ndarray],
        block_sizes: tuple[int, ...],
    ) -> Candidates:
        edges, not_empty = inside(found.boxes_xyxy, tables.sizes_xy[found.image])
        found, edges = found.taken(not_empty), edges[not_empty]
        starts, strides = tables.starts[found.image], tables.sizes_xy[found.image, 0] + 1
        values = np.empty((len(found), stage.n_values), np.float32)
        for block, size in _blocks(len(found), block_sizes):
            began = time.perf_counter()
            n = len(edges[block])
            shape = (size, stage.side_px, stage.side_px, 3)
            crops = self._scratch.array(stage.name, shape, np.float32)
            crops[n:] = 0
            pool_boxes(tables.flat, starts[block], strides[block], edges[block], crops[:n], self._scratch)
            cropped = time.perf_counter()
            values[block] = run(crops)[:n]
            self.seconds["crops"] += cropped - began
            self.seconds[stage.name] += time.perf_counter() - cropped
        p_faces = p_from_logits(values[:, 0])
        likely = p_faces > np.float32(stage.threshold)
        return Candidates(found.image, found.boxes_xyxy, p_faces, values[:, 1:]).taken(likely)


def _sorted_by_numpy(found: Candidates) -> np.ndarray:
    # facenet-pytorch sorts by `argsort` here, whose order of equal certainties is its own. It decides which
    # of several boxes of one face is left when O-net is sure of all to the last digit, as it often is.
    borders = np.searchsorted(found.image, np.unique(found.image)).tolist()
    orders = [
        start + np.argsort(found.p_faces[start:end])[::-1] for start, end in pairwise([*borders, len(found)])
    ]
    return np.concatenate([np.empty(0, np.int64), *orders])


def _landmarks(found: Candidates) -> np.ndarray:
    # (n, 5, 2), from shares of the box before it is moved.
    corners = found.boxes_xyxy[:, None, :2]
    sizes = found.boxes_xyxy[:, None, 2:] - corners + 1
    shares = np.stack([found.offsets[:, 4:9], found.offsets[:, 9:]], axis=2)
    return shares * sizes + corners - 1


def _blocks(n: int, sizes: tuple[int, ...]) -> list[tuple[slice, int]]:
    # As many of the largest size as are full, then smaller ones; only the last may be partly empty.
    blocks = []
    start = 0
    for size in sizes:
        while n - start >= size or (start < n and size == sizes[-1]):
            blocks.append((slice(start, start + size), size))
            start += size
    return blocks

"""Finds faces in the images of a folder, beside facenet-pytorch's own `detect`, on the same pixels.

python benchmarks/faces.py FOLDER --limit 200

First both look at the same sizes for faces of the same sizes: facenet-pytorch in batches of images of one
size, as it must, and ours in batches of 32 as they come. Then photos of 1,000 px and more are searched with
the defaults of either side. Both use two threads, in turns, and the medians of their times are compared.
Wall time depends on what else the machine does; processor time less so.

Boxes are compared with those that facenet-pytorch finds in each image alone. In a batch it finds others in
some images: its last step sorts the boxes of all images together, and where it is equally certain of
several boxes of one face, chance decides which is left. How often is printed too.
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from scipy.stats import binomtest

from faceauth.intake.faces.detectors.mtcnn import MtcnnFaces, smallest_face_px
from faceauth.intake.faces.face import Face, shrink_for_search
from faceauth.intake.pipeline.collect import BATCH_FILES
from faceauth.intake.pixels.images import IMAGE_SUFFIXES, UnreadableImageError, read_image
from faceauth.versions import installed_versions

CERTAIN = 0.9
SAME_IOU = 0.9
# Of a face that is found in both, though at another scale of the search.
FOUND_IOU = 0.5
FACE_SHARE = 0.06
LARGE_PX = 1000


@dataclass(frozen=True)
class Found:
    """Faces of one image: (n, 4) boxes x1, y1, x2, y2 in pixels and (n,) certainties."""

    boxes_xyxy: np.ndarray
    p_faces: np.ndarray


def main() -> None:
    """Prints ratios of both sides' speed, the share of boxes that agree, and where our time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=200, help="images, spread evenly over the folder")
    parser.add_argument(
        "--min-face", type=int, help="smallest face in px for both sides; default: 6 %%, from 20 px"
    )
    parser.add_argument("--large", type=int, default=12, help="large photos for the second part")
    parser.add_argument("--enlarge-to", type=int, default=1600, help="long side of photos enlarged for it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.threads} threads "
        f"each, device {arguments.device}, openvino {importlib.metadata.version('openvino')}, "
        f"{installed_versions()}"
    )
    images = read_spread(arguments.folder, arguments.limit)
    compare_at_equal_settings(images, arguments)
    compare_on_large_photos(images, arguments)


def compare_at_equal_settings(images: list[np.ndarray], arguments: argparse.Namespace) -> None:
    """Compares speed and boxes at the same image sizes and smallest faces."""
    images = [shrink_for_search(image) for image in images]
    detector = MtcnnFaces(device=arguments.device, threads=arguments.threads, min_face_px=arguments.min_face)
    theirs = MTCNN(keep_all=True, select_largest=False, device=torch.device(arguments.device))

    def find_theirs() -> list[Found]:
        return detect_by_size(theirs, images, arguments.min_face)

    def find_ours() -> list[Found]:
        return [as_found(faces) for batch in batches(images) for faces in detector(batch)]

    find_ours()
    sizes = Counter(max(image.shape[:2]) for image in images)
    smallest = arguments.min_face or "6 % of the short side, from 20 px"
    print(
        f"\nequal settings: {len(images)} images, long sides {min(sizes)} to {max(sizes)} px, "
        f"median {statistics.median(sizes.elements()):.0f}; smallest face {smallest}"
    )
    our_faces, their_faces = race(find_ours, find_theirs, len(images), arguments.repeats)
    total = sum(detector.seconds.values())
    print("our time: " + ", ".join(f"{name} {part / total:.0%}" for name, part in detector.seconds.items()))
    alone = detect_by_size(theirs, images, arguments.min_face, most=1)
    report_agreement("ours in theirs", our_faces, alone)
    report_agreement("theirs in ours", alone, our_faces)
    report_agreement("theirs alone in theirs in batches", alone, their_faces)
    n, lost = count_lost(images, alone, our_faces)
    print(f"faces wider than 6 % of the short side that facenet-pytorch found and we lost: {lost} of {n}")


def compare_on_large_photos(images: list[np.ndarray], arguments: argparse.Namespace) -> None:
    """Compares our defaults with facenet-pytorch's on photos of 1,000 px and more, and counts lost faces."""
    images = sorted(images, key=lambda image: -max(image.shape[:2]))[: arguments.large]
    n_enlarged = sum(max(image.shape[:2]) < LARGE_PX for image in images)
    images = [
        image if max(image.shape[:2]) >= LARGE_PX else enlarged(image, arguments.enlarge_to)
        for image in images
    ]
    detector = MtcnnFaces(device=arguments.device, threads=arguments.threads)
    theirs = MTCNN(keep_all=True, select_largest=False, device=torch.device(arguments.device))

    def find_ours() -> list[Found]:
        with ThreadPoolExecutor(arguments.threads) as pool:
            small = list(pool.map(shrink_for_search, images))
        return [
            as_found([face.scaled(image.shape[1] / searched.shape[1]) for face in faces])
            for image, searched, faces in zip(images, small, detector(small), strict=True)
        ]

    def find_theirs() -> list[Found]:
        return detect_by_size(theirs, images, 20, most=4)

    find_ours()
    sides = [max(image.shape[:2]) for image in images]
    print(
        f"\nlarge photos, defaults of either side: {len(images)} photos of {min(sides)} to {max(sides)} px, "
        f"{n_enlarged} of them enlarged"
    )
    our_faces, their_faces = race(find_ours, find_theirs, len(images), max(1, arguments.repeats // 2))
    n, lost = count_lost(images, their_faces, our_faces)
    print(f"faces wider than 6 % of the short side that facenet-pytorch found and we lost: {lost} of {n}")


def count_lost(images: list[np.ndarray], theirs: list[Found], ours: list[Found]) -> tuple[int, int]:
    """Counts their certain faces wider than 6 % of the short side, and those that ours miss."""
    n, n_lost = 0, 0
    for image, their, our in zip(images, theirs, ours, strict=True):
        wide = their.boxes_xyxy[:, 2] - their.boxes_xyxy[:, 0] > FACE_SHARE * min(image.shape[:2])
        boxes = their.boxes_xyxy[wide & (their.p_faces >= CERTAIN)]
        n += len(boxes)
        n_lost += int((best_overlaps(boxes, our.boxes_xyxy) < FOUND_IOU).sum())
    return n, n_lost


def race(
    ours: Callable[[], list[Found]], theirs: Callable[[], list[Found]], n_images: int, repeats: int
) -> tuple[list[Found], list[Found]]:
    """Runs both in turns, prints medians and ratios, and returns what each found in its last run."""
    wall: dict[str, list[float]] = {"ours": [], "theirs": []}
    processor: dict[str, list[float]] = {"ours": [], "theirs": []}
    found = {}
    for _ in range(repeats):
        for name, find in (("ours", ours), ("theirs", theirs)):
            began, began_processor = time.perf_counter(), time.process_time()
            found[name] = find()
            wall[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - began_processor)
    for name in ("ours", "theirs"):
        print(
            f"{name:6} {1000 * statistics.median(wall[name]) / n_images:7.1f} ms an image, "
            f"processor {1000 * statistics.median(processor[name]) / n_images:7.1f} ms"
        )
    ratios, processor_ratios = (
        [their_time / our_time for our_time, their_time in zip(times["ours"], times["theirs"], strict=True)]
        for times in (wall, processor)
    )
    print(
        f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f} in {repeats} "
        f"rounds), of processor time {statistics.median(processor_ratios):.1f}"
    )
    return found["ours"], found["theirs"]


def detect_by_size(
    mtcnn: MTCNN, images: list[np.ndarray], min_face_px: int | None, *, most: int = BATCH_FILES
) -> list[Found]:
    """Runs facenet-pytorch on batches of images of one size."""
    positions_by_size = defaultdict(list)
    for position, image in enumerate(images):
        positions_by_size[image.shape].append(position)
    found = {}
    for positions in positions_by_size.values():
        for start in range(0, len(positions), most):
            batch = positions[start : start + most]
            mtcnn.min_face_size = min_face_px or smallest_face_px(images[batch[0]])
            # With landmarks, which ours are found with too; it takes no longer.
            boxes, p_faces, _ = mtcnn.detect(
                np.stack([images[position] for position in batch]), landmarks=True
            )
            for position, boxes_of_image, p_of_image in zip(batch, boxes, p_faces, strict=True):
                found[position] = (
                    nothing()
                    if boxes_of_image is None
                    else Found(np.array(boxes_of_image, np.float64), np.array(p_of_image, np.float64))
                )
    return [found[position] for position in range(len(images))]


def report_agreement(title: str, found: list[Found], other: list[Found]) -> None:
    """Prints how many of one side's certain faces the other has too, with an interval (Clopper-Pearson)."""
    n, n_same = 0, 0
    for one, two in zip(found, other, strict=True):
        overlaps = best_overlaps(one.boxes_xyxy[one.p_faces >= CERTAIN], two.boxes_xyxy)
        n += len(overlaps)
        n_same += int((overlaps >= SAME_IOU).sum())
    if n == 0:
        print(f"{title}: no faces")
        return
    low, high = binomtest(n_same, n).proportion_ci()
    print(
        f"{title}: {n_same} of {n} faces with p >= {CERTAIN} "
        f"({n_same / n:.2%}, 95 % interval {low:.2%} to {high:.2%})"
    )


def best_overlaps(boxes_xyxy: np.ndarray, others_xyxy: np.ndarray) -> np.ndarray:
    """Returns for each box the largest intersection over union with any of the others; 0 without others."""
    corners = np.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    ends = np.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    shared = np.maximum(ends - corners, 0).prod(axis=2)
    areas, other_areas = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (boxes_xyxy, others_xyxy))
    return (shared / (areas[:, None] + other_areas - shared)).max(axis=1, initial=0.0)


def as_found(faces: list[Face]) -> Found:
    """Turns our records into arrays."""
    if not faces:
        return nothing()
    return Found(np.array([face.box_xyxy for face in faces]), np.array([face.p_face for face in faces]))


def nothing() -> Found:
    """Returns no faces."""
    return Found(np.empty((0, 4)), np.empty(0))


def batches(images: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Cuts a list of images into batches as the preparation has them."""
    return [images[start : start + BATCH_FILES] for start in range(0, len(images), BATCH_FILES)]


def enlarged(image_rgb_uint8: np.ndarray, long_side_px: int) -> np.ndarray:
    """Enlarges a photo, for its speed alone."""
    height, width = image_rgb_uint8.shape[:2]
    scale = long_side_px / max(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(image_rgb_uint8).resize(size, Image.Resampling.BICUBIC))


def read_spread(folder: Path, limit: int) -> list[np.ndarray]:
    """Reads images spread evenly over a folder, leaving out those that cannot be read."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    images = []
    for path in paths[:: max(1, len(paths) // limit)][:limit]:
        try:
            images.append(read_image(path).image_rgb_uint8)
        except UnreadableImageError as error:
            print(f"left out {path}: {error}")
    return images


if __name__ == "__main__":
    main()

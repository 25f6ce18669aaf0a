"""Finds faces in the images of a folder, beside facenet-pytorch's own `detect` on the same arrays.

python benchmarks/faces.py FOLDER --limit 200
"""

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN

from faceauth.intake.faces import load_face_detector, main_face, shrink_for_search
from faceauth.intake.images import IMAGE_SUFFIXES, UnreadableImageError, read_image
from faceauth.versions import installed_versions


def main() -> None:
    """Prints images a second of both sides, their ratio, and in how many images the main face agrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    images = readable(paths[:: max(1, len(paths) // arguments.limit)][: arguments.limit])
    ours = load_face_detector("mtcnn")
    theirs = MTCNN(keep_all=True, select_largest=False)
    ours(images[:2])
    theirs.detect(images[0])

    started = time.perf_counter()
    our_faces = ours(images)
    our_rate = len(images) / (time.perf_counter() - started)
    started = time.perf_counter()
    their_boxes = [theirs.detect(image)[0] for image in images]
    their_rate = len(images) / (time.perf_counter() - started)

    agreeing = 0
    for faces, boxes in zip(our_faces, their_boxes, strict=True):
        face = main_face(faces, min_confidence=0.0)
        if face is None or boxes is None:
            agreeing += face is None and boxes is None
        else:
            agreeing += max(overlap(face.box_xyxy, box) for box in np.asarray(boxes, dtype=np.float32)) >= 0.9
    print(
        f"{len(images)} images, {os.cpu_count()} cores of {platform.processor() or platform.machine()}, "
        f"{torch.get_num_threads()} torch threads, {installed_versions()}"
    )
    print(f"ours {our_rate:.1f} images/s, MTCNN.detect {their_rate:.1f} images/s")
    print(f"ratio {our_rate / their_rate:.2f}")
    print(f"main face agrees (IoU >= 0.9) in {agreeing} of {len(images)}")


def readable(paths: list[Path]) -> list[np.ndarray]:
    """Reads images, leaving out those that cannot be read."""
    images = []
    for path in paths:
        try:
            images.append(shrink_for_search(read_image(path).image_rgb_uint8))
        except UnreadableImageError as error:
            print(f"left out {path}: {error}")
    return images


def overlap(first: tuple[float, ...], second: np.ndarray) -> float:
    """Computes the intersection over union of two boxes (x1, y1, x2, y2)."""
    left, top = max(first[0], second[0]), max(first[1], second[1])
    right, bottom = min(first[2], second[2]), min(first[3], second[3])
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return float(shared / (sum(areas) - shared))


if __name__ == "__main__":
    main()

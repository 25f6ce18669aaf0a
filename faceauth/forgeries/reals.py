"""The reals that are to be forged: decoded, and looked at for faces, batch by batch."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from faceauth.console import progress
from faceauth.forgeries.colour import lab_of
from faceauth.forgeries.face_shape import face_frame, fill_outline, outline_of
from faceauth.forgeries.forge import SMALLEST_SIDE_PX, Portrait
from faceauth.forgeries.rows import read_crop
from faceauth.intake.faces.face import FaceDetector, main_face
from faceauth.intake.manifest import NO_FACE, OK, TOO_SMALL, UNREADABLE, ManifestRow

_BATCH = 32
# One step of each of these is as much as any other: turn of the head in units of `FaceFrame`, colour in
# levels of L*, a* and b*, size of the face as a factor.
_STEP_OF_TURN, _STEP_OF_COLOUR, _STEP_OF_SIZE = 0.15, 12.0, 1.5


@dataclass(frozen=True)
class RealCrop:
    """A real crop that is to be forged.

    Attributes:
        row: Its row.
        path: Where it lies.
        key: Hash of its pixels.
        status: `ok`; or `unreadable` or `too_small`, and then nothing can be made of it; or `no_face`, and
            then only what needs no landmarks.
        landmarks: (5, 2) float32 as (x, y) in pixels; None where no face was looked for, or found.
        features: What a partner must have in common, (5,); None without landmarks.
    """

    row: ManifestRow
    path: Path
    key: str = ""
    status: str = OK
    landmarks: np.ndarray | None = None
    features: np.ndarray | None = None

    @property
    def known_features(self) -> np.ndarray:
        """The features of a crop in which a face was found."""
        assert self.features is not None
        return self.features


def features_of(portrait: Portrait) -> np.ndarray:
    """Returns how a face is turned and lit and how large it is, as a good partner's should be; (5,) float64.

    Args:
        portrait: With landmarks.
    """
    crop, landmarks = portrait.crop_rgb_uint8, portrait.known_landmarks
    height, width = crop.shape[:2]
    frame = face_frame(landmarks)
    inside = fill_outline(outline_of(landmarks, "inner_face"), height=height, width=width) > 0.5
    colour = lab_of(crop[inside] if inside.any() else crop.reshape(-1, 3)).mean(axis=0) / _STEP_OF_COLOUR
    size = np.log(frame.unit_px / height) / np.log(_STEP_OF_SIZE)
    return np.array([np.clip(frame.turn, -1, 1) / _STEP_OF_TURN, *colour, size])


def look_at_reals(
    reals: Sequence[RealCrop], detect: FaceDetector | None, *, min_confidence: float, workers: int
) -> list[RealCrop]:
    """Reads crops and finds their faces; the pixels are not kept.

    Args:
        reals: With row and path alone.
        detect: Finds faces; None if no forgery needs them.
        min_confidence: Smallest `p_face` that counts, in [0, 1].
        workers: Threads that read.
    """
    looked: list[RealCrop] = []
    iterator = iter(reals)
    with ThreadPoolExecutor(max(1, workers)) as pool, progress("faces", len(reals)) as advance:
        while batch := list(islice(iterator, _BATCH)):
            read = list(pool.map(_read, batch))
            crops = [crop for _, crop in read if crop is not None]
            faces = iter(detect(crops) if detect is not None and crops else [])
            for real, crop in read:
                if crop is None or detect is None:
                    looked.append(real)
                    continue
                face = main_face(next(faces), min_confidence=min_confidence)
                if face is None or face.landmarks is None:
                    looked.append(replace(real, status=NO_FACE))
                    continue
                features = features_of(Portrait(crop, face.landmarks))
                looked.append(replace(real, landmarks=face.landmarks, features=features))
            advance(len(batch))
    return looked


def _read(real: RealCrop) -> tuple[RealCrop, np.ndarray | None]:
    try:
        crop = read_crop(real.path)
    except (OSError, ValueError, SyntaxError):
        return replace(real, status=UNREADABLE), None
    if min(crop.shape[:2]) < SMALLEST_SIDE_PX:
        return replace(real, status=TOO_SMALL), None
    return replace(real, key=hashlib.sha256(crop.tobytes()).hexdigest()), crop

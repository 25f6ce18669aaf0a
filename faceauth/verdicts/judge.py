"""What judges crops: a detector with all that was decided on val."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from faceauth.decisions.attribution import attribute
from faceauth.decisions.decided import read_decided
from faceauth.detectors.checkpoint import Card, load_checkpoint
from faceauth.detectors.detector import Detector, scores_and_features
from faceauth.detectors.embedded import EMBEDDED_NAME, load_embedded
from faceauth.errors import UsageError
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.scoring.score import best_device
from faceauth.verdicts.cutting import CutBatch, CutFace
from faceauth.verdicts.verdict import Opinion, Verdict, verdict_of

WHOLE = "whole"
# Hooks of a network catch the embedding, and would catch that of another thread's pass, too. The embedded
# detector is one network for all who load it.
_ONE_AT_A_TIME = threading.Lock()


class Judge:
    """Judges crops; several threads may ask it at once.

    Args:
        detector: The detector; it is put into evaluation mode and moved to the device.
        card: What its checkpoint says beside it.
        name: What the checkpoint is called, for messages.
        device: A torch device; None takes the best there is.
        is_crops: The pictures are face crops already, and no face is looked for.

    Raises:
        DetectorError: The card was damaged.
        UsageError: There is no such device.
    """

    def __init__(
        self, detector: Detector, card: Card, *, name: str, device: str | None = None, is_crops: bool = False
    ) -> None:
        self.name = name
        self.device = _usable(device or best_device())
        self._detector = detector
        self._decided = read_decided(card, name)
        self.collect = CollectSettings(
            face_detector=WHOLE if is_crops else card.face_detector, crop=card.crop
        )
        detector.model.to(self.device).eval()  # type: ignore[arg-type]

    @property
    def crop(self) -> CropSettings:
        """How the crops that it judges are cut."""
        return self.collect.crop

    @property
    def is_searching(self) -> bool:
        """Whether faces are looked for."""
        return self.collect.face_detector != WHOLE

    def judge(self, crops_rgb_uint8: np.ndarray) -> list[Opinion]:
        """Judges crops.

        Args:
            crops_rgb_uint8: (n, height, width, 3) uint8.

        Returns:
            n opinions.

        Raises:
            DetectorError: The calibration of the card cannot be used.
        """
        if not len(crops_rgb_uint8):
            return []
        images = torch.from_numpy(crops_rgb_uint8).permute(0, 3, 1, 2)
        with _ONE_AT_A_TIME:
            pixel_values = self._detector.pixel_values(images.to(self.device))
            p_fake_raw, embedding = scores_and_features(self._detector, pixel_values)
        decided = self._decided
        p_fake = decided.calibration.apply(np.clip(p_fake_raw.numpy(), 0.0, 1.0))
        is_fake = p_fake >= decided.threshold.value
        unsure = decided.unsure.is_unsure(p_fake)
        generators: list[tuple[str, float] | None] = [None] * len(p_fake)
        if decided.attribution.get("generators") and is_fake.any():
            named = attribute(embedding.cpu().numpy()[is_fake], decided.attribution)
            for i, found in zip(np.flatnonzero(is_fake), named, strict=True):
                generators[i] = found
        return [
            Opinion(
                ID2LABEL[FAKE if is_fake[i] else REAL],
                float(p_fake[i]),
                None if unsure is None else bool(unsure[i]),
                *(generators[i] or (None, None)),
            )
            for i in range(len(p_fake))
        ]

    def verdicts(self, batches: Iterable[CutBatch], *, batch_size: int) -> Iterator[Verdict]:
        """Judges faces as they come.

        Args:
            batches: Faces that were cut out.
            batch_size: Crops that pass the network at once, fewer only at the end.

        Yields:
            A verdict for each face, or for each picture without one, in their order.
        """
        waiting: list[CutFace] = []
        n_crops = 0
        for batch in batches:
            for cut in (cut for faces in batch for cut in faces):
                waiting.append(cut)
                n_crops += cut.crop_rgb_uint8 is not None
                # What waits for nobody's crop need not wait.
                if n_crops in (0, batch_size):
                    yield from self._verdicts(waiting)
                    waiting, n_crops = [], 0
        yield from self._verdicts(waiting)

    def _verdicts(self, faces: list[CutFace]) -> Iterator[Verdict]:
        crops = [face.crop_rgb_uint8 for face in faces if face.crop_rgb_uint8 is not None]
        opinions = iter(self.judge(np.stack(crops)) if crops else [])
        for face in faces:
            opinion = None if face.crop_rgb_uint8 is None else next(opinions)
            yield verdict_of(face.row, opinion, crop=self.crop, is_searched=self.is_searching)


def load_judge(model: str | Path, *, device: str | None = None, is_crops: bool = False) -> Judge:
    """Loads what judges crops.

    Args:
        model: A checkpoint or run folder, or `embedded`.
        device: A torch device; None takes the best there is.
        is_crops: The pictures are face crops already.

    Raises:
        DetectorError: There is no such checkpoint, or it cannot be loaded.
        UsageError: There is no such device.
    """
    detector, card = load_embedded() if model == EMBEDDED_NAME else load_checkpoint(Path(model))
    return Judge(detector, card, name=str(model), device=device, is_crops=is_crops)


def _usable(device: str) -> str:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        # Torch's own message goes on for a page about backends.
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"The device '{device}' cannot be used: {reason}", "Use --device cpu.") from error
    return device

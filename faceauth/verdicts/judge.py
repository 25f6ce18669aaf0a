"""What judges crops: a network, whatever runs it, with all that was decided on val."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.special import expit

from faceauth.decisions.attribution import attribute
from faceauth.decisions.decided import read_decided
from faceauth.decisions.domain import is_outside
from faceauth.detectors.card import Card
from faceauth.intake.faces.crop import CropSettings
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.runtimes.choose import open_network
from faceauth.runtimes.network import Network
from faceauth.verdicts.cutting import CutBatch, CutFace
from faceauth.verdicts.verdict import OUTSIDE_DOMAIN, Opinion, Verdict, verdict_of

WHOLE = "whole"


class Judge:
    """Judges crops; several threads may ask it at once.

    Args:
        network: Runs crops.
        card: What is known of the detector.
        name: What the detector is called, for messages.
        is_crops: The pictures are face crops already, and no face is looked for.

    Raises:
        DetectorError: The card was damaged.
    """

    def __init__(self, network: Network, card: Card, *, name: str, is_crops: bool = False) -> None:
        self.name = name
        self.network = network
        self.decided = read_decided(card, name)
        self.collect = CollectSettings(
            face_detector=WHOLE if is_crops else card.face_detector, crop=card.crop
        )

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
        found = self.network(crops_rgb_uint8)
        logits = found.logits.astype(np.float64)
        decided = self.decided
        p_fake = decided.calibration.apply(expit(logits[:, FAKE] - logits[:, REAL]))
        is_fake = p_fake >= decided.threshold.value
        unsure = decided.unsure.is_unsure(p_fake)
        generators: list[tuple[str, float] | None] = [None] * len(p_fake)
        if decided.attribution.get("generators") and is_fake.any():
            found_names = attribute(found.embedding[is_fake], decided.attribution)
            for i, name_and_score in zip(np.flatnonzero(is_fake), found_names, strict=True):
                generators[i] = name_and_score
        is_far = np.zeros(len(p_fake), dtype=bool)
        if decided.domain.get("sources"):
            is_far = is_outside(found.embedding, decided.domain)
        return [
            Opinion(
                label=ID2LABEL[FAKE if is_fake[i] else REAL],
                p_fake=float(p_fake[i]),
                unsure=None if unsure is None else bool(unsure[i]),
                generator=name,
                generator_score=score,
                warnings=(OUTSIDE_DOMAIN,) if is_far[i] else (),
            )
            for i, (name, score) in enumerate(named or (None, None) for named in generators)
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
            yield verdict_of(
                face.row, opinion, crop=self.crop, is_searched=self.is_searching, person=face.person
            )


def load_judge(
    model: str | Path, *, runtime: str | None = None, device: str | None = None, is_crops: bool = False
) -> Judge:
    """Loads what judges crops.

    Args:
        model: A checkpoint or run folder, an ONNX file, a hub id, or `embedded`.
        runtime: A name in `faceauth.runtimes.network.RUNTIMES`; None for the fastest that can run it.
        device: A torch device; None takes the best there is.
        is_crops: The pictures are face crops already.

    Raises:
        DetectorError: There is no such model, or it cannot be run.
        UsageError: There is no such device or runtime, or they do not go together.
    """
    network, card = open_network(model, runtime=runtime, device=device)
    return Judge(network, card, name=str(model), is_crops=is_crops)

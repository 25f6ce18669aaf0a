"""Heat maps of judged faces: from a picture and a verdict to what in the face speaks for it."""

import copy
import threading
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from faceauth.detectors.detector import Detector
from faceauth.detectors.devices import best_device, check_device
from faceauth.detectors.embedded import open_checkpoint
from faceauth.errors import DetectorError
from faceauth.explanations.faithfulness import Faithfulness, measure_faithfulness
from faceauth.explanations.heatmap import check_method, default_method, explain
from faceauth.explanations.overlay import Square, crop_square, overlay, view_around, with_legend
from faceauth.explanations.subject import private_copy
from faceauth.intake.faces.crop import CropSettings, crop_face
from faceauth.runtimes.network import ONNX_SUFFIX
from faceauth.verdicts.verdict import Verdict


@dataclass(frozen=True)
class ExplainedFace:
    """A verdict with its heat map.

    Attributes:
        verdict: The verdict.
        heat: (rows, columns) float32 in [0, 1] over the square, see `faceauth.explanations.heatmap.Heat`;
            None, as all that follows, where there is no verdict to be explained.
        square_xyxy: The square that the face's crop was cut from, in pixels of the upright picture.
        method: Name of the kind of heat map.
        log_odds: ln(p_fake / p_real) of the network, not calibrated.
        faithfulness: By name the numbers of `faceauth.explanations.faithfulness.Faithfulness`; None if they
            were not measured.
    """

    verdict: Verdict
    heat: np.ndarray | None = None
    square_xyxy: Square | None = None
    method: str | None = None
    log_odds: float | None = None
    faithfulness: dict[str, float] | None = None

    def painted(self, image_rgb_uint8: np.ndarray) -> np.ndarray:
        """Paints the heat onto the whole upright picture, (height, width, 3) uint8; nothing if there is none.

        Several faces of a picture are painted one after the other.
        """
        if self.heat is None or self.square_xyxy is None:
            return image_rgb_uint8
        return overlay(image_rgb_uint8, self.heat, self.square_xyxy)

    def sheet(self, image_rgb_uint8: np.ndarray) -> np.ndarray:
        """Makes a picture of the face and what lies around it, painted, with a legend.

        Args:
            image_rgb_uint8: The whole upright picture, (height, width, 3) uint8.

        Returns:
            At most about 1,100 pixels a side, uint8.
        """
        assert self.heat is not None
        assert self.square_xyxy is not None
        view, square = view_around(image_rgb_uint8, self.square_xyxy)
        verdict = self.verdict
        words = f"unsure, rather {verdict.label}" if verdict.unsure else verdict.label
        lines = (f"{words}, p_fake {verdict.p_fake:.3f}", f"Found by {self.method}: a hint, no proof.")
        return with_legend(overlay(view, self.heat, square), lines)


class Explainer:
    """Makes heat maps; several threads may ask one at once.

    The network is loaded when it is first needed, once, and apart from what judges: heat maps need torch and
    gradients, whatever runs the verdicts.

    Args:
        model: A checkpoint or run folder, or `embedded`: what judged the faces.
        crop: How faces are cut for it.
        device: A torch device; None takes the best there is.
    """

    def __init__(self, model: str | Path, crop: CropSettings, *, device: str | None = None) -> None:
        self._model = Path(model)
        self._crop = crop
        self._device = device
        self._loading = threading.Lock()
        self._loaded: Detector | None = None

    def check(self, method: str | None = None) -> str:
        """Loads the network and makes sure that heat maps can be made of it.

        Args:
            method: Name of the kind of heat map; None takes the one made for the network.

        Returns:
            The name of the kind of heat map.

        Raises:
            DetectorError: It cannot be loaded, or is a file of another runtime.
            MissingExtraError: The method needs a package that is not installed.
            UnknownNameError: There is no such method.
            UsageError: The method is not for this kind of network, or there is no such device.
        """
        model = self._detector().model
        name = method or default_method(model)
        check_method(model, name)
        return name

    def explain(
        self,
        image_rgb_uint8: np.ndarray,
        verdict: Verdict,
        *,
        method: str | None = None,
        measure: bool = False,
    ) -> ExplainedFace:
        """Makes the heat map of one face.

        Args:
            image_rgb_uint8: The whole upright picture, (height, width, 3) uint8.
            verdict: A verdict on one of its faces.
            method: Name of the kind of heat map; None takes the one made for the network.
            measure: Whether to tell how far the map can be trusted, which takes longer than the map.

        Returns:
            The verdict with its heat map; without one if its status is not `ok`.

        Raises:
            FaceAuthError: As for `check`.
        """
        if verdict.p_fake is None:
            return ExplainedFace(verdict)
        height, width = image_rgb_uint8.shape[:2]
        box = verdict.box or (0.0, 0.0, float(width), float(height))
        crops = crop_face(image_rgb_uint8, box, self._crop)[None]
        detector = self._detector()
        p_fake = np.array([verdict.p_fake], dtype=np.float32)
        found = explain(detector, crops, method=method, p_fake=p_fake)
        return ExplainedFace(
            verdict=verdict,
            heat=found.heat[0],
            square_xyxy=crop_square(verdict.box, width=width, height=height, crop=self._crop),
            method=found.method,
            log_odds=float(found.log_odds[0]),
            faithfulness=_numbers(measure_faithfulness(detector, crops, found)) if measure else None,
        )

    def _detector(self) -> Detector:
        with self._loading:
            if self._loaded is None:
                device = self._device or best_device()
                check_device(device)
                own = private_copy(_open(self._model))
                if torch.device(device).type != own.model.device.type:
                    # The embedded detector is one for the whole process, and stays where it is.
                    model = copy.deepcopy(own.model).to(device)  # type: ignore[arg-type]
                    own = Detector(own.name, model, own.processor, own.origin)
                self._loaded = own
            return self._loaded


def _open(model: Path) -> Detector:
    if model.suffix.lower() == ONNX_SUFFIX:
        raise DetectorError(
            f"Heat maps need gradients, and {model} is an ONNX file, which has none.",
            "Give the checkpoint folder that it was exported from.",
        )
    try:
        return open_checkpoint(model)[0]
    except DetectorError as error:
        raise DetectorError(
            f"Heat maps need a network with its gradients. {error.message}", error.hint
        ) from error


def _numbers(measured: Faithfulness) -> dict[str, float]:
    return {field.name: float(getattr(measured, field.name)[0]) for field in fields(Faithfulness)}

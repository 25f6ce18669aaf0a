"""Heat maps on request: each face's crop as the detector saw it, with the heat painted on.

Torch is imported when the first is asked for: other runtimes do without, and most servers will never need it.
"""

import base64
import io
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from faceauth.detectors.embedded import open_checkpoint
from faceauth.intake.faces.crop import CropSettings
from faceauth.serving.answers import HeatMap
from faceauth.serving.team import Judged

if TYPE_CHECKING:
    from faceauth.detectors.detector import Detector

# They take several times as long as a verdict.
MAX_HEAT_MAPS = 8


class HeatMaker:
    """Paints heat maps; several threads may ask it, and one is served at a time.

    Runtimes that are made for verdicts give no gradients, so that the detector is loaded once more, in torch,
    when the first map is asked for.

    Args:
        model: A checkpoint or run folder, or `embedded`.
        crop: How crops are cut.
        is_searching: Whether faces are looked for; if not, a picture is one crop.
    """

    def __init__(self, model: str, crop: CropSettings, *, is_searching: bool) -> None:
        self._model = model
        self._crop = crop
        self._is_searching = is_searching
        self._one_at_a_time = threading.Lock()

    def paint(self, judged: Judged) -> list[HeatMap]:
        """Paints the largest faces of a picture that were judged.

        Args:
            judged: What became of the picture.

        Returns:
            At most `MAX_HEAT_MAPS` maps, in the order of the records.
        """
        from faceauth.explanations.heatmap import HEATMAPS, explain
        from faceauth.explanations.overlay import crop_square, overlay

        faces = [face for faces in judged.seen.frames for face in faces]
        crops = [
            (number, face.row, face.crop_rgb_uint8)
            for number, face in enumerate(faces)
            if face.crop_rgb_uint8 is not None
        ][:MAX_HEAT_MAPS]
        if not crops:
            return []
        pixels = np.stack([crop for _, _, crop in crops])
        p_fake = np.array([judged.verdicts[number].p_fake for number, _, _ in crops])
        with self._one_at_a_time:
            heat = explain(self._detector, pixels, p_fake=p_fake)
        summary = HEATMAPS.get(heat.method)().summary
        maps = []
        for (number, row, crop), one in zip(crops, heat.heat, strict=True):
            assert row.width is not None
            assert row.height is not None
            box = row.box if self._is_searching else None
            maps.append(
                HeatMap(
                    record=number,
                    square_xyxy=crop_square(box, width=row.width, height=row.height, crop=self._crop),
                    method=heat.method,
                    summary=summary,
                    png_base64=_png_base64(overlay(crop, one, (0, 0, crop.shape[1], crop.shape[0]))),
                )
            )
        return maps

    @cached_property
    def _detector(self) -> "Detector":
        return open_checkpoint(Path(self._model))[0]


def _png_base64(image_rgb_uint8: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image_rgb_uint8).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")

"""What the server says of its detector, from the checkpoint's card."""

from pathlib import Path

from faceauth.decisions.decided import read_decided
from faceauth.detectors.card import Card
from faceauth.detectors.embedded import checkpoint_of
from faceauth.detectors.folder import CARD_NAME
from faceauth.files import read_json
from faceauth.serving.answers import Band, Model, Threshold


def describe_model(model: str | Path, *, is_searching: bool) -> Model:
    """Reads what a detector says of itself.

    Args:
        model: A checkpoint or run folder, or `embedded`.
        is_searching: Whether the server looks for faces.

    Raises:
        DetectorError: There is no such checkpoint, or its card was damaged.
    """
    folder = checkpoint_of(Path(model))
    card = Card(**read_json(folder / CARD_NAME))
    decided = read_decided(card, model)
    band = decided.unsure
    return Model(
        # A folder's name, not where it lies.
        name=Path(model).name,
        detector=card.detector,
        threshold=Threshold(
            value=decided.threshold.value,
            rule=decided.threshold.rule,
            chosen_on=decided.threshold.chosen_on,
        ),
        unsure=None
        if band.low is None or band.high is None
        else Band(low=band.low, high=band.high, coverage=band.coverage),
        is_calibrated=decided.calibration.method != "none",
        generators=card.generators,
        named_generators=decided.attribution.get("generators", []),
        collections=card.collections,
        auroc_val=card.metrics.get("auroc"),
        searches_faces=is_searching,
    )

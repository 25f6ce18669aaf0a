"""What the server says of its detector, from the card."""

from pathlib import Path

from faceauth.decisions.decided import read_decided
from faceauth.detectors.card import Card
from faceauth.detectors.embedded import EMBEDDED_NAME
from faceauth.serving.answers import Band, Model, Threshold

# Of docs/embedded.md, which a test compares.
EMBEDDED_UNSEEN = (
    "AUROC from 0.41 to 0.98 by generator, 0.79 in the mean; 0.5 is chance. At its threshold it found "
    "from 0 to 56 % of their fakes, and called up to 24 % of the real photographs of an unknown source fake."
)


def describe_model(card: Card, name: str, *, is_searching: bool) -> Model:
    """Returns what a detector says of itself.

    Args:
        card: Its card.
        name: What it was called on the command line.
        is_searching: Whether the server looks for faces.

    Raises:
        DetectorError: The card was damaged.
    """
    decided = read_decided(card, name)
    band = decided.unsure
    return Model(
        # A folder's name, not where it lies.
        name=Path(name).name,
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
        unseen=EMBEDDED_UNSEEN if name == EMBEDDED_NAME else None,
        searches_faces=is_searching,
    )

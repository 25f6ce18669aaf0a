"""What a checkpoint's card says was decided on val: threshold, calibration, unsure band, names, domain."""

from dataclasses import dataclass
from typing import Any

from faceauth.decisions.attribution import check_attribution
from faceauth.decisions.calibration import Calibration
from faceauth.decisions.conformal import UnsureBand
from faceauth.decisions.domain import check_domain
from faceauth.decisions.thresholds import Threshold
from faceauth.detectors.card import Card
from faceauth.detectors.folder import CARD_NAME
from faceauth.errors import DetectorError


@dataclass(frozen=True)
class Decided:
    """What was decided on val, ready for use.

    Attributes:
        threshold: A face is called fake from this calibrated score on.
        alternatives: What other rules would have chosen, each a `Threshold.to_json()`, `value` None where a
            rule could not answer.
        calibration: Turns the network's scores into those that the others are for.
        unsure: Scores with which a face may be either.
        attribution: What `faceauth.decisions.attribution_fit.fit_attribution` made; empty in older cards.
        domain: What `faceauth.decisions.domain_fit.fit_domain` made; empty in older cards.
    """

    threshold: Threshold
    alternatives: list[dict[str, Any]]
    calibration: Calibration
    unsure: UnsureBand
    attribution: dict[str, Any]
    domain: dict[str, Any]


def read_decided(card: Card, model: object) -> Decided:
    """Reads from a card what was decided on val.

    Args:
        card: The card of a checkpoint.
        model: What the checkpoint is called, for messages.

    Raises:
        DetectorError: The card says something else than a training would have written.
    """
    try:
        alternatives = [Threshold.from_json(facts) for facts in card.thresholds if facts["value"] is not None]
        unsure = UnsureBand.from_json(card.unsure)
        for number in (card.threshold["value"], *(at.value for at in alternatives)):
            float(number)
        for bound in (unsure.low, unsure.high):
            float(bound or 0)
        check_attribution(card.attribution)
        check_domain(card.domain)
        return Decided(
            threshold=Threshold.from_json(card.threshold),
            alternatives=card.thresholds,
            calibration=Calibration.from_json(card.calibration),
            unsure=unsure,
            attribution=card.attribution,
            domain=card.domain,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DetectorError(
            f"{CARD_NAME} of {model} cannot be read: {type(error).__name__}: {error}.",
            "It was damaged or written by something else; train again.",
        ) from error

"""The card of a checkpoint: all that it takes to trust what its network says. Nothing here imports torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceauth.detectors.folder import CARD_NAME
from faceauth.errors import DetectorError, InputError
from faceauth.files import read_json
from faceauth.intake.faces.crop import CropSettings

# What the hub calls our metrics.
_HUB_METRICS = {"auroc": "roc_auc"}


@dataclass(frozen=True)
class Card:
    """What `faceauth.json` holds.

    Attributes:
        detector: Registered name of the architecture.
        origin: Where the weights came from before training.
        crop: How the faces that it learned from were cut.
        face_detector: What found them.
        threshold: `{"value", "rule", "chosen_on", "ci95", "n_real", "n_fake", "n_groups", "reason"}`; an
            image is called fake if its calibrated `p_fake` is at least `value`.
        manifest_sha256: Hash of the manifest that it learned from.
        generators: Names of the generators that it learned from.
        collections: Names of the collections of reals that it learned from.
        n_train: Images by class in the training split.
        metrics: Figures on val with their intervals, for the model card.
        epoch: The epoch that was best on val.
        versions: Versions of the packages that made it.
        thresholds: What other rules would have chosen on val, in the same shape, `value` null where a rule
            could not; empty in older cards.
        calibration: `{"method", "chosen_on", "parameters", ...}`: what turns the network's `p_fake` into the
            calibrated one that all thresholds are for; `none` in older cards.
        unsure: `{"low", "high", "coverage", "chosen_on", ...}`: calibrated scores in between are unsure; the
            bounds are null, with a `reason`, where there is no such band; empty in older cards.
        attribution: What `faceauth.decisions.attribution_fit` made of the embeddings of fakes: what names the
            generator of a fake; empty in older cards.
        domain: What `faceauth.decisions.domain_fit` made of the embeddings of reals and fakes: what tells a
            face that is like none of them; empty in older cards.
    """

    detector: str
    origin: str
    crop: CropSettings
    face_detector: str
    threshold: dict[str, Any]
    manifest_sha256: str
    generators: list[str]
    collections: list[str]
    n_train: dict[str, int]
    metrics: dict[str, Any]
    epoch: int
    versions: dict[str, str] = field(default_factory=dict)
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, Any] = field(default_factory=lambda: {"method": "none"})
    unsure: dict[str, Any] = field(default_factory=dict)
    attribution: dict[str, Any] = field(default_factory=dict)
    domain: dict[str, Any] = field(default_factory=dict)


def card_of_json(facts: dict[str, Any]) -> Card:
    """Reads a card that anybody may have written.

    Args:
        facts: What `faceauth.json` holds.

    Raises:
        ValueError, KeyError, TypeError: It was damaged or written by something else.
    """
    card = Card(**{**facts, "crop": CropSettings(**facts["crop"])})
    for part, keys in (
        (card.threshold, ("value", "rule", "chosen_on")),
        (card.metrics, ("auroc",)),
        (card.calibration, ("method",)),
    ):
        if missing := [key for key in keys if key not in part]:
            raise ValueError(f"{CARD_NAME} lacks '{missing[0]}'")
    return card


def read_card(folder: Path) -> Card:
    """Reads the card of a checkpoint folder.

    Raises:
        DetectorError: It was damaged or written by something else.
    """
    try:
        return card_of_json(read_json(folder / CARD_NAME))
    except (InputError, OSError, ValueError, KeyError, TypeError) as error:
        raise DetectorError(f"{folder} cannot be loaded: {error}") from error


def model_card(card: Card) -> str:
    """Writes the model card that people read on the hub, from measured figures only."""
    rates = "\n".join(
        f"| {name} | {_number(rate['value'])} | {_interval(rate['ci95'])} "
        f"| {rate['n_real']} real, {rate['n_fake']} fake |"
        for name, rate in card.metrics.items()
    )
    return f"""---
library_name: transformers
pipeline_tag: image-classification
tags: [deepfake-detection, face-forensics, faceauth]
{_model_index(card)}---
# {card.detector}: real or machine-made faces

Trained with FaceAuth, beginning with {card.origin}, on {card.n_train.get("real", 0):,} real and
{card.n_train.get("fake", 0):,} fake face crops.

- Reals from: {", ".join(card.collections) or "none"}
- Fakes by: {", ".join(card.generators) or "none"}
- Calibration: `{card.calibration["method"]}`{_calibrated_on(card)}. `transformers.pipeline` and any other
  code that knows only the network gives scores that are not calibrated; the numbers below are for calibrated
  ones, as FaceAuth gives them.
- An image is called fake from p_fake = {card.threshold["value"]:.4f} on
  (rule `{card.threshold["rule"]}`, chosen on {card.threshold["chosen_on"]}).
- {_unsure_band(card)}
- {_domain(card)}
- Input: faces found by `{card.face_detector}`, cut as squares of {card.crop.margin_ratio} times the face box,
  {card.crop.image_size} px. `transformers.pipeline` does not cut faces; give it such crops.

## Figures on val (epoch {card.epoch} was chosen on the same images, so they are a little too good)

| metric | value | 95 % interval | n |
|---|---|---|---|
{rates}

## Limits

These figures hold for the generators and collections named above. On others a detector can fail entirely.
A verdict is no evidence against a person.
"""


def _calibrated_on(card: Card) -> str:
    chosen_on = card.calibration.get("chosen_on")
    return f", fitted on {chosen_on} for even odds of real and fake" if chosen_on else ""


def _unsure_band(card: Card) -> str:
    low, high = card.unsure.get("low"), card.unsure.get("high")
    if low is None or high is None:
        return f"There is no unsure band: {card.unsure.get('reason') or 'none was chosen'}."
    missed = f"{100 * (1 - card.unsure['coverage']):.3g} %"
    return (
        f"Scores from {low:.4f} up to {min(high, 1.0):.4f} are unsure. Of new faces like those of\n"
        f"  {card.unsure['chosen_on']}, at most {missed} of the reals are expected above this band,\n"
        f"  and at most {missed} of the fakes below it."
    )


def _domain(card: Card) -> str:
    if not card.domain.get("sources"):
        reason = card.domain.get("reason") or "it was not fitted"
        return f"Nothing is said of faces outside the training domain: {reason}."
    n_sources, share = len(card.domain["sources"]), f"{100 * card.domain['kept']:.3g} %"
    return (
        f"A face is called outside the training domain if its embedding lies farther from all {n_sources}\n"
        f"  sources than that of {share} of {card.domain['chosen_on']}, where every source counts the same."
    )


def _model_index(card: Card) -> str:
    """Writes the figures as the hub reads them, in YAML; those that are undefined are left out."""
    import yaml

    metrics = [
        {
            "type": _HUB_METRICS.get(name, name),
            "value": round(rate["value"], 4),
            "name": f"{name}, 95 % interval {_interval(rate['ci95'])}",
        }
        for name, rate in card.metrics.items()
        if rate["value"] is not None
    ]
    if not metrics:
        return ""
    result = {
        "task": {"type": "image-classification", "name": "real or machine-made faces"},
        "dataset": {"type": "private", "name": "val split, which the epoch was chosen on", "split": "val"},
        "metrics": metrics,
    }
    index = {"model-index": [{"name": f"{card.detector} of FaceAuth", "results": [result]}]}
    return yaml.safe_dump(index, sort_keys=False, width=1000)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _interval(ci95: list[float] | None) -> str:
    return "-" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"

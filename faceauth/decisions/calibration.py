"""Calibration: makes `p_fake` mean what it says, with parameters that were fitted on the validation split.

A calibrated `p_fake` of 0.8 says: if real and fake faces were equally common, 80 % of the faces with this
score would be fake. Even odds are assumed because the share of fakes in a val split is an accident of how it
was put together, and nobody's inbox has that share. So each class weighs half in every fit and figure here,
however many faces it has. Whoever knows better odds of a fake, o to 1, gets the probability from
`p_fake / (1 - p_fake) * o`.

All methods work on the logit of the detector's `p_fake`, and none turns the order of two faces round:
temperature and Platt scaling keep it as it is, isotonic regression can make neighbours equal.

* `temperature`: the logit divided by one number (Guo et al., arXiv:1706.04599).
* `platt`: a line through the logits, slope and offset (Platt 1999, in Advances in Large Margin Classifiers).
* `isotonic`: any rising curve (Zadrozny and Elkan, KDD 2002); it wants a thousand faces or more.

Fits aim at (n + 1) / (n + 2) for the n fakes and 1 / (n + 2) for the n reals in place of 1 and 0, as Platt
proposed: val faces that are told apart without a mistake then do not make every score a certainty.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.special import expit, logit

from faceauth.errors import DetectorError, InputError
from faceauth.labels import REAL, TEST, VAL
from faceauth.registry import Registry
from faceauth.scoring.even_odds import even_odds_weights, measure_even_odds
from faceauth.scoring.scores import Scores
from faceauth.scoring.tally import check_scores

NONE = "none"
# Scores closer to 0 or 1 than this have no logit that float64 could tell apart from their neighbours'.
CERTAINTY = float(np.finfo(np.float64).eps)
# A slope this small makes all scores nearly 0.5: what is left for a detector that ranks val the wrong way.
SLOPE_RANGE = (1e-2, 1e2)
OFFSET_RANGE = (-50.0, 50.0)

Parameters = dict[str, Any]
FitFunction = Callable[[np.ndarray, np.ndarray, np.ndarray], Parameters]


@dataclass(frozen=True)
class CalibrationMethod:
    """A way to calibrate.

    Attributes:
        fit: From logits (n,), aims in [0, 1] (n,) and weights (n,), all float64, to parameters that JSON can
            hold.
        apply: From logits (n,) and those parameters to calibrated p_fake, float64 (n,) in [0, 1]. Raises
            KeyError, TypeError or ValueError for parameters that no fit has made.
    """

    fit: FitFunction
    apply: Callable[[np.ndarray, Parameters], np.ndarray]


CALIBRATIONS: Registry[CalibrationMethod] = Registry("calibration", "faceauth.decisions.calibration")


@dataclass(frozen=True)
class Calibration:
    """A calibration that was fitted, or none.

    Attributes:
        method: A name in `CALIBRATIONS`.
        parameters: What the method fitted.
        chosen_on: The split that it was fitted on; None for `none`.
        n_real: Real faces that it was fitted on.
        n_fake: Fake faces that it was fitted on.
        figures: `log_loss_before`, `log_loss_after`, `ece_before`, `ece_after`: at even odds, on the very
            faces of the fit, so the later ones are a little too good. Empty for `none`.
    """

    method: str
    parameters: Parameters
    chosen_on: str | None
    n_real: int
    n_fake: int
    figures: dict[str, float]

    def apply(self, p_fake: np.ndarray) -> np.ndarray:
        """Calibrates scores.

        Args:
            p_fake: Scores in [0, 1] as the network gives them, shape (n,).

        Returns:
            Calibrated scores, float64 (n,) in [0, 1].

        Raises:
            DetectorError: The parameters were not made by a fit.
        """
        p_fake = np.asarray(p_fake, dtype=np.float64)
        if self.method == NONE:
            return p_fake
        try:
            calibrated = CALIBRATIONS.get(self.method).apply(_logits(p_fake), self.parameters)
        except (KeyError, TypeError, ValueError) as error:
            raise DetectorError(
                f"The parameters of the calibration '{self.method}' cannot be used: {error}",
                "The checkpoint's faceauth.json was damaged or written by something else; train again.",
            ) from error
        return np.clip(calibrated, 0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Returns the shape that a checkpoint's card gives a calibration."""
        return {
            "method": self.method,
            "chosen_on": self.chosen_on,
            "parameters": self.parameters,
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            **self.figures,
        }

    @classmethod
    def from_json(cls, facts: dict[str, Any] | None) -> Self:
        """Reads back what `to_json` wrote; without facts, as in older cards, there is no calibration."""
        facts = dict(facts or {})
        method = facts.pop("method", NONE)
        known = {
            "parameters": facts.pop("parameters", {}),
            "chosen_on": facts.pop("chosen_on", None),
            "n_real": facts.pop("n_real", 0),
            "n_fake": facts.pop("n_fake", 0),
        }
        return cls(method=method, figures=facts, **known)


NO_CALIBRATION = Calibration(NONE, {}, None, 0, 0, {})


def fit_calibration(
    targets: np.ndarray, p_fake: np.ndarray, *, method: str, chosen_on: str = VAL
) -> Calibration:
    """Fits a calibration.

    Args:
        targets: 1 for real, 0 for fake, shape (n,).
        p_fake: Scores in [0, 1] as the network gives them, shape (n,).
        method: A name in `CALIBRATIONS`.
        chosen_on: The split that the scores are of.

    Raises:
        UnknownNameError: There is no such method.
        InputError: The scores are of the test split or of one class only, or cannot be measured.
    """
    fitting = CALIBRATIONS.get(method)
    if method == NONE:
        return NO_CALIBRATION
    if chosen_on == TEST:
        raise InputError("A calibration cannot be fitted on the test split.", f"Fit it on '{VAL}'.")
    targets, p_fake = check_scores(targets, p_fake)
    n_real = int(targets.sum())
    n_fake = len(targets) - n_real
    if not n_real or not n_fake:
        raise InputError(
            f"The calibration '{method}' cannot be fitted on {n_real} real and {n_fake} fake faces.",
            f"Put faces of both classes into '{chosen_on}', or use the calibration '{NONE}'.",
        )
    aims = np.where(targets == REAL, 1 / (n_real + 2), (n_fake + 1) / (n_fake + 2))
    parameters = fitting.fit(_logits(p_fake), aims, even_odds_weights(targets))
    calibration = Calibration(method, parameters, chosen_on, n_real, n_fake, {})
    before, after = (measure_even_odds(targets, p) for p in (p_fake, calibration.apply(p_fake)))
    figures = {
        f"{name}_{when}": values[name]
        for name in ("log_loss", "ece")
        for when, values in (("before", before), ("after", after))
    }
    return replace(calibration, figures=figures)


def apply_calibration(scores: Scores, calibration: Calibration | dict[str, Any] | None) -> Scores:
    """Calibrates a table of scores as the network gives them.

    Args:
        scores: Scores of a detector's network.
        calibration: The calibration, or what a checkpoint's card holds of it; None changes nothing.

    Returns:
        The same table with calibrated `p_fake`.

    Raises:
        UnknownNameError: There is no such method.
        DetectorError: The card's parameters cannot be used.
    """
    if not isinstance(calibration, Calibration):
        calibration = Calibration.from_json(calibration)
    return replace(scores, p_fake=calibration.apply(scores.p_fake))


def _logits(p_fake: np.ndarray) -> np.ndarray:
    return logit(np.clip(p_fake, CERTAINTY, 1 - CERTAINTY))


def _finite(value: Any) -> np.ndarray:
    numbers = np.asarray(value, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{value} is no finite number")
    return numbers


def _fit_line(
    logits: np.ndarray, aims: np.ndarray, weights: np.ndarray, *, with_offset: bool
) -> tuple[float, float]:
    """Finds slope and offset of the logits with the least cross entropy; the problem is convex."""
    # Whoever applies a calibration need not wait for what fits one; nor below.
    from scipy.optimize import minimize

    def loss_and_gradient(line: np.ndarray) -> tuple[float, np.ndarray]:
        lifted = line[0] * logits + line[1]
        loss = np.logaddexp(0.0, lifted) - aims * lifted
        excess = weights * (expit(lifted) - aims)
        return float(weights @ loss), np.array([excess @ logits, excess.sum()])

    offsets = OFFSET_RANGE if with_offset else (0.0, 0.0)
    found = minimize(
        loss_and_gradient,
        np.array([1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[SLOPE_RANGE, offsets],
        options={"ftol": 1e-14, "gtol": 1e-10},
    )
    return float(found.x[0]), float(found.x[1])


def _method(
    name: str, *, apply: Callable[[np.ndarray, Parameters], np.ndarray]
) -> Callable[[FitFunction], FitFunction]:
    """Returns a decorator that files a fit together with what applies its parameters."""

    def file_under_name(fit: FitFunction) -> FitFunction:
        CALIBRATIONS.register(name)(CalibrationMethod(fit, apply))
        return fit

    return file_under_name


@_method(NONE, apply=lambda logits, parameters: expit(logits))
def fit_nothing(logits: np.ndarray, aims: np.ndarray, weights: np.ndarray) -> Parameters:
    """Leaves the scores as they are."""
    return {}


def apply_temperature(logits: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Divides the logits by the temperature."""
    temperature = _finite(parameters["temperature"])
    if temperature <= 0:
        raise ValueError(f"the temperature is {temperature}")
    return expit(logits / temperature)


@_method("temperature", apply=apply_temperature)
def fit_temperature(logits: np.ndarray, aims: np.ndarray, weights: np.ndarray) -> Parameters:
    """Finds the temperature: above 1 for a detector that is too sure, below 1 for one that is too shy."""
    return {"temperature": 1 / _fit_line(logits, aims, weights, with_offset=False)[0]}


def apply_platt(logits: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Puts the logits on a rising line."""
    slope, offset = _finite(parameters["slope"]), _finite(parameters["offset"])
    if slope <= 0:
        raise ValueError(f"the slope is {slope}")
    return expit(slope * logits + offset)


@_method("platt", apply=apply_platt)
def fit_platt(logits: np.ndarray, aims: np.ndarray, weights: np.ndarray) -> Parameters:
    """Finds slope and offset of the line; never a falling one."""
    slope, offset = _fit_line(logits, aims, weights, with_offset=True)
    return {"slope": slope, "offset": offset}


def apply_isotonic(logits: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Reads p_fake off a curve of straight pieces; beyond its ends it stays level."""
    knots, values = _finite(parameters["logits"]), _finite(parameters["p_fake"])
    if knots.ndim != 1 or knots.shape != values.shape or not len(knots):
        raise ValueError("the curve's knots and values do not belong together")
    if (np.diff(knots) <= 0).any() or (np.diff(values) < 0).any():
        raise ValueError("the curve falls")
    return np.interp(logits, knots, values)


@_method("isotonic", apply=apply_isotonic)
def fit_isotonic(logits: np.ndarray, aims: np.ndarray, weights: np.ndarray) -> Parameters:
    """Finds the knots of the rising curve that is closest to the aims."""
    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(y_min=0.0, y_max=1.0).fit(logits, aims, weights)
    return {"logits": curve.X_thresholds_.tolist(), "p_fake": curve.y_thresholds_.tolist()}

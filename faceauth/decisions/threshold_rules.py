"""Rules for where to cut between real and fake, from how many faces are called fake at each cut.

A rule is written as its name, with its parameter if it has one: `youden`, `fpr=0.01`, `cost=5`, `value=0.6`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from faceauth.errors import UsageError
from faceauth.registry import Registry
from faceauth.scoring.tally import Tally

# Products of a share and a number of faces are whole numbers up to this.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Calls:
    """How many faces are called fake at each threshold that makes a difference.

    Attributes:
        cuts: The thresholds in ascending order, float64 (u,).
        false_fake: Real faces called fake at each, float64 (..., u); leading axes are resamples.
        true_fake: Fake faces called fake at each, the same shape.
        n_real: All real faces, float64 (..., 1).
        n_fake: All fake faces, float64 (..., 1).
    """

    cuts: np.ndarray
    false_fake: np.ndarray
    true_fake: np.ndarray
    n_real: np.ndarray
    n_fake: np.ndarray


WorthFunction = Callable[[Calls, float], np.ndarray]
FixedFunction = Callable[[float], float]


@dataclass(frozen=True)
class Parameter:
    """The number behind a rule's `=`.

    Attributes:
        meaning: What it is, for messages.
        example: How the rule is written with it.
        low: The lowest value that is allowed.
        high: The highest value that is allowed.
        with_bounds: Whether the bounds themselves are allowed.
    """

    meaning: str
    example: str
    low: float
    high: float
    with_bounds: bool = False


@dataclass(frozen=True)
class ThresholdRule:
    """A way to choose a threshold: either by the worth of each cut, or the same whatever the scores are.

    Attributes:
        worth: From calls and the parameter to what each cut is worth, float64 (..., u); the highest wins,
            and of several the one closest to 0.5. None for a rule that looks at no scores.
        fixed: From the parameter to the threshold, for a rule that looks at no scores; else None.
        parameter: What the rule needs to be told; None if nothing.
        may_call_none_fake: Whether a cut above all scores may be chosen.
    """

    worth: WorthFunction | None = None
    fixed: FixedFunction | None = None
    parameter: Parameter | None = None
    may_call_none_fake: bool = False

    @property
    def looks_at_scores(self) -> bool:
        """False for a rule that gives the same threshold whatever the scores are."""
        return self.worth is not None


@dataclass(frozen=True, slots=True)
class AskedRule:
    """A rule as it was asked for.

    Attributes:
        text: The rule with its parameter, such as `fpr=0.01`.
        name: A name in `THRESHOLD_RULES`.
        rule: What is registered under it.
        parameter: Its number; 0 for a rule without one.
    """

    text: str
    name: str
    rule: ThresholdRule
    parameter: float


THRESHOLD_RULES: Registry[ThresholdRule] = Registry("threshold rule", "faceauth.decisions.threshold_rules")


def parse_rule(text: str) -> AskedRule:
    """Reads a rule as people write it: `youden`, `fpr=0.01`.

    Raises:
        UnknownNameError: There is no such rule.
        UsageError: The rule's number is missing, too much, no number, or out of range.
    """
    name, equals, written = (part.strip() for part in text.partition("="))
    rule = THRESHOLD_RULES.get(name)
    parameter = rule.parameter
    if parameter is None:
        if equals:
            raise UsageError(f"The threshold rule '{name}' takes no number; '{text}' gives it one.")
        return AskedRule(name, name, rule, 0.0)
    hint = f"It is {parameter.meaning}, as in '{parameter.example}'."
    if not written:
        raise UsageError(f"The threshold rule '{name}' needs a number.", hint)
    try:
        number = float(written)
    except ValueError:
        raise UsageError(f"'{written}' in the threshold rule '{text}' is no number.", hint) from None
    inside = parameter.low < number < parameter.high
    on_bound = parameter.with_bounds and number in (parameter.low, parameter.high)
    if not (inside or on_bound):
        raise UsageError(f"The number of the threshold rule '{text}' is out of range.", hint)
    return AskedRule(f"{name}={number:.12g}", name, rule, number)


def best_cut(asked: AskedRule, tally: Tally) -> np.ndarray:
    """Returns the cut of highest worth in each resample, float64 (...); NaN where there is none.

    Args:
        asked: A rule that looks at scores.
        tally: The scores; its leading axes are resamples.
    """
    assert asked.rule.worth is not None
    calls = _at_each_cut(tally, with_top=asked.rule.may_call_none_fake)
    worth = asked.rule.worth(calls, asked.parameter)
    highest = worth.max(axis=-1, keepdims=True)
    # Of equally good cuts the one closest to 0.5.
    distance = np.where(worth == highest, np.abs(calls.cuts - 0.5), np.inf)
    best = calls.cuts[np.argmin(distance, axis=-1)]
    is_defined = np.isfinite(highest) & (calls.n_real > 0) & (calls.n_fake > 0)
    return np.where(is_defined[..., 0], best, np.nan)


def _at_each_cut(tally: Tally, *, with_top: bool) -> Calls:
    """Counts the faces called fake at 0, which calls all fake, and halfway between neighbouring scores.

    With `with_top` there is also a cut above all scores, unless the highest is 1.
    """
    distinct = tally.p_fake
    below, above = distinct[:-1], distinct[1:]
    n_real, n_fake = tally.n_real[..., None], tally.n_fake[..., None]
    false_fake, true_fake = tally.real_from_here, tally.fake_from_here
    if with_top and distinct[-1] < 1:
        below, above = distinct, np.append(above, 1.0)
        false_fake = np.concatenate([false_fake, np.zeros_like(n_real)], axis=-1)
        true_fake = np.concatenate([true_fake, np.zeros_like(n_fake)], axis=-1)
    halfway = below + (above - below) / 2
    # Between two neighbouring floats there is no third.
    halfway = np.where(halfway > below, halfway, above)
    return Calls(np.concatenate([[0.0], halfway]), false_fake, true_fake, n_real, n_fake)


def _rule(
    *, parameter: Parameter | None = None, may_call_none_fake: bool = False
) -> Callable[[WorthFunction], WorthFunction]:
    """Returns a decorator that files a function of worth under its own name."""

    def file_under_its_name(worth: WorthFunction) -> WorthFunction:
        rule = ThresholdRule(worth=worth, parameter=parameter, may_call_none_fake=may_call_none_fake)
        THRESHOLD_RULES.register(worth.__name__)(rule)
        return worth

    return file_under_its_name


def _fixed_rule(*, parameter: Parameter | None = None) -> Callable[[FixedFunction], FixedFunction]:
    """Returns a decorator that files a rule which looks at no scores under its own name."""

    def file_under_its_name(fixed: FixedFunction) -> FixedFunction:
        THRESHOLD_RULES.register(fixed.__name__)(ThresholdRule(fixed=fixed, parameter=parameter))
        return fixed

    return file_under_its_name


@_fixed_rule()
def half(parameter: float) -> float:
    """Always 0.5: right if the scores are calibrated and both errors weigh the same."""
    return 0.5


@_fixed_rule(parameter=Parameter("a score from 0 to 1", "value=0.6", 0.0, 1.0, with_bounds=True))
def value(parameter: float) -> float:
    """The score that somebody chose by hand."""
    return parameter


@_rule()
def youden(calls: Calls, parameter: float) -> np.ndarray:
    """Where recall_fake + recall_real is highest (Youden, Cancer 3, 1950, 32-35)."""
    # Whole numbers, so that equal cuts are equal whatever the rounding.
    return calls.true_fake * calls.n_real - calls.false_fake * calls.n_fake


@_rule()
def best_f1(calls: Calls, parameter: float) -> np.ndarray:
    """Where F1 with fake as the positive class is highest."""
    return 2 * calls.true_fake / np.maximum(calls.true_fake + calls.false_fake + calls.n_fake, 1)


@_rule(
    parameter=Parameter("the largest share of real faces called fake, between 0 and 1", "fpr=0.01", 0.0, 1.0),
    may_call_none_fake=True,
)
def fpr(calls: Calls, parameter: float) -> np.ndarray:
    """The lowest cut at which no larger share of the real faces than the parameter is called fake."""
    is_allowed = calls.false_fake <= parameter * calls.n_real + ROUNDING
    return np.where(is_allowed, -np.arange(len(calls.cuts), dtype=np.float64), -np.inf)


@_rule(
    parameter=Parameter(
        "how many false alarms weigh as much as a missed fake, between 0 and 1,000,000",
        "cost=5",
        0.0,
        1e6,
    ),
    may_call_none_fake=True,
)
def cost(calls: Calls, parameter: float) -> np.ndarray:
    """Where the errors cost least at even odds: the parameter times the missed share, and the false alarms.

    With calibrated scores this lies near 1 / (1 + parameter) (Elkan, IJCAI 2001). `cost=1` is `youden`.
    """
    missed = calls.n_fake - calls.true_fake
    return -(parameter * missed * calls.n_real + calls.false_fake * calls.n_fake)

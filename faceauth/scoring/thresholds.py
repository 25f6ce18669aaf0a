"""Where to cut between real and fake: rules that choose a threshold on the validation split.

A face is called fake if `p_fake >= threshold`. A rule never sees a row of the test split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceauth.errors import InputError
from faceauth.labels import TEST, VAL
from faceauth.registry import Registry
from faceauth.scoring.metrics import check_scores, tally_scores

FIXED = "fixed"

RuleFunction = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class ThresholdRule:
    """A way to choose a threshold.

    Attributes:
        choose: From targets (n,) int and p_fake (n,) float64 to a threshold for `p_fake >= threshold`.
        looks_at_scores: False for a rule that gives the same threshold whatever the scores are.
    """

    choose: RuleFunction
    looks_at_scores: bool = True


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and how it came about.

    Attributes:
        value: A face is called fake from this score on.
        rule: A name in `THRESHOLD_RULES`.
        chosen_on: The split whose scores it was chosen on; `fixed` if it was chosen on none.
        n_real: Real faces it was chosen on.
        n_fake: Fake faces it was chosen on.
    """

    value: float
    rule: str
    chosen_on: str
    n_real: int
    n_fake: int

    def to_json(self) -> dict[str, Any]:
        """Returns the shape that `metrics.json` gives a threshold."""
        return {"value": self.value, "rule": self.rule, "chosen_on": self.chosen_on}


THRESHOLD_RULES: Registry[ThresholdRule] = Registry("threshold rule", "faceauth.scoring.thresholds")


def choose_threshold(
    targets: np.ndarray, p_fake: np.ndarray, *, rule: str, chosen_on: str = VAL
) -> Threshold:
    """Chooses a threshold for `p_fake >= threshold`.

    Args:
        targets: 1 for real, 0 for fake, shape (n,); may be empty for a rule that looks at no scores.
        p_fake: Scores in [0, 1], shape (n,).
        rule: A name in `THRESHOLD_RULES`.
        chosen_on: The split that the scores are of.

    Raises:
        UnknownNameError: There is no such rule.
        InputError: The scores are of the test split or of one class only, or cannot be measured.
    """
    chosen = THRESHOLD_RULES.get(rule)
    if not chosen.looks_at_scores:
        return Threshold(chosen.choose(targets, p_fake), rule, FIXED, 0, 0)
    if chosen_on == TEST:
        raise InputError(
            "A threshold cannot be chosen on the test split.",
            f"Choose it on '{VAL}', or use the rule 'half', which looks at no scores.",
        )
    targets, p_fake = check_scores(targets, p_fake)
    n_real = int(targets.sum())
    n_fake = len(targets) - n_real
    if not n_real or not n_fake:
        raise InputError(
            f"The rule '{rule}' cannot choose a threshold on {n_real} real and {n_fake} fake faces.",
            f"Put faces of both classes into '{chosen_on}', or use the rule 'half' (0.5).",
        )
    return Threshold(chosen.choose(targets, p_fake), rule, chosen_on, n_real, n_fake)


def _rule(*, looks_at_scores: bool = True) -> Callable[[RuleFunction], RuleFunction]:
    """Returns a decorator that files a function under its own name."""

    def file_under_its_name(choose: RuleFunction) -> RuleFunction:
        THRESHOLD_RULES.register(choose.__name__)(ThresholdRule(choose, looks_at_scores))
        return choose

    return file_under_its_name


@_rule(looks_at_scores=False)
def half(targets: np.ndarray, p_fake: np.ndarray) -> float:
    """Always 0.5: right if the scores are calibrated and both errors weigh the same."""
    return 0.5


@_rule()
def youden(targets: np.ndarray, p_fake: np.ndarray) -> float:
    """Where recall_fake + recall_real is highest (Youden, Cancer 3, 1950, 32-35)."""
    cuts, false_fake, true_fake, n_real, n_fake = _at_each_cut(targets, p_fake)
    # Whole numbers, so that equal cuts are equal whatever the rounding.
    return _best(cuts, true_fake * n_real - false_fake * n_fake)


@_rule()
def best_f1(targets: np.ndarray, p_fake: np.ndarray) -> float:
    """Where F1 with fake as the positive class is highest."""
    cuts, false_fake, true_fake, _, n_fake = _at_each_cut(targets, p_fake)
    return _best(cuts, 2 * true_fake / (true_fake + false_fake + n_fake))


def _at_each_cut(
    targets: np.ndarray, p_fake: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Counts the faces called fake at every threshold that makes a difference.

    Returns:
        Thresholds (u,): 0, which calls all fake, and then halfway between neighbouring scores; the real and
        the fake faces called fake at each (u,); and all real and all fake faces.
    """
    tally = tally_scores(targets, p_fake)
    below, above = tally.p_fake[:-1], tally.p_fake[1:]
    halfway = below + (above - below) / 2
    # Between two neighbouring floats there is no third.
    halfway = np.where(halfway > below, halfway, above)
    cuts = np.concatenate([[0.0], halfway])
    return cuts, tally.real_from_here, tally.fake_from_here, float(tally.n_real), float(tally.n_fake)


def _best(cuts: np.ndarray, worth: np.ndarray) -> float:
    """Returns the cut of highest worth; of several, the one closest to 0.5."""
    candidates = cuts[worth == worth.max()]
    return float(candidates[np.argmin(np.abs(candidates - 0.5))])

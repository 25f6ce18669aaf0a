"""Where to cut between real and fake: rules that choose a threshold on the validation split.

A face is called fake if `p_fake >= threshold`. A rule never sees a row of the test split. A rule is written
as its name, with its parameter if it has one: `youden`, `fpr=0.01`, `cost=5`, `value=0.6`.

What is best on the faces of val is not what is best on all faces, and every threshold that was chosen on
scores says how unsure it is: the same rule is asked again on resamples of whole groups, and the middle 95 %
of its answers is the interval. It is rough. Rules that look for a maximum move with the cube root of the
number of faces and not with the square root (Kim and Pollard, Annals of Statistics 18, 1990, 191-219), and
few faces lie near a low rate of false alarms. On 150 simulated sets each of 100 to 400 faces a class with
normal logits, these intervals held the best threshold of all faces in 97 to 99 % (youden), 87 to 89 %
(fpr=0.05) and 81 to 91 % (cost=5).
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from faceauth.decisions.threshold_rules import ROUNDING, best_cut, parse_rule
from faceauth.errors import InputError
from faceauth.labels import REAL, TEST, VAL
from faceauth.scoring.bounds import TAIL, Interval, defined_draws
from faceauth.scoring.intervals import DEFAULT_DRAWS, reason_for_no_interval
from faceauth.scoring.resampling import count_groups, number_groups, resample_values
from faceauth.scoring.tally import check_scores, tally_scores

FIXED = "fixed"
# What every checkpoint keeps beside the threshold of its own rule.
DEFAULT_RULES = ("half", "youden", "best_f1", "fpr=0.01", "fpr=0.05", "cost=5")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and how it came about.

    Attributes:
        value: A face is called fake from this score on.
        rule: The rule with its parameter, such as `youden` or `fpr=0.01`.
        chosen_on: The split whose scores it was chosen on; `fixed` if it was chosen on none.
        n_real: Real faces it was chosen on.
        n_fake: Fake faces it was chosen on.
        n_groups: Groups that these faces are of.
        ci95: Lower and upper bound of the 95 % interval; None where there is none.
        reason: Why there is no interval; None if there is one.
    """

    value: float
    rule: str
    chosen_on: str
    n_real: int
    n_fake: int
    n_groups: int = 0
    ci95: tuple[float, float] | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the shape that a checkpoint's card and `metrics.json` give a threshold."""
        return asdict(self) | {"ci95": None if self.ci95 is None else list(self.ci95)}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Self:
        """Reads back what `to_json` wrote; older cards hold `value`, `rule` and `chosen_on` alone."""
        bounds = facts.get("ci95")
        return cls(
            value=facts["value"],
            rule=facts["rule"],
            chosen_on=facts["chosen_on"],
            n_real=facts.get("n_real", 0),
            n_fake=facts.get("n_fake", 0),
            n_groups=facts.get("n_groups", 0),
            ci95=None if bounds is None else (bounds[0], bounds[1]),
            reason=None if bounds is not None else facts.get("reason") or "no interval: none was measured",
        )


def refuse_too_few_faces(rule: str, *, n_real: int) -> None:
    """Refuses a limit on false alarms that so few real faces cannot tell from none at all.

    Args:
        rule: The rule with its parameter.
        n_real: Real faces that it would be chosen on.

    Raises:
        UnknownNameError: There is no such rule.
        UsageError: The rule's parameter cannot be read.
        InputError: One false alarm among the real faces would be more than the limit.
    """
    asked = parse_rule(rule)
    if asked.name == "fpr" and n_real * asked.parameter < 1 - ROUNDING:
        raise InputError(
            f"The rule '{asked.text}' needs at least {math.ceil(1 / asked.parameter - ROUNDING):,} real "
            f"faces to see a share of {asked.parameter:g}; there are {n_real:,}.",
            "Use more real faces, a higher limit such as 'fpr=0.05', or 'youden'.",
        )


def choose_threshold(
    targets: np.ndarray,
    p_fake: np.ndarray,
    *,
    rule: str,
    chosen_on: str = VAL,
    groups: np.ndarray | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> Threshold:
    """Chooses a threshold for `p_fake >= threshold`, and says how sure it is.

    Args:
        targets: 1 for real, 0 for fake, shape (n,); may be empty for a rule that looks at no scores.
        p_fake: Scores in [0, 1], shape (n,).
        rule: A name in `THRESHOLD_RULES`, with its parameter if it has one.
        chosen_on: The split that the scores are of.
        groups: Name of each face's group, shape (n,); an empty name is a group of its own. None: each face is
            one.
        draws: Number of resamples for the interval.
        seed: The same seed gives the same interval.

    Raises:
        UnknownNameError: There is no such rule.
        UsageError: The rule's parameter cannot be read.
        InputError: The scores are of the test split or of one class only, there are too few of them for the
            rule, or they cannot be measured.
    """
    asked = parse_rule(rule)
    if asked.rule.fixed is not None:
        return Threshold(
            asked.rule.fixed(asked.parameter),
            asked.text,
            FIXED,
            0,
            0,
            reason="no interval: it was not chosen",
        )
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
            f"The rule '{asked.text}' cannot choose a threshold on {n_real} real and {n_fake} fake faces.",
            f"Put faces of both classes into '{chosen_on}', or use the rule 'half' (0.5).",
        )
    refuse_too_few_faces(asked.text, n_real=n_real)
    tally = tally_scores(targets, p_fake)
    value = float(best_cut(asked, tally))
    if math.isnan(value):
        raise InputError(
            f"The rule '{asked.text}' finds no threshold: too many real faces have the highest score, "
            f"{tally.p_fake[-1]:g}.",
            "Use the rule 'youden', or a detector that tells these faces from fakes.",
        )
    group_of = number_groups(groups, len(targets))
    ci95, reason = None, reason_for_no_interval(targets != REAL, group_of)
    if reason is None:
        resampled = resample_values(
            lambda drawn: {"cut": best_cut(asked, drawn)}, targets, p_fake, group_of, draws=draws, seed=seed
        )
        ci95, reason = _middle(value, resampled["cut"])
    return Threshold(value, asked.text, chosen_on, n_real, n_fake, count_groups(group_of), ci95, reason)


def list_thresholds(
    targets: np.ndarray,
    p_fake: np.ndarray,
    *,
    rules: Iterable[str] = DEFAULT_RULES,
    chosen_on: str = VAL,
    groups: np.ndarray | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Asks several rules, so that the test split can later be measured at each without choosing there.

    Args:
        targets: As for `choose_threshold`, and so are the other arguments.
        p_fake: Scores in [0, 1], shape (n,).
        rules: Names in `THRESHOLD_RULES`, with their parameters.
        chosen_on: The split that the scores are of.
        groups: Name of each face's group, shape (n,).
        draws: Number of resamples for the intervals.
        seed: The same seed gives the same intervals.

    Returns:
        One `Threshold.to_json()` a rule; where a rule cannot answer, its `value` is None with the reason.

    Raises:
        UsageError: A rule is unknown, or its parameter cannot be read.
    """
    listed = []
    for text in rules:
        asked = parse_rule(text)
        try:
            threshold = choose_threshold(
                targets, p_fake, rule=text, chosen_on=chosen_on, groups=groups, draws=draws, seed=seed
            )
            listed.append(threshold.to_json())
        except InputError as error:
            n_real = int((np.asarray(targets) == REAL).sum())
            n_fake, n_groups = len(targets) - n_real, count_groups(number_groups(groups, len(targets)))
            nothing = Threshold(
                math.nan, asked.text, chosen_on, n_real, n_fake, n_groups, reason=error.message
            )
            listed.append(nothing.to_json() | {"value": None})
    return listed


def _middle(value: float, resampled: np.ndarray) -> Interval:
    """Returns the middle 95 % of the resamples' thresholds, or None and the reason."""
    defined, reason = defined_draws(resampled)
    if reason:
        return None, reason
    low, high = np.quantile(defined, [TAIL, 1 - TAIL])
    return (min(value, float(low)), max(value, float(high))), None

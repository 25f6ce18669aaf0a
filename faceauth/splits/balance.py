"""Balanced choice: as many fakes as reals, and no generator that drowns the others."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence

from faceauth.errors import InputError
from faceauth.intake.manifest import ManifestRow
from faceauth.labels import FAKE, REAL
from faceauth.registry import Registry

log = logging.getLogger(__name__)

# A rule maps the sizes of the generators and of the collections to how many of each are kept.
BALANCE_RULES: Registry = Registry("balance rule", package="faceauth.splits.balance")


@BALANCE_RULES.register("generator")
def equal_generators(fakes: dict[str, int], reals: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """The same number of each generator, and as many reals in all, spread evenly over their collections.

    This is the original report's rule. The smallest generator decides, and so do the reals if they are
    fewer than the fakes.
    """
    if not fakes or not reals:
        return fakes, reals
    each = min(min(fakes.values()), sum(reals.values()) // len(fakes))
    return dict.fromkeys(fakes, each), spread_evenly(reals, each * len(fakes))


@BALANCE_RULES.register("class")
def equal_classes(fakes: dict[str, int], reals: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """As many fakes as reals, and as many of both as there are; sources as even as their sizes allow."""
    if not fakes or not reals:
        return fakes, reals
    each_class = min(sum(fakes.values()), sum(reals.values()))
    return spread_evenly(fakes, each_class), spread_evenly(reals, each_class)


@BALANCE_RULES.register("none")
def keep_all(fakes: dict[str, int], reals: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Everything; training can still balance what it draws."""
    return fakes, reals


def spread_evenly(sizes: dict[str, int], total: int) -> dict[str, int]:
    """Takes a total from several sources, the same of each as long as it lasts.

    Args:
        sizes: How many each source has.
        total: How many are wanted in all, at most the sum of the sizes.

    Returns:
        How many to take of each; no source gives more than one more than a source that is not used up.
    """
    taken = {}
    for n_left, name in zip(
        range(len(sizes), 0, -1), sorted(sizes, key=lambda name: (sizes[name], name)), strict=True
    ):
        taken[name] = min(sizes[name], total // n_left)
        total -= taken[name]
    return taken


def choose_balanced(rows: Sequence[ManifestRow], *, rule: str, seed: int) -> list[bool]:
    """Chooses which rows to keep.

    Rows are taken in the order of a hash of their group, so that the real photo and the fakes made from
    it tend to be chosen together, and a new image does not change the fate of the others.

    Args:
        rows: Usable rows with their groups, n of them.
        rule: Registered name: `generator`, `class` or `none`.
        seed: Another seed takes other rows.

    Returns:
        n flags, True for the rows to keep.

    Raises:
        InputError: The rule would leave nothing, such as one real for two generators.
    """
    positions: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        positions[row.target, row.folder].append(i)
    sizes = {
        target: {folder: len(found) for (label, folder), found in positions.items() if label == target}
        for target in (FAKE, REAL)
    }
    kept_fakes, kept_reals = BALANCE_RULES.get(rule)(sizes[FAKE], sizes[REAL])
    keep = [False] * len(rows)
    for target, kept in ((FAKE, kept_fakes), (REAL, kept_reals)):
        for folder, n_kept in kept.items():
            order = sorted(
                positions[target, folder], key=lambda i: (order_key(rows[i].group, seed), rows[i].sha256)
            )
            for i in order[:n_kept]:
                keep[i] = True
    n_surplus = len(rows) - sum(keep)
    others = ", ".join(name for name in BALANCE_RULES.names() if name != rule)
    if rows and n_surplus == len(rows):
        n_real, n_fake = sum(sizes[REAL].values()), sum(sizes[FAKE].values())
        raise InputError(
            f"Balance '{rule}' leaves nothing of {n_real} real and {n_fake} fake crops of "
            f"{len(sizes[FAKE])} generators.",
            f"Use another --balance: {others}.",
        )
    if n_surplus:
        log.warning(
            "balance '%s' leaves %d of %d crops out (status surplus); other rules: %s",
            rule,
            n_surplus,
            len(rows),
            others,
        )
    return keep


def order_key(group: str, seed: int) -> str:
    """Returns a random-looking but fixed sort key for a group."""
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()

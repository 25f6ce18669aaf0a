"""Suites: which degradations at which levels a measurement of robustness goes through."""

from collections.abc import Callable, Mapping, Sequence

from faceauth.degradations.degrade import DEGRADATIONS
from faceauth.errors import UsageError
from faceauth.registry import Registry

# Names in `DEGRADATIONS` with levels, from mild to strong.
Levels = Mapping[str, tuple[float, ...]]

SUITES: Registry[Callable[[], Levels]] = Registry("suite", "faceauth.degradations.suites")


@SUITES.register("genimage")
def genimage() -> Levels:
    """The degradations of GenImage's second task (arXiv 2306.08571): low resolution, JPEG, Gaussian blur."""
    return {"downsample": (112, 64), "jpeg": (65, 30), "blur": (3, 5)}


@SUITES.register("quick")
def quick() -> Levels:
    """Ten levels of five kinds, for a first look."""
    return {
        "jpeg": (75, 50, 30),
        "resize": (0.5, 0.25),
        "blur": (1, 3),
        "gaussian_noise": (5, 15),
        "social_network": (70,),
    }


@SUITES.register("full")
def full() -> Levels:
    """Every degradation at every level of its grid."""
    return {name: DEGRADATIONS.get(name).levels for name in DEGRADATIONS.names()}


def choose_levels(suite: str, only: Sequence[str] = ()) -> dict[str, tuple[float, ...]]:
    """Returns the degradations of a suite with their levels.

    Args:
        suite: A name in `SUITES`.
        only: Leave out all others; empty for none.

    Raises:
        UnknownNameError: There is no such suite, or no such degradation.
        UsageError: The suite lacks a degradation that is asked for.
        MissingExtraError: A degradation needs a package that is not installed.
    """
    levels = SUITES.get(suite)()
    for name in only:
        DEGRADATIONS.get(name)
        if name not in levels:
            raise UsageError(
                f"The suite '{suite}' has no '{name}'.",
                f"It has {', '.join(levels)}; the suite 'full' has every degradation.",
            )
    chosen = {name: tuple(grid) for name, grid in levels.items() if not only or name in only}
    for name in chosen:
        DEGRADATIONS.get(name).check()
    return chosen

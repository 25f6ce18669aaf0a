"""Plans: which detectors a study trains, and on what each of them learns.

A plan is one registered function from what a manifest holds to trainings. A training names its sources, the
share of its groups and its seed; everything else is the same for all trainings of a study. What is left out
of a training is left out of its train and of its val split: neither weights nor epoch nor threshold know it.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from faceauth.errors import ConfigError, ManifestError, did_you_mean
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.labels import CLASSES, FAKE, REAL, TRAIN, VAL
from faceauth.registry import Registry
from faceauth.splits.balance import order_key


@dataclass(frozen=True)
class PlanSettings:
    """Which plan, and what it needs to know. A plan leaves alone what it has no use for.

    Attributes:
        name: Registered name of the plan.
        generators: Only these generators are trained on and tested; null for all. Collections of reals are
            always all there.
        families: Names with their sources. Generators of one family are trained on together, or left out
            together; a generator in no family is one by itself. For `content`, families may hold
            collections too: what shows the same people and places.
        shares: Of `data_size`: shares of the training groups.
        counts: Of `n_generators`: how many generators, or families; all of them come on top.
        repeats: Of `data_size` and `n_generators`: how often with other groups, or generators.
        most_epochs: If given, a training with fewer images than the largest of the plan takes more epochs,
            so that it has as many updates, but never more epochs than this.
    """

    name: str = "one_generator"
    generators: tuple[str, ...] | None = None
    families: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shares: tuple[float, ...] = (0.01, 0.05, 0.1, 0.5, 1.0)
    counts: tuple[int, ...] = (2, 4, 8)
    repeats: int = field(default=1, metadata={"min": 1, "max": 100})
    most_epochs: int | None = field(default=None, metadata={"min": 1})

    def __post_init__(self) -> None:
        """Checks what one field alone cannot tell.

        Raises:
            ConfigError: A share or a count is out of range.
        """
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise ConfigError(f"'plan.shares' is {list(self.shares)}.", "Shares lie above 0 and up to 1.")
        if not self.counts or not all(count >= 1 for count in self.counts):
            raise ConfigError(f"'plan.counts' is {list(self.counts)}.", "Counts are 1 or more.")


@dataclass(frozen=True)
class Sources:
    """What a manifest has to learn from.

    Attributes:
        generators: Names of the generators, in alphabetical order.
        collections: Names of the collections of reals, in alphabetical order.
        families: The families of the settings, as they were named.
    """

    generators: tuple[str, ...]
    collections: tuple[str, ...]
    families: dict[str, tuple[str, ...]]

    @property
    def units(self) -> dict[str, tuple[str, ...]]:
        """What is trained on, or left out, as one: families of generators, and each other generator."""
        families = {
            name: tuple(folder for folder in folders if folder in self.generators)
            for name, folders in self.families.items()
        }
        joined = {folder for folders in families.values() for folder in folders}
        alone = {name: (name,) for name in self.generators if name not in joined}
        return {name: folders for name, folders in families.items() if folders} | alone


@dataclass(frozen=True)
class Training:
    """One training of a plan.

    Attributes:
        name: How people call it; no two trainings of a plan share a name.
        folders: The sources that it learns from, reals and fakes.
        share: Share of their training groups.
        seed: Added to the seed of the settings; trainings of one repeat share it.
        size: Where it stands on the curve of a plan with sizes; None in other plans.
    """

    name: str
    folders: tuple[str, ...]
    share: float = 1.0
    seed: int = 0
    size: float | None = None


PlanFunction = Callable[[Sources, PlanSettings], Iterable[Training]]


@dataclass(frozen=True)
class Plan:
    """A way to make trainings.

    Attributes:
        trainings: From sources and settings to trainings.
        axis: What the size of a training means; empty for plans without sizes.
    """

    trainings: PlanFunction
    axis: str = ""


PLANS: Registry[Plan] = Registry("plan", "faceauth.training.plans")


def find_sources(manifest: Manifest, settings: PlanSettings) -> Sources:
    """Finds out what there is to learn from.

    Args:
        manifest: Its usable train and val rows count.
        settings: Says which of it is wanted.

    Raises:
        ManifestError: A name belongs to a generator and to a collection.
        ConfigError: The settings name a source that is not there, or one source in two families.
    """
    rows = [row for split in (TRAIN, VAL) for row in manifest.in_split(split)]
    names = {target: {row.folder for row in rows if row.target == target} for target in (FAKE, REAL)}
    both = sorted(names[FAKE] & names[REAL])
    if both:
        raise ManifestError(
            f"'{both[0]}' of {manifest.path} is a generator and a collection of reals.",
            "Give one of them another name in the column 'folder', so that it can be left out alone.",
        )
    known = sorted(names[FAKE] | names[REAL])
    generators = set(names[FAKE] if settings.generators is None else settings.generators)
    members = [folder for folders in settings.families.values() for folder in folders]
    for key, found, allowed in (
        ("generators", sorted(generators), sorted(names[FAKE])),
        ("families", members, known),
    ):
        for name in found:
            if name not in allowed:
                raise ConfigError(
                    f"'plan.{key}' names '{name}', which {manifest.path} does not have in train or val.",
                    did_you_mean(name, allowed),
                )
    twice = sorted(name for name, n in Counter(members).items() if n > 1)
    if twice:
        raise ConfigError(f"'{twice[0]}' is in two of 'plan.families'.", "A source belongs to one family.")
    taken = sorted(set(settings.families) & (set(known) - set(members)))
    if taken:
        raise ConfigError(
            f"The family '{taken[0]}' bears the name of a source outside of it.", "Choose another name."
        )
    return Sources(tuple(sorted(generators)), tuple(sorted(names[REAL])), dict(settings.families))


def make_trainings(sources: Sources, settings: PlanSettings) -> list[Training]:
    """Makes the trainings of a plan, in its order.

    Raises:
        UnknownNameError: There is no such plan.
        ConfigError: The plan cannot be made of these sources.
    """
    trainings = list(PLANS.get(settings.name).trainings(sources, settings))
    return [dataclasses.replace(training, folders=tuple(sorted(training.folders))) for training in trainings]


def why_untrainable(training: Training, manifest: Manifest) -> str | None:
    """Says why a training cannot be done: a class is missing in train or val; None if it can be."""
    for split in (TRAIN, VAL):
        found = {row.target_class for row in manifest.in_split(split) if row.folder in training.folders}
        missing = [label for label in CLASSES if label not in found]
        if missing:
            return f"its {split} split has no {missing[0]} faces"
    return None


def select_share(rows: Sequence[ManifestRow], *, share: float, seed: int) -> list[ManifestRow]:
    """Takes a share of the groups, with classes and sources in proportion.

    A smaller share is always a part of a larger one. At least one group of each source stays.

    Args:
        rows: Rows of one split; a row without a group is a group of its own.
        share: Above 0 and up to 1.
        seed: Another seed takes other groups.

    Returns:
        The rows of the groups that were taken, in their order.
    """
    if share >= 1:
        return list(rows)
    names = [row.group or row.destination_path for row in rows]
    sources_of: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for name, row in zip(names, rows, strict=True):
        sources_of[name].add((row.target, row.folder))
    alike = defaultdict(list)
    for name in sorted(sources_of, key=lambda name: order_key(name, seed)):
        alike[frozenset(sources_of[name])].append(name)
    place = {}
    for groups in alike.values():
        for rank, name in enumerate(groups):
            # The share from which on a group is in: spread evenly over those with the same sources, and by
            # chance between its rank and the next, so that sets of a single group are not always taken.
            place[name] = (rank + _chance(name, seed)) / len(groups)
    first: dict[tuple[int, str], str] = {}
    for name in sorted(place, key=lambda name: (place[name], name)):
        for source in sources_of[name]:
            first.setdefault(source, name)
    taken = {name for name, from_share in place.items() if from_share < share} | set(first.values())
    return [row for row, name in zip(rows, names, strict=True) if name in taken]


def select_at_most(rows: Sequence[ManifestRow], *, most: int, seed: int) -> list[ManifestRow]:
    """Takes at most so many rows of each source, going from group to group.

    So fakes stay beside the reals that they were made from, as far as each source reaches.

    Args:
        rows: Rows of one split; a row without a group is a group of its own.
        most: The number.
        seed: Another seed takes other groups.

    Returns:
        The rows that were taken, in their order; those of a smaller number are among those of a larger one.
    """
    groups: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        groups[row.group or row.destination_path].append(row)
    n_taken: Counter[tuple[int, str]] = Counter()
    taken = set()
    for name in sorted(groups, key=lambda name: order_key(name, seed)):
        for row in groups[name]:
            source = (row.target, row.folder)
            if n_taken[source] < most:
                n_taken[source] += 1
                taken.add(row.destination_path)
    return [row for row in rows if row.destination_path in taken]


def _chance(name: str, seed: int) -> float:
    return int(order_key(f"share:{name}", seed)[:16], 16) / 16**16


def _plan(*, axis: str = "") -> Callable[[PlanFunction], PlanFunction]:
    """Returns a decorator that files a function under its own name."""

    def file_under_its_name(trainings: PlanFunction) -> PlanFunction:
        PLANS.register(trainings.__name__)(Plan(trainings, axis))
        return trainings

    return file_under_its_name


@_plan()
def one_generator(sources: Sources, settings: PlanSettings) -> Iterable[Training]:
    """Each generator, or family, alone against all reals: task 1 of GenImage (arXiv 2306.08571)."""
    for name, folders in sources.units.items():
        yield Training(name, folders + sources.collections)


@_plan()
def leave_one_out(sources: Sources, settings: PlanSettings) -> Iterable[Training]:
    """All generators but one, or one family, against all reals."""
    units = sources.units
    if len(units) < 2:
        raise ConfigError(
            f"Plan 'leave_one_out' has {len(units)} generators or families.", "It needs two or more."
        )
    for left_out in units:
        kept = [folder for name, folders in units.items() if name != left_out for folder in folders]
        yield Training(f"without {left_out}", (*kept, *sources.collections))


@_plan()
def families(sources: Sources, settings: PlanSettings) -> Iterable[Training]:
    """All generators, and each family alone, against all reals; generators in no family are in `all` only."""
    named = [name for name in sources.units if name in sources.families]
    if not named:
        raise ConfigError(
            "Plan 'families' has no families.",
            "Name them: plan.families={gan: [stylegan, progan], swap: [faceswap]}",
        )
    yield Training("all", sources.generators + sources.collections)
    for name in named:
        yield Training(name, sources.units[name] + sources.collections)


@_plan(axis="share of the training groups")
def data_size(sources: Sources, settings: PlanSettings) -> Iterable[Training]:
    """Everything, by growing shares of the training groups; smaller sets are parts of larger ones."""
    for repeat in range(settings.repeats):
        for share in sorted(set(settings.shares)):
            name = f"{100 * share:g} %{_repeat_name(repeat, settings)}"
            yield Training(name, sources.generators + sources.collections, share, repeat, share)


@_plan(axis="generators that were trained on")
def n_generators(sources: Sources, settings: PlanSettings) -> Iterable[Training]:
    """Growing numbers of generators or families, drawn by chance; smaller sets are parts of larger ones."""
    units = sources.units
    counts = sorted({count for count in settings.counts if count < len(units)} | {len(units)})
    for repeat in range(settings.repeats):
        order = sorted(units, key=lambda name: order_key(name, repeat))
        for count in counts:
            name = f"{count} generator{'s' if count > 1 else ''}{_repeat_name(repeat, settings)}"
            folders = tuple(folder for unit in order[:count] for folder in units[unit])
            yield Training(name, folders + sources.collections, 1.0, repeat, count)


@_plan()
def content(sources: Sources, settings: PlanSettings) -> Iterable[Training]:
    """All content but one: a collection of reals, with its family, is left out of each training."""
    joined = {folder for folders in sources.families.values() for folder in folders}
    contents = {
        name: folders
        for name, folders in sources.families.items()
        if any(folder in sources.collections for folder in folders)
    } | {name: (name,) for name in sources.collections if name not in joined}
    if len(contents) < 2:
        raise ConfigError(
            f"Plan 'content' has {len(contents)} contents to leave out.",
            "It needs two or more collections of reals, each with the generators of the same content as a "
            "family: plan.families={news: [news_real, news_swap]}",
        )
    everything = sources.generators + sources.collections
    for left_out, folders in contents.items():
        yield Training(f"without {left_out}", tuple(name for name in everything if name not in folders))


def _repeat_name(repeat: int, settings: PlanSettings) -> str:
    return f", draw {repeat + 1}" if settings.repeats > 1 else ""

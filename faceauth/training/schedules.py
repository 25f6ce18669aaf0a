"""Learning-rate schedules, counted in updates of the weights.

They are not handed to Accelerate, which would advance a prepared scheduler once a process and update.
"""

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from faceauth.registry import Registry
from faceauth.training.settings import ScheduleSettings

# A val loss counts as lower when it falls by this share, as in torch's ReduceLROnPlateau.
RELATIVE_IMPROVEMENT = 1e-4


class Schedule:
    """Sets the rate of an optimiser: a warm-up, then a registered shape.

    Args:
        optimizer: Its groups' rates at this moment are the full rates.
        settings: Name, warm-up, factor and patience.
        total_updates: Updates in the whole run.

    Raises:
        UnknownNameError: There is no schedule of that name.
    """

    def __init__(self, optimizer: Optimizer, settings: ScheduleSettings, *, total_updates: int) -> None:
        self.settings = settings
        self.total_updates = max(1, total_updates)
        self.updates = 0
        self.reductions = 0
        self.best_val_loss: float | None = None
        self.bad_epochs = 0
        self._optimizer = optimizer
        self._full_rates = [group["lr"] for group in optimizer.param_groups]
        self._shape = SCHEDULES.get(settings.name)
        self._apply()

    @property
    def learning_rate(self) -> float:
        """The rate of the first group for the next update."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_update(self) -> None:
        """To be called after each update of the weights."""
        self.updates += 1
        self._apply()

    def after_epoch(self, val_loss: float) -> None:
        """To be called after each epoch, with its mean loss on val."""
        if self.best_val_loss is None or val_loss < self.best_val_loss * (1 - RELATIVE_IMPROVEMENT):
            self.best_val_loss, self.bad_epochs = val_loss, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.settings.patience:
            self.reductions += 1
            self.bad_epochs = 0
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs."""
        names = ("updates", "reductions", "best_val_loss", "bad_epochs")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up where `state_dict` was called."""
        for name, value in state.items():
            setattr(self, name, value)
        self._apply()

    def _apply(self) -> None:
        warmup = self.settings.warmup_updates
        factor = min(1.0, (self.updates + 1) / warmup) if warmup else 1.0
        for group, full_rate in zip(self._optimizer.param_groups, self._full_rates, strict=True):
            group["lr"] = full_rate * factor * self._shape(self)


# Each maps the state of a schedule to a factor of the full rate.
SCHEDULES: Registry[Callable[[Schedule], float]] = Registry("schedule", package="faceauth.training.schedules")


@SCHEDULES.register("constant")
def constant(schedule: Schedule) -> float:
    """The full rate."""
    return 1.0


@SCHEDULES.register("cosine")
def cosine(schedule: Schedule) -> float:
    """Half a cosine from the end of the warm-up to zero at the end of the run (arXiv 1608.03983)."""
    warmup = schedule.settings.warmup_updates
    progress = (schedule.updates - warmup) / max(1, schedule.total_updates - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress))))


@SCHEDULES.register("plateau")
def plateau(schedule: Schedule) -> float:
    """Times `factor` whenever the val loss has not fallen for more than `patience` epochs."""
    return schedule.settings.factor**schedule.reductions

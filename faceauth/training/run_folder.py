"""How far a run is, and the files that let it go on after it was stopped."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator

from faceauth.errors import InputError, UsageError
from faceauth.files import DAMAGED, read_json, whole_file, write_json

RUN_NAME = "run.json"
METRICS_NAME = "metrics.jsonl"
CHECKPOINT_NAME = "checkpoint"
RESUME_NAME = "checkpoints/last"
COUNTERS_NAME = "counters.json"

# What may differ between the first start of a run and a later one, since it does not touch the result.
FREE_SETTINGS = ("output", "trackers")
# The manifest is bound by its content, wherever it lies.
FREE_DATA_SETTINGS = ("manifest", "workers")


class Counters(Protocol):
    """What counts along with a run and must be saved with it, as values that JSON can hold."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the counters."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over the counters."""


@dataclass
class RunState:
    """How far a run is.

    Attributes:
        epoch: Epochs that are finished.
        updates: Updates of the weights.
        best_auroc: Best AUROC on val; -1 before the first epoch.
        best_epoch: The epoch that reached it, from 1; 0 before the first epoch.
        epochs_without_best: Finished epochs since then.
    """

    epoch: int = 0
    updates: int = 0
    best_auroc: float = -1.0
    best_epoch: int = 0
    epochs_without_best: int = 0

    def after_epoch(self, auroc: float) -> bool:
        """Counts an epoch.

        Args:
            auroc: AUROC on val after it.

        Returns:
            True if it is the best so far.
        """
        self.epoch += 1
        is_best = auroc > self.best_auroc
        if is_best:
            self.best_auroc, self.best_epoch = auroc, self.epoch
        self.epochs_without_best = 0 if is_best else self.epochs_without_best + 1
        return is_best

    def state_dict(self) -> dict[str, Any]:
        """Returns the counters."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over the counters."""
        for name, value in state.items():
            setattr(self, name, value)


def open_run(folder: Path, settings: dict[str, Any], *, manifest_sha256: str, overwrite: bool) -> bool:
    """Makes a run folder, or opens that of a run which was stopped.

    Args:
        folder: The run folder.
        settings: All settings of the run.
        manifest_sha256: Hash of the manifest.
        overwrite: Begin anew whatever is there.

    Returns:
        True if the run has finished before.

    Raises:
        UsageError: The folder belongs to a run with other settings, or to something else.
        InputError: What it was bound to cannot be read.
    """
    path = folder / RUN_NAME
    facts = {"settings": _bound(settings), "manifest_sha256": manifest_sha256, "finished": False}
    facts = json.loads(json.dumps(facts))
    if overwrite and path.exists():
        # In this order a kill in between leaves either the old run or the new one at its beginning.
        _remove((folder / RESUME_NAME).parent)
        write_json(path, facts)
        _remove(folder / CHECKPOINT_NAME)
        _remove(folder / METRICS_NAME)
        return False
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is no run folder and not empty.", "Choose another --output.")
        write_json(path, facts)
        return False
    kept = read_json(path)
    settings_kept = kept.get("settings")
    if not isinstance(settings_kept, dict):
        raise InputError(f"{path} names no settings.", DAMAGED)
    changed = [key for key in facts["settings"] if settings_kept.get(key) != facts["settings"][key]]
    if kept.get("manifest_sha256") != manifest_sha256:
        changed.append("the manifest's content")
    if changed:
        raise UsageError(
            f"{folder} holds a run that differs in: {', '.join(changed)}.",
            "Choose another --output, or begin anew with --overwrite.",
        )
    return bool(kept.get("finished"))


def mark_finished(folder: Path) -> None:
    """Writes down that a run came to its end."""
    write_json(folder / RUN_NAME, read_json(folder / RUN_NAME) | {"finished": True})


def save_progress(accelerator: Accelerator, folder: Path, counters: dict[str, Counters]) -> None:
    """Saves weights, optimiser, counters and states of chance; what was saved before stays until then."""
    last = folder / RESUME_NAME
    draft = last.with_name(".last.draft")
    if accelerator.is_main_process:
        _remove(draft)
        draft.parent.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(draft))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        # As JSON: what is registered with Accelerate comes back through pickle.
        write_json(draft / COUNTERS_NAME, {name: part.state_dict() for name, part in counters.items()})
        previous = last.with_name(".last.previous")
        _remove(previous)
        if last.exists():
            last.replace(previous)
        draft.replace(last)
        _remove(previous)
    accelerator.wait_for_everyone()


def load_progress(accelerator: Accelerator, folder: Path, counters: dict[str, Counters]) -> bool:
    """Takes up where the last complete epoch ended.

    Returns:
        True if there was something to take up.
    """
    last = folder / RESUME_NAME
    previous = last.with_name(".last.previous")
    found = last if last.exists() else previous
    if not found.exists():
        return False
    accelerator.load_state(str(found))
    kept = read_json(found / COUNTERS_NAME)
    for name, part in counters.items():
        part.load_state_dict(kept[name])
    return True


def append_metrics(folder: Path, line: dict[str, Any]) -> None:
    """Adds one line to the run's `metrics.jsonl`."""
    with (folder / METRICS_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def forget_metrics_after(folder: Path, epoch: int) -> None:
    """Drops the lines of epochs that will be done again, and a line that was cut off."""
    path = folder / METRICS_NAME
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            if json.loads(line).get("epoch", 0) <= epoch:
                kept.append(line + "\n")
        except ValueError:
            continue
    with whole_file(path) as draft:
        draft.write_text("".join(kept), "utf-8")


def _bound(settings: dict[str, Any]) -> dict[str, Any]:
    bound = {key: value for key, value in settings.items() if key not in FREE_SETTINGS}
    data = {key: value for key, value in settings["data"].items() if key not in FREE_DATA_SETTINGS}
    return bound | {"data": data}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

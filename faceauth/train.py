"""Trains a detector: one loop, to be read from top to bottom.

    accelerate launch faceauth/train.py --config configs/deit.yaml --manifest DIR

does the same as `faceauth train`, with as many processes and devices as Accelerate is told to use.

The order: settings, rows, detector, loaders, optimiser and schedule, what was saved before; then epochs of
drawing, learning, looking at val, keeping the best, saving. The test split is never opened here.
"""

import dataclasses
import logging
import math
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch.utils.data import DataLoader

from faceauth.config import write_config
from faceauth.console import progress
from faceauth.decisions.calibration import CALIBRATIONS
from faceauth.decisions.card_of_run import make_card
from faceauth.decisions.known_sources import learn_sources
from faceauth.decisions.threshold_rules import parse_rule
from faceauth.decisions.thresholds import refuse_too_few_faces
from faceauth.degradations.degrade import DEGRADATIONS
from faceauth.detectors.checkpoint import save_checkpoint
from faceauth.detectors.detector import Detector, build_detector, p_fake_of_logits
from faceauth.errors import ManifestError, MissingExtraError, TrainingError, UsageError
from faceauth.intake.manifest import Manifest, ManifestRow, read_manifest
from faceauth.labels import CLASSES, REAL, TRAIN, VAL
from faceauth.scoring.metrics import compute_metric
from faceauth.shortcuts.shortcuts import describe_ruler, measure_shortcuts
from faceauth.splits.leaks import refuse_leaks
from faceauth.training.batches import CropDataset, batches_of, plain_loader, train_loader
from faceauth.training.frozen import (
    PLAIN_VIEW,
    ReadingDataset,
    ViewOfCrop,
    begin_probe,
    freeze_trunk,
    keep_readings,
    plain_reading_loader,
    reading_loader,
    view_folder,
)
from faceauth.training.losses import LOSSES
from faceauth.training.optimizers import build_optimizer
from faceauth.training.plans import select_at_most, select_share
from faceauth.training.run_folder import (
    CHECKPOINT_NAME,
    Counters,
    RunState,
    append_metrics,
    forget_metrics_after,
    load_progress,
    mark_finished,
    open_run,
    save_progress,
)
from faceauth.training.schedules import Schedule
from faceauth.training.settings import TrainSettings

log = logging.getLogger(__name__)

TRACKED = ("train_loss", "val_loss", "val_auroc", "learning_rate")
# Enough for bounds some 0.01 to either side; a training should not wait longer.
MAX_RULER_ROWS = 5000
MIXED_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def train(settings: TrainSettings, *, overwrite: bool = False, dry_run: bool = False) -> Path:
    """Trains a detector and keeps the weights of the epoch that was best on val.

    Args:
        settings: All that a config can say.
        overwrite: Begin anew in a run folder that holds another or a finished run.
        dry_run: Print what would run and stop.

    Returns:
        The checkpoint folder.

    Raises:
        FaceAuthError: The manifest leaks or lacks a class, weights cannot be had, or the loss diverged.
    """
    _check_names(settings)
    manifest, rows = _read_rows(settings)
    refuse_too_few_faces(settings.threshold_rule, n_real=sum(row.target == REAL for row in rows[VAL]))
    output = Path(settings.output)
    checkpoint = output / CHECKPOINT_NAME
    accelerator = _make_accelerator(settings, output)

    # Everyone begins with the same random weights.
    set_seed(settings.seed)
    detector = build_detector(
        settings.detector.name,
        weights=settings.detector.weights,
        image_size=settings.detector.image_size,
        options=settings.detector.options,
    )
    views = _views(settings, detector, output)
    learner = freeze_trunk(detector) if views else detector.model
    dataset: CropDataset | ReadingDataset
    if views:
        # The first view is of the crops as they are, and the only one if nothing is augmented.
        plain_view, *train_views = views
        train_views = train_views or [plain_view]
        loader, dataset, sampler = reading_loader(
            rows[TRAIN],
            train_views,
            draw=settings.data.draw,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )
        val_loader = plain_reading_loader(rows[VAL], plain_view, batch_size=settings.batch_size)
    else:
        loader, dataset, sampler = train_loader(
            rows[TRAIN], manifest, settings.data, batch_size=settings.batch_size, seed=settings.seed
        )
        val_loader = plain_loader(
            rows[VAL], manifest, batch_size=settings.batch_size, workers=settings.data.workers
        )
    loss_of = LOSSES.get(settings.loss)
    optimizer = build_optimizer(learner, settings.optimizer)
    model, optimizer, loader, val_loader = accelerator.prepare(learner, optimizer, loader, val_loader)
    updates_per_epoch = math.ceil(len(loader) / settings.accumulate)
    schedule = Schedule(optimizer, settings.schedule, total_updates=updates_per_epoch * settings.epochs)
    state = RunState()
    counters: dict[str, Counters] = {"run": state, "schedule": schedule}

    _print_header(settings, detector, rows, accelerator, updates_per_epoch)
    if accelerator.is_main_process:
        log.info("ruler      %s", _ruler(rows, seed=settings.seed))
    if dry_run:
        return checkpoint
    finished = (
        open_run(output, dataclasses.asdict(settings), manifest_sha256=manifest.sha256, overwrite=overwrite)
        if accelerator.is_main_process
        else False
    )
    if _any_process(accelerator, finished):
        log.info("%s holds this very run, finished; begin anew with --overwrite", output)
        return checkpoint
    accelerator.wait_for_everyone()
    if load_progress(accelerator, output, counters):
        log.info("going on after epoch %d of %d", state.epoch, settings.epochs)
    if accelerator.is_main_process:
        forget_metrics_after(output, state.epoch)
        accelerator.init_trackers("faceauth", config=_flat(dataclasses.asdict(settings)))

    for place, alter in views.items():
        keep_readings(
            detector,
            (rows[TRAIN] if place in train_views else []) + (rows[VAL] if place == plain_view else []),
            manifest,
            place,
            alter=alter,
            workers=settings.data.workers,
            device=accelerator.device,
            process=(accelerator.process_index, accelerator.num_processes),
        )
    accelerator.wait_for_everyone()
    if isinstance(dataset, ReadingDataset) and state.epoch == 0:
        begin_probe(learner, dataset, sampler.weights)

    while state.epoch < settings.epochs and not _is_over(state, settings):
        # An epoch's chance depends on its number alone, so that one done again is the same.
        set_seed(settings.seed + 1 + state.epoch)
        dataset.epoch = sampler.epoch = state.epoch
        title = f"epoch {state.epoch + 1} of {settings.epochs}"
        started = time.monotonic()
        model.train()
        losses = []
        with progress(title, len(loader)) as advance:
            for batch in batches_of(loader):
                with accelerator.accumulate(model):
                    loss = loss_of(_logits(detector, model, batch), batch["targets"])
                    accelerator.backward(loss)
                    if accelerator.sync_gradients and settings.clip_norm:
                        accelerator.clip_grad_norm_(model.parameters(), settings.clip_norm)
                    optimizer.step()
                    optimizer.zero_grad()
                if accelerator.sync_gradients:
                    state.updates += 1
                    schedule.after_update()
                losses.append(loss.detach())
                advance(1)
        train_loss = _mean_over_processes(losses, accelerator, title)
        seconds = time.monotonic() - started

        targets, p_fake, val_loss = judge(detector, model, val_loader, accelerator)
        auroc = compute_metric("auroc", targets, p_fake)[0]
        assert auroc is not None  # both classes are in val, or _read_rows would have refused
        schedule.after_epoch(val_loss)
        is_best = state.after_epoch(auroc)
        if accelerator.is_main_process:
            line = {
                "event": "epoch",
                "epoch": state.epoch,
                "updates": state.updates,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "val_auroc": auroc,
                "learning_rate": schedule.learning_rate,
                "images_per_s": round(len(sampler) / seconds, 2),
                "seconds": round(seconds, 2),
                "best": is_best,
            }
            append_metrics(output, line)
            accelerator.log({name: line[name] for name in TRACKED}, step=state.updates)
            mark = " (best so far)" if is_best else ""
            log.info(
                f"{title}: {line['images_per_s']:.1f} images/s, train loss {train_loss:.4f}, "
                f"val loss {val_loss:.4f}, val AUROC {auroc:.4f}{mark}"
            )
            if is_best:
                # A frozen network holds its head, which learnt in its place.
                network = detector.model if views else accelerator.unwrap_model(model)
                best = dataclasses.replace(detector, model=network)
                card = make_card(settings, best, manifest, rows, targets, p_fake, epoch=state.epoch)
                save_checkpoint(checkpoint, best, card, write_train_config=partial(write_config, settings))
        save_progress(accelerator, output, counters)

    accelerator.end_training()
    if accelerator.is_main_process:
        kept_in = {TRAIN: train_views[0], VAL: plain_view} if views else None
        learn_sources(
            checkpoint,
            rows,
            manifest,
            augment=settings.data.augment,
            seed=settings.seed,
            views=kept_in,
            workers=settings.data.workers,
        )
        mark_finished(output)
        log.info(f"best val AUROC {state.best_auroc:.4f} in epoch {state.best_epoch}; saved in {checkpoint}")
    return checkpoint


@torch.inference_mode()
def judge(
    detector: Detector, model: torch.nn.Module, loader: DataLoader, accelerator: Accelerator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Scores every row of a split once, whatever the number of processes.

    Args:
        detector: Whose processor prepares the crops.
        model: The network as Accelerate prepared it.
        loader: A plain loader as Accelerate prepared it.
        accelerator: Gathers from all processes.

    Returns:
        Targets (n,) int and `p_fake` (n,) float64, not calibrated, in the order of the rows, and the mean
        cross entropy.
    """
    model.eval()
    gathered = []
    for batch in batches_of(loader):
        logits = _logits(detector, model, batch)
        # Rows that were repeated to fill the last batch are dropped again here.
        gathered.append(accelerator.gather_for_metrics((batch["positions"], batch["targets"], logits)))
    positions, targets, logits = (torch.cat(parts).cpu() for parts in zip(*gathered, strict=True))
    order = positions.argsort()
    targets, logits = targets[order], logits[order]
    loss = float(torch.nn.functional.cross_entropy(logits, targets))
    return targets.numpy(), p_fake_of_logits(logits).numpy(), loss


def _logits(detector: Detector, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    if "readings" in batch:
        return model(batch["readings"]).float()
    return model(pixel_values=detector.pixel_values(batch["images_rgb_uint8"])).logits.float()


def _views(settings: TrainSettings, detector: Detector, output: Path) -> dict[Path, ViewOfCrop | None]:
    """Returns where the readings of each view are kept, the plain one first, and what makes it.

    None if nothing is frozen.
    """
    if settings.detector.freeze == "nothing":
        return {}
    folder = Path(settings.data.readings) if settings.data.readings else output / "readings"
    augment, seed = settings.data.augment, settings.seed
    numbers = range(settings.data.views + 1) if augment else (PLAIN_VIEW,)
    return {
        view_folder(detector, folder, augment=augment, seed=seed, view=view): (
            None if view == PLAIN_VIEW else ViewOfCrop(augment, seed=seed, view=view)
        )
        for view in numbers
    }


def _check_names(settings: TrainSettings) -> None:
    # A name that is needed only after an epoch must not cost an epoch to be found wrong.
    parse_rule(settings.threshold_rule)
    CALIBRATIONS.get(settings.calibration)
    for name in settings.data.augment:
        DEGRADATIONS.get(name).check()


def _read_rows(settings: TrainSettings) -> tuple[Manifest, dict[str, list[ManifestRow]]]:
    if not settings.data.manifest:
        raise UsageError("No manifest was given.", "Use --manifest DIR, or data.manifest in the config.")
    manifest = read_manifest(Path(settings.data.manifest))
    refuse_leaks(manifest)
    rows = {split: manifest.in_split(split) for split in (TRAIN, VAL)}
    wanted = settings.data.folders
    for split, found in rows.items():
        if wanted is not None:
            unknown = set(wanted) - {row.folder for row in manifest.rows}
            if unknown:
                raise ManifestError(
                    f"data.folders names {sorted(unknown)}, which {manifest.path} does not have.",
                    f"Sources in it: {', '.join(sorted({row.folder for row in manifest.rows}))}.",
                )
            rows[split] = found = [row for row in found if row.folder in wanted]
        if split == TRAIN:
            found = select_share(found, share=settings.data.share, seed=settings.seed)
            if settings.data.most_per_source is not None:
                found = select_at_most(found, most=settings.data.most_per_source, seed=settings.seed)
            rows[split] = found
        missing = [label for label in CLASSES if not any(row.target_class == label for row in found)]
        if missing:
            raise ManifestError(
                f"Split '{split}' of {manifest.path} has no {missing[0]} faces; both classes are needed.",
                "Add sources of that class, or prepare with other --splits.",
            )
    return manifest, rows


def _make_accelerator(settings: TrainSettings, output: Path) -> Accelerator:
    # Accelerate keeps the precision of the first run in a process; another run may want another.
    AcceleratorState._reset_state()
    try:
        return Accelerator(
            mixed_precision=MIXED_PRECISION[settings.precision],
            gradient_accumulation_steps=settings.accumulate,
            log_with=list(settings.trackers) or None,
            project_dir=str(output),
            step_scheduler_with_optimizer=False,
        )
    except (ValueError, ImportError) as error:
        if settings.trackers:
            raise MissingExtraError(
                f"The trackers {', '.join(settings.trackers)} cannot be used: {error}",
                f"Install them: pip install {' '.join(settings.trackers)}",
            ) from error
        raise TrainingError(f"Training cannot start with precision {settings.precision}: {error}") from error


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)).item() > 0)


def _is_over(state: RunState, settings: TrainSettings) -> bool:
    patience = settings.early_stop_patience
    return bool(patience) and state.epochs_without_best >= patience


def _print_header(
    settings: TrainSettings,
    detector: Detector,
    rows: dict[str, list[ManifestRow]],
    accelerator: Accelerator,
    updates: int,
) -> None:
    parameters = sum(p.numel() for p in detector.model.parameters())
    learning = sum(p.numel() for p in detector.model.parameters() if p.requires_grad)
    images = settings.batch_size * accelerator.num_processes * settings.accumulate
    sources = Counter((row.target_class, row.folder) for row in rows[TRAIN])
    lines = [
        f"detector   {settings.detector.name}, {parameters:,} parameters of which {learning:,} learn",
        f"weights    {detector.origin}",
        f"device     {accelerator.device}, {accelerator.num_processes} process(es), {settings.precision}",
        f"train      {len(rows[TRAIN]):,} crops: "
        + ", ".join(f"{label} {name} {n:,}" for (label, name), n in sorted(sources.items())),
        f"val        {len(rows[VAL]):,} crops; epoch, calibration, threshold and unsure band come from them",
        f"drawing    {settings.data.draw}; augmentation {settings.data.augment or 'none'}",
        f"update     {images} images; {updates:,} updates an epoch, at most {settings.epochs} epochs",
        f"learning   {settings.optimizer.name}, rate {settings.optimizer.learning_rate:g}, "
        f"{settings.schedule.name}",
        f"output     {settings.output}",
    ]
    for line in lines:
        log.info("%s", line)


def _ruler(rows: dict[str, list[ManifestRow]], *, seed: int) -> str:
    """Says how far plain facts alone go on what is trained on, to be held against the val AUROC."""
    seen = rows[TRAIN] + rows[VAL]
    if len(seen) > MAX_RULER_ROWS:
        seen = [seen[i] for i in np.linspace(0, len(seen) - 1, MAX_RULER_ROWS).astype(int)]
    return describe_ruler(measure_shortcuts(seen, seed=seed).to_json())


def _mean_over_processes(losses: list[torch.Tensor], accelerator: Accelerator, title: str) -> float:
    mean = float(accelerator.gather(torch.stack(losses)).float().mean())
    if not math.isfinite(mean):
        raise TrainingError(
            f"The training loss became {mean} in {title}.",
            "Lower optimizer.learning_rate, add schedule.warmup_updates, or use precision: fp32.",
        )
    return mean


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    # Trackers refuse nested settings.
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, (int, float, str, bool)) else str(value)
    return flat


if __name__ == "__main__":
    import sys

    from faceauth.cli import main

    main(["train", *sys.argv[1:]])

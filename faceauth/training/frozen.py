"""What a frozen trunk reads of each crop: computed once, kept, and learnt from in seconds an epoch.

Where only the head learns, the rest of the network says the same of a crop in every epoch. So it is asked
once: for the crop as it is, and for a few augmented versions of it (`data.views`), among which epochs take
turns. Readings are kept by the crop's name, so that trainings on parts of a manifest share them.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from faceauth.console import progress
from faceauth.degradations.degrade import degrade
from faceauth.detectors.detector import Detector
from faceauth.errors import DetectorError, InputError
from faceauth.files import read_json, whole_file, write_json
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.training.batches import BalancedSampler, batches_of, plain_loader

# The version of a crop that nothing was done to; augmented ones are counted from 1.
PLAIN_VIEW, FIRST_VIEW = 0, 1
# Readings that are written at once, and so the most that a stop can cost.
CHUNK_ROWS = 512


def probe_name(detector: Detector) -> str:
    """Returns the name of the module that learns while everything before it is frozen.

    Raises:
        DetectorError: The network has no single such module.
    """
    architecture = detector.architecture
    if architecture.probe or len(architecture.heads) == 1:
        return architecture.probe or architecture.heads[0]
    raise DetectorError(
        f"detector.freeze=trunk needs one head, and '{detector.name}' has {', '.join(architecture.heads)}.",
        "Use freeze: nothing with it, or another detector.",
    )


def freeze_trunk(detector: Detector) -> nn.Module:
    """Freezes all of a network but its probe, and of that what `begin_probe` will find.

    Returns:
        The probe: takes the readings (n, d) float32, gives logits (n, 2).
    """
    probe = detector.model.get_submodule(probe_name(detector))
    detector.model.requires_grad_(False)
    probe.requires_grad_(True)
    for name in getattr(probe, "begun", ()):
        probe.get_submodule(name).requires_grad_(False)
    return probe


@torch.inference_mode()
def read_trunk(detector: Detector, pixel_values: Tensor) -> Tensor:
    """Returns what a batch brings to the probe: (n, d) float32 on the model's device."""
    caught: list[Tensor] = []

    def catch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0].detach().float())

    hook = detector.model.get_submodule(probe_name(detector)).register_forward_pre_hook(catch)
    try:
        detector.model(pixel_values=pixel_values)
    finally:
        hook.remove()
    return caught[0]


class ViewOfCrop:
    """Turns a crop into one of its augmented versions; which one depends on its pixels and the view alone.

    Args:
        augment: Degradations with their chances.
        seed: Of the degradations.
        view: Number of the version.
    """

    def __init__(self, augment: dict[str, float], *, seed: int, view: int) -> None:
        self.augment, self.seed, self.view = augment, seed, view

    def __call__(self, crop_rgb_uint8: np.ndarray) -> np.ndarray:
        """Returns the version, (height, width, 3) uint8 like the crop."""
        own = int.from_bytes(hashlib.sha256(crop_rgb_uint8.tobytes()).digest()[:8], "big")
        return degrade(crop_rgb_uint8, self.augment, np.random.default_rng([self.seed, self.view, own]))


class Readings:
    """The readings of one view, in chunks on disk that are mapped into memory.

    Args:
        folder: Where chunks of this trunk, view and augmentation lie.

    Raises:
        InputError: A chunk is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._chunks: list[np.ndarray] = []
        self._place: dict[str, tuple[int, int]] = {}
        for index in sorted(folder.glob("*.json")):
            self._open(index)

    def __contains__(self, row: ManifestRow) -> bool:
        return _crop_key(row) in self._place

    def __getitem__(self, row: ManifestRow) -> np.ndarray:
        """Returns the reading of a row's crop, (d,) float16."""
        chunk, place = self._place[_crop_key(row)]
        return self._chunks[chunk][place]

    def append(self, rows: Sequence[ManifestRow], features: np.ndarray) -> None:
        """Keeps the readings (n, d) of n rows as a chunk; the index is written last, and makes it count."""
        name = _chunk_name(rows)
        with whole_file(self.folder / f"{name}.npy") as path, path.open("wb") as file:
            np.save(file, features.astype(np.float16))
        write_json(self.folder / f"{name}.json", {"crops": [_crop_key(row) for row in rows]})
        self._open(self.folder / f"{name}.json")

    def _open(self, index: Path) -> None:
        try:
            keys = read_json(index)["crops"]
            chunk = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            if chunk.ndim != 2 or len(chunk) != len(keys):
                raise ValueError(f"{len(keys)} crops, and readings of shape {chunk.shape}")
        except (OSError, EOFError, InputError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"The readings of {index} cannot be used: {error}.",
                f"They are damaged: remove {index}, and they are read again.",
            ) from error
        self._chunks.append(chunk)
        self._place |= {key: (len(self._chunks) - 1, place) for place, key in enumerate(keys)}


def view_folder(detector: Detector, folder: Path, *, augment: dict[str, float], seed: int, view: int) -> Path:
    """Returns where the readings of a view are kept: other weights, pixels or chances, another folder.

    Args:
        detector: Whose trunk reads.
        folder: Where all readings are kept.
        augment: Degradations with their chances; of no matter to `PLAIN_VIEW`.
        seed: Of the degradations.
        view: `PLAIN_VIEW`, or the number of an augmented version.
    """
    probe = probe_name(detector)
    digest = hashlib.sha256()
    for name, tensor in detector.model.state_dict().items():
        if not name.startswith(f"{probe}."):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    facts = [detector.processor.to_dict(), *([] if view == PLAIN_VIEW else [augment, seed, view])]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return folder / f"view{view}-{digest.hexdigest()[:16]}"


def keep_readings(
    detector: Detector,
    rows: Sequence[ManifestRow],
    manifest: Manifest,
    place: Path,
    *,
    alter: Callable[[np.ndarray], np.ndarray] | None = None,
    workers: int = 0,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    process: tuple[int, int] = (0, 1),
) -> None:
    """Reads what is not kept yet, with progress.

    Args:
        detector: Whose trunk reads; it is put into evaluation mode.
        rows: Usable rows.
        manifest: Where their crops lie.
        place: Folder of the view.
        alter: Makes the view of a crop, such as `ViewOfCrop`; None for the crop as it is.
        workers: Processes that read and augment crops beside the network.
        batch_size: Crops a step.
        device: A torch device.
        process: Number of this process, and of all that share the work.

    Raises:
        InputError: A crop cannot be read.
    """
    place.mkdir(parents=True, exist_ok=True)
    kept = Readings(place)
    missing = [row for row in rows[process[0] :: process[1]] if row not in kept]
    if not missing:
        return
    detector.model.to(device).eval()  # type: ignore[arg-type]
    loader = plain_loader(missing, manifest, batch_size=batch_size, workers=workers, alter=alter)
    waiting: list[np.ndarray] = []
    done = 0
    with progress(f"reading {place.name.split('-')[0]}", len(missing)) as advance, torch.inference_mode():
        for batch in batches_of(loader):
            pixel_values = detector.pixel_values(batch["images_rgb_uint8"].to(device))
            waiting.append(read_trunk(detector, pixel_values).half().cpu().numpy())
            n_waiting = sum(map(len, waiting))
            if n_waiting >= CHUNK_ROWS or done + n_waiting == len(missing):
                rows_of_chunk = missing[done : done + n_waiting]
                kept.append(rows_of_chunk, np.concatenate(waiting))
                done, waiting = done + n_waiting, []
            advance(len(pixel_values))


class ReadingDataset(Dataset[tuple[np.ndarray, int, int]]):
    """The readings of rows; epochs take turns among the views.

    Args:
        rows: Usable rows.
        views: Folders of views, from `keep_readings`.
    """

    def __init__(self, rows: Sequence[ManifestRow], views: Sequence[Path]) -> None:
        self.rows = list(rows)
        self.views = list(views)
        self.epoch = 0

    @cached_property
    def _readings(self) -> list[Readings]:
        # At the first row, since a loader is made before all is read.
        return [Readings(view) for view in self.views]

    def __len__(self) -> int:
        return len(self.rows)

    def all_readings(self) -> np.ndarray:
        """Returns the readings of all rows in one view after another, (views * rows, d) float16."""
        return np.stack([readings[row] for readings in self._readings for row in self.rows])

    def __getitem__(self, drawn: int | tuple[int, int]) -> tuple[np.ndarray, int, int]:
        """Returns one reading, (d,) float16, with its target and position."""
        position = drawn[0] if isinstance(drawn, tuple) else drawn
        # Neighbours differ in their views, so that no epoch sees one kind of augmentation alone.
        readings = self._readings[(self.epoch + position) % len(self.views)]
        return readings[self.rows[position]], self.rows[position].target, position


def begin_probe(probe: nn.Module, dataset: ReadingDataset, weights: np.ndarray) -> bool:
    """Lets a probe that can begin in one step, such as `LayeredHead`, do so from all views of its rows.

    Args:
        probe: What learns.
        dataset: The readings that it learns from.
        weights: How much each row counts, (rows,).

    Returns:
        Whether it can.
    """
    begin = getattr(probe, "begin", None)
    if begin is None:
        return False
    n_views = len(dataset.views)
    targets = np.array([row.target for row in dataset.rows])
    begin(dataset.all_readings(), np.tile(targets, n_views), np.tile(weights, n_views))
    return True


def reading_loader(
    rows: Sequence[ManifestRow], views: Sequence[Path], *, draw: str, batch_size: int, seed: int
) -> tuple[DataLoader, ReadingDataset, BalancedSampler]:
    """Makes the loader of a frozen training, with the two parts that must be told of each epoch."""
    dataset = ReadingDataset(rows, views)
    sampler = BalancedSampler(rows, draw=draw, seed=seed)
    return DataLoader(dataset, batch_size, sampler=sampler, collate_fn=collate_readings), dataset, sampler


def plain_reading_loader(rows: Sequence[ManifestRow], view: Path, *, batch_size: int) -> DataLoader:
    """Makes a loader that gives every row's reading of one view once, in order."""
    return DataLoader(ReadingDataset(rows, [view]), batch_size, collate_fn=collate_readings)


def collate_readings(items: list[tuple[np.ndarray, int, int]]) -> dict[str, Tensor]:
    """Stacks items: `readings` (n, d) float32, `targets` (n,) int64, `positions` (n,) int64."""
    features, targets, positions = zip(*items, strict=True)
    return {
        "readings": torch.from_numpy(np.stack(features)).float(),
        "targets": torch.tensor(targets),
        "positions": torch.tensor(positions),
    }


def _crop_key(row: ManifestRow) -> str:
    # Built from the content's hash: the same in every manifest that holds the crop.
    return row.destination_path.rsplit("/", 1)[-1]


def _chunk_name(rows: Sequence[ManifestRow]) -> str:
    return hashlib.sha256("\n".join(map(_crop_key, rows)).encode()).hexdigest()[:16]

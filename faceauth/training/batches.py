"""From manifest rows to batches: reading crops, drawing them in balance, and repeating it all exactly.

Chance depends on the seed, the epoch and the place in the epoch alone. So the number of workers changes
nothing, and an epoch that is done again after a crash is the same epoch.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from faceauth.degradations.degrade import degrade
from faceauth.errors import InputError
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.intake.pixels.images import UnreadableImageError, read_image
from faceauth.training.settings import DataSettings


class CropDataset(Dataset[tuple[Tensor, int, int]]):
    """Reads crops; when training, degrades them.

    Args:
        rows: Usable rows of a manifest.
        manifest: Where their crops lie.
        augment: Degradations with their chances; None reads crops as they are.
        seed: Of the degradations.
        alter: Turns each crop, (height, width, 3) uint8, into one of the same shape, such as `AtLevel`; None
            for nothing.
    """

    def __init__(
        self,
        rows: Sequence[ManifestRow],
        manifest: Manifest,
        *,
        augment: dict[str, float] | None = None,
        seed: int = 0,
        alter: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.paths: list[Path] = [manifest.crop_path(row) for row in rows]
        self.targets = [row.target for row in rows]
        self.augment = augment
        self.seed = seed
        self.alter = alter
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, drawn: int | tuple[int, int]) -> tuple[Tensor, int, int]:
        """Returns one crop as (3, height, width) uint8, with its target and position.

        Args:
            drawn: A position, or a position with the place in the epoch at which it was drawn.

        Raises:
            InputError: The crop cannot be read.
        """
        position, place = drawn if isinstance(drawn, tuple) else (drawn, drawn)
        try:
            image = read_image(self.paths[position]).image_rgb_uint8
        except UnreadableImageError as error:
            raise InputError(
                f"{self.paths[position]}: {error}.", "Run `faceauth prepare` again; it makes what is missing."
            ) from error
        if self.augment:
            image = degrade(image, self.augment, np.random.default_rng([self.seed, self.epoch, place]))
        if self.alter:
            image = self.alter(image)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1), self.targets[position], position


class BalancedSampler(Sampler[tuple[int, int]]):
    """Draws as many rows as there are, each source as often as `draw` says.

    Within a source, rows come from a shuffled deck that is dealt to the end before it is shuffled again:
    no row is drawn twice while another waits.

    Args:
        rows: The training rows.
        draw: `generator`, `root`, `class` or `all`; see `faceauth.training.settings.DataSettings`.
        seed: Of the shuffling.
    """

    def __init__(self, rows: Sequence[ManifestRow], *, draw: str, seed: int) -> None:
        self.seed = seed
        self.epoch = 0
        self._n = len(rows)
        decks: dict[tuple, list[int]] = defaultdict(list)
        for position, row in enumerate(rows):
            source = (row.target, row.folder)
            decks[{"class": source[:1], "all": ()}.get(draw, source)].append(position)
        self._decks = [np.array(decks[key]) for key in sorted(decks)]
        # How much each deck counts within its class.
        counts = {key: len(deck) ** 0.5 if draw == "root" else 1.0 for key, deck in decks.items()}
        of_class: dict[tuple, float] = defaultdict(float)
        for key, count in counts.items():
            of_class[key[:1]] += count
        self._shares = [counts[key] / (of_class[key[:1]] * len(of_class)) for key in sorted(decks)]

    @property
    def weights(self) -> np.ndarray:
        """How often each row is drawn, of all drawings, float64 (rows,)."""
        weights = np.empty(self._n)
        for deck, share in zip(self._decks, self._shares, strict=True):
            weights[deck] = share / len(deck)
        return weights

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        ends = np.round(np.cumsum([0.0, *self._shares]) * self._n).astype(int)
        drawn = [_deal(deck, n, rng) for deck, n in zip(self._decks, np.diff(ends), strict=True)]
        for place, position in enumerate(rng.permutation(np.concatenate(drawn))):
            yield int(position), place


def _deal(deck: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    rounds = [rng.permutation(deck) for _ in range(-(-n // len(deck)))]
    return np.concatenate([*rounds, deck[:0]])[:n]


def collate(items: list[tuple[Tensor, int, int]]) -> dict[str, Tensor]:
    """Stacks items.

    Returns:
        `images_rgb_uint8` (n, 3, height, width) uint8, `targets` (n,) int64, `positions` (n,) int64.

    Raises:
        InputError: Crops have different sizes.
    """
    images, targets, positions = zip(*items, strict=True)
    if len({image.shape for image in images}) > 1:
        sizes = sorted({f"{image.shape[2]} x {image.shape[1]}" for image in images})
        raise InputError(
            f"The crops have different sizes: {', '.join(sizes)}.", "Prepare them with one --image-size."
        )
    return {
        "images_rgb_uint8": torch.stack(images),
        "targets": torch.tensor(targets),
        "positions": torch.tensor(positions),
    }


def train_loader(
    rows: Sequence[ManifestRow], manifest: Manifest, data: DataSettings, *, batch_size: int, seed: int
) -> tuple[DataLoader, CropDataset, BalancedSampler]:
    """Makes the loader of the training split, with the two parts that must be told of each epoch."""
    dataset = CropDataset(rows, manifest, augment=data.augment, seed=seed)
    sampler = BalancedSampler(rows, draw=data.draw, seed=seed)
    loader = DataLoader(dataset, batch_size, sampler=sampler, num_workers=data.workers, collate_fn=collate)
    return loader, dataset, sampler


def plain_loader(
    rows: Sequence[ManifestRow],
    manifest: Manifest,
    *,
    batch_size: int,
    workers: int,
    alter: Callable[[np.ndarray], np.ndarray] | None = None,
) -> DataLoader:
    """Makes a loader that reads every row once, in order, as it is or as `alter` makes it."""
    dataset = CropDataset(rows, manifest, alter=alter)
    return DataLoader(dataset, batch_size, num_workers=workers, collate_fn=collate)


def batches_of(loader: DataLoader) -> Iterator[dict[str, Tensor]]:
    """Yields a loader's batches; a bad file that a worker process met is one message, without its traceback.

    Raises:
        InputError: A crop cannot be read, or crops differ in size.
    """
    try:
        yield from loader
    except InputError as error:
        last_line = error.message.strip().splitlines()[-1]
        raise InputError(last_line.removeprefix(f"{InputError.__module__}.{InputError.__name__}: ")) from None

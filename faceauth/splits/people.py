"""Faces that a network takes for one person, as a further tie of groups.

A face recognition network gives each crop a vector; crops whose vectors point the same way are tied. It is
an option, since no such network is perfect: two strangers that look alike are tied, and since ties are
transitive a few such pairs can make one group of many people. So the bar is higher than for a single
comparison, the largest group is reported, and one that swallows most faces is refused.
"""

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from faceauth.console import progress
from faceauth.errors import InputError
from faceauth.files import whole_file
from faceauth.intake.manifest import OK, ManifestRow
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.pipeline.store import STORE_NAME, crop_name, stored_crop
from faceauth.registry import Registry
from faceauth.splits.near import join_pairs

log = logging.getLogger(__name__)

PEOPLE_NAME = "people"
# Two pictures are usually called one person from about 0.6 on; ties are transitive and need more.
MIN_COSINE = 0.7
# More faces in one group than this share leave nothing to split, whether or not the network is right.
MAX_SHARE_OF_ONE = 0.5
_FEWEST_TO_REFUSE = 20
_BATCH_FACES = 32
_SHARD_FACES = 1_024
_BLOCK_FACES = 1_024
_TILE_FACES = 4_096
_PAIRS_AT_ONCE = 4_000_000


class FaceEmbedder(Protocol):
    """Turns crops into vectors that are close for pictures of one person.

    Attributes:
        fingerprint: What tells these weights from any others.
    """

    fingerprint: str

    def __call__(self, crops_rgb_uint8: np.ndarray) -> np.ndarray:
        """Returns (n, d) float32 of length 1 for (n, height, width, 3) uint8 crops."""


FACE_EMBEDDERS: Registry[Callable[..., FaceEmbedder]] = Registry(
    "face embedder", package="faceauth.splits.face_embedders"
)


@dataclass(frozen=True)
class SamePersonSettings:
    """How faces of one person are found.

    Attributes:
        weights: A file or folder of weights, or the name of weights that the embedder knows.
        min_cosine: Smallest cosine between the vectors of one person, in [-1, 1].
        embedder: Registered name of the face embedder.
    """

    weights: str
    min_cosine: float = MIN_COSINE
    embedder: str = "inception_resnet_v1"


@dataclass(frozen=True)
class People:
    """Which rows show one person, as far as a network can tell.

    Attributes:
        first_rows: For each of n rows the position of the first row that is taken for the same person; its
            own where there is none, or no crop.
        n_faces: Faces that were compared.
        n_people: Different people, if the network is right.
        largest: Faces of the one with the most.
    """

    first_rows: list[int]
    n_faces: int
    n_people: int
    largest: int

    def to_json(self) -> dict[str, int]:
        """Returns the counts, as they stand in `prepare.json`."""
        return {"n_faces": self.n_faces, "n_people": self.n_people, "largest": self.largest}


def load_face_embedder(settings: SamePersonSettings, *, device: str = "cpu") -> FaceEmbedder:
    """Loads a face embedder by its registered name.

    Args:
        settings: Which one, with which weights.
        device: A torch device.

    Raises:
        UnknownNameError: No face embedder has that name.
        UsageError: There are no such weights, or there is no such device.
        InputError: The weights cannot be downloaded or read.
    """
    return FACE_EMBEDDERS.get(settings.embedder)(settings.weights, device=device)


def find_people(
    rows: Sequence[ManifestRow],
    output: Path,
    *,
    embed: FaceEmbedder,
    collect: CollectSettings,
    min_cosine: float = MIN_COSINE,
) -> People:
    """Finds rows whose crops show one person.

    Vectors are kept beside the crops, so that a run that was stopped goes on, and more images cost only what
    is new. A million of them need 1 GB of memory.

    Args:
        rows: All rows, n of them; only usable ones count.
        output: The prepared folder.
        embed: The face embedder.
        collect: How the crops were cut.
        min_cosine: Smallest cosine between the vectors of one person.

    Returns:
        The people.

    Raises:
        InputError: More than half of the faces would be one person.
    """
    used = [i for i, row in enumerate(rows) if row.status == OK]
    crops = {crop_name(rows[i]): stored_crop(output, rows[i]) for i in used}
    folder = output / STORE_NAME / PEOPLE_NAME / _key_of(embed, collect)
    vectors = _vectors_of(crops, folder, embed)
    place_of = {name: k for k, name in enumerate(crops)}
    sets = _same_people(vectors, min_cosine)
    first_rows = list(range(len(rows)))
    first_of_set: dict[int, int] = {}
    for i in used:
        first_rows[i] = first_of_set.setdefault(int(sets[place_of[crop_name(rows[i])]]), i)
    sizes = Counter(first_rows[i] for i in used)
    found = People(first_rows, len(used), len(sizes), max(sizes.values(), default=0))
    log.info(
        "%d faces are of %d people by --same-person; the one with the most has %d",
        found.n_faces,
        found.n_people,
        found.largest,
    )
    if found.n_faces >= _FEWEST_TO_REFUSE and found.largest > MAX_SHARE_OF_ONE * found.n_faces:
        raise InputError(
            f"By --same-person {found.largest:,} of {found.n_faces:,} faces are one person, so that nothing "
            "is left to split. Chains of look-alikes can do that.",
            f"Ask for more than a cosine of {min_cosine:g} with --same-person-cosine, or name people in a "
            "groups file instead.",
        )
    return found


def _key_of(embed: FaceEmbedder, collect: CollectSettings) -> str:
    # Crops that were cut otherwise have the same names.
    facts = json.dumps(dataclasses.asdict(collect), sort_keys=True)
    return hashlib.sha256(f"{embed.fingerprint} {facts}".encode()).hexdigest()[:16]


def _vectors_of(crops: dict[str, Path], folder: Path, embed: FaceEmbedder) -> np.ndarray:
    """Returns (n, d) float16: the vector of each crop, kept or computed now."""
    place_of = {name: k for k, name in enumerate(crops)}
    vectors = np.empty((0, 0), dtype=np.float16)
    missing = set(crops)

    def keep(names: Sequence[str], found: np.ndarray) -> None:
        nonlocal vectors
        if not vectors.size:
            vectors = np.zeros((len(crops), found.shape[1]), dtype=np.float16)
        for name, vector in zip(names, found, strict=True):
            if name in place_of:
                vectors[place_of[name]] = vector
                missing.discard(name)

    for names, found in _kept_shards(folder):
        keep(names, found)
    todo = [name for name in crops if name in missing]
    if todo and len(todo) < len(crops):
        log.info("%d of %d faces were embedded before", len(crops) - len(todo), len(crops))
    with progress("people", len(todo)) as advance:
        for start in range(0, len(todo), _SHARD_FACES):
            shard = todo[start : start + _SHARD_FACES]
            parts = []
            for first in range(0, len(shard), _BATCH_FACES):
                batch = shard[first : first + _BATCH_FACES]
                parts.append(embed(np.stack([_read_crop(crops[name]) for name in batch])).astype(np.float16))
                advance(len(batch))
            found = np.concatenate(parts)
            _keep_shard(folder, shard, found)
            keep(shard, found)
    return vectors


def _read_crop(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _kept_shards(folder: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    for path in sorted(folder.glob("*.safetensors")):
        try:
            kept: dict[str, Any] = load_file(path)
            names, vectors = kept["names"], kept["vectors"]
        except (SafetensorError, KeyError, OSError):
            path.unlink(missing_ok=True)
            continue
        yield [bytes(name).hex() for name in names], vectors


def _keep_shard(folder: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    digits = np.frombuffer(bytes.fromhex("".join(names)), dtype=np.uint8).reshape(len(names), -1)
    name = hashlib.sha256("".join(names).encode()).hexdigest()[:16]
    with whole_file(folder / f"{name}.safetensors") as draft:
        save_file({"names": digits, "vectors": vectors}, draft)


def _same_people(vectors: np.ndarray, min_cosine: float) -> np.ndarray:
    """Returns (n,) int64: for each vector the first one that a chain of close ones leads to."""
    n = len(vectors)
    forest = np.arange(n, dtype=np.int64)
    with progress("compared faces", n) as advance:
        for start in range(0, n, _BLOCK_FACES):
            rows = vectors[start : start + _BLOCK_FACES].astype(np.float32)
            ones, others = [], []
            for tile in range(start, n, _TILE_FACES):
                columns = vectors[tile : tile + _TILE_FACES].astype(np.float32)
                i, j = np.nonzero(rows @ columns.T >= min_cosine)
                i, j = i + start, j + tile
                apart = (forest[i] != forest[j]) & (i < j)
                ones.append(i[apart])
                others.append(j[apart])
                if sum(map(len, ones)) > _PAIRS_AT_ONCE:
                    join_pairs(forest, np.concatenate(ones), np.concatenate(others))
                    ones, others = [], []
            if ones:
                join_pairs(forest, np.concatenate(ones), np.concatenate(others))
            advance(len(rows))
    return forest

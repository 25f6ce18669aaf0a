"""Writes the embedded sample set: simulated portraits, real ones by a camera and fakes by generators.

The set lets every part of FaceAuth be tried and tested without a download and without anybody's photograph.
`docs/sample-set.md` says what it can show and what it cannot.
"""

import csv
import multiprocessing
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceauth.errors import InputError, UsageError
from faceauth.files import read_json, whole_file, whole_folder, write_json
from faceauth.samples.camera import draw_camera_settings, take_photograph
from faceauth.samples.encoding import draw_jpeg_quality, encode_jpeg
from faceauth.samples.people import draw_identity, draw_shot
from faceauth.samples.portraits import draw_portrait
from faceauth.samples.subjects import SIMULATED_GENERATORS, Subject

REAL_SOURCE = "simulated_camera"
GROUPS_FILE = "groups.csv"
_SETTINGS_FILE = "sample_set.json"
# Raise this whenever the same seed gives other pixels, so that an older set is not taken for a current one.
_RECIPE = 1
_SMALLEST_IMAGE_PX = 160


@dataclass(frozen=True, slots=True)
class _Picture:
    """One picture to be made.

    Attributes:
        path: Where it goes, relative to the set's folder, with forward slashes.
        group: The identity's name.
        source: `REAL_SOURCE` or the name of a simulated generator.
        seeds: What every random number of the picture follows from: the set's seed, the identity's number,
            the source and the number of the shot.
    """

    path: str
    group: str
    source: str
    seeds: tuple[int, int, int, int]


def write_sample_set(
    folder: Path,
    *,
    n_identities: int = 100,
    shots_per_class: int = 4,
    image_px: int = 320,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes the sample set into a folder, or leaves a complete one of the same settings alone.

    Every identity gives `shots_per_class` real pictures and as many fakes, which go round the simulated
    generators. The bytes depend on the settings alone, not on the number of workers.

    Args:
        folder: Where the set goes; it gets `real/`, `fake/`, `groups.csv` and `README.md`.
        n_identities: Number of made-up people.
        shots_per_class: Pictures of each person in each class.
        image_px: Side of the square pictures in pixels, even.
        seed: Another seed gives other people.
        workers: Processes that draw; 1 draws in this one.
        progress: Called with the number of pictures done and the number of all.

    Returns:
        The folder.

    Raises:
        UsageError: A number is out of range.
        InputError: The folder holds something else than a sample set, or is a file.
    """
    _check_at_least("n_identities", n_identities, 1)
    _check_at_least("shots_per_class", shots_per_class, 1)
    _check_at_least("image_px", image_px, _SMALLEST_IMAGE_PX)
    _check_at_least("seed", seed, 0)
    if image_px % 4:
        raise UsageError(f"image_px is {image_px}.", "It must be a multiple of 4.")
    pictures = list(_plan(n_identities, shots_per_class, seed))
    settings = {
        "recipe": _RECIPE,
        "n_identities": n_identities,
        "shots_per_class": shots_per_class,
        "image_px": image_px,
        "seed": seed,
        "generators": SIMULATED_GENERATORS.names(),
    }
    if _is_complete(folder, settings, pictures):
        return folder
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder.", "Name a new or an empty folder.")
    if folder.exists() and any(folder.iterdir()) and not (folder / _SETTINGS_FILE).exists():
        raise InputError(f"{folder} is not empty and holds no sample set.", "Name a new or an empty folder.")
    with whole_folder(folder) as draft:
        for done, _ in enumerate(_drawn(pictures, draft, image_px, workers), start=1):
            if progress is not None:
                progress(done, len(pictures))
        _write_groups(draft / GROUPS_FILE, pictures)
        with whole_file(draft / "README.md") as readme:
            readme.write_text(_readme(settings, len(pictures)), "utf-8")
        write_json(draft / _SETTINGS_FILE, settings)
    return folder


def draw_picture(source: str, seeds: tuple[int, int, int, int], *, image_px: int) -> bytes:
    """Makes one picture of the set.

    Args:
        source: `REAL_SOURCE` or the name of a simulated generator.
        seeds: The set's seed, the identity's number, a number for the source, and the number of the shot.
        image_px: Side of the picture in pixels.

    Returns:
        The bytes of a JPEG file.
    """
    identity = draw_identity(np.random.default_rng(seeds[:2]))
    rng = np.random.default_rng(seeds)
    shot, camera, quality = draw_shot(rng), draw_camera_settings(rng), draw_jpeg_quality(rng)
    portrait = draw_portrait(identity, shot, side_px=image_px)
    picture = take_photograph(portrait, camera, rng)
    if source != REAL_SOURCE:
        picture = SIMULATED_GENERATORS.get(source)(Subject(identity, shot, portrait, camera, picture), rng)
    return encode_jpeg(picture, quality=quality)


def _plan(n_identities: int, shots_per_class: int, seed: int) -> Iterator[_Picture]:
    generators = SIMULATED_GENERATORS.names()
    for number in range(n_identities):
        group = f"person-{number:04d}"
        for shot in range(shots_per_class):
            # Starting elsewhere for each person spreads few shots evenly over the generators.
            generator = generators[(number * shots_per_class + shot) % len(generators)]
            for kind, source in (("real", REAL_SOURCE), ("fake", generator)):
                seeds = (seed, number, zlib.crc32(source.encode()), shot)
                yield _Picture(f"{kind}/{source}/{group}_{shot}.jpg", group, source, seeds)


def _drawn(pictures: list[_Picture], folder: Path, image_px: int, workers: int) -> Iterator[None]:
    tasks = [(picture, folder, image_px) for picture in pictures]
    if workers <= 1:
        yield from map(_write_picture, tasks)
        return
    # A fresh interpreter for each worker: a forked one may hang in libraries that have started threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_write_picture, tasks, chunksize=4)


def _write_picture(task: tuple[_Picture, Path, int]) -> None:
    picture, folder, image_px = task
    with whole_file(folder / picture.path) as draft:
        draft.write_bytes(draw_picture(picture.source, picture.seeds, image_px=image_px))


def _is_complete(folder: Path, settings: dict[str, object], pictures: list[_Picture]) -> bool:
    record = folder / _SETTINGS_FILE
    if not record.exists() or read_json(record) != settings:
        return False
    return (folder / GROUPS_FILE).exists() and all((folder / picture.path).exists() for picture in pictures)


def _write_groups(path: Path, pictures: list[_Picture]) -> None:
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["path", "group"])
        table.writerows((picture.path, picture.group) for picture in pictures)


def _readme(settings: dict[str, object], n_pictures: int) -> str:
    return f"""# FaceAuth sample set: everything here is simulated

No picture here shows a person, and none was taken by a camera or made by a neural network.
All {n_pictures} were drawn by FaceAuth's own code from random numbers.

- `real/{REAL_SOURCE}`: drawn portraits, passed through a simulated camera.
- `fake/sim_...`: drawn portraits, passed through the same camera and then through a simulated generator,
  which leaves the trace of one family of generators.
- `{GROUPS_FILE}`: the made-up person behind each picture. No person may be in two splits.

The pictures show that the tools work. A detector trained on them knows nothing of real forgeries, and its
figures say nothing about any.

Settings: {", ".join(f"{name} = {value}" for name, value in settings.items())}.
Every file is filled up with comment segments to one size, so that the number of bytes tells nothing.
"""


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"{name} is {value}.", f"It must be at least {least}.")

"""Prepares the images of a folder, stage by stage and end to end, beside a plain loop with facenet-pytorch.

python benchmarks/prepare.py FOLDER --limit 600
python benchmarks/prepare.py FOLDER --limit 60 --megapixels 12
python benchmarks/prepare.py --memory
"""

import argparse
import functools
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceauth.intake.faces.face import load_face_detector
from faceauth.intake.pipeline.batch import STAGES, crop_each, decode_each, search_each
from faceauth.intake.pipeline.collect import BATCH_FILES, collect_faces
from faceauth.intake.pipeline.engine import CollectedBatch, CollectSettings, load_engine
from faceauth.intake.pipeline.engines.local import in_processes, load_work
from faceauth.intake.pipeline.workers import Worker, usable_cores
from faceauth.intake.pixels.images import IMAGE_SUFFIXES
from faceauth.intake.sources.find import find_sources
from faceauth.intake.sources.source_file import SourceFile
from faceauth.versions import installed_versions

SETTINGS = CollectSettings()
END_TO_END, START, PLAIN_LOOP = "end to end", "start", "plain loop"
# The plain loop takes long, and one image after the other takes the same time.
PLAIN_IMAGES = 60


@dataclass(frozen=True)
class Cost:
    """What work took.

    Attributes:
        per_s: Images a second by the clock.
        core_s: Seconds of a core an image.
    """

    per_s: float
    core_s: float


def main() -> None:
    """Prints the table that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="photographs with faces, however deep")
    parser.add_argument("--limit", type=int, default=600, help="images, taken evenly from the folder")
    parser.add_argument("--megapixels", type=float, help="enlarge them first, and save them as JPEG")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=3, help="each figure is the median of so many")
    parser.add_argument("--memory", action="store_true", help="peak memory for 2,000 and for 20,000 images")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"{arguments.workers} workers on {usable_cores()} cores of "
            f"{platform.processor() or platform.machine()}, {installed_versions()}"
        )
        if arguments.memory:
            print_memory(Path(folder), workers=arguments.workers)
        elif arguments.folder is None:
            parser.error("give a FOLDER, or --memory")
        else:
            photos = Path(folder) / "photos/real/any"
            take_photos(arguments.folder, photos, limit=arguments.limit, megapixels=arguments.megapixels)
            print_speed(Path(folder), workers=arguments.workers, rounds=arguments.rounds)


def take_photos(source: Path, photos: Path, *, limit: int, megapixels: float | None) -> None:
    """Copies or enlarges images, taken evenly from a folder."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    photos.mkdir(parents=True)
    for number, path in enumerate(found[:: max(1, len(found) // limit)][:limit]):
        if megapixels is None:
            (photos / f"{number:05d}{path.suffix}").write_bytes(path.read_bytes())
            continue
        with Image.open(path) as image:
            scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
            size = round(image.width * scale), round(image.height * scale)
            large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
            large.save(photos / f"{number:05d}.jpg", quality=92)


def print_speed(folder: Path, *, workers: int, rounds: int) -> None:
    """Prints what each stage takes alone, all together, and the plain loop; medians over rounds.

    Seconds of a core are what the processes used; they hold where other programs keep the cores busy, too.
    Images a second are by the clock.
    """
    files = find_sources([str(folder / "photos")])
    some = files[:: max(1, len(files) // PLAIN_IMAGES)]
    found: dict[str, list[Cost]] = {name: [] for name in (*STAGES, END_TO_END, START, PLAIN_LOOP)}
    in_one: dict[str, list[float]] = {stage: [] for stage in STAGES}
    peak_mib = 0.0
    for number in range(rounds):
        for stage in STAGES:
            found[stage].append(cost_alone(stage, files, workers=workers))
            in_one[stage].append(cost_alone(stage, files, workers=1).per_s)
        with peak_memory() as peak:
            found[END_TO_END].append(cost_of_all(files, folder / f"ours{number}", workers=workers))
        peak_mib = max(peak_mib, peak[0])
        found[START].append(cost_of_start(workers=workers))
        found[PLAIN_LOOP].append(cost_of_plain_loop(some, folder / f"plain{number}", threads=workers))
    rate = {name: statistics.median(cost.per_s for cost in costs) for name, costs in found.items()}
    core_s = {name: statistics.median(cost.core_s for cost in costs) for name, costs in found.items()}
    n = len(files)
    work_s = sum(core_s[stage] for stage in STAGES)
    bound = 1 / sum(1 / rate[stage] for stage in STAGES)
    slowest = min(STAGES, key=lambda stage: rate[stage])
    print(f"{n} images ({len(some)} in the plain loop), medians of {rounds} rounds\n")
    print(f"{'':34}{'images/s':>9}{'ms of a core, each':>20}{'share':>7}")
    for stage in STAGES:
        share = core_s[stage] / work_s
        print(f"{stage + ' alone':34}{rate[stage]:9.1f}{1e3 * core_s[stage]:20.2f}{share:7.0%}")
    print(f"{'bound: their sum on these cores':34}{bound:9.1f}{1e3 * work_s:20.2f}")
    for name in (END_TO_END, PLAIN_LOOP):
        print(f"{name:34}{rate[name]:9.1f}{1e3 * core_s[name]:20.2f}")
    print(f"start of {workers} processes: {core_s[START]:.1f} s of a core, once, counted with end to end\n")
    running_s = core_s[END_TO_END] - core_s[START] / n
    alone = {workers: rate[slowest], 1: statistics.median(in_one[slowest])}
    for n_processes, per_s in alone.items():
        print(
            f"end to end / slowest stage alone ({slowest}), images/s: {rate[END_TO_END] / per_s:.2f} "
            f"of what it does in {n_processes} of {workers} processes"
        )
    print(f"end to end / bound, images/s: {rate[END_TO_END] / bound:.2f}")
    print(f"work of the stages / all that the processes did without their start: {work_s / running_s:.2f}")
    for what, ratios in (
        ("images/s", [ours.per_s / plain.per_s for ours, plain in pairs(found)]),
        ("core time", [plain.core_s / ours.core_s for ours, plain in pairs(found)]),
    ):
        each = ", ".join(f"{ratio:.1f}" for ratio in ratios)
        print(f"end to end beside the plain loop, {what}: {statistics.median(ratios):.1f} times ({each})")
    print(f"peak memory of all processes: {peak_mib:.0f} MiB")


def pairs(found: dict[str, list[Cost]]) -> list[tuple[Cost, Cost]]:
    """Returns both sides of each round."""
    return list(zip(found[END_TO_END], found[PLAIN_LOOP], strict=True))


def cost_alone(stage: str, files: list[SourceFile], *, workers: int) -> Cost:
    """Measures one stage, with as many processes as in the whole, all of them busy."""
    engine = in_processes(functools.partial(load_stage, stage), workers=workers)
    done = list(engine(in_batches(files)))
    seconds = sum(batch.seconds["clock"] for batch in done)
    return Cost(workers * len(files) / seconds, sum(batch.seconds["core"] for batch in done) / len(files))


def load_stage(stage: str) -> Callable[[list[SourceFile]], CollectedBatch]:
    """Returns what a worker does to time one stage, with what the stage needs made ready before."""
    detect = load_face_detector(SETTINGS.face_detector)

    def work(files: list[SourceFile]) -> CollectedBatch:
        started = time.perf_counter(), time.process_time()
        decoded = decode_each(files)
        if stage == "detect":
            started = time.perf_counter(), time.process_time()
        if stage != "decode":
            found = search_each(decoded, detect)
        if stage == "crop":
            started = time.perf_counter(), time.process_time()
            crop_each(decoded, found, SETTINGS)
        clock, core = time.perf_counter() - started[0], time.process_time() - started[1]
        return CollectedBatch(files, [], [], 0, {"clock": clock, "core": core})

    return work


def cost_of_all(files: list[SourceFile], output: Path, *, workers: int) -> Cost:
    """Measures the way from files to stored crops and a journal, with the start of the processes."""
    started, core = time.perf_counter(), core_seconds()
    engine = load_engine("local", settings=SETTINGS, workers=workers)
    collect_faces(files, output, settings=SETTINGS, engine=engine)
    seconds = time.perf_counter() - started
    return Cost(len(files) / seconds, (core_seconds() - core) / len(files))


def cost_of_start(*, workers: int) -> Cost:
    """Measures the start of one process, and returns it for all; the rate is that of processes."""
    started, core = time.perf_counter(), core_seconds()
    worker = Worker(load_work(SETTINGS, device="cpu"))
    worker.do([], limit_s=300)
    worker.stop()
    return Cost(1 / (time.perf_counter() - started), workers * (core_seconds() - core))


def cost_of_plain_loop(files: list[SourceFile], output: Path, *, threads: int) -> Cost:
    """Measures the loop that people write: one image after the other, saved as it comes."""
    # Here, because the workers of the other side import this file too.
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(threads)
    mtcnn = MTCNN(image_size=SETTINGS.crop.image_size, margin=round(256 * 0.3 / 1.3))
    started, core = time.perf_counter(), core_seconds()
    for file in files:
        with Image.open(file.address.path) as image:
            mtcnn(image.convert("RGB"), save_path=str(output / f"{file.address.path.stem}.png"))
    seconds = time.perf_counter() - started
    return Cost(len(files) / seconds, (core_seconds() - core) / len(files))


def core_seconds() -> float:
    """Returns the seconds of a core that this process and those that it started and ended have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def print_memory(folder: Path, *, workers: int) -> None:
    """Prints the peak memory of `faceauth prepare` for 2,000 and for 20,000 small pictures."""
    peaks = []
    for n in (2_000, 20_000):
        photos = folder / f"photos{n}"
        draw_pictures(photos, n)
        words = (photos, "--output", folder / f"out{n}", "--face-detector", "whole", "--workers", workers)
        command = [sys.executable, "-m", "faceauth", "prepare", *(str(word) for word in words), "--quiet"]
        started = time.perf_counter()
        with (
            subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
            peak_memory(process.pid) as peak,
        ):
            if process.wait():
                raise SystemExit(f"faceauth prepare ended with {process.returncode}")
        peaks.append(peak[0])
        print(
            f"{n:6} images: {peak[0]:.0f} MiB at the peak of all processes, "
            f"{time.perf_counter() - started:.0f} s"
        )
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


def draw_pictures(folder: Path, n: int) -> None:
    """Draws n small pictures of soft coloured patterns, all different, half of them called real."""
    rng = np.random.default_rng(0)
    for number in range(n):
        path = folder / ("real/one" if number % 2 else "fake/other") / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.BICUBIC).save(path, quality=90)


@contextmanager
def peak_memory(pid: int | None = None) -> Iterator[list[float]]:
    """Watches how much memory a process and all that it started hold together.

    Args:
        pid: The process; this one if it is not given.

    Yields:
        A list of one number: the peak so far in MiB, sampled every 50 ms (Linux only).
    """
    peak = [0.0]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            peak[0] = max(peak[0], sum(resident_mib(each) for each in family(pid or os.getpid())))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        is_over.set()
        watcher.join()


def family(pid: int) -> list[int]:
    """Returns a process with all its descendants."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(each for child in children for each in family(child))]


def resident_mib(pid: int) -> float:
    """Returns the memory that a process holds in RAM, shared libraries included, in MiB."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def in_batches(files: list[SourceFile]) -> Iterator[list[SourceFile]]:
    """Cuts a list of files into batches as the preparation does."""
    for start in range(0, len(files), BATCH_FILES):
        yield files[start : start + BATCH_FILES]


if __name__ == "__main__":
    main()

"""Judges face crops with `faceauth predict`, beside the bare network and beside `transformers.pipeline`.

python benchmarks/predict.py CROPS --limit 128
python benchmarks/predict.py CROPS --model runs/first --onnx exported/model.onnx
python benchmarks/predict.py --memory
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from prepare import core_seconds, draw_pictures, peak_memory
from transformers import pipeline

from faceauth.detectors.detector import Detector
from faceauth.detectors.embedded import EMBEDDED_NAME, open_checkpoint
from faceauth.intake.pipeline.workers import usable_cores
from faceauth.intake.pixels.images import IMAGE_SUFFIXES
from faceauth.memory import keep_freed_memory
from faceauth.runtimes.choose import open_network
from faceauth.verbs.predict import PredictSettings, find_inputs, predict
from faceauth.versions import installed_versions

PREDICT = "faceauth predict"
BARE, PIPELINE = "torch, forward pass alone", "transformers.pipeline"
STARTS = 3


def main() -> None:
    """Prints the tables that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="face crops, however deep")
    parser.add_argument("--model", default=EMBEDDED_NAME, help="checkpoint or run folder, or embedded")
    parser.add_argument("--onnx", type=Path, action="append", default=[], help="exported files of the model")
    parser.add_argument("--limit", type=int, default=128, help="crops, taken evenly from the folder")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3, help="each figure is the median of so many")
    parser.add_argument("--memory", action="store_true", help="peak memory for 2,000 and for 20,000 pictures")
    arguments = parser.parse_args()
    print(f"{usable_cores()} cores, {installed_versions()}")
    if arguments.memory:
        with tempfile.TemporaryDirectory() as folder:
            print_memory(Path(folder))
    elif arguments.folder is None:
        parser.error("give a folder of CROPS, or --memory")
    else:
        found = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        crops = found[:: max(1, len(found) // arguments.limit)][: arguments.limit]
        print_speed(crops, arguments.model, arguments.onnx, arguments.batch_size, arguments.rounds)
        print_starts(crops[0], arguments.model)


def print_speed(crops: list[Path], model: str, onnx_files: list[Path], batch_size: int, rounds: int) -> None:
    """Prints crops a second, without the time to load; medians over rounds of all ways."""
    keep_freed_memory()
    torch.set_num_threads(usable_cores())
    detector, _ = open_checkpoint(Path(model))
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in crops])
    ways: dict[str, Callable[[], object]] = {BARE: forward(detector, pixels, batch_size)}
    for name, path, runtime in [
        ("OpenVINO, pixels and network", model, "openvino"),
        *((f"{path.name} ({path.parent.name}), ONNX Runtime", path, "onnxruntime") for path in onnx_files),
        *((f"{path.name} ({path.parent.name}), OpenVINO", path, "openvino") for path in onnx_files),
    ]:
        network, _ = open_network(path, runtime=runtime)
        ways[name] = in_batches(network, pixels, batch_size)
    names = [str(path) for path in crops]
    batched = f"{PIPELINE}, batch_size={batch_size}"
    ours = {
        PREDICT: model,
        **{f"{PREDICT}, {path.name} ({path.parent.name})": str(path) for path in onnx_files},
    }
    taken: dict[str, list[float]] = {name: [] for name in (*ways, PIPELINE, batched, *ours)}
    # In a process of its own, whose memory is treated as that of any user of transformers.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as user:
        user.submit(pipeline_seconds, model, names[:2], 1).result()
        for _ in range(rounds):
            for name, do in ways.items():
                started = time.perf_counter()
                do()
                taken[name].append((time.perf_counter() - started) / len(crops))
            taken[PIPELINE].append(user.submit(pipeline_seconds, model, names, 1).result() / len(crops))
            taken[batched].append(
                user.submit(pipeline_seconds, model, names, batch_size).result() / len(crops)
            )
            for name, judged_by in ours.items():
                taken[name].append(predict_seconds_a_crop(judged_by, names, batch_size))
    print(f"\n{model}, {len(crops)} crops, batches of {batch_size}, {rounds} rounds\n")
    print("| way | crops/s | ratio to the bare forward pass (range) |")
    print("|---|---|---|")
    for name, seconds in taken.items():
        ratios = [bare / own for bare, own in zip(taken[BARE], seconds, strict=True)]
        print(
            f"| {name} | {1 / statistics.median(seconds):.1f} "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )
    for own in ours:
        for other in (PIPELINE, batched):
            ratios = [theirs / mine for theirs, mine in zip(taken[other], taken[own], strict=True)]
            print(
                f"{own} beside {other}: {statistics.median(ratios):.2f} times as fast "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


@cache
def load_pipeline(model: str) -> Callable[..., object]:
    """Loads a detector into the pipeline of transformers."""
    torch.set_num_threads(usable_cores())
    detector, _ = open_checkpoint(Path(model))
    return pipeline("image-classification", model=detector.model, image_processor=detector.processor)


def pipeline_seconds(model: str, names: list[str], batch_size: int) -> float:
    """Returns how long the pipeline takes for some files, once it is loaded."""
    answer = load_pipeline(model)
    started = time.perf_counter()
    answer(names, batch_size=batch_size)
    return time.perf_counter() - started


def predict_seconds_a_crop(model: str, names: list[str], batch_size: int) -> float:
    """Returns what `faceauth predict` takes for a crop, between the first batch of verdicts and the last."""
    settings = PredictSettings(model=model, is_crops=True, batch_size=batch_size)
    ends = [time.perf_counter() for _ in predict(find_inputs(names, settings=settings), settings=settings)]
    return (ends[-1] - ends[batch_size - 1]) / (len(ends) - batch_size)


def forward(detector: Detector, crops_rgb_uint8: np.ndarray, batch_size: int) -> Callable[[], None]:
    """Returns what passes prepared pixel values through the network in torch, and does nothing else."""
    images = torch.from_numpy(crops_rgb_uint8).permute(0, 3, 1, 2)
    batches = [detector.pixel_values(batch) for batch in images.split(batch_size)]

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                detector.model(pixel_values=batch)

    return run


def in_batches(
    network: Callable[[np.ndarray], object], crops_rgb_uint8: np.ndarray, batch_size: int
) -> Callable[[], None]:
    """Returns what passes crops through a network of any runtime."""
    network(crops_rgb_uint8[:batch_size])

    def run() -> None:
        for start in range(0, len(crops_rgb_uint8), batch_size):
            network(crops_rgb_uint8[start : start + batch_size])

    return run


def print_starts(crop: Path, model: str) -> None:
    """Prints the seconds from the command to its end, for one crop and for one picture with a face search."""
    for words in (("--no-detect",), ()):
        command = [
            sys.executable,
            "-m",
            "faceauth",
            "predict",
            str(crop),
            "--model",
            model,
            "--quiet",
            *words,
        ]
        seconds = []
        for _ in range(STARTS):
            core_s, started = core_seconds(), time.perf_counter()
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
            seconds.append((time.perf_counter() - started, core_seconds() - core_s))
        by_clock, by_core = (min(of[which] for of in seconds) for which in (0, 1))
        print(
            f"from start to verdict, {' '.join(words) or 'with a face search'}: {by_clock:.1f} s "
            f"({by_core:.1f} s of a core; the best of {STARTS})"
        )


def print_memory(folder: Path) -> None:
    """Prints the peak memory of `faceauth predict` for 2,000 and for 20,000 small pictures."""
    model = folder / "tiny"
    save_tiny_checkpoint(model)
    # Converting takes torch, once.
    open_network(model)
    peaks = []
    for n in (2_000, 20_000):
        photos = folder / f"photos{n}"
        draw_pictures(photos, n)
        command = [
            sys.executable,
            "-m",
            "faceauth",
            "predict",
            str(photos),
            "--model",
            str(model),
            "--no-detect",
        ]
        command += ["--output", str(folder / f"verdicts{n}.csv"), "--quiet"]
        with (
            subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
            peak_memory(process.pid) as peak,
        ):
            if process.wait():
                raise SystemExit(f"faceauth predict ended with {process.returncode}")
        peaks.append(peak[0])
        print(f"{n:6} pictures: {peak[0]:.0f} MiB at the peak of all processes")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


def save_tiny_checkpoint(folder: Path) -> None:
    """Writes a small checkpoint with random weights: what is measured is all but the network."""
    from faceauth.detectors.card import Card
    from faceauth.detectors.checkpoint import save_checkpoint
    from faceauth.detectors.detector import build_detector
    from faceauth.intake.faces.crop import CropSettings

    card = Card(
        detector="mesonet4",
        origin="random weights",
        crop=CropSettings(image_size=96),
        face_detector="whole",
        threshold={"value": 0.5, "rule": "half", "chosen_on": "fixed"},
        manifest_sha256="0" * 64,
        generators=["drawn"],
        collections=["drawn"],
        n_train={},
        metrics={"auroc": {"value": None, "ci95": None, "n_real": 0, "n_fake": 0, "reason": "not measured"}},
        epoch=0,
    )
    detector = build_detector("mesonet4", weights="random", image_size=64)
    save_checkpoint(folder, detector, card, write_train_config=lambda path: path.write_text("{}\n"))


if __name__ == "__main__":
    main()

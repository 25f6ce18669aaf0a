"""Asks a server for verdicts side by side, beside the bare call of the library on the same pictures.

python benchmarks/serve.py FOLDER --limit 64

The server is `faceauth serve` in a process of its own, asked over HTTP by threads of this one, each of which
sends its next picture when its last one is answered. Rounds of both sides alternate. Latency is from the
first byte sent to the last one received.
"""

import argparse
import http.client
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import local
from urllib.parse import urlsplit

import numpy as np

from faceauth.console import print_table
from faceauth.intake.pipeline.workers import usable_cores
from faceauth.intake.sources.layout import media_below
from faceauth.samples.sample_set import REAL_SOURCE, draw_picture
from faceauth.verdicts.library import LoadedDetector, load_detector
from faceauth.versions import installed_versions

AT_ONCE = (1, 8, 32)
ROUNDS = 3
DRAWN_PX = 640


def main() -> None:
    """Prints latency and throughput of both sides, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="Pictures; drawn portraits if not given.")
    parser.add_argument("--limit", type=int, default=64, help="Pictures of a round.")
    parser.add_argument("--model", default="embedded", help="As for `faceauth serve`.")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="As for `faceauth serve`.")
    arguments = parser.parse_args()
    pictures = read_pictures(arguments.folder, arguments.limit)
    print(f"{platform.processor() or platform.machine()}, {usable_cores()} cores, {installed_versions()}")
    n_mb = sum(map(len, pictures)) / 1e6
    print(f"{len(pictures)} pictures, {n_mb:.1f} MB, {ROUNDS} rounds, {arguments.workers} workers")
    detector = load_detector(arguments.model)
    # What is loaded and compiled at the first call is no part of either side.
    detector(pictures[:2])
    command = [sys.executable, "-m", "faceauth", "serve", "--port", "0", "--quiet", "--max-waiting", "256"]
    command += ["--model", arguments.model, "--workers", str(arguments.workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = urlsplit(server.stdout.readline().strip()).netloc
            ask_all(address, pictures[:2], 1)
            measured = measure(address, detector, pictures)
        finally:
            server.terminate()
    bare_s = measured.pop("bare call, all in one list")[1]
    rows = [["bare call, all in one list", "", "", "", f"{len(pictures) / bare_s:.2f}", "1.00"]]
    for name, (latencies_s, seconds) in measured.items():
        quantiles = [f"{1000 * value:.0f}" for value in np.quantile(latencies_s, (0.5, 0.95, 0.99))]
        rows.append([name, *quantiles, f"{len(pictures) / seconds:.2f}", f"{bare_s / seconds:.2f}"])
    print_table(["", "p50 ms", "p95 ms", "p99 ms", "pictures/s", "of the bare call"], rows)


def read_pictures(folder: Path | None, limit: int) -> list[bytes]:
    """Reads the bytes of pictures of a folder, or draws portraits."""
    if folder is None:
        return [draw_picture(REAL_SOURCE, (0, i, 1, 0), image_px=DRAWN_PX) for i in range(limit)]
    found = [path.read_bytes() for path, _ in islice(media_below(folder), limit)]
    if not found:
        raise SystemExit(f"There are no pictures below {folder}.")
    return found


def measure(
    address: str, detector: LoadedDetector, pictures: list[bytes]
) -> dict[str, tuple[list[float], float]]:
    """Returns for each way the latencies of all rounds in seconds, and the median seconds of a round."""
    latencies: dict[str, list[float]] = {}
    rounds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, (found, seconds) in {
            "bare call, all in one list": timed_list(detector, pictures),
            "bare call, one by one": timed_each(detector, pictures),
            **{f"server, {n} at once": ask_all(address, pictures, n) for n in AT_ONCE},
        }.items():
            latencies.setdefault(name, []).extend(found)
            rounds.setdefault(name, []).append(seconds)
    return {name: (latencies[name], float(np.median(rounds[name]))) for name in rounds}


def timed_list(detector: LoadedDetector, pictures: list[bytes]) -> tuple[list[float], float]:
    """Judges all pictures in one call; there is no latency of one."""
    started = time.perf_counter()
    detector(pictures)
    return [], time.perf_counter() - started


def timed_each(detector: LoadedDetector, pictures: list[bytes]) -> tuple[list[float], float]:
    """Judges one picture after the other; returns the seconds of each and of all."""
    latencies_s = []
    for picture in pictures:
        started = time.perf_counter()
        detector(picture)
        latencies_s.append(time.perf_counter() - started)
    return latencies_s, sum(latencies_s)


def ask_all(address: str, pictures: list[bytes], n_at_once: int) -> tuple[list[float], float]:
    """Asks the server for all pictures, some at once; returns the seconds of each and of all."""
    kept = local()

    def ask(picture: bytes) -> float:
        if not hasattr(kept, "connection"):
            kept.connection = http.client.HTTPConnection(address, timeout=600)
        started = time.perf_counter()
        kept.connection.request("POST", "/predict", picture)
        response = kept.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(f"The server answers {response.status}: {answer[:500]!r}")
        return time.perf_counter() - started

    started = time.perf_counter()
    with ThreadPoolExecutor(n_at_once) as threads:
        latencies_s = list(threads.map(ask, pictures))
    return latencies_s, time.perf_counter() - started


if __name__ == "__main__":
    main()

"""Reads 16 frames of a drawn video, beside decoding the whole of it, in one process and one thread.

python benchmarks/video.py --seconds 20

The video is H.264 with B-frames and a key frame every 250 frames, as x264 writes it by default. Each line is
the fewest milliseconds of processor time in several turns that alternate.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from faceauth.console import print_table
from faceauth.intake.pixels.images import SourceImage
from faceauth.intake.pixels.video import read_frames
from faceauth.intake.pixels.video_index import VideoIndex, index_video
from faceauth.intake.sources.video_sampling import VideoSampling, probe_video, sample_times
from faceauth.versions import installed_versions

RATE = 25
TURNS = 3


def main() -> None:
    """Prints seconds and what each part of the work costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="Length of the video.")
    parser.add_argument("--size", default="1280x720", help="Its width and height.")
    parser.add_argument("--frames", type=int, default=16, help="Frames that are taken.")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    print(f"{platform.processor() or platform.machine()}, {installed_versions()}, PyAV {av.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.mp4"
        draw_video(path, arguments.seconds * RATE, width, height)
        times = sample_times(probe_video(path), VideoSampling(arguments.frames))
        works: dict[str, Callable[[], int]] = {
            "ask the header": lambda: len([probe_video(path)]),
            "index and hash": lambda: len(fresh_index(path).pts),
            f"{len(times)} frames, index and hash included": lambda: n_read(path, times),
            "all frames decoded, none converted": lambda: n_decoded(path, is_converted=False),
            "all frames decoded and converted": lambda: n_decoded(path, is_converted=True),
        }
        best = dict.fromkeys(works, float("inf"))
        done = {}
        for _ in range(TURNS):
            for name, work in works.items():
                started = time.process_time()
                done[name] = work()
                best[name] = min(best[name], time.process_time() - started)
        n_bytes = path.stat().st_size
    print(f"{arguments.seconds} s of {arguments.size}, {n_bytes / 1e6:.1f} MB")
    rows = [
        [name, str(done[name]), f"{1000 * seconds:.1f}", f"{1000 * seconds / done[name]:.2f}"]
        for name, seconds in best.items()
    ]
    print_table(["", "n", "ms", "ms each"], rows)
    ours, theirs = list(best.values())[2], list(best.values())[4]
    print(f"reading {len(times)} frames takes {ours / theirs:.2f} of the time of reading all")


def draw_video(path: Path, n: int, width: int, height: int) -> None:
    """Writes a video of grain that moves over a still picture."""
    rng = np.random.default_rng(0)
    still = np.kron(rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)), np.ones((16, 16, 1)))
    still = still[:height, :width].astype(np.int16)
    grain = rng.normal(0, 4, (height + 64, width + 64, 1)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "23"}
        for i in range(n):
            x, y = rng.integers(0, 64, 2)
            moved = np.roll(still, 2 * i, axis=1) + grain[y : y + height, x : x + width]
            frame = av.VideoFrame.from_ndarray(np.clip(moved, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def fresh_index(path: Path) -> VideoIndex:
    """Goes through the video as if it had never been seen."""
    path.touch()
    return index_video(path)


def n_read(path: Path, times_s: list[float]) -> int:
    """Reads frames as `prepare` does, and makes sure that they are there."""
    path.touch()
    n = sum(isinstance(image, SourceImage) for image in read_frames(path, times_s))
    if n != len(times_s):
        raise SystemExit(f"Only {n} of {len(times_s)} frames could be read.")
    return n


def n_decoded(path: Path, *, is_converted: bool) -> int:
    """Decodes the whole video with PyAV, in one thread."""
    n = 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            if is_converted:
                frame.to_ndarray(format="rgb24")
            n += 1
    return n


if __name__ == "__main__":
    main()

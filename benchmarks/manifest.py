"""Writes and reads a manifest of synthetic rows, beside pandas doing the same with its xlsx functions.

python benchmarks/manifest.py --rows 100000

Every measurement has a process of its own, so that the peaks of memory are those of one thing; they run one
after the other. pandas reads the very workbook that we wrote.
"""

import argparse
import dataclasses
import hashlib
import multiprocessing
import platform
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from faceauth.console import print_table
from faceauth.intake.manifest import PARQUET_NAME, XLSX_NAME, ManifestRow, read_manifest, write_manifest
from faceauth.versions import installed_versions


def main() -> None:
    """Prints seconds and memory of both sides and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument(
        "--pandas-rows", type=int, help="Rows that pandas writes and reads, if fewer; 0 for none."
    )
    arguments = parser.parse_args()
    n = arguments.rows
    n_pandas = n if arguments.pandas_rows is None else arguments.pandas_rows
    print(f"{platform.processor() or platform.machine()}, {installed_versions()}, pandas {pd.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours", Path(folder) / "theirs"
        xlsx_alone = Path(folder) / "xlsx" / XLSX_NAME
        write = measured(write_ours, n, ours)
        xlsx_alone.parent.mkdir()
        xlsx_alone.hardlink_to(ours / XLSX_NAME)
        sizes = [(ours / name).stat().st_size / 1e6 for name in (XLSX_NAME, PARQUET_NAME)]
        pair = measured(read_ours, n, ours)
        xlsx = measured(read_ours, n, xlsx_alone)
        table = [
            ["write xlsx and Parquet", *write.cells()],
            ["read the pair", *pair.cells()],
            ["read the xlsx", *xlsx.cells()],
        ]
        if n_pandas:
            if n_pandas != n:
                write_ours(n_pandas, theirs)
            workbook = (ours if n_pandas == n else theirs) / XLSX_NAME
            their_write = measured(write_pandas, n_pandas, Path(folder) / "pandas.xlsx")
            their_read = measured(read_pandas, n_pandas, workbook)
            table += [
                ["DataFrame.to_excel", *their_write.cells()],
                ["pandas.read_excel", *their_read.cells()],
            ]
    print_table(["", "rows", "seconds", "CPU s", "CPU us/row", "MB before", "MB more"], table)
    print(f"xlsx {sizes[0]:.0f} MB, Parquet {sizes[1]:.0f} MB")
    print(f"a row in memory: {write.start_mb * 1e6 / n:.0f} bytes")
    if n_pandas:
        print(
            "times as fast as pandas, by processor time a row: "
            f"writing {their_write.us_a_row / write.us_a_row:.2f}, "
            f"reading the xlsx {their_read.us_a_row / xlsx.us_a_row:.1f}, "
            f"reading the pair {their_read.us_a_row / pair.us_a_row:.1f}"
        )


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What one piece of work took.

    Attributes:
        n: Rows.
        seconds: Wall time.
        cpu_seconds: Processor time of all threads, which other work on the machine changes little.
        start_mb: Memory that the rows or the frame took before it, in 10^6 bytes.
        more_mb: How much more there was at the peak.
    """

    n: int
    seconds: float
    cpu_seconds: float
    start_mb: float
    more_mb: float

    @property
    def us_a_row(self) -> float:
        """Microseconds of processor time a row."""
        return self.cpu_seconds / self.n * 1e6

    def cells(self) -> list[str]:
        """Returns the columns of the printed table."""
        numbers = (
            f"{self.seconds:.1f}",
            f"{self.cpu_seconds:.1f}",
            f"{self.us_a_row:.1f}",
            f"{self.start_mb:.0f}",
            f"{self.more_mb:.0f}",
        )
        return [f"{self.n:,}", *numbers]


def measured(work: Callable[[int, Path], Measurement], n: int, path: Path) -> Measurement:
    """Does one piece of work in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (n, path))


def write_ours(n: int, folder: Path) -> Measurement:
    """Writes a manifest of n synthetic rows."""
    return timed(n, lambda: [synthetic_row(i) for i in range(n)], lambda rows: write_manifest(rows, folder))


def read_ours(n: int, path: Path) -> Measurement:
    """Reads a manifest, and makes sure that all rows are there."""
    return timed(n, lambda: None, lambda _: refuse_lost_rows(n, len(read_manifest(path).rows)))


def write_pandas(n: int, path: Path) -> Measurement:
    """Writes a DataFrame with the same cells."""

    def frame() -> pd.DataFrame:
        rows = [dataclasses.asdict(synthetic_row(i)) for i in range(n)]
        return pd.DataFrame(rows).assign(box=lambda rows: [" ".join(map(str, box)) for box in rows["box"]])

    return timed(n, frame, lambda frame: frame.to_excel(path, index=False, engine="openpyxl"))


def read_pandas(n: int, path: Path) -> Measurement:
    """Reads all sheets of a workbook as DataFrames."""

    def read(_: None) -> None:
        sheets = pd.read_excel(path, sheet_name=None, engine="openpyxl")
        refuse_lost_rows(n, sum(map(len, sheets.values())))

    return timed(n, lambda: None, read)


def timed(n: int, make: Callable[[], Any], work: Callable[[Any], object]) -> Measurement:
    """Times work on what was made for it."""
    empty_mb = memory_mb("VmRSS")
    made = make()
    start_mb = memory_mb("VmRSS")
    started, cpu_started = time.perf_counter(), time.process_time()
    work(made)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return Measurement(n, seconds, cpu_seconds, start_mb - empty_mb, memory_mb("VmHWM") - start_mb)


def refuse_lost_rows(n: int, n_read: int) -> None:
    """Makes sure that what is timed is the whole work."""
    if n_read != n:
        raise RuntimeError(f"{n_read} of {n} rows came back")


def memory_mb(name: str) -> float:
    """Returns this process's resident memory now (`VmRSS`) or at its peak (`VmHWM`), in 10^6 bytes; Linux."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024 / 1e6


def synthetic_row(i: int) -> ManifestRow:
    """Makes a row with all columns filled, as long and as varied as real ones are."""
    chance = random.Random(i)
    target = i % 2
    label = "real" if target else "fake"
    folder = f"source_{i % 7}"
    sha256, phash = (hashlib.sha256(f"{salt}{i}".encode()).hexdigest() for salt in ("bytes", "looks"))
    return ManifestRow(
        image_path=f"/data/photos/{label}/{folder}/{i % 1000:03d}/{i:08d}.jpg",
        destination_path=f"train/{label}/{folder}/{sha256[:32]}.png",
        folder=folder,
        split="train",
        target_class=label,
        target=target,
        reason="frame of a video",
        group=hashlib.sha256(f"{i // 5}".encode()).hexdigest()[:16],
        identity=f"person {i // 20}",
        sha256=sha256,
        phash=phash,
        box=tuple(round(chance.uniform(0, 512), 2) for _ in range(4)),
        p_face=round(chance.uniform(0.9, 1), 6),
        width=512 + i % 512,
        height=512 + i % 300,
        format="JPEG",
        jpeg_quality=60 + i % 40,
        jpeg_subsampling="4:2:0",
        n_bytes=40_000 + i,
        mean_red=round(chance.uniform(0, 255), 3),
        mean_green=round(chance.uniform(0, 255), 3),
        mean_blue=round(chance.uniform(0, 255), 3),
        sharpness=round(chance.uniform(1, 4), 4),
        frame=i % 300,
        timestamp_s=(i % 300) / 30,
    )


if __name__ == "__main__":
    main()

"""What many images take and cost, from the throughput of one core; and what the driver manages alone.

python benchmarks/scale.py --images-per-second 12
python benchmarks/scale.py --images-per-second 12 --core-hour 0.04 --gigabyte-month 0.02 --cores 256
python benchmarks/scale.py --driver 20000
"""

import argparse
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceauth.intake.manifest import ManifestRow, write_manifest
from faceauth.intake.pipeline.collect import collect_faces
from faceauth.intake.pipeline.engine import CollectedBatch, CollectSettings
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.source_file import SourceFile, source_file
from faceauth.labels import ID2LABEL

SIZES = (10_000, 1_000_000, 100_000_000)


@dataclass(frozen=True)
class Assumptions:
    """What the table follows from.

    Attributes:
        images_per_second: Images that one core prepares in a second, decoding to encoding.
        image_kb: Mean size of a source image in kB.
        crop_kb: Mean size of a crop in kB.
        row_bytes: What a row takes in the manifest's Parquet file.
        cores: Cores that work side by side.
        core_hour: Price of a core for an hour.
        gigabyte_month: Price of a gigabyte kept for a month.
    """

    images_per_second: float
    image_kb: float
    crop_kb: float
    row_bytes: float
    cores: int
    core_hour: float
    gigabyte_month: float


def main() -> None:
    """Prints the table that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images-per-second", type=float, help="of one core; measure it on your images")
    parser.add_argument("--image-kb", type=float, default=200.0, help="mean size of a source image")
    parser.add_argument("--crop-kb", type=float, default=80.0, help="mean size of a crop of 256 px")
    parser.add_argument("--row-bytes", type=float, default=200.0, help="a row in Parquet")
    parser.add_argument("--cores", type=int, default=64, help="cores that work side by side")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour")
    parser.add_argument("--gigabyte-month", type=float, default=0.02, help="price of a GB kept for a month")
    parser.add_argument("--driver", type=int, metavar="N", help="measure the driver alone with N rows")
    arguments = vars(parser.parse_args())
    n_rows = arguments.pop("driver")
    if n_rows:
        print_driver(n_rows, crop_kb=arguments["crop_kb"])
    elif arguments["images_per_second"]:
        print_table(Assumptions(**arguments))
    else:
        parser.error("give --images-per-second, or --driver")


def print_table(given: Assumptions) -> None:
    """Prints hours, cores, storage and cost for 10 thousand, 1 million and 100 million images."""
    print(f"{given}\n")
    print(f"| | {' | '.join(f'{n:,} images' for n in SIZES)} |")
    print("|---|" + "---:|" * len(SIZES))
    core_hours = [n / given.images_per_second / 3600 for n in SIZES]
    sources_gb = [n * given.image_kb / 1e6 for n in SIZES]
    # In the store and in the splits they are hard links of one file.
    output_gb = [n * (given.crop_kb / 1e6 + given.row_bytes / 1e9) for n in SIZES]
    lines = {
        "core-hours": [f"{hours:,.1f}" for hours in core_hours],
        f"hours on {given.cores} cores": [f"{hours / given.cores:,.2f}" for hours in core_hours],
        "images/s that the driver must take": [f"{given.images_per_second * given.cores:,.0f}"] * len(SIZES),
        "sources, GB": [f"{size:,.0f}" for size in sources_gb],
        "crops and manifest, GB": [f"{size:,.1f}" for size in output_gb],
        "cost of the cores": [f"{hours * given.core_hour:,.2f}" for hours in core_hours],
        "cost of a month's storage of the output": [f"{s * given.gigabyte_month:,.2f}" for s in output_gb],
    }
    for name, cells in lines.items():
        print(f"| {name} | {' | '.join(cells)} |")


def print_driver(n_rows: int, *, crop_kb: float) -> None:
    """Prints how fast one driver writes what workers hand it, and what a row costs it in memory.

    Args:
        n_rows: Rows, each with a crop.
        crop_kb: Size of each crop in kB.
    """
    before = _peak_mb()
    files = [
        source_file(
            Address(Path(f"/photos/real/web/{i // 1000:05d}/{i:09d}.jpg")), folder="web", target=1, key=f"{i}"
        )
        for i in range(n_rows)
    ]
    listed = _peak_mb()
    content = np.random.default_rng(0).bytes(round(crop_kb * 1000))

    def hand_over(batches: Iterable[list[SourceFile]]) -> Generator[CollectedBatch, None, None]:
        for batch in batches:
            yield CollectedBatch(batch, [_row(file) for file in batch], [content] * len(batch), 0, {})

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        started = time.perf_counter()
        rows = collect_faces(files, output, settings=CollectSettings(), engine=hand_over)
        collected = time.perf_counter()
        held = _peak_mb()
        write_manifest(rows, output)
        written = time.perf_counter()
        row_bytes = (output / "manifest.parquet").stat().st_size / n_rows
    n_bytes = {"a file's name": listed - before, "a name and its row": held - before}
    print(f"{n_rows:,} rows with crops of {crop_kb:g} kB, {os.cpu_count()} cores")
    print(f"crops and journal: {n_rows / (collected - started):,.0f} images/s")
    print(f"manifest, xlsx and Parquet: {n_rows / (written - collected):,.0f} rows/s")
    print(f"Parquet: {row_bytes:.0f} bytes a row")
    for what, megabytes in n_bytes.items():
        print(f"memory of {what}: {megabytes * 2**20 / n_rows:,.0f} bytes")


def _row(file: SourceFile) -> ManifestRow:
    digits = hashlib.sha256(file.image_path.encode()).hexdigest()
    return ManifestRow(
        image_path=file.image_path,
        destination_path="",
        folder=file.folder,
        split="",
        target_class=ID2LABEL[file.target],
        target=file.target,
        sha256=digits,
        phash=digits[::-1],
        box=(10.25, 20.5, 200.75, 240.0),
        p_face=int(digits[:4], 16) / 2**16,
        width=512,
        height=512,
        format="JPEG",
        jpeg_quality=90,
        jpeg_subsampling="4:2:0",
        n_bytes=int(digits[:5], 16),
        mean_red=int(digits[:6], 16) / 2**16,
        mean_green=int(digits[1:7], 16) / 2**16,
        mean_blue=int(digits[2:8], 16) / 2**16,
        sharpness=int(digits[3:9], 16) / 2**24,
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

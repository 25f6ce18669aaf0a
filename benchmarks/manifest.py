"""Writes and reads a manifest of synthetic rows, beside pandas doing the same with its xlsx functions.

python benchmarks/manifest.py --rows 100000
"""

import argparse
import dataclasses
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from faceauth.intake.manifest import ManifestRow, read_manifest, write_manifest
from faceauth.versions import installed_versions


def main() -> None:
    """Prints seconds of both sides and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    n = parser.parse_args().rows
    rows = [synthetic_row(i) for i in range(n)]
    frame = pd.DataFrame([dataclasses.asdict(row) | {"box": str(row.box)} for row in rows])
    machine = platform.processor() or platform.machine()
    print(f"{n:,} rows, {machine}, {installed_versions()}, pandas {pd.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours", Path(folder) / "pandas.xlsx"
        ours.mkdir()
        write_ours = seconds(lambda: write_manifest(rows, ours))
        write_theirs = seconds(lambda: frame.to_excel(theirs, index=False))
        read_parquet = seconds(lambda: read_manifest(ours))
        (ours / "manifest.parquet").unlink()
        read_xlsx = seconds(lambda: read_manifest(ours))
        read_theirs = seconds(lambda: pd.read_excel(theirs))
    print(
        f"write xlsx and Parquet {write_ours:6.1f} s   DataFrame.to_excel {write_theirs:6.1f} s   "
        f"ratio {write_theirs / write_ours:.2f}"
    )
    print(
        f"read xlsx              {read_xlsx:6.1f} s   pandas.read_excel  {read_theirs:6.1f} s   "
        f"ratio {read_theirs / read_xlsx:.2f}"
    )
    print(
        f"read the pair          {read_parquet:6.1f} s   pandas.read_excel  {read_theirs:6.1f} s   "
        f"ratio {read_theirs / read_parquet:.2f}"
    )


def synthetic_row(i: int) -> ManifestRow:
    """Makes a row that looks like a real one."""
    target = i % 2
    label = "real" if target else "fake"
    digest = f"{i:064x}"
    return ManifestRow(
        image_path=f"/data/photos/{label}/source_{i % 7}/{i:08d}.jpg",
        destination_path=f"train/{label}/source_{i % 7}/{digest[:32]}.png",
        folder=f"source_{i % 7}",
        split="train",
        target_class=label,
        target=target,
        group=digest[-16:],
        sha256=digest,
        phash=digest,
        box=(10.5, 20.25, 200.125, 240.0),
        p_face=0.9999,
        width=512,
        height=512,
        format="JPEG",
        jpeg_quality=90,
        n_bytes=40_000 + i,
    )


def seconds(work: Callable[[], Any]) -> float:
    """Times one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

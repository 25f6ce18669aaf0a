"""Small pictures for tests in which it does not matter that there is a face, and tables of other tools."""

import csv

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def draw(seed, *, side=64):
    """A soft coloured pattern, (side, side, 3) uint8; two seeds look entirely different."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def save(path, seed, *, side=64, **options):
    """Writes `draw(seed)` in the format of the suffix, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(seed, side=side)).save(path, **options)
    return path


def save_layout(root, counts, *, start=0, suffix=".png"):
    """Writes `{"real/wiki": 3, ...}` many different pictures, each with a name of its own."""
    number = start
    for place, count in counts.items():
        for _ in range(count):
            save(root / place / f"{number:04d}{suffix}", number)
            number += 1
    return root


def write_table(path, header, rows):
    """Writes a table as its suffix says, the way other tools do."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(header)}), path)
    else:
        workbook = openpyxl.Workbook()
        for row in [header, *rows]:
            workbook.active.append(row)
        workbook.save(path)
    return path

"""What people read after `faceauth prepare`: a table by source, and a few lines of what it took."""

import shutil
from collections.abc import Mapping
from typing import Any

from faceauth.console import print_table
from faceauth.intake.rows import STATUSES
from faceauth.labels import CLASSES, SPLITS

MAX_SOURCE_CHARACTERS = 28


def print_prepared(document: Mapping[str, Any]) -> None:
    """Prints the content of `prepare.json`: images by source, what was found, and how long it took.

    Args:
        document: The content of `prepare.json`.
    """
    header, rows = _by_source(document["counts"])
    for columns in _blocks(header, rows, n_columns=shutil.get_terminal_size().columns):
        print_table([header[i] for i in columns], [[row[i] for i in columns] for row in rows])
        print()
    for line in describe_work(document):
        print(line)


def describe_work(document: Mapping[str, Any]) -> list[str]:
    """Returns, line by line, what there was to do and how long it took.

    Args:
        document: The content of `prepare.json`.
    """
    new, rate = document["new_images"], document["rates"]["images_per_s"]
    groups = f"{document['groups']['n']:,} groups"
    if not new["n"]:
        lines = [f"nothing new to find; {groups}"]
    else:
        speed = f"{rate:.1f} images a second" if rate else "at once"
        lines = [f"{new['n']:,} new images, {speed}; {new['n_faces']:,} faces found; {groups}"]
    duplicates = document.get("duplicates")
    if duplicates:
        lines.append(f"duplicates: {duplicates['exact']:,} exact, {duplicates['near']:,} look alike")
    stages = ", ".join(
        f"{stage.replace('_', ' ')} {seconds:.1f}" for stage, seconds in document["seconds"].items()
    )
    lines.append(f"seconds: {stages}")
    if new["n"]:
        work = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in new["work_seconds"].items())
        lines.append(f"work in all processes: {work}")
    return lines


def _by_source(counts: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    statuses = [status for status in STATUSES if counts["by_status"].get(status)]
    sources = sorted(
        counts["by_folder"].items(),
        key=lambda item: (-CLASSES.index(item[1]["target_class"]), item[0]),
    )
    rows = [
        [
            facts["target_class"],
            _shortened(name),
            sum(facts["status"].values()),
            *(facts["status"].get(status, 0) for status in statuses),
            *(facts["split"].get(split, 0) for split in SPLITS),
        ]
        for name, facts in sources
    ]
    if len(rows) > 1:
        rows.append(["", "all", *(sum(column) for column in list(zip(*rows, strict=True))[2:])])
    cells = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
    return ["class", "source", "images", *statuses, *SPLITS], cells


def _blocks(header: list[str], rows: list[list[str]], *, n_columns: int) -> list[list[int]]:
    """Returns which columns stand side by side, so that no line is longer than the terminal is wide."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    keys = [0, 1]
    blocks = [list(keys)]
    for i in range(len(keys), len(header)):
        block = blocks[-1]
        if len(block) > len(keys) and sum(widths[j] + 2 for j in block) + widths[i] > n_columns:
            block = list(keys)
            blocks.append(block)
        block.append(i)
    return blocks


def _shortened(name: str) -> str:
    if len(name) <= MAX_SOURCE_CHARACTERS:
        return name
    half = (MAX_SOURCE_CHARACTERS - 1) // 2
    return f"{name[:half]}…{name[-half:]}"

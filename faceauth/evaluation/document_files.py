"""The files of an evaluation: `metrics.json` for machines, `metrics.xlsx` for people, and the scores."""

from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from faceauth.files import whole_file, write_json
from faceauth.scoring.metrics import METRICS
from faceauth.scoring.scores import Scores, write_scores

MAX_CELL_CHARACTERS = 32_767
RATE_HEADER = ("metric", "value", "95 % from", "95 % to", "real faces", "fake faces", "meaning", "note")


def write_evaluation(document: dict[str, Any], scores: Scores, folder: Path) -> list[Path]:
    """Writes `metrics.json`, `metrics.xlsx` and `scores.csv`, each whole or not at all.

    Args:
        document: What `evaluate_scores` returned.
        scores: What it was given.
        folder: Where to; made if need be.

    Returns:
        The paths of the three files.
    """
    paths = [folder / "metrics.json", folder / "metrics.xlsx", folder / "scores.csv"]
    write_json(paths[0], document)
    _write_workbook(document, paths[1])
    write_scores(scores, paths[2])
    return paths


def _write_workbook(document: dict[str, Any], path: Path) -> None:
    workbook = Workbook()
    overall = workbook.active
    overall.title = "Overall"
    _fill_sheet(overall, RATE_HEADER, [_rate_cells(*item) for item in document["overall"].items()])
    by_folder = workbook.create_sheet("By folder")
    cells = [
        [folder, *_rate_cells(name, rate)]
        for folder, rates in document["by_folder"].items()
        for name, rate in rates.items()
    ]
    _fill_sheet(by_folder, ("folder", *RATE_HEADER), cells)
    about = workbook.create_sheet("About")
    threshold, shortcut = document["threshold"], document["shortcut_auroc"]
    facts = [
        ["split", document["split"]],
        ["model", document["model"]],
        ["threshold: fake if p_fake is at least", threshold["value"]],
        ["threshold rule", threshold["rule"]],
        ["threshold chosen on", threshold["chosen_on"]],
        [
            "AUROC of plain facts alone",
            shortcut["reason"] if shortcut["value"] is None else shortcut["value"],
        ],
        ["reads of the test split", document["test_reads"]],
    ]
    _fill_sheet(about, ("what", "value"), facts)
    with whole_file(path) as draft:
        workbook.save(draft)


def _rate_cells(name: str, rate: dict[str, Any]) -> list[Any]:
    low, high = rate["ci95"] or (None, None)
    return [
        name,
        rate["value"],
        low,
        high,
        rate["n_real"],
        rate["n_fake"],
        METRICS.get(name).meaning,
        rate["reason"],
    ]


def _fill_sheet(sheet: Worksheet, header: tuple[str, ...], rows: list[list[Any]]) -> None:
    widths = [0] * len(header)
    for i, row in enumerate([list(header), *rows], start=1):
        for j, content in enumerate(row, start=1):
            cell = sheet.cell(row=i, column=j)
            if isinstance(content, str):
                text = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", content)
                cell.value = text[:MAX_CELL_CHARACTERS]
                # A text that starts with "=" would become a formula.
                cell.data_type = "s"
                widths[j - 1] = max(widths[j - 1], len(text))
            else:
                cell.value = content
                if isinstance(content, float):
                    cell.number_format = "0.000"
    for j, width in enumerate(widths, start=1):
        sheet.cell(row=1, column=j).font = Font(bold=True)
        sheet.column_dimensions[get_column_letter(j)].width = min(max(width, 8), 60) + 2
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = sheet.dimensions

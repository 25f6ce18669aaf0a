"""The report: one page and one workbook of all that was measured."""

import logging
from datetime import date
from pathlib import Path

from faceauth.errors import InputError
from faceauth.files import whole_file
from faceauth.report.collect import collect
from faceauth.report.page import render_page
from faceauth.report.sections import all_sections
from faceauth.report.tables import Table
from faceauth.report.workbook import write_workbook

logger = logging.getLogger(__name__)


def write_report(folders: list[Path], output: Path, *, crops_root: Path | None = None) -> Path:
    """Writes `index.html` and `report.xlsx` of whatever results lie in folders.

    Nothing is computed anew and nothing is invented: what is not there is left out and named.

    Args:
        folders: Folders that `prepare`, `train`, `evaluate` or `embed` wrote, or one that holds several.
        output: Folder to write to; made if need be.
        crops_root: The manifest's folder, if the page shall show faces; None keeps them out of it.

    Returns:
        Path of `index.html`.

    Raises:
        InputError: A folder does not exist, or none holds any result.
    """
    if crops_root is not None and not crops_root.is_dir():
        raise InputError(
            f"There is no folder of crops '{crops_root}'.", "Name the manifest's folder, or none."
        )
    collected = collect(folders)
    for problem in collected.problems:
        logger.warning(problem)
    sections = all_sections(collected, crops_root=crops_root)
    tables = [block for section in sections for block in section.blocks if isinstance(block, Table)]
    if tables:
        write_workbook(tables, output / "report.xlsx")
    page = output / "index.html"
    with whole_file(page) as draft:
        draft.write_text(render_page(collected, sections, written_on=date.today()), "utf-8")
    return page

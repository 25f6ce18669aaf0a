"""The kinds of measurement that a report shows in one way: a sentence, figures and tables.

Whoever adds a verb that writes a document and figures adds an entry here and nothing elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faceauth.report import comparison_tables, spectra_tables, study_tables
from faceauth.report.tables import Table

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StudyKind:
    """One kind of measurement.

    Attributes:
        anchor: Where links within the page point.
        title: Heading of its section.
        meaning: One sentence: how to read what follows.
        finding: From a document to one sentence with its main figure; empty if it has none.
        tables: From a document to its tables, in reading order.
        figures: Its figures by name, with captions, in reading order. Those whose names go on, such as
            `spectra_residuals`, are shown on request only.
        keys: Which keys of a document must be of which type, if they are there.
    """

    anchor: str
    title: str
    meaning: str
    finding: Callable[[Document], str]
    tables: Callable[[Document], list[Table | None]]
    figures: dict[str, str]
    keys: dict[str, type]

    def owns(self, stem: str) -> bool:
        """Tells whether a figure of that name belongs to this kind."""
        return any(stem == own or stem.startswith(f"{own}_") for own in self.figures)


# In the order of the page, by the file that holds the document.
STUDY_KINDS = {
    "matrix.json": StudyKind(
        anchor="matrix",
        title="Matrix",
        meaning=(
            "Each row is a detector and each column what it was tested on. What it has learned from is "
            "easy; what it has never seen says what it is worth on the next generator."
        ),
        finding=study_tables.matrix_finding,
        tables=study_tables.matrix_tables,
        figures={
            "matrix": "AUROC of each detector on each source",
            "curves": "AUROC against the size of the training set",
            "correlation": "Generators that the same detectors find easy",
            "agreement": "Detectors that rank the same faces alike",
        },
        keys={"cells": list, "summary": list},
    ),
    "robustness.json": StudyKind(
        anchor="robustness",
        title="Robustness",
        meaning=(
            "The same faces were scored as they are and degraded; a drop is what the degradation costs. "
            "Pictures on the net were recompressed and resized, and clean figures do not hold for them."
        ),
        finding=study_tables.robustness_finding,
        tables=study_tables.robustness_tables,
        figures={
            "robustness": "AUROC on degraded pictures",
            "robustness_overview": "What each degradation costs",
        },
        keys={"clean": dict, "degradations": dict},
    ),
    "spectra.json": StudyKind(
        anchor="spectra",
        title="Spectra",
        meaning=(
            "A generator that enlarges small maps leaves peaks in the average frequency spectrum of its "
            "pictures. Peaks on the JPEG grid are the file's and not the generator's."
        ),
        finding=spectra_tables.spectra_finding,
        tables=spectra_tables.spectra_tables,
        figures={
            "spectra": "Average spectrum of each source",
            "differences": "Difference to the real collections",
            "azimuthal": "Power over the radius",
        },
        keys={"sources": dict},
    ),
    "compare.json": StudyKind(
        anchor="comparison",
        title="Comparison",
        meaning=(
            "Two detectors on the same faces. Differences are the first's value minus the second's; where "
            "the interval holds 0, no difference was shown."
        ),
        finding=comparison_tables.comparison_finding,
        tables=comparison_tables.comparison_tables,
        figures={"compare": "AUROC of the first minus AUROC of the second"},
        keys={"overall": dict, "by_folder": dict},
    ),
}

"""Tables and main finding of two detectors on the same faces; all of it may be incomplete."""

from collections.abc import Mapping
from typing import Any

from faceauth.report.tables import Cell, Table, as_number, as_rate, metric_title, sub_document


def comparison_tables(document: dict[str, Any]) -> list[Table | None]:
    """The metrics over all faces, and the AUROC of each generator, of both detectors."""
    names = _comparison_names(document)
    overall = [
        (metric_title(metric), *_compared(compared))
        for metric, compared in sub_document(document, "overall").items()
    ]
    by_folder = sub_document(document, "by_folder")
    generators = [
        (name, *_compared(sub_document(by_folder, name).get("auroc")), _p_holm(by_folder, name))
        for name in by_folder
    ]
    headers = (*names, "Difference", "p")
    note = ("p by Holm is corrected for the number of generators.",)
    return [
        Table("All faces, two detectors", ("Metric", *headers), tuple(overall)) if overall else None,
        Table(
            "By generator, AUROC of two detectors",
            ("Generator", *headers, "p by Holm"),
            tuple(generators),
            note,
        )
        if generators
        else None,
    ]


def comparison_finding(document: dict[str, Any]) -> str:
    """Says which detector is better, or that it was not shown."""
    difference = as_rate(sub_document(document, "overall", "auroc").get("difference"))
    if difference.value is None or difference.ci95 is None:
        return ""
    first, second = _comparison_names(document)
    low, high = difference.ci95
    interval = (
        f"{abs(difference.value):.3f} of AUROC (the interval of the difference is {low:+.3f} to {high:+.3f})"
    )
    if low <= 0 <= high:
        return f"Which of {first} and {second} is better was not shown: they differ by {interval}."
    better, worse = (first, second) if difference.value > 0 else (second, first)
    return f"{better} is better than {worse} by {interval}."


def _comparison_names(document: dict[str, Any]) -> tuple[str, str]:
    names = []
    for side in ("first", "second"):
        facts = sub_document(document, side)
        # Two tables are mostly called scores.csv: the folder tells them apart.
        parts = str(facts.get("name") or facts.get("scores") or side).replace("\\", "/").split("/")
        names.append(parts[-2] if len(parts) > 1 and parts[-1].startswith("scores.") else parts[-1])
    if names[0] == names[1]:
        names = [f"{names[0]} (first)", f"{names[1]} (second)"]
    return names[0], names[1]


def _compared(compared: Any) -> tuple[Cell, ...]:
    facts = dict(compared) if isinstance(compared, Mapping) else {}
    sides = (as_rate(facts.get(side)) for side in ("first", "second", "difference"))
    return (*sides, as_number(facts.get("p_value")))


def _p_holm(by_folder: dict[str, Any], name: str) -> Cell:
    return as_number(sub_document(by_folder, name, "auroc").get("p_holm"))

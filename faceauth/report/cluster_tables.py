"""Tables of clusters and of the maps that show them."""

from collections.abc import Mapping
from typing import Any

from faceauth.report.tables import Cell, Table, as_count, as_number, as_rate, as_words, sub_document

MEASURE_TITLES = {
    "knn_purity": "Neighbour purity",
    "knn_purity_chance": "… by chance",
    "class_purity": "Neighbour purity, real or fake",
    "class_purity_chance": "… by chance",
    "silhouette": "Silhouette",
    "davies_bouldin": "Davies-Bouldin index",
    "trustworthiness": "Trustworthiness",
    "continuity": "Continuity",
    "stability": "Stability",
}


def measures_table(document: dict[str, Any]) -> Table | None:
    """How well sources separate; None if it was not measured."""
    measures = sub_document(document, "measures")
    rows = []
    for name, measure in measures.items():
        rate = as_rate(measure)
        remark = str(sub_document(measures, name).get("meaning") or "")
        if rate.value is None and rate.reason:
            remark = f"{remark} Undefined: {rate.reason}".strip()
        rows.append((MEASURE_TITLES.get(name, as_words(name)), rate, remark))
    return (
        Table("How sources separate", ("Measure", "Value", "How to read it"), tuple(rows)) if rows else None
    )


def cluster_sources_table(document: dict[str, Any]) -> Table | None:
    """Each source as a cluster, the purest first; None if there is none."""
    by_folder = sub_document(document, "by_folder")
    rows = []
    for name in by_folder:
        source = sub_document(by_folder, name)
        rows.append(
            (
                name,
                str(source.get("target_class") or ""),
                as_count(source.get("n")),
                as_rate(source.get("knn_purity")),
                as_rate(source.get("silhouette")),
                as_rate(source.get("spread")),
                str(source.get("nearest_folder") or ""),
                as_number(source.get("nearest_distance")),
                str(source.get("medoid") or ""),
            )
        )
    if not rows:
        return None
    rows.sort(key=lambda row: -(row[3].value if row[3].value is not None else -1))
    return Table(
        "Sources as clusters",
        (
            "Source",
            "Class",
            "n",
            "Neighbour purity",
            "Silhouette",
            "Spread",
            "Nearest",
            "at distance",
            "Most central face",
        ),
        tuple(rows),
    )


def faithfulness_table(document: dict[str, Any], titles: Mapping[str, str]) -> Table | None:
    """How far each map may be trusted; None if it was not measured."""
    projections = sub_document(document, "projections")
    measures = list(
        dict.fromkeys(measure for name in projections for measure in sub_document(projections, name))
    )
    if not measures:
        return None
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for name in projections:
        measured = sub_document(projections, name)
        rates = {measure: as_rate(measured.get(measure)) for measure in measures}
        rows.append((titles.get(name, name), *rates.values()))
        notes += [
            f"{MEASURE_TITLES.get(measure, as_words(measure))} of {titles.get(name, name)}: {rate.reason}"
            for measure, rate in rates.items()
            if rate.value is None and rate.reason
        ]
    first = sub_document(projections, next(iter(projections)))
    for measure in measures:
        meaning = sub_document(first, measure).get("meaning")
        if isinstance(meaning, str):
            notes.append(f"{MEASURE_TITLES.get(measure, as_words(measure))}: {meaning}")
    headers = ("Map", *(MEASURE_TITLES.get(measure, as_words(measure)) for measure in measures))
    return Table("How far the maps may be trusted", headers, tuple(rows), tuple(notes))

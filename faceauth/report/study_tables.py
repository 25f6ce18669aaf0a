"""Tables and main findings of the matrix and of robustness; all of it may be incomplete."""

from collections.abc import Mapping
from typing import Any

from faceauth.report.records import objects_of
from faceauth.report.tables import Cell, Rate, Table, as_number, as_rate, as_words, metric_title, sub_document

_SEEN_WORDS = {"seen": "seen", "partly": "partly seen", "unseen": "not seen", "unknown": "not known"}


def matrix_tables(document: dict[str, Any]) -> list[Table | None]:
    """A row a detector with its means, every cell, and what could not be trained."""
    rows: list[tuple[Cell, ...]] = []
    for entry in objects_of(document.get("summary")):
        worst = sub_document(entry, "worst_generator")
        rows.append(
            (
                str(entry.get("training", "")),
                *(
                    as_rate(sub_document(entry, which).get("mean_auroc"))
                    for which in ("seen_generators", "unseen_generators", "generators")
                ),
                as_rate(worst.get("auroc")) if worst else None,
                str(worst.get("test") or ""),
                as_rate(sub_document(entry, "unseen_collections").get("recall_real")),
            )
        )
    headers = ("Detector", "Seen", "Not seen", "All generators", "Worst", "which is", "Reals kept, not seen")
    notes = tuple(
        f"{name}: {reason}"
        for key in ("failed", "untrainable")
        for name, reason in sub_document(document, key).items()
    )
    summary = Table("Mean AUROC over generators", headers, tuple(rows), notes) if rows else None
    cells = []
    for cell in objects_of(document.get("cells")):
        # A cell's rates lie in an object of their own, or beside its other facts.
        rates = sub_document(cell, "rates") or {
            key: value for key, value in cell.items() if isinstance(value, Mapping)
        }
        place = (str(cell.get("training", "")), str(cell.get("test", "")))
        seen = cell.get("seen")
        words = _SEEN_WORDS.get(str(seen), str(seen or "")) if not isinstance(seen, bool) else _seen(seen)
        auroc = as_rate(rates.get("auroc"))
        others = tuple(as_rate(rate) for name, rate in rates.items() if name != "auroc")
        cells.append((*place, words, auroc, *others, auroc.n_real, auroc.n_fake))
    names = _metric_names(document)
    every = None
    if cells and len({len(row) for row in cells}) == 1 and len(cells[0]) == 6 + len(names):
        columns = ("Detector", "Tested on", "Seen", "AUROC", *map(metric_title, names), "Real", "Fake")
        every = Table("Every cell", columns, tuple(cells), folded=True)
    return [summary, every]


def matrix_finding(document: dict[str, Any]) -> str:
    """Says what generators cost that a detector has not seen."""
    drops = []
    for entry in objects_of(document.get("summary")):
        seen, unseen = (
            as_rate(sub_document(entry, which).get("mean_auroc")).value
            for which in ("seen_generators", "unseen_generators")
        )
        if seen is not None and unseen is not None:
            drops.append((seen - unseen, seen, unseen, str(entry.get("training", ""))))
    if not drops:
        return ""
    _, seen, unseen, name = max(drops)
    return (
        f"The widest gap is that of {name}: a mean AUROC of {seen:.3f} on generators it has learned from, "
        f"and of {unseen:.3f} on those it has not."
    )


def robustness_tables(document: dict[str, Any]) -> list[Table | None]:
    """A row a degradation with its area and its worst level, and every level."""
    degradations = sub_document(document, "degradations")
    rows: list[tuple[Cell, ...]] = []
    levels: list[tuple[Cell, ...]] = []
    clean = sub_document(document, "clean")
    if clean:
        of_clean = as_rate(clean.get("auroc"))
        levels.append(
            ("clean", None, "", of_clean, None, *_decisions(clean), of_clean.n_real, of_clean.n_fake)
        )
    for name in degradations:
        curve = sub_document(degradations, name)
        unit = str(curve.get("unit") or "")
        of_curve = list(objects_of(curve.get("levels")))
        for at in of_curve:
            auroc = as_rate(at.get("auroc"))
            levels.append(
                (
                    as_words(name),
                    as_number(at.get("level")),
                    unit,
                    auroc,
                    as_rate(at.get("auroc_drop")),
                    *_decisions(at),
                    auroc.n_real,
                    auroc.n_fake,
                )
            )
        worst = _worst_level(of_curve)
        rows.append(
            (
                as_words(name),
                as_rate(curve.get("area")),
                as_rate(worst.get("auroc")) if worst else None,
                as_rate(worst.get("auroc_drop")) if worst else None,
                f"{as_number(worst.get('level')) or 0:g} {unit}" if worst else "",
            )
        )
    headers = ("Degradation", "Area under AUROC", "Worst AUROC", "Drop there", "at")
    decisions = ("Balanced accuracy", "Fakes found", "Reals kept", "Real", "Fake")
    columns = ("Degradation", "Level", "Unit", "AUROC", "Drop", *decisions)
    return [
        Table("What degradations cost", headers, tuple(rows)) if rows else None,
        Table("Every level", columns, tuple(levels), folded=True) if levels else None,
    ]


def robustness_finding(document: dict[str, Any]) -> str:
    """Names the degradation that costs most."""
    worst: tuple[float, str, str] | None = None
    for name, curve in sub_document(document, "degradations").items():
        if isinstance(curve, Mapping):
            at = _worst_level(list(objects_of(curve.get("levels"))))
            drop = as_rate(at.get("auroc_drop")).value
            if drop is not None and (worst is None or drop > worst[0]):
                level = as_number(at.get("level")) or 0
                worst = (drop, as_words(name), f"{level:g} ({curve.get('unit') or 'level'})")
    if worst is None or worst[0] <= 0:
        return ""
    return f"What costs most is {worst[1]} at {worst[2]}: it takes {worst[0]:.3f} off the AUROC."


def _decisions(rates: Mapping[str, Any]) -> tuple[Rate, ...]:
    return tuple(as_rate(rates.get(name)) for name in ("balanced_accuracy", "recall_fake", "recall_real"))


def _worst_level(levels: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    measured = [(as_rate(at.get("auroc")).value, i) for i, at in enumerate(levels)]
    defined = [(value, i) for value, i in measured if value is not None]
    return levels[min(defined)[1]] if defined else {}


def _metric_names(document: dict[str, Any]) -> list[str]:
    first = next(objects_of(document.get("cells")), {})
    rates = sub_document(first, "rates") or {k: v for k, v in first.items() if isinstance(v, Mapping)}
    return [name for name in rates if name != "auroc"]


def _seen(is_seen: bool) -> str:
    return _SEEN_WORDS["seen" if is_seen else "unseen"]

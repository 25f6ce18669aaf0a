"""Tables of how data was prepared and of what its audit found."""

from collections.abc import Iterable, Mapping
from typing import Any

from faceauth.intake.manifest import STATUSES
from faceauth.labels import SPLITS
from faceauth.report.tables import Cell, Table, as_count, as_number, as_rate, as_words, sub_document
from faceauth.shortcuts.shortcuts import KINDS


def counts_table(document: dict[str, Any]) -> Table | None:
    """Counts of prepared images by source, split and status; None if there are none."""
    by_folder = sub_document(document, "counts", "by_folder")
    if not by_folder:
        return None
    statuses = _present((sub_document(source, "status") for source in by_folder.values()), tuple(STATUSES))
    splits = _present((sub_document(source, "split") for source in by_folder.values()), SPLITS)
    rows: list[tuple[str | int, ...]] = []
    for name in by_folder:
        source = sub_document(by_folder, name)
        by_status, by_split = sub_document(source, "status"), sub_document(source, "split")
        rows.append(
            (
                name,
                str(source.get("target_class") or ""),
                *(as_count(by_split.get(split)) or 0 for split in splits),
                *(as_count(by_status.get(status)) or 0 for status in statuses),
                sum(as_count(count) or 0 for count in by_status.values()),
            )
        )
    rows.sort(key=lambda row: (row[1] != "real", row[0]))
    return Table(
        "Images by source",
        (
            "Source",
            "Class",
            *(f"in {split}" for split in splits),
            *(as_words(status) for status in statuses),
            "All",
        ),
        tuple(rows),
        tuple(
            f"{as_words(status)}: {STATUSES[status]}."
            for status in statuses
            if status in STATUSES and status != "ok"
        ),
    )


def failures_table(document: dict[str, Any]) -> Table | None:
    """The first images that did not become faces; None if there are none."""
    failures = document.get("failures")
    if not isinstance(failures, list) or not failures:
        return None
    rows = tuple(
        tuple(str(failure.get(key) or "") for key in ("image_path", "status", "reason"))
        for failure in failures
        if isinstance(failure, Mapping)
    )
    return Table("Images left out", ("Image", "Status", "Reason"), rows, folded=True)


def equalised_table(document: dict[str, Any]) -> Table | None:
    """What plain facts alone reach before and after crops were made alike; None if they were not."""
    remains = sub_document(document, "equalised").get("remains")
    rows: list[tuple[Cell, ...]] = []
    for part in remains if isinstance(remains, list) else []:
        if isinstance(part, Mapping):
            after = as_rate(part.get("after"))
            name, leaned_on = str(part.get("generator") or "all fakes"), str(part.get("leaned_on") or "")
            rows.append((name, as_rate(part.get("before")), after, after.n_real, after.n_fake, leaned_on))
    if not rows:
        return None
    headers = ("Against all reals", "Before", "After", "Real", "Fake", "It leans on")
    return Table("What equalising left: AUROC of the crops' plain facts alone", headers, tuple(rows))


def speed_table(document: dict[str, Any]) -> Table | None:
    """How long preparation took, and how fast it went; None if it was not recorded."""
    rows: list[tuple[Cell, ...]] = [
        (as_words(name), value, "seconds")
        for name, value in sub_document(document, "seconds").items()
        if as_number(value) is not None
    ]
    rows += [
        (as_words(name), value, "")
        for name, value in sub_document(document, "rates").items()
        if as_number(value) is not None
    ]
    return Table("Time taken", ("Stage", "Value", "Unit"), tuple(rows), folded=True) if rows else None


def leaks_table(document: dict[str, Any]) -> Table | None:
    """How many images or groups leak from one split to another; None if it was not counted."""
    meanings = {
        "group": "groups (a person, a photo and its fakes, a video) in more than one split",
        "exact": "images whose very bytes are in more than one split",
        "near": "images with a near-duplicate in another split",
        "identity": "images that show a person who is in another split too",
    }
    leaks = sub_document(document, "leaks")
    rows = tuple((as_words(name), as_count(count), meanings.get(name, "")) for name, count in leaks.items())
    return Table("Leaks between splits", ("Kind", "Found", "Meaning"), rows) if rows else None


def shortcuts_table(document: dict[str, Any]) -> Table | None:
    """What plain facts alone predict, overall and by source; None if it was not measured."""
    shortcuts = sub_document(document, "shortcuts")
    rates: list[tuple[str, Any]] = [("all sources", shortcuts["overall"])] if "overall" in shortcuts else []
    kinds = sub_document(shortcuts, "by_kind")
    rates += [
        (f"all sources, {meaning} only", kinds[kind]) for kind, meaning in KINDS.items() if kind in kinds
    ]
    rates += list(sub_document(shortcuts, "by_folder").items())
    rows = []
    for name, rate_document in rates:
        rate = as_rate(rate_document)
        rows.append((name, rate, rate.n_real, rate.n_fake, rate.reason or ""))
    if not rows:
        return None
    return Table("What plain facts alone predict", ("Source", "AUROC", "Real", "Fake", "Remark"), tuple(rows))


def importances_table(document: dict[str, Any]) -> Table | None:
    """Which plain facts give the class away; None if it was not measured."""
    features = sub_document(document, "shortcuts").get("features")
    if not isinstance(features, list):
        return None
    rows = tuple(
        (str(feature.get("name", "")), as_number(feature.get("importance")))
        for feature in features
        if isinstance(feature, Mapping)
    )
    return (
        Table("Which plain facts give the class away", ("Property", "Importance"), rows, folded=True)
        if rows
        else None
    )


def _present(documents: Iterable[Mapping[str, Any]], known: tuple[str, ...]) -> list[str]:
    """Returns the keys that occur: known ones first and in their order, then the others."""
    occurring = dict.fromkeys(key for document in documents for key in document)
    return [key for key in known if key in occurring] + [key for key in occurring if key not in known]

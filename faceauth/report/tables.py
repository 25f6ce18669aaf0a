"""Every table of the report, once: the page and the workbook show the same."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from faceauth.intake.manifest import STATUSES
from faceauth.labels import SPLITS
from faceauth.scoring.metrics import METRICS

METRIC_TITLES = {
    "auroc": "AUROC",
    "ap_fake": "Average precision, fake",
    "ap_real": "Average precision, real",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "eer": "Equal error rate",
    "f1_fake": "F1, fake",
    "f1_real": "F1, real",
    "recall_fake": "Fakes found",
    "recall_real": "Reals kept",
    "precision_fake": "Precision, fake",
    "precision_real": "Precision, real",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Calibration error",
}
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
_LONGEST_TEXT = 400


@dataclass(frozen=True, slots=True)
class Rate:
    """A figure with its 95 % interval, or the reason why it is undefined."""

    value: float | None
    ci95: tuple[float, float] | None = None
    n_real: int | None = None
    n_fake: int | None = None
    reason: str | None = None


Cell = str | int | float | None | Rate


@dataclass(frozen=True, slots=True)
class Table:
    """A table as people read it.

    Attributes:
        title: What it shows; also names its sheet.
        columns: Headers. A column in which any cell is a `Rate` becomes three in the workbook.
        rows: Cells, in the order of the columns.
        notes: Sentences that belong beneath it.
        folded: Whether the page shows it on request only.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    folded: bool = False


def as_number(value: Any) -> float | int | None:
    """Returns a number as it is, and None for whatever is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_rate(document: Any) -> Rate:
    """Reads a rate as the JSON files hold it; what is malformed is undefined, with that as its reason."""
    if not isinstance(document, Mapping):
        number = as_number(document)
        return Rate(number, reason=None if number is not None else "not measured")
    interval = document.get("ci95")
    ci95 = None
    if isinstance(interval, list | tuple) and len(interval) == 2 and None not in map(as_number, interval):
        ci95 = (float(interval[0]), float(interval[1]))
    value = as_number(document.get("value"))
    reason = document.get("reason")
    return Rate(
        value,
        ci95,
        _count(document.get("n_real")),
        _count(document.get("n_fake")),
        str(reason) if reason else (None if value is not None else "undefined"),
    )


def metric_title(name: str) -> str:
    """Returns how people call a metric; an unknown one is shown as it is named."""
    return METRIC_TITLES.get(name, name.replace("_", " "))


def sub_document(document: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Follows keys into a document; an empty one stands for what is not there."""
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


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
                *(_count(by_split.get(split)) or 0 for split in splits),
                *(_count(by_status.get(status)) or 0 for status in statuses),
                sum(_count(count) or 0 for count in by_status.values()),
            )
        )
    rows.sort(key=lambda row: (row[1] != "real", row[0]))
    return Table(
        "Images by source",
        (
            "Source",
            "Class",
            *(f"in {split}" for split in splits),
            *(_words(status) for status in statuses),
            "All",
        ),
        tuple(rows),
        tuple(
            f"{_words(status)}: {STATUSES[status]}."
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


def speed_table(document: dict[str, Any]) -> Table | None:
    """How long preparation took, and how fast it went; None if it was not recorded."""
    rows: list[tuple[Cell, ...]] = [
        (_words(name), value, "seconds")
        for name, value in sub_document(document, "seconds").items()
        if _is_number(value)
    ]
    rows += [
        (_words(name), value, "")
        for name, value in sub_document(document, "rates").items()
        if _is_number(value)
    ]
    return Table("Time taken", ("Stage", "Value", "Unit"), tuple(rows), folded=True) if rows else None


def facts_table(title: str, document: dict[str, Any], *, folded: bool = False) -> Table | None:
    """Whatever a document says, one fact a row; None if it says nothing."""
    rows = tuple((name, text) for name, text in _facts(document))
    return Table(title, ("Fact", "Value"), rows, folded=folded) if rows else None


def leaks_table(document: dict[str, Any]) -> Table | None:
    """How many images or groups leak from one split to another; None if it was not counted."""
    meanings = {
        "group": "groups (a person, a photo and its fakes, a video) in more than one split",
        "exact": "images whose very bytes are in more than one split",
        "near": "images with a near-duplicate in another split",
    }
    leaks = sub_document(document, "leaks")
    rows = tuple((_words(name), _count(count), meanings.get(name, "")) for name, count in leaks.items())
    return Table("Leaks between splits", ("Kind", "Found", "Meaning"), rows) if rows else None


def shortcuts_table(document: dict[str, Any]) -> Table | None:
    """What metadata alone predicts, overall and by source; None if it was not measured."""
    shortcuts = sub_document(document, "shortcuts")
    rates: list[tuple[str, Any]] = [("all sources", shortcuts["overall"])] if "overall" in shortcuts else []
    rates += list(sub_document(shortcuts, "by_folder").items())
    rows = []
    for name, rate_document in rates:
        rate = as_rate(rate_document)
        rows.append((name, rate, rate.n_real, rate.n_fake, rate.reason or ""))
    if not rows:
        return None
    return Table("What metadata alone predicts", ("Source", "AUROC", "Real", "Fake", "Remark"), tuple(rows))


def importances_table(document: dict[str, Any]) -> Table | None:
    """Which metadata give the class away; None if it was not measured."""
    features = sub_document(document, "shortcuts").get("features")
    if not isinstance(features, list):
        return None
    rows = tuple(
        (str(feature.get("name", "")), as_number(feature.get("importance")))
        for feature in features
        if isinstance(feature, Mapping)
    )
    return (
        Table("Which metadata give the class away", ("Property", "Importance"), rows, folded=True)
        if rows
        else None
    )


def epochs_table(epochs: tuple[dict[str, Any], ...]) -> Table:
    """The training log, epoch by epoch."""
    columns = {
        "epoch": "Epoch",
        "updates": "Updates",
        "train_loss": "Loss, train",
        "val_loss": "Loss, val",
        "val_auroc": "AUROC, val",
        "learning_rate": "Learning rate",
        "images_per_s": "Images per s",
        "seconds": "Seconds",
    }
    present = [key for key in columns if any(_is_number(epoch.get(key)) for epoch in epochs)]
    rows = tuple(
        (*(as_number(epoch.get(key)) for key in present), "best so far" if epoch.get("best") is True else "")
        for epoch in epochs
    )
    return Table("Epochs", (*(columns[key] for key in present), "Remark"), rows, folded=True)


def overall_table(metrics: dict[str, Any]) -> Table | None:
    """Each metric over all faces; None if there is none."""
    rows = []
    for name, document in sub_document(metrics, "overall").items():
        rate = as_rate(document)
        meaning = METRICS.get(name).meaning if name in METRICS.names() else ""
        remark = "; ".join(filter(None, (meaning, rate.reason)))
        rows.append((metric_title(name), rate, rate.n_real, rate.n_fake, remark))
    return Table("All faces", ("Metric", "Value", "Real", "Fake", "Remark"), tuple(rows)) if rows else None


def sources_table(metrics: dict[str, Any]) -> Table | None:
    """Each metric by source; None if there is none."""
    by_folder = sub_document(metrics, "by_folder")
    if not by_folder:
        return None
    names = list(dict.fromkeys(name for source in by_folder for name in sub_document(by_folder, source)))
    rates = {
        source: {name: as_rate(rate) for name, rate in sub_document(by_folder, source).items()}
        for source in by_folder
    }
    # A column that no source has a value for says nothing; its reasons stay in the notes.
    shown = [
        name for name in names if any(name in by and by[name].value is not None for by in rates.values())
    ]
    rows = []
    reasons: dict[str, list[str]] = {}
    for source, by_name in rates.items():
        counts = [
            max(
                (count for rate in by_name.values() if (count := getattr(rate, key)) is not None),
                default=None,
            )
            for key in ("n_real", "n_fake")
        ]
        rows.append((source, *counts, *(by_name.get(name, Rate(None)) for name in shown)))
        for name, rate in by_name.items():
            if rate.value is None and rate.reason:
                reasons.setdefault(rate.reason, []).append(f"{metric_title(name)} of {source}")
    notes = tuple(f"Undefined ({reason}): {_some(which)}." for reason, which in reasons.items())
    return Table(
        "By source", ("Source", "Real", "Fake", *(metric_title(name) for name in shown)), tuple(rows), notes
    )


def measures_table(document: dict[str, Any]) -> Table | None:
    """How well sources separate; None if it was not measured."""
    measures = sub_document(document, "measures")
    rows = []
    for name, measure in measures.items():
        rate = as_rate(measure)
        remark = str(sub_document(measures, name).get("meaning") or "")
        if rate.value is None and rate.reason:
            remark = f"{remark} Undefined: {rate.reason}".strip()
        rows.append((MEASURE_TITLES.get(name, _words(name)), rate, remark))
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
                _count(source.get("n")),
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
            f"{MEASURE_TITLES.get(measure, _words(measure))} of {titles.get(name, name)}: {rate.reason}"
            for measure, rate in rates.items()
            if rate.value is None and rate.reason
        ]
    first = sub_document(projections, next(iter(projections)))
    for measure in measures:
        meaning = sub_document(first, measure).get("meaning")
        if isinstance(meaning, str):
            notes.append(f"{MEASURE_TITLES.get(measure, _words(measure))}: {meaning}")
    headers = ("Map", *(MEASURE_TITLES.get(measure, _words(measure)) for measure in measures))
    return Table("How far the maps may be trusted", headers, tuple(rows), tuple(notes))


def _facts(document: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _facts(value, f"{name}.")
        elif isinstance(value, list):
            yield name, _shortened(", ".join(str(item) for item in value))
        elif value is not None:
            yield name, _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _some(items: list[str], most: int = 4) -> str:
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def _present(documents: Iterable[Mapping[str, Any]], known: tuple[str, ...]) -> list[str]:
    """Returns the keys that occur: known ones first and in their order, then the others."""
    occurring = dict.fromkeys(key for document in documents for key in document)
    return [key for key in known if key in occurring] + [key for key in occurring if key not in known]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_number(value: Any) -> bool:
    return as_number(value) is not None

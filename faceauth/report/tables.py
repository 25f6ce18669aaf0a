"""Every table of the report, once: the page and the workbook show the same."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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
    "tpr_at_fpr_1": "Fakes found at 1 % false alarms",
    "tpr_at_fpr_01": "Fakes found at 0.1 % false alarms",
    "mean_p_fake_of_fakes": "Mean score of fakes",
    "mean_p_fake_of_reals": "Mean score of reals",
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
        as_count(document.get("n_real")),
        as_count(document.get("n_fake")),
        str(reason) if reason else (None if value is not None else "undefined"),
    )


def as_words(name: str) -> str:
    """Writes a name from a document as words."""
    return name.replace("_", " ")


def as_count(value: Any) -> int | None:
    """Returns a whole number as it is, and None for whatever is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def metric_title(name: str) -> str:
    """Returns how people call a metric; an unknown one is shown as it is named."""
    return METRIC_TITLES.get(name, name.replace("_", " "))


def reading_order(names: Iterable[str]) -> list[str]:
    """Sorts metrics as people look for them; unknown ones come last, as they were."""
    known = list(METRIC_TITLES)
    return sorted(names, key=lambda name: known.index(name) if name in METRIC_TITLES else len(known))


def sub_document(document: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Follows keys into a document; an empty one stands for what is not there."""
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def facts_table(title: str, document: dict[str, Any], *, folded: bool = False) -> Table | None:
    """Whatever a document says, one fact a row; None if it says nothing."""
    rows = tuple((name, text) for name, text in _facts(document))
    return Table(title, ("Fact", "Value"), rows, folded=folded) if rows else None


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
    present = [key for key in columns if any(as_number(epoch.get(key)) is not None for epoch in epochs)]
    rows = tuple(
        (*(as_number(epoch.get(key)) for key in present), "best so far" if epoch.get("best") is True else "")
        for epoch in epochs
    )
    return Table("Epochs", (*(columns[key] for key in present), "Remark"), rows, folded=True)


def overall_table(metrics: dict[str, Any]) -> Table | None:
    """Each metric over all faces; None if there is none."""
    rows = []
    overall = sub_document(metrics, "overall")
    for name in reading_order(overall):
        rate = as_rate(overall[name])
        meaning = METRICS.get(name).meaning if name in METRICS.names() else ""
        remark = "; ".join(filter(None, (meaning, rate.reason)))
        rows.append((metric_title(name), rate, rate.n_real, rate.n_fake, remark))
    return Table("All faces", ("Metric", "Value", "Real", "Fake", "Remark"), tuple(rows)) if rows else None


def sources_table(metrics: dict[str, Any]) -> Table | None:
    """Each metric by source; None if there is none."""
    by_folder = sub_document(metrics, "by_folder")
    if not by_folder:
        return None
    names = reading_order(
        dict.fromkeys(name for source in by_folder for name in sub_document(by_folder, source))
    )
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
                # Sources differ in how many faces they lack; what is needed is the same.
                needed = rate.reason.partition(", and there are ")[0]
                reasons.setdefault(needed, []).append(f"{metric_title(name)} of {source}")
    notes = tuple(f"Undefined ({reason}): {_some(which)}." for reason, which in reasons.items())
    return Table(
        "By source", ("Source", "Real", "Fake", *(metric_title(name) for name in shown)), tuple(rows), notes
    )


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

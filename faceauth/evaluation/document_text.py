"""What people read of an evaluation: a table, and a few sentences on what its figures are worth."""

from typing import Any, NamedTuple

from faceauth.console import print_table
from faceauth.shortcuts.shortcuts import describe_ruler

# What a short table shows of each folder; the files hold all metrics.
FOLDER_HEADLINES = ("auroc", "balanced_accuracy", "eer")


class TableRow(NamedTuple):
    """One line of the table that people see, all texts."""

    folder: str
    metric: str
    value: str
    interval: str
    faces: str


def format_table(document: dict[str, Any]) -> list[TableRow]:
    """Makes the table that people see: all metrics overall, and a few for each folder.

    Args:
        document: What `evaluate_scores` returned.
    """
    rows = [_format_row("overall", name, rate) for name, rate in document["overall"].items()]
    for folder, rates in document["by_folder"].items():
        rows += [_format_row(folder, name, rates[name]) for name in FOLDER_HEADLINES]
    return rows


def print_metrics(document: dict[str, Any]) -> None:
    """Prints that table.

    Args:
        document: What `evaluate_scores` returned.
    """
    print_table(
        ["on", "metric", "value", "95 % interval", "faces"],
        [[row.folder, row.metric, row.value, row.interval, row.faces] for row in format_table(document)],
    )


def describe_evaluation(document: dict[str, Any]) -> list[str]:
    """Says what must be known beside the table: the ruler, the unsure band, and how often test was read.

    Args:
        document: What `evaluate_scores` returned.

    Returns:
        Whole sentences, only of what was measured.
    """
    sentences = []
    if document["shortcut_auroc"]["value"] is not None:
        sentences.append(describe_ruler(document["shortcuts"]))
    unsure = document["unsure"]
    if unsure["low"] is not None and unsure["share_unsure"]["value"] is not None:
        sentences.append(
            f"Unsure are scores from {unsure['low']:.3f} to {min(unsure['high'], 1.0):.3f}: "
            f"{_format_rate(unsure['share_unsure'])} of the faces. Stated coverage {unsure['coverage']:g}; "
            f"measured {_format_rate(unsure['covered_real'])} of the reals and "
            f"{_format_rate(unsure['covered_fake'])} of the fakes."
        )
    if document["split"] == "test" and document["test_reads"]:
        times = "once" if document["test_reads"] == 1 else f"{document['test_reads']} times"
        sentences.append(f"This checkpoint has been shown the test split {times}.")
    return sentences


def format_value(value: float) -> str:
    """Writes a value with three decimals; only an exact 0 or 1 is written as `0.000` or `1.000`."""
    text = f"{value:.3f}"
    if text == "0.000" and value > 0:
        return "<0.001"
    if text == "1.000" and value < 1:
        return ">0.999"
    return text


def _format_row(folder: str, metric: str, rate: dict[str, Any]) -> TableRow:
    value = "undefined" if rate["value"] is None else format_value(rate["value"])
    interval = rate["reason"] or ""
    if rate["ci95"] is not None:
        interval = " to ".join(format_value(bound) for bound in rate["ci95"])
    return TableRow(folder, metric, value, interval, f"{rate['n_real']} real, {rate['n_fake']} fake")


def _format_rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return f"undefined ({rate['reason']})"
    interval = f" ({' to '.join(map(format_value, rate['ci95']))})" if rate["ci95"] else ""
    return f"{format_value(rate['value'])}{interval}"

"""Tables for people: what `peers.py` and `embedded_figures.py` measured, as Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def format_document(document: Mapping[str, Any]) -> str:
    """Writes peers.json as Markdown tables for people."""
    detectors = document["detectors"]
    names = list(detectors)
    blocks = [
        f"{document['n_real']} real and {document['n_fake']} fake crops. In parentheses 95 % intervals; `*`: "
        "the detector learned from this generator. The mean and the worst are over generators, each against "
        "all reals.",
        markdown_table(
            [
                "detector",
                "mean AUROC",
                "worst",
                "mean TPR at 5 % FPR",
                "AUROC of all",
                "false alarms, its threshold",
            ],
            [_summary_row(name, detectors[name]) for name in names],
        ),
        markdown_table(
            ["AUROC against all reals", "n", *names],
            [
                [
                    generator,
                    str(of_first["auroc"]["n_fake"]),
                    *(_starred(detectors[name], generator) for name in names),
                ]
                for generator, of_first in detectors[names[0]]["generators"].items()
            ],
        ),
    ]
    with_own = [
        (generator, of_first["own_collections"])
        for generator, of_first in detectors[names[0]]["generators"].items()
        if of_first["own_collections"]
    ]
    if with_own:
        rows = [
            [
                generator,
                ", ".join(collections),
                *(cell(detectors[name]["generators"][generator]["auroc_own"]) for name in names),
            ]
            for generator, collections in with_own
        ]
        blocks.append(markdown_table(["AUROC against its own reals", "reals", *names], rows))
    collections = detectors[names[0]]["false_alarms"]
    blocks.append(
        markdown_table(
            ["called fake at its threshold", "n", *names],
            [
                [
                    collection,
                    str(rate["n_real"]),
                    *(cell(detectors[name]["false_alarms"].get(collection)) for name in names),
                ]
                for collection, rate in collections.items()
            ],
        )
    )
    if document["gains"]:
        rows = [
            [name, cell(gain["mean_auroc"]), cell(gain["mean_tpr_at_fpr_5"])]
            for name, gain in document["gains"].items()
        ]
        blocks.append(markdown_table([f"{names[0]} above", "mean AUROC", "mean TPR at 5 % FPR"], rows))
    if document["speed"]:
        blocks.append(_format_speed(document["speed"]))
    return "\n\n".join(blocks)


def _summary_row(name: str, figures: Mapping[str, Any]) -> list[str]:
    worst = figures["worst"]
    return [
        f"{name}: {figures['what']}",
        cell(figures["mean_auroc"]),
        f"{worst['generator']} {cell(worst['auroc'])}" if worst else "-",
        cell(figures["mean_tpr_at_fpr_5"]),
        cell(figures["auroc"]),
        cell(figures["false_alarms"].get("all")),
    ]


def _starred(figures: Mapping[str, Any], generator: str) -> str:
    of_generator = figures["generators"][generator]
    return cell(of_generator["auroc"]) + (" *" if of_generator["learned_from"] else "")


def _format_speed(speed: Mapping[str, Any]) -> str:
    """Writes medians over rounds, and medians of the ratios of each round to the first detector."""
    ours = next(iter(speed["detectors"].values()))
    rows = []
    for name, of_sizes in speed["detectors"].items():
        for size, found in of_sizes.items():
            ratios = [
                one / other
                for one, other in zip(found["images_per_s"], ours[size]["images_per_s"], strict=True)
            ]
            rows.append(
                [
                    name,
                    size,
                    f"{statistics.median(found['images_per_s']):.1f}",
                    f"{min(found['images_per_s']):.1f} to {max(found['images_per_s']):.1f}",
                    f"{statistics.median(found['core_ms']):.0f}",
                    f"{statistics.median(ratios):.2f}",
                ]
            )
    said = (
        f"{speed['n']} crops in memory, {speed['rounds']} rounds, {speed['threads']} threads on "
        f"{speed['cores']} cores of {speed['machine']}: medians."
    )
    header = ["detector", "batch", "images/s", "range", "ms of a core, each", "times the first"]
    return f"{said}\n\n{markdown_table(header, rows)}"


def cell(rate: dict[str, Any] | None) -> str:
    """Writes a rate of a document for a table: its value, and its interval if it has one."""
    if rate is None or rate["value"] is None:
        return "-"
    if rate["ci95"] is None:
        return f"{rate['value']:.3f}"
    return f"{rate['value']:.3f} ({rate['ci95'][0]:.3f} to {rate['ci95'][1]:.3f})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

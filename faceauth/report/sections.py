"""The parts of the report, each only if there is something to say in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from faceauth.clusters.plots import TITLES
from faceauth.report import cluster_tables, data_tables, tables
from faceauth.report.collect import Clusters, Collected, Document, Study, TrainingRun
from faceauth.report.evaluation_sections import (
    calibration_blocks,
    evaluation_blocks,
    plates,
    threshold_blocks,
)
from faceauth.report.evaluation_tables import leaking_rows_table, ruler_pairs_table
from faceauth.report.figures import IntervalRow, interval_chart, training_curves
from faceauth.report.kinds import STUDY_KINDS
from faceauth.report.map import interactive_map
from faceauth.report.markup import Block, Markup, inline_image, number, paragraph, text
from faceauth.report.tables import Table, as_number, as_rate, sub_document


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: Where links within the page point.
        title: Its heading.
        blocks: What it shows, in order; tables also go into the workbook.
    """

    anchor: str
    title: str
    blocks: tuple[Markup | Table, ...]


def all_sections(collected: Collected, *, crops_root: Path | None) -> list[Section]:
    """Returns the sections for which something was found, and the limits, which always apply.

    Args:
        collected: What was found.
        crops_root: Folder of the crops if faces may be shown, else None.
    """
    evaluations = [
        (found.name, evaluation_blocks(found, collected.audits, crops_root))
        for found in collected.evaluations
    ]
    clusters = [
        (found.name, _cluster_blocks(found, number_on_page, crops_root))
        for number_on_page, found in enumerate(collected.clusters, start=1)
    ]
    sections = [
        _section("data", "Data", [(found.name, _data_blocks(found)) for found in collected.preparations]),
        _section("audit", "Audit", [(found.name, _audit_blocks(found)) for found in collected.audits]),
        _section("model", "Model", [(found.name, _model_blocks(found)) for found in collected.models]),
        _section("training", "Training", [(found.name, _training_blocks(found)) for found in collected.runs]),
        _section("evaluation", "Evaluation", evaluations),
        _section(
            "calibration",
            "Calibration",
            [(found.name, calibration_blocks(found)) for found in collected.evaluations],
        ),
        _section(
            "thresholds",
            "Thresholds",
            [(found.name, threshold_blocks(found)) for found in collected.evaluations],
        ),
        *(
            _section(
                kind.anchor,
                kind.title,
                [(found.name, _study_blocks(found)) for found in collected.studies if found.kind is kind],
            )
            for kind in STUDY_KINDS.values()
        ),
        _section("clusters", "Clusters", clusters),
        Section("limits", "Limits", (_limits(collected),)),
    ]
    return [section for section in sections if section.blocks]


def _section(anchor: str, title: str, parts: Sequence[tuple[str, Sequence[Block]]]) -> Section:
    """Puts parts of one kind below each other; if there are several, each says which folder it is from."""
    blocks: list[Markup | Table] = []
    for name, part in parts:
        own = [block for block in part if block]
        if own and len(parts) > 1:
            blocks.append(Markup(f'<h3 class="origin">{text(name)}</h3>'))
            own = [
                replace(block, title=f"{block.title}, {name}") if isinstance(block, Table) else block
                for block in own
            ]
        blocks += own
    return Section(anchor, title, tuple(blocks))


def _data_blocks(found: Document) -> list[Block]:
    by_status = sub_document(found.content, "counts", "by_status")
    n_all = sum(count for count in by_status.values() if isinstance(count, int))
    n_ok = by_status.get("ok", 0)
    words = (
        f"{number(n_all)} images came in, and {number(n_ok)} of them became faces in a split."
        if n_all
        else ""
    )
    return [
        paragraph(words, kind="lead") if words else None,
        data_tables.counts_table(found.content),
        data_tables.equalised_table(found.content),
        data_tables.failures_table(found.content),
        data_tables.speed_table(found.content),
        tables.facts_table("Settings", sub_document(found.content, "settings"), folded=True),
        tables.facts_table("Versions", sub_document(found.content, "versions"), folded=True),
    ]


def _audit_blocks(found: Document) -> list[Block]:
    shortcuts = sub_document(found.content, "shortcuts")
    rows = [IntervalRow("all sources", as_rate(shortcuts.get("overall")))]
    rows += [IntervalRow(name, as_rate(rate)) for name, rate in sub_document(shortcuts, "by_folder").items()]
    leaks = data_tables.leaks_table(found.content)
    return [
        leaks,
        leaking_rows_table(found.content),
        paragraph(
            "A ruler sees a file, its colour and its sharpness, and never a face. Where it tells fakes "
            "from reals, a detector may have learned the same, and its figures there are worth as little."
        )
        if shortcuts
        else None,
        interval_chart(rows, description="AUROC of plain facts alone", subject="plain facts"),
        data_tables.shortcuts_table(found.content),
        data_tables.importances_table(found.content),
        ruler_pairs_table(found.content),
    ]


def _model_blocks(found: Document) -> list[Block]:
    facts = {key: value for key, value in found.content.items() if key not in ("metrics", "versions")}
    return [
        tables.facts_table("Model card", facts),
        tables.facts_table("Model versions", sub_document(found.content, "versions"), folded=True),
    ]


def _training_blocks(found: TrainingRun) -> list[Block]:
    best = [epoch["epoch"] for epoch in found.epochs if epoch.get("best") is True]
    seconds = [as_number(epoch.get("seconds")) for epoch in found.epochs]
    words = f"{len(found.epochs)} epochs"
    if None not in seconds:
        words += f" in {_duration(sum(second for second in seconds if second is not None))}"
    words += f"; the best on val was epoch {best[-1]}, which the checkpoint holds." if best else "."
    return [paragraph(words, kind="lead"), training_curves(found.epochs), tables.epochs_table(found.epochs)]


def _study_blocks(found: Study) -> list[Block]:
    finding, captions = found.kind.finding(found.document), found.kind.figures
    more = plates((path for path in found.figures if path.stem not in captions), captions)
    return [
        paragraph(found.kind.meaning, kind="lead"),
        paragraph(finding) if finding else None,
        plates((path for path in found.figures if path.stem in captions), captions),
        Markup(f"<details><summary>More figures</summary>{more}</details>") if more else None,
        *found.kind.tables(found.document),
    ]


def _cluster_blocks(found: Clusters, number_on_page: int, crops_root: Path | None) -> list[Block]:
    document = found.document
    notes = document.get("notes")
    layer = document.get("layer")
    words = "Each point is a face as the detector sees it"
    words += f" (layer: {layer})" if isinstance(layer, str) and layer else ""
    words += (
        ". On a map only neighbourhoods mean something; sizes of clusters and distances between them do not."
    )
    blocks: list[Block] = [paragraph(words, kind="lead")]
    if found.points is not None:
        blocks.append(interactive_map(found, number_on_page=number_on_page, crops_root=crops_root))
    else:
        blocks += [inline_image(path, f"{path.stem} of {found.name}") for path in found.plots]
    blocks += [
        cluster_tables.measures_table(document),
        cluster_tables.cluster_sources_table(document),
        cluster_tables.faithfulness_table(document, TITLES),
    ]
    if isinstance(notes, list):
        blocks += [paragraph(str(note), kind="notes") for note in notes]
    return blocks


def _limits(collected: Collected) -> Markup:
    """Says in plain words what none of these figures can carry."""
    limits = [
        "A figure holds for the generators and the collections in these tables. A generator that the "
        "detector has never seen may pass as real, and no figure on this page says how often.",
        "Faces of the training data's own kind are the easiest. On other cameras, other compression and "
        "other people, expect less; measure it on your own material before relying on it.",
        "A score is no evidence against a person. It says how an image resembles others that were "
        "machine-made, and it errs in both directions, unevenly among people, cameras and light.",
        "Each figure comes with the number of faces behind it and an interval. Two figures whose intervals "
        "overlap have not been shown to differ.",
    ]
    if collected.clusters:
        limits.append(
            "Clusters show what the detector tells apart, which may be the file's history and not the "
            "generator's hand."
        )
    return Markup(f"<ul>{''.join(f'<li>{text(limit)}</li>' for limit in limits)}</ul>")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"

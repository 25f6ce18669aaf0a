"""What the report shows of matrix, robustness, spectra, comparison, and of all that metrics.json may hold."""

import copy
import re

import openpyxl
import pytest
from matplotlib.figure import Figure
from PIL import Image
from test_report import HOSTILE, Elements, metrics_document, page_of, rate, write, write_evaluation, write_run

from faceauth.report.collect import Evaluation, collect
from faceauth.report.comparison_tables import comparison_finding
from faceauth.report.evaluation_sections import calibration_blocks, evaluation_blocks, threshold_blocks
from faceauth.report.evaluation_tables import pairs_table, reads_words
from faceauth.report.kinds import STUDY_KINDS
from faceauth.report.markup import inline_image, table
from faceauth.report.study_tables import matrix_finding, robustness_finding
from faceauth.report.tables import Table, sources_table

UNDEFINED = rate(None, reason="there is nothing to measure")


def mean(value):
    return {"names": ["gan"], "mean_auroc": rate(value)}


MATRIX = {
    "plan": {"name": "one_generator"},
    "failed": {"late": "its training failed"},
    "untrainable": {},
    "tests": [{"name": HOSTILE, "kind": "generator", "folders": [HOSTILE], "n_real": 9, "n_fake": 9}],
    "cells": [
        {
            "training": name,
            "test": HOSTILE,
            "kind": "generator",
            "seen": seen,
            "rates": {"auroc": rate(0.7), "balanced_accuracy": rate(0.6)},
        }
        for name, seen in (("narrow", "unseen"), (HOSTILE, "seen"))
    ],
    "summary": [
        {
            "training": name,
            "seen_generators": mean(0.95),
            "unseen_generators": mean(unseen),
            "generators": mean(0.8),
            "worst_generator": {"test": HOSTILE, "auroc": rate(0.61)},
            "unseen_collections": {"names": [], "recall_real": UNDEFINED},
        }
        for name, unseen in (("wide", 0.9), ("narrow", 0.62))
    ],
}


def level(at, auroc):
    names = ("balanced_accuracy", "recall_fake", "recall_real")
    return {"level": at, "auroc": rate(auroc), "auroc_drop": rate(0.9 - auroc)} | dict.fromkeys(
        names, rate(0.7)
    )


ROBUSTNESS = {
    "clean": {"auroc": rate(0.9), "balanced_accuracy": rate(0.8)},
    "degradations": {
        "jpeg": {"unit": "JPEG quality", "levels": [level(80, 0.88), level(30, 0.71)], "area": rate(0.8)},
        HOSTILE: {"unit": HOSTILE, "levels": [level(1, 0.85)], "area": UNDEFINED},
    },
}
SPECTRA = {
    "kinds": ["pixels"],
    "sources": {
        "web": {
            "target": 1,
            "n": 40,
            "n_groups": 20,
            "peaks": [],
            "high_frequency_db": {"pixels": rate(-9.5)},
        },
        HOSTILE: {
            "target": 0,
            "n": 30,
            "n_groups": 30,
            "peaks": [
                {"kind": "pixels", "fx": 0.25, "fy": 0.0, "fraction": "1/4, 0", "height_db": 7.25, "z": 12.0}
            ],
        },
        "one": {"target": 0, "n": 3, "n_groups": 1, "peaks": None, "reason": "all pictures are of one group"},
    },
}


def compared(first, second, *, margin=0.01):
    difference = rate(first - second, margin=margin)
    return {"first": rate(first), "second": rate(second), "difference": difference, "p_value": 0.004}


COMPARE = {
    "first": {"scores": "results/ours/scores.csv"},
    "second": {"scores": f"results/{HOSTILE[:8]}/scores.csv"},
    "overall": {"auroc": compared(0.93, 0.88)},
    "by_folder": {HOSTILE: {"auroc": compared(0.8, 0.7) | {"p_holm": 0.02}}},
}
STUDIES = {
    "matrix.json": MATRIX,
    "robustness.json": ROBUSTNESS,
    "spectra.json": SPECTRA,
    "compare.json": COMPARE,
}
MORE_METRICS = {
    "threshold": {
        "value": 0.4,
        "rule": "youden",
        "chosen_on": "val",
        "ci95": [0.31, 0.47],
        "n_real": 70,
        "n_fake": 80,
    },
    "auroc_delong": {"overall": rate(0.911), "by_folder": {HOSTILE: rate(0.709)}},
    "pairs": [
        {"generator": "gan", "collection": "web", "auroc": rate(0.95)},
        {"generator": HOSTILE, "collection": "web", "auroc": rate(0.66)},
        {"generator": "gan", "collection": "one", "auroc": UNDEFINED},
    ],
    "thresholds": [
        {
            "rule": HOSTILE,
            "value": 0.61,
            "ci95": [0.55, 0.66],
            "chosen_on": "val",
            "accuracy": rate(0.8),
            "balanced_accuracy": rate(0.81),
            "recall_fake": rate(0.82),
            "recall_real": rate(0.83),
        }
    ],
    "calibration": {
        "method": "temperature",
        "chosen_on": "val",
        "overall": {"ece": rate(0.041), "brier": rate(0.12)},
        "by_folder": {HOSTILE: {"ece": rate(0.09), "brier": rate(0.2)}},
        "bins": [
            {
                "p_from": 0.0,
                "p_to": 0.1,
                "n": 55,
                "mean_p_fake": 0.04,
                "share_fake": 0.06,
                "ci95": [0.01, 0.15],
            },
            {"p_from": 0.1, "p_to": 0.2, "n": 0, "mean_p_fake": None, "share_fake": None, "ci95": None},
        ],
    },
    "unsure": {
        "low": 0.3,
        "high": 0.6,
        "coverage": 0.9,
        "chosen_on": "val",
        "covered_real": rate(0.91),
        "covered_fake": rate(0.92),
        "share_unsure": rate(0.13),
        "error_of_the_sure": rate(0.05),
    },
    "shortcuts": {"overall": rate(0.634), "by_folder": {HOSTILE: rate(0.97)}, "features": []},
    "pooled": {"mean": {"overall": {"auroc": rate(0.96)}}, "max": {"overall": {"auroc": rate(0.94)}}},
    "test_reads": 2,
    "test_read_log": [
        {
            "when": f"2025-03-0{day}T10:00:00+00:00",
            "who": HOSTILE,
            "checkpoint_sha256": "ab" * 32,
            "manifest_sha256": "cd" * 32,
        }
        for day in (1, 2)
    ],
}


def save_figure(path, width_inch):
    figure = Figure(figsize=(width_inch, 2))
    figure.add_subplot().plot([0, 1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "study"
    write_evaluation(folder / "results", **MORE_METRICS)
    for name, document in STUDIES.items():
        write(folder / name.removesuffix(".json") / name, document)
    for place in ("matrix/matrix", "robustness/robustness_decisions", "spectra/spectra", "compare/compare"):
        save_figure(folder / f"{place}.svg", 4)
    save_figure(folder / "results" / "reliability.png", 4)
    return folder


def evaluation(**changes):
    return Evaluation("e", metrics_document(**changes), None, ())


def titles(blocks):
    return [block.title for block in blocks if isinstance(block, Table)]


# Where things stand


def test_sections_come_in_reading_order_and_only_with_their_data(studies, tmp_path):
    shown = Elements(page_of(studies, output=tmp_path / "report"))
    assert shown.sections == [
        "verdict",
        "evaluation",
        "calibration",
        "thresholds",
        "matrix",
        "robustness",
        "spectra",
        "comparison",
        "limits",
    ]
    for part in ("matrix.json", "compare.json"):
        (studies / part.removesuffix(".json") / part).unlink()
    assert {"matrix", "comparison"}.isdisjoint(Elements(page_of(studies, output=tmp_path / "b")).sections)
    # Nobody has to have measured these.
    assert "robustness.json" not in shown.text


def test_a_study_alone_is_a_report(tmp_path):
    write(tmp_path / "m" / "matrix.json", MATRIX)
    assert "matrix" in Elements(page_of(tmp_path / "m", output=tmp_path / "report")).sections


def test_each_figure_stands_in_its_own_section(studies, tmp_path):
    for name in ("matrix", "spectra"):
        # All results of a detector may lie in one folder.
        (studies / name / f"{name}.json").rename(studies / "results" / f"{name}.json")
        (studies / name / f"{name}.svg").rename(studies / "results" / f"{name}.svg")
    page = page_of(studies, output=tmp_path / "report")
    parts = dict(re.findall(r'<section id="(\w+)"(.*?)</section>', page, re.DOTALL))
    assert {name: part.count("<img") for name, part in parts.items()} == {
        "verdict": 0,
        "evaluation": 1,
        "calibration": 1,
        "thresholds": 0,
        "matrix": 1,
        "robustness": 1,
        "spectra": 1,
        "comparison": 1,
        "limits": 0,
    }
    assert "AUROC of each detector on each source" in parts["matrix"]
    assert "<summary>More figures</summary>" in parts["robustness"]
    assert "<summary>More figures</summary>" not in parts["matrix"]


def test_the_trainings_of_a_matrix_are_not_reported_one_by_one(studies):
    write_run(studies / "matrix" / "runs")
    assert collect([studies]).runs == []


def test_the_sheet_of_faces_stays_out_of_the_page(studies, tmp_path):
    before = page_of(studies, output=tmp_path / "a")
    Image.effect_noise((300, 300), 90).save(studies / "results" / "misclassified.png")
    assert page_of(studies, output=tmp_path / "b") == before


def test_a_wide_figure_has_a_row_of_its_own(tmp_path):
    for suffix in (".svg", ".png"):
        for width_inch, kind in ((4, "plate"), (9, "plate wide")):
            path = tmp_path / f"{width_inch}{suffix}"
            save_figure(path, width_inch)
            assert Elements(inline_image(path, "")).elements[0] == ("figure", {"class": kind})


# What they say


def test_figures_of_every_study_are_on_the_page_and_in_the_workbook(studies, tmp_path):
    shown = Elements(page_of(studies, output=tmp_path / "report")).text
    sheets = openpyxl.load_workbook(tmp_path / "report" / "report.xlsx")
    cells = {cell for sheet in sheets for row in sheet.iter_rows(values_only=True) for cell in row}
    for value in (0.61, 0.71, 7.25, 0.041, 0.55, 0.911, 0.66, 0.96):
        assert value in cells
        assert f"{value:.3f}" in shown
    assert HOSTILE in cells
    for words in (
        "late: its training failed",
        "all pictures are of one group",
        "by temperature, fitted on val",
    ):
        assert words in shown
    assert "from 70 real and 80 fake faces; 95 % interval 0.310–0.470" in shown
    assert "Scores from 0.300 up to 0.600 are called unsure" in shown


def test_no_name_from_a_study_becomes_markup(studies, tmp_path):
    page = page_of(studies, output=tmp_path / "report")
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert Elements(page).text.count(HOSTILE) >= 8


def test_findings_name_the_worst():
    assert "narrow: a mean AUROC of 0.950" in matrix_finding(MATRIX)
    assert "0.620" in matrix_finding(MATRIX)
    assert "jpeg at 30 (JPEG quality): it takes 0.190" in robustness_finding(ROBUSTNESS)
    assert matrix_finding({}) == robustness_finding({}) == ""


def test_a_difference_is_claimed_only_where_its_interval_leaves_out_0():
    assert comparison_finding(COMPARE).startswith("ours is better than")
    turned = COMPARE | {"overall": {"auroc": compared(0.88, 0.93)}}
    assert comparison_finding(turned).endswith("(the interval of the difference is -0.060 to -0.040).")
    assert "is better than ours" in comparison_finding(turned)
    unsure = COMPARE | {"overall": {"auroc": compared(0.93, 0.925)}}
    assert "was not shown" in comparison_finding(unsure)


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"test_reads": 1}, "The test split was read once for this model."),
        (
            {"test_reads": 2, "test_read_log": MORE_METRICS["test_read_log"]},
            "The test split was read 2 times for this model, last on 2025-03-02, by the checkpoint "
            "abababababab.",
        ),
        ({"test_reads": 0}, ""),
        ({"test_reads": True}, ""),
        ({}, ""),
    ],
)
def test_it_says_how_often_the_test_split_was_read(metrics, words):
    assert reads_words(metrics) == words


def test_the_hardest_pair_comes_first_and_the_undefined_last():
    assert [row[0] for row in pairs_table(MORE_METRICS).rows] == [HOSTILE, "gan", "gan"]


def test_the_ruler_of_the_evaluation_itself_goes_before_that_of_an_audit(tmp_path):
    write(tmp_path / "audit.json", {"shortcuts": {"by_folder": {HOSTILE: rate(0.51), "gan": rate(0.77)}}})
    audits = collect([tmp_path]).audits
    found = evaluation(shortcuts={"by_folder": {HOSTILE: rate(0.97)}})
    shown = "".join(map(str, evaluation_blocks(found, audits, None)))
    assert "a ruler alone: 0.970" in shown
    assert "a ruler alone: 0.770" in shown
    assert "0.510" not in shown


def test_what_an_evaluation_does_not_hold_is_left_out():
    assert calibration_blocks(evaluation()) == []
    assert not any(threshold_blocks(evaluation()))
    assert titles(evaluation_blocks(evaluation(), [], None)) == ["All faces", "By source"]


def test_without_a_band_nothing_is_said_of_the_unsure():
    unsure = MORE_METRICS["unsure"] | {"low": None, "high": None, "covered_real": UNDEFINED}
    assert not any(threshold_blocks(evaluation(unsure=unsure)))
    assert titles(threshold_blocks(evaluation(unsure=MORE_METRICS["unsure"]))) == [
        "Where the detector is unsure"
    ]


def test_a_threshold_that_was_chosen_on_the_measured_faces_is_pointed_out():
    thresholds = MORE_METRICS["thresholds"]
    on_test, on_val = (
        Elements(threshold_blocks(evaluation(thresholds=thresholds, split=split))[0]).text
        for split in ("test", "val")
    )
    assert "none was chosen on the faces" in on_test
    assert f"Chosen on these very faces, and so too good here: {HOSTILE}" in on_val


def test_what_equalising_left_is_part_of_the_data(tmp_path):
    remains = [
        {"generator": None, "before": rate(0.91), "after": rate(0.58), "leaned_on": "n_bytes"},
        {"generator": HOSTILE, "before": rate(0.97), "after": UNDEFINED, "leaned_on": None},
    ]
    write(tmp_path / "p" / "prepare.json", {"equalised": {"remains": remains}})
    shown = Elements(page_of(tmp_path / "p", output=tmp_path / "report")).text
    for words in ("all fakes", "0.910", "0.580", "n_bytes", HOSTILE):
        assert words in shown


def test_one_reason_of_many_sources_is_said_once():
    by_folder = {
        f"gan_{n}": {"tpr_at_fpr_1": rate(None, reason=f"it needs 100 real faces, and there are {n}")}
        for n in range(3)
    }
    notes = sources_table({"by_folder": by_folder}).notes
    assert len(notes) == 1
    assert "it needs 100 real faces" in notes[0]


# Whatever is in them


INSTEAD = (None, [], {}, 3, "x", [1], [{"a": 1}])


def mutilated(document):
    """Yields documents in each of which one value is missing or something else."""

    def places(node, trail=()):
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            yield (*trail, key)
            yield from places(node[key], (*trail, key))

    for *trail, last in places(document):
        for instead in ("gone", *INSTEAD):
            changed = copy.deepcopy(document)
            node = changed
            for key in trail:
                node = node[key]
            if instead == "gone":
                del node[last]
            else:
                node[last] = instead
            yield changed


def assert_whole(blocks):
    for block in blocks:
        if isinstance(block, Table):
            assert all(len(row) == len(block.columns) for row in block.rows)
            # It can be drawn, too.
            table(block)


@pytest.mark.parametrize("part", sorted(STUDIES))
def test_a_study_of_another_shape_shows_what_it_can(part):
    kind = STUDY_KINDS[part]
    for document in mutilated(STUDIES[part]):
        # The reader refuses the others, with a line on the page.
        if all(isinstance(document.get(key, like()), like) for key, like in kind.keys.items()):
            assert isinstance(kind.finding(document), str)
            assert_whole(kind.tables(document))


def test_metrics_of_another_shape_show_what_they_can():
    for more in mutilated(MORE_METRICS):
        assert_whole([*evaluation_blocks(evaluation(**more), [], None)])
        assert_whole([*calibration_blocks(evaluation(**more)), *threshold_blocks(evaluation(**more))])

import json
from dataclasses import replace

import openpyxl
import pytest
from pictures import save_layout, write_table
from PIL import Image

from faceauth.intake.manifest import read_manifest, write_manifest
from faceauth.scoring.intervals import Rate
from faceauth.shortcuts.plain_facts import FILE_FACTS
from faceauth.shortcuts.shortcuts import rate_ruler
from faceauth.verbs.audit import audit_manifest
from faceauth.verbs.audit_text import describe_pairs, pair_matrices, print_leaking_rows

HEADER = ["image_path", "destination_path", "Folder", "split", "target_class", "target"]
CLASH = [["a", "x", "f", "train", "real", 1], ["b", "x", "g", "test", "fake", 0]]


def original_table(path, *, leaking):
    """A spreadsheet as the original project wrote them: by random rows, or by photo."""
    records = []
    for number in range(12):
        for place, (folder, label, target) in enumerate((("wiki", "real", 1), ("insight", "fake", 0))):
            split = ("train", "test", "dev")[(number + place * leaking) % 3]
            name = f"{number}_1979-05-25_2010.jpg"
            records.append(
                [f"/data/{folder}/27/{name}", f"../Data/{folder}-{name}", folder, split, label, target]
            )
    return write_table(path, HEADER, records)


@pytest.fixture
def prepared(run_cli, tmp_path):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 10, "fake/insight": 10})
    output = tmp_path / "prepared"
    run_cli("prepare", photos, "--output", output, "--face-detector", "whole", "--image-size", "64")
    return output


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_an_original_spreadsheet_split_by_random_rows_is_called_a_leak(run_cli, tmp_path, suffix):
    result = run_cli("audit", original_table(tmp_path / f"random{suffix}", leaking=True))
    assert result.exit_code == 1
    assert "12 groups are in two splits, such as 27/0_1979-05-25_2010" in result.stdout
    assert "24 of 24 rows have no perceptual hash" in result.stderr
    document = json.loads((tmp_path / "audit.json").read_text())
    assert document["leaks"] == {"group": 12, "exact": 0, "near": 0, "identity": 0}
    assert len(document["leaking_rows"]) == 24
    printed = [line for line in result.stdout.splitlines() if line.startswith("group ")]
    assert len(printed) == 20
    assert "../Data/wiki-0_1979-05-25_2010.jpg" in printed[0]
    assert "and 4 more" in result.stdout
    kept_together = run_cli("audit", original_table(tmp_path / f"by-photo{suffix}", leaking=False))
    assert kept_together.exit_code == 0
    assert "Leaks: no leaks." in kept_together.stdout


def test_what_prepare_made_has_no_leaks(run_cli, prepared, tmp_path):
    result = run_cli("audit", prepared, "--output", tmp_path / "elsewhere", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["leaks"] == {"group": 0, "exact": 0, "near": 0, "identity": 0}
    assert (document["leaking_rows"], document["leaking_rows_not_listed"]) == ([], 0)
    assert document["shortcuts"]["overall"].keys() == {"value", "ci95", "n_real", "n_fake", "reason"}
    (pair,) = document["shortcuts"]["pairs"]
    assert (pair["generator"], pair["collection"]) == ("insight", "wiki")
    assert pair["auroc"].keys() == document["shortcuts"]["overall"].keys()
    assert set(pair["leaned_on"]) <= set(FILE_FACTS)
    assert json.loads((tmp_path / "elsewhere/audit.json").read_text()) == document


def test_a_group_that_was_moved_by_hand_is_a_leak(run_cli, prepared):
    path = prepared / "manifest.xlsx"
    workbook = openpyxl.load_workbook(path)
    sheet = workbook.active
    splits = {cells[3].value: cells for cells in sheet.iter_rows(min_row=2)}
    splits["test"][8].value = splits["train"][8].value
    workbook.save(path)
    result = run_cli("audit", prepared, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["leaks"]["group"] == 1
    assert read_manifest(prepared).path == path


def test_a_manifest_that_does_not_say_how_its_crops_look_is_looked_at(prepared):
    manifest = read_manifest(prepared)
    bare = [
        replace(row, mean_red=None, mean_green=None, mean_blue=None, sharpness=None) for row in manifest.rows
    ]
    # Fakes are painted dark: only the crops' colour tells them, and only the crops say so.
    for row in bare:
        if row.destination_path and not row.target:
            Image.new("RGB", (64, 64), (9, 9, 9)).save(prepared / row.destination_path)
    write_manifest(bare, prepared)
    (prepared / next(row.destination_path for row in bare if row.target)).write_bytes(b"no image")
    found = audit_manifest(read_manifest(prepared)).shortcuts.pairs[0]
    assert found.auroc.value > 0.9
    assert found.leaned_on[0] in ("mean_red", "mean_green", "mean_blue", "sharpness")


def test_many_leaks_of_one_kind_do_not_hide_the_others(capsys):
    def leak(kind, i):
        row = {"kind": kind, "shared": f"s{i // 2}", "split": ("train", "test")[i % 2], "folder": "f"}
        return {**row, "destination_path": f"{kind}-{i}.png", "image_path": ""}

    rows = [leak("group", i) for i in range(60)] + [leak("identity", i) for i in range(4)]
    print_leaking_rows({"leaking_rows": rows, "leaking_rows_not_listed": 7})
    shown = capsys.readouterr().out
    assert [f"{row['kind']}-{i}.png" in shown for i, row in enumerate(rows[:12])] == [True] * 10 + [False] * 2
    assert all(row["destination_path"] in shown for row in rows[60:])
    assert "and 57 more" in shown


def make_pair(generator, collection, value, ci95):
    rate = Rate(value, ci95, 50, 50, None if value else "too few")
    return {
        "generator": generator,
        "collection": collection,
        "auroc": rate.to_json(),
        "leaned_on": ["width_px"] if value else [],
        "rating": rate_ruler(rate),
    }


PAIRS = [
    make_pair("gan", "web", 0.5, (0.42, 0.58)),
    make_pair("gan", "film", 0.7, (0.62, 0.78)),
    make_pair("swap", "web", 0.99, (0.95, 1.0)),
    make_pair("swap", "film", None, None),
]


def test_pairs_are_laid_out_as_a_matrix_and_rated_by_their_intervals():
    (table,) = pair_matrices(PAIRS)
    assert table == (
        ["AUROC of a pair", "web", "film"],
        [["gan", "0.50  ", "0.70 ~"], ["swap", "0.99 !", "-"]],
    )
    sentences = describe_pairs(PAIRS)
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "clean",
        "leans (~)",
        "exposed (!)",
        "unknown",
    ]
    assert "swap against web by width_px" in sentences[2]
    assert make_pair("gan", "web", 0.7, (0.4, 0.9))["rating"] == "unclear"


def test_many_collections_are_several_tables_that_hold_each_pair_once():
    pairs = [make_pair("gan", f"c{i}", 0.5 + i / 100, (0.4, 0.64)) for i in range(19)]
    tables = pair_matrices(pairs)
    assert [name for header, _ in tables for name in header[1:]] == [f"c{i}" for i in range(19)]
    assert [cell[:4] for _, (row,) in tables for cell in row[1:]] == [
        f"{0.5 + i / 100:.2f}" for i in range(19)
    ]


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda folder: folder / "none.xlsx", 1, "There is no manifest"),
        (lambda folder: folder, 1, "has no manifest.xlsx"),
        (lambda folder: write_table(folder / "a.csv", HEADER[:5][::-1], []), 0, None),
        (lambda folder: write_table(folder / "a.csv", HEADER[:3], []), 1, "no column 'split'"),
        (
            lambda folder: write_table(
                folder / "a.csv",
                HEADER,
                [["a", "x", "f", "train", "real", 1], ["b", "x", "g", "test", "fake", 0]],
            ),
            1,
            "1 files both real and fake",
        ),
    ],
)
def test_what_cannot_be_audited_is_one_clear_message(run_cli, tmp_path, make, code, message):
    result = run_cli("audit", make(tmp_path), "--json")
    assert result.exit_code == code
    document = json.loads(result.stdout)
    if message is None:
        assert document["shortcuts"]["overall"]["value"] is None
        return
    assert message in document["error"]["message"]
    assert document["error"]["hint"]
    assert "Traceback" not in result.stderr

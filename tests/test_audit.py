import json

import openpyxl
import pytest
from pictures import save_layout, write_table

from faceauth.intake.manifest import read_manifest

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
    assert document["leaks"] == {"group": 12, "exact": 0, "near": 0}
    kept_together = run_cli("audit", original_table(tmp_path / f"by-photo{suffix}", leaking=False))
    assert kept_together.exit_code == 0
    assert "Leaks: no leaks." in kept_together.stdout


def test_what_prepare_made_has_no_leaks(run_cli, prepared, tmp_path):
    result = run_cli("audit", prepared, "--output", tmp_path / "elsewhere", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["leaks"] == {"group": 0, "exact": 0, "near": 0}
    assert document["shortcuts"]["overall"].keys() == {"value", "ci95", "n_real", "n_fake", "reason"}
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

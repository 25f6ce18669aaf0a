import logging
import os
from dataclasses import replace

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import write_table

from faceauth.errors import InputError, ManifestError
from faceauth.intake import spreadsheet
from faceauth.intake.manifest import (
    COLUMNS,
    ORIGINAL_COLUMNS,
    STATUSES,
    SURPLUS,
    UNREADABLE,
    ManifestRow,
    edited_by_hand,
    read_manifest,
    write_manifest,
)

ROW = ManifestRow(
    image_path="/photos/wiki/27/a.jpg",
    destination_path="train/real/wiki/00ff.png",
    folder="wiki",
    split="train",
    target_class="real",
    target=1,
    group="person-1",
    identity="ann; bob",
    sha256="0f" * 32,
    phash="a0" * 32,
    box=(1.5, -2.25, 30.0, 40.75),
    p_face=0.875,
    width=640,
    height=480,
    format="JPEG",
    jpeg_quality=83,
    jpeg_subsampling="4:2:0",
    n_bytes=5_000_000_000,
    mean_red=127.53,
    mean_green=98.07,
    mean_blue=0.0,
    sharpness=2.7183,
)
FAKE_ROW = replace(
    ROW,
    target=0,
    target_class="fake",
    folder="insight",
    split="test",
    destination_path="test/fake/insight/01.png",
)
BARE_ROW = ManifestRow(
    "b.gif", "", "wiki", "", "real", 1, status=UNREADABLE, reason="the file is empty (0 bytes)"
)

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), min_size=1)


def touch_later(path, seconds):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + int(seconds * 1e9)))


def edit(path, cell, value):
    workbook = openpyxl.load_workbook(path)
    workbook.active[cell] = value
    workbook.save(path)


def test_the_first_six_columns_are_the_original_spreadsheets():
    assert ORIGINAL_COLUMNS == (
        "image_path", "destination_path", "folder", "split", "target_class", "target",
    )  # fmt: skip


def test_rows_come_back_from_both_files(tmp_path):
    rows = [ROW, FAKE_ROW, BARE_ROW]
    xlsx = write_manifest(rows, tmp_path)
    for path in (tmp_path, xlsx, tmp_path / "manifest.parquet"):
        assert read_manifest(path).rows == rows
        assert read_manifest(path).root == tmp_path
    (tmp_path / "manifest.parquet").unlink()
    assert read_manifest(tmp_path).path == xlsx
    assert read_manifest(tmp_path).rows == rows


@settings(max_examples=40)
@given(st.lists(st.tuples(names, names, names, st.sampled_from(list(STATUSES))), min_size=1, max_size=6))
def test_any_names_come_back_from_both_files(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("any")
    rows = [
        replace(
            ROW, image_path=path, folder=name, group=group, status=status, destination_path=f"train/{i}.png"
        )
        for i, (path, name, group, status) in enumerate(found)
    ]
    write_manifest(rows, folder)
    assert read_manifest(folder / "manifest.parquet").rows == rows
    (folder / "manifest.parquet").unlink()
    assert read_manifest(folder).rows == rows


def test_no_cell_of_a_manifest_is_a_formula(tmp_path):
    hostile = replace(ROW, image_path="=1+1.png", folder="=HYPERLINK(1)", group="@x", reason="=2")
    write_manifest([hostile, replace(hostile, image_path="+x\n\x01", folder="-x")], tmp_path)
    sheet = openpyxl.load_workbook(tmp_path / "manifest.xlsx").active
    assert [cell.value for cell in sheet[1]] == list(COLUMNS)
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n"}
    assert read_manifest(tmp_path).rows[0] == hostile


def test_more_rows_than_a_sheet_holds_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(spreadsheet, "MAX_SHEET_ROWS", 4)
    rows = [replace(ROW, destination_path=f"train/{i}.png") for i in range(8)]
    write_manifest(rows, tmp_path)
    assert len(openpyxl.load_workbook(tmp_path / "manifest.xlsx").sheetnames) == 3
    (tmp_path / "manifest.parquet").unlink()
    assert read_manifest(tmp_path).rows == rows


def test_the_same_rows_give_the_same_parquet_file_at_any_time(tmp_path, monkeypatch):
    write_manifest([ROW, FAKE_ROW], tmp_path / "first")
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda seconds=None: __import__("time").gmtime(2e9))
    write_manifest([ROW, FAKE_ROW], tmp_path / "second")
    first, second = ((tmp_path / name / "manifest.parquet").read_bytes() for name in ("first", "second"))
    assert first == second
    assert read_manifest(tmp_path / "first").sha256 == read_manifest(tmp_path / "second").sha256


def test_an_edited_spreadsheet_is_read_and_the_log_says_so(tmp_path, caplog):
    xlsx = write_manifest([ROW, FAKE_ROW], tmp_path)
    assert not edited_by_hand(tmp_path)
    edit(xlsx, "D2", "val")
    touch_later(xlsx, 5)
    assert edited_by_hand(tmp_path)
    with caplog.at_level(logging.INFO, logger="faceauth"):
        found = read_manifest(tmp_path)
    assert [row.split for row in found.rows] == ["val", "test"]
    assert "manifest.xlsx was changed last" in caplog.text
    touch_later(tmp_path / "manifest.parquet", 60)
    assert [row.split for row in read_manifest(tmp_path).rows] == ["train", "test"]


def test_a_copied_folder_with_mixed_up_times_counts_as_unedited(tmp_path):
    xlsx = write_manifest([ROW], tmp_path)
    touch_later(xlsx, 100)
    assert not edited_by_hand(tmp_path)
    assert read_manifest(tmp_path).path.name == "manifest.parquet"


def test_a_run_killed_between_the_two_files_leaves_one_that_can_be_read(tmp_path, monkeypatch):
    write_manifest([ROW], tmp_path)

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        write_manifest([ROW, FAKE_ROW], tmp_path)
    assert not edited_by_hand(tmp_path)
    assert read_manifest(tmp_path).rows == [ROW, FAKE_ROW]


ORIGINAL_HEADER = ["image_path", "destination_path", "Folder", "split", "target_class", "target"]
ORIGINAL_RECORDS = [
    ["../IMDB-WIKI/wiki/27/1_2010.jpg", "../Data/train/1_2010.jpg", "wiki", "train", "real", 1],
    ["../DeepFakeFace/insight/27/9_2010.jpg", "../Data/test/9_2010.jpg", "insight", "test", "fake", 0],
    ["../DeepFakeFace/text2img/27/8_2010.jpg", "../Data/dev/8_2010.jpg", "text2img", "dev", "fake", 0],
]


@pytest.mark.parametrize("suffix", [".xlsx", ".csv", ".parquet"])
def test_the_original_spreadsheet_is_read_as_it_is(tmp_path, suffix, caplog):
    path = write_table(tmp_path / f"results{suffix}", ORIGINAL_HEADER, ORIGINAL_RECORDS)
    with caplog.at_level(logging.INFO, logger="faceauth"):
        rows = read_manifest(path).rows
    assert [(row.folder, row.split, row.target, row.target_class) for row in rows] == [
        ("wiki", "train", 1, "real"),
        ("insight", "val", 0, "fake"),
        ("text2img", "test", 0, "fake"),
    ]
    assert rows[0].image_path == "../IMDB-WIKI/wiki/27/1_2010.jpg"
    assert "original naming" in caplog.text


def test_test_stays_test_where_there_is_no_dev(tmp_path):
    records = [row for row in ORIGINAL_RECORDS if row[3] != "dev"]
    assert [
        row.split for row in read_manifest(write_table(tmp_path / "a.xlsx", ORIGINAL_HEADER, records)).rows
    ] == [
        "train",
        "test",
    ]


def test_a_file_with_two_labels_is_refused_as_in_the_original_project(tmp_path):
    records = [
        *ORIGINAL_RECORDS,
        ["../insight/27/1_2010.jpg", "../Data/train/1_2010.jpg", "insight", "train", "fake", 0],
    ]
    with pytest.raises(ManifestError, match=r"1 files both real and fake, such as ../Data/train/1_2010.jpg"):
        read_manifest(write_table(tmp_path / "a.xlsx", ORIGINAL_HEADER, records))


def test_numbers_that_people_type_as_names_stay_short(tmp_path):
    xlsx = write_manifest([ROW, FAKE_ROW], tmp_path)
    edit(xlsx, "C2", 27)
    edit(xlsx, "I2", 7)
    edit(xlsx, "F2", 1.0)
    touch_later(xlsx, 5)
    row = read_manifest(tmp_path).rows[0]
    assert (row.folder, row.group, row.target) == ("27", "7", 1)


def test_missing_numbers_of_other_tools_are_missing(tmp_path):
    table = pa.table(
        {
            "destination_path": ["a.png", "b.png"],
            "folder": ["wiki", None],
            "split": ["train", None],
            "target": [1.0, 0.0],
            "width": [float("nan"), 64.0],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    rows = read_manifest(tmp_path / "a.parquet").rows
    assert [(row.width, row.folder, row.split, row.target) for row in rows] == [
        (None, "wiki", "train", 1),
        (64, "", "", 0),
    ]


def test_a_manifest_of_an_older_version_is_read_and_what_it_lacks_is_missing(tmp_path):
    write_manifest([ROW], tmp_path)
    newer = ("identity", "jpeg_subsampling", "mean_red", "mean_green", "mean_blue", "sharpness")
    older = pq.read_table(tmp_path / "manifest.parquet").drop_columns(list(newer))
    pq.write_table(older, tmp_path / "older.parquet")
    (row,) = read_manifest(tmp_path / "older.parquet").rows
    assert row == replace(
        ROW, identity="", jpeg_subsampling="", mean_red=None, mean_green=None, mean_blue=None, sharpness=None
    )


def test_a_cell_names_several_people_each_once():
    assert replace(ROW, identity=" ann;bob ; ;ann").identities == ("ann", "bob")
    assert replace(ROW, identity="").identities == ()


def test_a_folder_called_like_a_column_is_no_column(tmp_path):
    folder = tmp_path / "split=val" / "target=0"
    write_manifest([ROW], folder)
    assert read_manifest(folder / "manifest.parquet").rows == [ROW]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("target", 2, "target is 2"),
        ("target", 0.5, "target is 0.5, which is no whole number"),
        ("target", "yes", "target is 'yes', which is no number"),
        ("target", 0, "contradict"),
        ("target_class", "Reel", "target_class is 'reel'"),
        ("split", "trian", "split is 'trian'"),
        ("status", "okay", "Did you mean 'ok'"),
        ("width", "inf", "width is 'inf'"),
        ("width", "1e400", "width is '1e400'"),
        ("p_face", "high", "p_face is 'high'"),
        ("sharpness", "very", "sharpness is 'very'"),
        ("box", "1 2 3", "box has 3 numbers"),
        ("box", "1 2 3 x", "box is 'x'"),
        ("box", 5, "box has 1 numbers"),
        ("phash", "abcd", "phash is 'abcd'"),
        ("phash", "zz" * 32, "64 hexadecimal digits"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(tmp_path, column, value, message):
    record = {"destination_path": "a", "folder": "f", "split": "train", "target": 1, "target_class": "real"}
    header = list(dict.fromkeys([*record, column]))
    records = [[record.get(name) for name in header], [{**record, column: value}[name] for name in header]]
    path = write_table(tmp_path / "a.xlsx", header, records)
    with pytest.raises(ManifestError, match="row 3") as caught:
        read_manifest(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["destination_path", "folder", "split", "target"])
def test_a_missing_column_is_named_with_what_there_is(tmp_path, missing):
    record = {"destination_path": "a", "folder": "f", "split": "train", "target": 1}
    header = [f"my_{name}" if name == missing else name for name in record]
    path = write_table(tmp_path / "a.csv", header, [list(record.values())])
    with pytest.raises(ManifestError, match=f"no column '{missing}'") as caught:
        read_manifest(path)
    assert f"Did you mean 'my_{missing}'?" in caught.value.hint


def test_a_manifest_that_is_not_there_says_how_to_make_one(tmp_path):
    for path in (tmp_path, tmp_path / "none.xlsx"):
        with pytest.raises(ManifestError, match="faceauth prepare"):
            read_manifest(path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ManifestError, match="not a manifest"):
        read_manifest(tmp_path / "a.txt")


def test_broken_files_of_a_pair_are_one_clear_error(tmp_path):
    xlsx = write_manifest([ROW], tmp_path)
    xlsx.write_bytes(b"PK broken")
    touch_later(xlsx, 5)
    assert edited_by_hand(tmp_path)
    with pytest.raises(InputError, match=r"manifest\.xlsx"):
        read_manifest(tmp_path)
    write_manifest([ROW], tmp_path)
    (tmp_path / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(ManifestError, match="Delete it"):
        read_manifest(tmp_path)


def test_only_usable_rows_are_in_a_split(tmp_path):
    left_out = replace(ROW, status=SURPLUS, destination_path="")
    write_manifest([ROW, left_out, BARE_ROW], tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest.in_split("train") == [ROW]
    assert manifest.crop_path(ROW) == tmp_path / ROW.destination_path
    with pytest.raises(ManifestError, match="Splits in it: train"):
        manifest.in_split("val")

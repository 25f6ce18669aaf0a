import datetime
import gc
import logging
import math
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import write_table

from faceauth.errors import InputError, ManifestError
from faceauth.intake import manifest, row_checks, spreadsheet
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
from faceauth.labels import ID2LABEL, SPLITS

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
texts = st.just("") | names
floats = st.none() | st.floats(-1e9, 1e9)
hashes = st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64)
pixels = st.none() | st.integers(0, 2**31 - 1)
# As the face detector's boxes are recorded: with two decimals.
edges = st.integers(-(10**6), 10**6).map(lambda number: number / 100)
any_rows = st.builds(
    lambda target, **fields: ManifestRow(target=target, target_class=ID2LABEL[target], **fields),
    image_path=texts,
    destination_path=st.just(""),
    folder=texts,
    split=st.sampled_from(["", *SPLITS]),
    target=st.sampled_from([0, 1]),
    status=st.sampled_from(list(STATUSES)),
    reason=texts,
    group=texts,
    identity=texts,
    sha256=hashes,
    phash=hashes,
    box=st.none() | st.tuples(edges, edges, edges, edges),
    p_face=st.none() | st.integers(0, 10**6).map(lambda number: number / 10**6),
    width=pixels,
    height=pixels,
    format=texts,
    jpeg_quality=st.none() | st.integers(1, 100),
    jpeg_subsampling=texts,
    n_bytes=st.none() | st.integers(0, 2**53),
    mean_red=floats,
    mean_green=floats,
    mean_blue=floats,
    sharpness=floats,
    frame=st.none() | st.integers(0, 2**53),
    timestamp_s=floats,
)


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


@settings(max_examples=40, deadline=None)
@given(st.lists(any_rows, min_size=1, max_size=8))
def test_every_value_of_every_column_comes_back_from_both_files(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("all")
    xlsx = write_manifest(rows, folder)
    assert read_manifest(folder).path.name == "manifest.parquet"
    assert read_manifest(folder).rows == rows
    assert read_manifest(xlsx).rows == rows
    (folder / "manifest.parquet").unlink()
    assert read_manifest(folder).path == xlsx
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


def test_rows_may_come_one_by_one_and_give_the_same_bytes_in_row_groups(tmp_path, monkeypatch):
    rows = [replace(ROW, destination_path=f"{i}.png", frame=i, timestamp_s=i / 30) for i in range(10)]
    monkeypatch.setattr(manifest, "ROW_GROUP_ROWS", 4)
    write_manifest(rows, tmp_path / "list")
    write_manifest((row for row in rows), tmp_path / "generator")
    written = [tmp_path / name / "manifest.parquet" for name in ("list", "generator")]
    assert written[0].read_bytes() == written[1].read_bytes()
    metadata = pq.read_metadata(written[0])
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4, 4, 2]
    assert read_manifest(tmp_path / "list").rows == rows


def test_writing_takes_no_memory_for_rows_that_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "ROW_GROUP_ROWS", 20)
    # What is loaded and kept once is not counted.
    write_manifest([ROW] * 250, tmp_path)

    def peak_bytes(n_rows):
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        write_manifest((replace(ROW, image_path=f"{i}" * 200) for i in range(n_rows)), tmp_path)
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        few, many = peak_bytes(250), peak_bytes(600)
    finally:
        tracemalloc.stop()
    assert many < 1.15 * few


def test_rows_that_fail_on_their_way_leave_what_was_there(tmp_path):
    write_manifest([ROW], tmp_path)

    def rows():
        yield FAKE_ROW
        raise OSError("no more rows")

    with pytest.raises(OSError, match="no more rows"):
        write_manifest(rows(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.xlsx"]
    assert read_manifest(tmp_path).rows == [ROW]


def test_a_folder_without_rows_is_a_manifest_nevertheless(tmp_path):
    xlsx = write_manifest([], tmp_path)
    assert read_manifest(tmp_path).rows == []
    assert read_manifest(xlsx).rows == []


def test_texts_of_few_values_are_in_memory_once(tmp_path):
    write_manifest([ROW, FAKE_ROW, replace(ROW, image_path="b")], tmp_path)
    for name in ("manifest.parquet", "manifest.xlsx"):
        assert read_manifest(tmp_path).path.name == name
        first, _, third = read_manifest(tmp_path).rows
        (tmp_path / name).unlink()
        for name in ("folder", "split", "target_class", "status", "format", "jpeg_subsampling", "group"):
            assert getattr(first, name) is getattr(third, name), name


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

    with monkeypatch.context() as patch:
        # The last thing that the Parquet file needs is asked of the finished xlsx.
        patch.setattr(manifest, "_content_hash", killed)
        with pytest.raises(KeyboardInterrupt):
            write_manifest([ROW, FAKE_ROW], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.xlsx"]
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


@pytest.mark.parametrize(
    "cast",
    [
        {"image_path": pa.large_string(), "folder": pa.large_string(), "box": pa.large_list(pa.float64())},
        {"folder": pa.dictionary(pa.int32(), pa.string()), "status": pa.dictionary(pa.int8(), pa.string())},
        {"target": pa.int64(), "width": pa.float64(), "jpeg_quality": pa.float64(), "frame": pa.float64()},
        {"target": pa.string(), "width": pa.string(), "sharpness": pa.string()},
        {"box": pa.list_(pa.float32()), "p_face": pa.float32()},
        {"folder": pa.string_view(), "n_bytes": pa.uint64()},
    ],
    ids=lambda cast: "-".join(str(kind) for kind in cast.values()),
)
def test_a_parquet_file_with_the_types_of_another_tool_is_read(tmp_path, cast):
    rows = [replace(ROW, p_face=0.5, frame=7, timestamp_s=0.25), replace(FAKE_ROW, p_face=0.75), BARE_ROW]
    write_manifest(rows, tmp_path)
    table = pq.read_table(tmp_path / "manifest.parquet")
    for name, kind in cast.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    pq.write_table(table, tmp_path / "other.parquet", row_group_size=2)
    assert read_manifest(tmp_path / "other.parquet").rows == rows


@pytest.mark.parametrize("kind", ["numpy", "pyarrow"])
def test_a_table_that_went_through_pandas_is_read(tmp_path, kind):
    pandas = pytest.importorskip("pandas")
    rows = [replace(ROW, timestamp_s=1 / 3), FAKE_ROW, BARE_ROW]
    write_manifest(rows, tmp_path)
    options = {"dtype_backend": "pyarrow"} if kind == "pyarrow" else {}
    frame = pandas.read_parquet(tmp_path / "manifest.parquet", **options)
    frame[frame["status"] != "none"].to_parquet(tmp_path / "pandas.parquet")
    assert read_manifest(tmp_path / "pandas.parquet").rows == rows
    frame = pandas.read_excel(tmp_path / "manifest.xlsx", engine="openpyxl")
    frame.to_excel(tmp_path / "pandas.xlsx", index=False, engine="openpyxl")
    assert read_manifest(tmp_path / "pandas.xlsx").rows == rows


def test_numbers_that_are_none_are_missing_in_both_files(tmp_path):
    nan = float("nan")
    xlsx = write_manifest([replace(ROW, p_face=nan, sharpness=nan, timestamp_s=nan)], tmp_path)
    expected = replace(ROW, p_face=None, sharpness=None, timestamp_s=None)
    assert pq.read_table(tmp_path / "manifest.parquet")["p_face"].null_count == 1
    assert read_manifest(tmp_path).rows == read_manifest(xlsx).rows == [expected]


def test_whole_numbers_stay_exact_as_far_as_the_file_can_hold_them(tmp_path):
    row = replace(ROW, n_bytes=2**63 - 1, frame=2**53 + 1)
    write_manifest([row], tmp_path)
    assert read_manifest(tmp_path).rows == [row]


def test_a_date_is_the_name_that_a_person_typed_and_no_number(tmp_path):
    day = datetime.date(2024, 5, 17)
    header = ["destination_path", "folder", "split", "target", "group"]
    path = write_table(tmp_path / "a.xlsx", header, [["a", day, "train", 1, datetime.datetime(2024, 5, 1)]])
    (row,) = read_manifest(path).rows
    assert row.folder.startswith("2024-05-17")
    assert row.group.startswith("2024-05-01")
    path = write_table(tmp_path / "b.xlsx", [*header, "p_face"], [["a", "f", "train", 1, "g", day]])
    with pytest.raises(ManifestError, match=r"row 2: p_face is '2024-05-17.*', which is no number"):
        read_manifest(path)


# fmt: off
ODD_CELLS = [
    None, "", " ", "x", "REAL", " fake ", "Train", "dev", "ok", "OK", True, False, 0, 1, 1.0, 0.5, 2, "1",
    math.nan, math.inf, 1e300, 10**400, -1, 2**40, "1 2 3 4", "1 2 3", "1 2 3 nan", [1, 2, 3, 4.5],
    [1, 2], [1, 2, 3, None], ["1", "2", "3", "4"], [[1], [2], [3], [4]], "0f" * 32, "0F" * 32,
    "  " + "0f" * 31, datetime.date(2024, 1, 2), b"bytes", {"a": 1},
]
# fmt: on
plain_records = st.fixed_dictionaries(
    {
        "destination_path": names,
        "folder": names,
        "split": st.sampled_from(["train", "test", "Val", "", None]),
    },
    optional={"target_class": st.just("real"), "box": st.just("1 2 3 4"), "p_face": st.just(0.5)},
).map(lambda record: {**record, "target": 1})


@settings(max_examples=150, deadline=None)
@given(
    st.lists(plain_records, min_size=1, max_size=7),
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(COLUMNS), st.sampled_from(ODD_CELLS)), max_size=3),
)
def test_columns_are_checked_exactly_as_row_by_row(records, odd):
    records = [dict(record) for record in records]
    for position, name, cell in odd:
        records[position % len(records)][name] = cell
    check_both_ways(records)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_odd_cell_in_each_column_is_checked_exactly_as_row_by_row(column):
    record = {"destination_path": "a", "folder": "f", "split": "train", "target": 1}
    for cell in ODD_CELLS:
        check_both_ways([record, {**record, column: cell}, record])
        check_both_ways([{**record, column: cell}] * 2)


def check_both_ways(records):
    header = list({name: None for record in records for name in record})
    columns = {name: [record.get(name) for record in records] for name in header}

    def outcome():
        try:
            return [repr(row) for row in row_checks.rows_from_columns(columns, path=Path("a.parquet"))]
        except ManifestError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_checks, "_STRETCH_ROWS", 3)
        by_column = outcome()
        patch.setattr(row_checks, "_ordinary_rows", None)
        assert outcome() == by_column


def test_ordinary_rows_never_take_the_slow_way(tmp_path, monkeypatch):
    monkeypatch.setattr(row_checks, "_row", None)
    xlsx = write_manifest([ROW, FAKE_ROW, BARE_ROW], tmp_path)
    assert read_manifest(tmp_path).rows == read_manifest(xlsx).rows == [ROW, FAKE_ROW, BARE_ROW]
    original = write_table(tmp_path / "original.xlsx", ORIGINAL_HEADER, ORIGINAL_RECORDS)
    assert len(read_manifest(original).rows) == 3


def test_a_wrong_value_far_down_is_named_with_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(row_checks, "_STRETCH_ROWS", 3)
    records = [[f"{i}.png", "f", "train", 1 if i != 7 else 5] for i in range(10)]
    header = ["destination_path", "folder", "split", "target"]
    for name in ("a.xlsx", "a.csv", "a.parquet"):
        with pytest.raises(ManifestError, match="row 9: target is 5"):
            read_manifest(write_table(tmp_path / name, header, records))


@pytest.mark.parametrize(
    ("column", "value"), [("width", 2**31), ("jpeg_quality", 40_000), ("n_bytes", 1e300), ("frame", -1e30)]
)
def test_a_number_that_could_not_be_written_again_is_refused(tmp_path, column, value):
    record = {"destination_path": "a", "folder": "f", "split": "train", "target": 1, column: value}
    path = write_table(tmp_path / "a.xlsx", list(record), [list(record.values())])
    with pytest.raises(ManifestError, match=f"row 2: {column} is .*, which is too large"):
        read_manifest(path)


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

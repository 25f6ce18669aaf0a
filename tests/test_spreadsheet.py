import weakref

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import write_table

from faceauth.errors import InputError
from faceauth.intake import spreadsheet
from faceauth.intake.spreadsheet import read_sheet_columns, read_sheets, write_sheets
from faceauth.intake.tables import read_columns, read_table

HOSTILE = [
    "=1+1.png",
    "+x",
    "-x",
    "@x",
    "=cmd|'/c calc'!A1",
    "\tx",
    "a\nb",
    "a\rb",
    "a\x01b\x1f",
    "_x0041_",
    "_x005F_x0041_",
    "_x005F\x01",
    "__x0041__x0042_",
    "_xD800_",
    "NA",
    "None",
    "nan",
    "NULL",
    "TRUE",
    "1",
    "1e5",
    "007",
    "2024-01-01",
    "#N/A",
    "#REF!",
    " spaces ",
    "   ",
    "<b>&amp;</b>",
    "'quoted",
    "é\u0301 \u202e \u2028 \x85 😀 名前",
]


def test_every_name_comes_back_as_it_was_and_none_is_a_formula(tmp_path):
    path = tmp_path / "a.xlsx"
    write_sheets(path, ["name", "=sum"], [[name, i] for i, name in enumerate(HOSTILE)], title="names")
    header, rows = read_sheets(path)
    assert header == ["name", "=sum"]
    assert [row["name"] for row in rows] == HOSTILE
    for row in openpyxl.load_workbook(path).active.iter_rows():
        for cell in row:
            assert cell.data_type in "sn"
            assert cell.data_type == "s" or isinstance(cell.value, int)


@settings(max_examples=60)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")),
        min_size=1,
        max_size=20,
    )
)
def test_any_text_survives_a_workbook(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("any") / "a.xlsx"
    write_sheets(path, ["name", "row"], [[name, i] for i, name in enumerate(names)], title="t")
    assert [row["name"] for row in read_sheets(path)[1]] == [name or None for name in names]


@given(
    st.lists(st.sampled_from(["_", "x", "_x", "0041", "005F", "\x01", "_x0041_", "a"]), max_size=9).map(
        "".join
    )
)
def test_what_looks_escaped_is_escaped_and_nothing_else(tmp_path_factory, name):
    path = tmp_path_factory.getbasetemp() / "escaped.xlsx"
    write_sheets(path, ["name", "row"], [[name, 1]], title="t")
    assert read_sheets(path)[1] == [{"name": name or None, "row": 1}]


def test_names_survive_a_person_who_opens_and_saves_the_workbook(tmp_path):
    path = tmp_path / "a.xlsx"
    names = [name for name in HOSTILE if not name.startswith("=")]
    write_sheets(path, ["name", "n"], [[name, i] for i, name in enumerate(names)], title="names")
    workbook = openpyxl.load_workbook(path)
    workbook.active["B2"] = 77
    workbook.save(path)
    rows = read_sheets(path)[1]
    assert rows[0]["n"] == 77
    assert [row["name"] for row in rows] == names


def test_the_header_is_bold_frozen_and_filtered_and_columns_fit(tmp_path):
    path = tmp_path / "a.xlsx"
    write_sheets(path, ["short", "long"], [["a", "b" * 200], ["c", "d" * 30]], title="sheet")
    sheet = openpyxl.load_workbook(path)["sheet"]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:B3"
    assert sheet["A1"].font.bold
    assert sheet.column_dimensions["A"].width >= 8
    assert 30 < sheet.column_dimensions["B"].width <= 60


@pytest.mark.parametrize("n_rows", [199, 200, 201, 202, 401])
def test_no_row_is_lost_between_those_that_give_the_widths_and_the_rest(tmp_path, n_rows):
    assert spreadsheet.SAMPLED_ROWS_FOR_WIDTH == 200
    path = tmp_path / "a.xlsx"
    write_sheets(path, ["n"], ([i] for i in range(n_rows)), title="t")
    assert [row["n"] for row in read_sheets(path)[1]] == list(range(n_rows))


@settings(max_examples=40)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_numbers_come_back_with_all_their_digits(tmp_path_factory, numbers):
    path = tmp_path_factory.getbasetemp() / "numbers.xlsx"
    write_sheets(path, ["x", "row"], [[number, "row"] for number in [*numbers, 0.1 + 0.2, 1 / 3]], title="t")
    assert [row["x"] for row in read_sheets(path)[1]] == [*numbers, 0.1 + 0.2, 1 / 3]
    for (cell,) in openpyxl.load_workbook(path).active.iter_rows(min_row=2, max_col=1):
        assert cell.data_type == "n"


def test_what_is_no_finite_number_is_an_empty_cell(tmp_path):
    path = tmp_path / "a.xlsx"
    write_sheets(path, ["x", "row"], [[float(x), "row"] for x in ("nan", "inf", "-inf")], title="t")
    assert [row["x"] for row in read_sheets(path)[1]] == [None, None, None]


def test_rows_are_taken_as_they_are_written_and_not_kept(tmp_path):
    class Row(list):
        __hash__ = object.__hash__

    alive = weakref.WeakSet()
    most = 0

    def rows():
        nonlocal most
        for i in range(1200):
            row = Row([f"name {i}", i])
            alive.add(row)
            most = max(most, len(alive))
            yield row

    write_sheets(tmp_path / "a.xlsx", ["name", "n"], rows(), title="t")
    assert most <= spreadsheet.SAMPLED_ROWS_FOR_WIDTH + 5


@pytest.mark.parametrize("suffix", [".xlsx", ".csv", ".parquet"])
def test_columns_hold_what_records_hold(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(spreadsheet, "MAX_SHEET_ROWS", 7)
    monkeypatch.setattr(spreadsheet, "_STRETCH_ROWS", 2)
    rows = [[f"name {i % 3}", None if i % 4 else "x", f"{i}"] for i in range(20)]
    path = write_table(tmp_path / f"a{suffix}", ["name", "sometimes", "n"], rows)
    header, records = read_table(path)
    assert len(records) == 20
    assert read_columns(path) == {name: [record[name] for record in records] for name in header}


@pytest.mark.parametrize("n_rows", [0, 1, 3, 4, 8, 9, 10])
def test_rows_beyond_a_sheet_go_on_in_further_sheets_and_come_back(tmp_path, monkeypatch, n_rows):
    monkeypatch.setattr(spreadsheet, "MAX_SHEET_ROWS", 5)
    path = tmp_path / "a.xlsx"
    write_sheets(path, ["name", "n"], ([f"=row{i}", i] for i in range(n_rows)), title="rows")
    workbook = openpyxl.load_workbook(path)
    assert len(workbook.sheetnames) == max(1, -(-n_rows // 4))
    assert all(sheet.max_row <= 5 and sheet["A1"].value == "name" for sheet in workbook)
    assert [sheet.auto_filter.ref for sheet in workbook][-1] == f"A1:B{(n_rows - 1) % 4 + 2 if n_rows else 1}"
    assert read_sheets(path)[1] == [{"name": f"=row{i}", "n": i} for i in range(n_rows)]
    assert read_sheet_columns(path) == {
        "name": [f"=row{i}" for i in range(n_rows)], "n": list(range(n_rows)),
    }  # fmt: skip


def test_excels_own_limit_is_known_and_long_cells_are_cut_to_what_it_holds(tmp_path):
    assert spreadsheet.MAX_SHEET_ROWS == 2**20
    path = tmp_path / "a.xlsx"
    write_sheets(path, ["text"], [["a" * 40_000]], title="t")
    assert read_sheets(path)[1] == [{"text": "a" * 32_767}]


def test_other_sheets_and_empty_rows_are_passed_over(tmp_path):
    path = tmp_path / "a.xlsx"
    workbook = openpyxl.Workbook()
    for row in (["a", "b"], [1, 2], [None, None], [3, None]):
        workbook.active.append(row)
    notes = workbook.create_sheet("notes")
    for row in (["remember", "the milk"], ["and", "bread"]):
        notes.append(row)
    workbook.create_sheet("empty")
    workbook.save(path)
    assert read_sheets(path) == (["a", "b"], [{"a": 1, "b": 2}, {"a": 3, "b": None}])
    assert read_sheet_columns(path) == {"a": [1, 3], "b": [2, None]}


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet", "a.csv", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\xff\xfe\x00plain,text\n", None])
def test_what_is_no_table_is_one_clear_error(tmp_path, name, content):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    if (name, content) == ("a.csv", b""):
        assert read_table(path) == ([], [])
        return
    if name == "a.csv" and content == b"PK\x03\x04 no zip":
        assert read_table(path)[1] == []
        return
    for read in (read_table, read_columns):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_an_empty_workbook_has_no_header(tmp_path):
    openpyxl.Workbook().save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="no header"):
        read_sheets(tmp_path / "a.xlsx")


def test_a_workbook_that_unpacks_without_end_is_refused_before_it_is_opened(tmp_path, monkeypatch):
    path = tmp_path / "bomb.xlsx"
    workbook = openpyxl.Workbook()
    workbook.active.append(["a"])
    workbook.save(path)
    monkeypatch.setattr("faceauth.intake.spreadsheet.MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(InputError, match=r"unpacks to [\d,]+ bytes; at most 1,000"):
        read_sheets(path)

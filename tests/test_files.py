import errno
import json
import os
import re
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest

from faceauth.errors import InputError
from faceauth.files import is_draft_of, read_json, whole_file, whole_folder, write_json


def write_half(path):
    with whole_file(path) as draft:
        draft.write_text("half")
        raise RuntimeError


def write_half_a_folder(path):
    with whole_folder(path) as draft:
        (draft / "half").write_text("half")
        raise RuntimeError


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as draft:
        draft.write_text("old")
        assert not path.exists()
        assert draft.suffix == ".txt"
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_threads_may_write_one_file_at_once(tmp_path):
    path = tmp_path / "a.txt"

    def write(number):
        with whole_file(path) as draft:
            draft.write_text(str(number) * 20_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, [number % 10 for number in range(200)]))
    assert len(set(path.read_text())) == 1
    assert len(path.read_text()) == 20_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_older_folder_stays_until_the_new_one_is_complete(tmp_path):
    folder = tmp_path / "run"
    with whole_folder(folder) as draft:
        (draft / "a").write_text("1")
    with pytest.raises(RuntimeError):
        write_half_a_folder(folder)
    assert [entry.name for entry in folder.iterdir()] == ["a"]
    with whole_folder(folder) as draft:
        (draft / "b").write_text("2")
    assert [entry.name for entry in folder.iterdir()] == ["b"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_json_has_null_and_never_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"value": None, "name": "é\u2028"})
    assert read_json(path) == {"value": None, "name": "é\u2028"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text("utf-8"))["value"] is None


@pytest.mark.parametrize("content", ["", "x", "[1]", "3", '"text"', "{"])
def test_a_damaged_json_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "study.json"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=r"study\.json .*JSON.* --overwrite"):
        read_json(path)


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a": ' * 100_000, '{"a": NaN}', '{"a": [-Infinity]}'])
def test_json_that_strangers_wrote_is_one_clear_error(tmp_path, content):
    path = tmp_path / "study.json"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match="cannot be read as JSON") as caught:
        read_json(path)
    assert len(str(caught.value)) < 500


def test_a_huge_json_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match=r"1,099,511,627,776 bytes"):
        read_json(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_fault_of_the_disk_names_what_was_being_written(tmp_path, whole, number):
    def write():
        with whole(tmp_path / "manifest.xlsx"):
            # As a write raises it, with no name.
            raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=r"manifest\.xlsx") as caught:
        write()
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "manifest.xlsx"))
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_cannot_be_made_is_called_by_its_finished_name(tmp_path):
    path = tmp_path / ("x" * 300)

    def write():
        with whole_file(path) as draft:
            draft.write_bytes(b"")

    with pytest.raises(OSError, match="File name too long") as caught:
        write()
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("is_full", [True, False])
def test_libraries_that_tell_of_a_full_disk_in_their_own_way_are_understood(tmp_path, monkeypatch, is_full):
    usage = namedtuple("usage", ["free"])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(0 if is_full else 10**9))

    def write(text):
        with whole_file(tmp_path / "model.bin"):
            raise RuntimeError(text)

    with pytest.raises(OSError if is_full else RuntimeError, match=r"No space left" if is_full else "failed"):
        write("the writer failed")
    with pytest.raises(OSError, match=r"model\.bin"):
        write("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("name", "is_draft"),
    [
        (".manifest.12-140.draft.xlsx", True),
        (".manifest.12-140.draft.csv", False),
        (".thesis.12-140.draft.xlsx", False),
        ("manifest.12-140.draft.xlsx", False),
        (".manifest.draft.xlsx", False),
        ("manifest.xlsx", False),
    ],
)
def test_a_draft_is_known_by_what_it_would_have_become(name, is_draft):
    assert is_draft_of(name, re.compile(r"manifest\.xlsx")) == is_draft


def test_what_whole_file_writes_to_is_such_a_draft(tmp_path):
    with whole_file(tmp_path / "manifest.xlsx") as draft:
        draft.touch()
        assert is_draft_of(draft.name, re.compile(r"manifest\.xlsx"))

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from faceauth.errors import InputError
from faceauth.files import read_json, whole_file, whole_folder, write_json


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

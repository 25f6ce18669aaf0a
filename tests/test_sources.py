import logging
import os
from pathlib import Path

import pytest
from pictures import save, write_table

from faceauth.errors import InputError, UsageError
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.find import find_sources, source_key


@pytest.fixture
def layout(tmp_path):
    root = tmp_path / "photos"
    for number, place in enumerate(("real/wiki/27/a.png", "real/wiki/b.PNG", "fake/insight/27/a.jpg")):
        save(root / place, number)
    return root


def listed(sources, **options):
    return [(Path(f.image_path).name, f.folder, f.target, f.key) for f in find_sources(sources, **options)]


def test_a_layout_gives_folders_labels_and_keys(layout):
    assert sorted(listed([str(layout)])) == [
        ("a.jpg", "insight", 0, "27/a"),
        ("a.png", "wiki", 1, "27/a"),
        ("b.PNG", "wiki", 1, "b"),
    ]


def test_named_folders_are_the_same_sources(layout):
    named = [f"real:wiki={layout}/real/wiki", f"fake:insight={layout}/fake/insight"]
    assert sorted(listed(named)) == sorted(listed([str(layout)]))


def test_images_without_a_collection_bear_the_class_as_their_folder(layout):
    save(layout / "real" / "loose.png", 9)
    assert ("loose.png", "real", 1, "loose") in listed([str(layout)])


def test_one_path_through_two_sources_is_listed_once(layout, tmp_path):
    table = write_table(
        tmp_path / "a.csv",
        ["image_path", "folder", "target", "group"],
        [[layout / "real/wiki/b.PNG", "wiki", 1, "g"]],
    )
    files = find_sources([str(layout), str(layout), f"real:wiki={layout}/real/wiki", str(table)])
    assert len(files) == 3
    assert [file.group for file in files if file.image_path.endswith("b.PNG")] == ["g"]


def test_hidden_files_and_folders_and_other_files_are_passed_over(layout, caplog):
    for place in (
        ".hidden.png",
        ".cache/x.png",
        "real/.thumbs/x.png",
        "real/wiki/.git/x.png",
        "real/._b.png",
    ):
        save(layout / place, 1)
    (layout / "real/wiki/notes.txt").write_text("x")
    with caplog.at_level(logging.INFO, logger="faceauth"):
        assert len(listed([str(layout)])) == 3
    assert "1 files that are no images" in caplog.text


def test_link_loops_end_and_a_dead_link_is_one_file(layout):
    (layout / "real/wiki/up").symlink_to(layout / "real")
    (layout / "real/wiki/self").symlink_to("self")
    (layout / "real/wiki/self.png").symlink_to("self.png")
    (layout / "real/wiki/dead.png").symlink_to("nowhere.png")
    names = [Path(file.image_path).name for file in find_sources([str(layout)])]
    assert sorted(set(names)) == ["a.jpg", "a.png", "b.PNG", "dead.png", "self.png"]


def test_links_to_folders_elsewhere_are_followed(layout, tmp_path):
    save(tmp_path / "elsewhere" / "c.png", 5)
    (layout / "real/linked").symlink_to(tmp_path / "elsewhere")
    assert ("c.png", "linked", 1, "c") in listed([str(layout)])


def test_names_that_differ_in_case_only_are_two_files(layout):
    save(layout / "real/wiki/B.PNG", 7)
    found = [entry for entry in listed([str(layout)]) if entry[0].lower() == "b.png"]
    assert len(found) == 2
    assert len({key for *_, key in found}) == 2


def test_bytes_that_are_no_text_become_text(layout):
    odd = os.fsdecode(os.fsencode(layout / "real") + b"/caf\xe9")
    save(Path(odd) / os.fsdecode(b"\xff\xfe.png"), 3)
    (found,) = [file for file in find_sources([str(layout)]) if "caf" in file.folder]
    assert found.folder == "caf\\xe9"
    assert found.image_path.endswith("/caf\\xe9/\\xff\\xfe.png")
    assert found.image_path.encode()
    assert found.address.path.exists()


def test_groups_lie_beside_the_images_or_in_a_file_of_their_own(layout, tmp_path):
    write_table(layout / "groups.csv", ["path", "group"], [["real/wiki/b.PNG", "person-1"]])
    assert {file.group for file in find_sources([str(layout)])} == {"", "person-1"}
    write_table(layout / "real/wiki/groups.csv", ["path", "group"], [["27/a.png", "person-2"]])
    assert {file.group for file in find_sources([f"real:w={layout}/real/wiki"])} == {"", "person-2"}
    other = write_table(
        tmp_path / "other.csv",
        ["path", "group"],
        [[layout / "real/wiki/b.PNG", "x"], ["real/wiki/27/a.png", "x"]],
    )
    assert [file.group for file in find_sources([str(layout)], groups_file=other)] == ["", "x", "x"]


def test_a_groups_file_that_names_nothing_is_refused(layout, tmp_path):
    cases = {
        "names none": [["path", "group"], [["wrong/b.PNG", "x"]]],
        "A groups file has": [["file", "person"], [["b.PNG", "x"]]],
    }
    for message, (header, rows) in cases.items():
        with pytest.raises(InputError, match=message):
            find_sources([str(layout)], groups_file=write_table(tmp_path / "g.csv", header, rows))
    with pytest.raises(UsageError, match="no groups file"):
        find_sources([str(layout)], groups_file=tmp_path / "none.csv")


def test_a_spreadsheet_is_a_source_with_paths_of_either_kind(tmp_path):
    rows = [
        ["..\\Data\\wiki\\27\\a.jpg", "x/a.jpg", "wiki", "train", "real", 1],
        ["/abs/insight/27/a.jpg", "x/a.jpg", "insight", "dev", "fake", 0],
        ["elsewhere/c.jpg", "x/c.jpg", "sd", "test", "fake", 0],
        ["", "x/d.jpg", "sd", "test", "fake", 0],
        ["sd", "x/e.jpg", "sd", "test", "fake", 0],
        ["a\0b.jpg", "x/f.jpg", "sd", "test", "fake", 0],
    ]
    header = ["image_path", "destination_path", "Folder", "split", "target_class", "target"]
    files = find_sources([str(write_table(tmp_path / "a.parquet", header, rows))])
    assert {(file.folder, file.target, file.key) for file in files} == {
        ("wiki", 1, "27/a"),
        ("insight", 0, "27/a"),
        ("sd", 0, "c"),
        ("sd", 0, ""),
        ("sd", 0, "sd"),
        ("sd", 0, "a\0b"),
    }
    assert {file.address.path for file in files} >= {
        tmp_path / "../Data/wiki/27/a.jpg",
        Path("/abs/insight/27/a.jpg"),
    }


def test_addresses_in_a_spreadsheet_lead_back_to_frames_and_rows(tmp_path):
    rows = [
        ["clips/a.mp4#t=3.200", "web", "real", "g", "ann;bob", "dev"],
        ["clips/a.mp4#t=5.000", "web", "real", "", "", "train"],
        ["shards/x.parquet#row=17", "sd", "fake", "", "", "test"],
        ["shards/x.parquet#row=18", "sd", "fake", "", "", ""],
        ["odd#row=18.png", "sd", "fake", "", "", ""],
    ]
    header = ["image_path", "folder", "target_class", "group", "identity", "split"]
    files = find_sources([str(write_table(tmp_path / "a.csv", header, rows))])
    assert [file.image_path for file in files] == sorted(f"{tmp_path}/{row[0]}" for row in rows)
    clip, shard = tmp_path / "clips/a.mp4", tmp_path / "shards/x.parquet"
    assert [file.address for file in files] == [
        Address(clip, time_s=3.2),
        Address(clip, time_s=5.0),
        Address(tmp_path / "odd#row=18.png"),
        Address(shard, row=17),
        Address(shard, row=18),
    ]
    # Frames of one video belong together, rows of one table do not.
    keys = [file.key for file in files]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    # As in the original project's spreadsheets, whose dev is our test.
    assert [file.split for file in files] == ["test", "train", "", "val", ""]
    assert (files[0].group, files[0].identity) == ("g", "ann;bob")


def test_a_class_may_hold_videos_and_a_group_names_all_frames_of_one(layout):
    for name in ("clip.mp4", "b.MOV"):
        (layout / "real/wiki" / name).touch()
    write_table(layout / "groups.csv", ["path", "identity"], [["real/wiki/clip.mp4", "ann"]])
    files = {Path(file.image_path).name: file for file in find_sources([str(layout)])}
    assert set(files) == {"a.jpg", "a.png", "b.PNG", "b.MOV", "clip.mp4"}
    assert [name for name, file in files.items() if file.identity == "ann"] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("path", "folder", "key"),
    [
        ("/data/wiki/27/1_2010.jpg", "wiki", "27/1_2010"),
        ("C:\\data\\wiki\\27\\1.jpg", "wiki", "27/1"),
        ("/wiki/old/wiki/1.jpg", "wiki", "1"),
        ("/data/1.tar.gz.jpg", "wiki", "1.tar.gz"),
        ("wiki", "wiki", "wiki"),
        ("", "wiki", ""),
        ("/", "", ""),
        ("..", "..", ".."),
    ],
)
def test_the_key_is_the_path_inside_the_source(path, folder, key):
    assert source_key(path, folder) == key


def test_what_cannot_be_a_source_is_one_clear_error(layout, tmp_path):
    (tmp_path / "empty" / "real").mkdir(parents=True)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "locked" / "real" / "x").mkdir(parents=True)
    cases = [
        ([], UsageError, "No SOURCE"),
        ([str(tmp_path / "missing")], UsageError, "does not exist"),
        ([str(tmp_path / "nothing")], InputError, "neither a folder 'real' nor a folder 'fake'"),
        ([str(tmp_path / "empty")], InputError, "has no images"),
        ([str(layout), str(tmp_path / "empty")], InputError, "empty has no images"),
        ([str(tmp_path / "a.txt")], UsageError, "neither a folder nor a spreadsheet"),
        ([f"real:x={tmp_path / 'a.txt'}"], UsageError, "is not a folder"),
        ([f"real:x={tmp_path / 'missing'}"], UsageError, "does not exist"),
        (["real:x"], UsageError, "real:<name>=PATH"),
        (["fake:=x"], UsageError, "fake:<name>=PATH"),
    ]
    for sources, kind, message in cases:
        with pytest.raises(kind, match=message):
            find_sources(sources)

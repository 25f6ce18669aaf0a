"""Images in rows of tables: read in any order, whole or with a reason; and the layout `huggingface`."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import draw, save, save_layout
from PIL import Image
from upath import UPath

from faceauth.errors import InputError, UsageError
from faceauth.intake.manifest import read_manifest
from faceauth.intake.pixels import shards
from faceauth.intake.pixels.images import SourceImage, UnreadableImageError, read_image
from faceauth.intake.pixels.reading import read_each
from faceauth.intake.pixels.shards import read_cells, read_row, shard_facts
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.find import find_sources
from faceauth.intake.sources.layout import matching_layouts

N_ROWS = 40
CLASS_NAMES = ["fake", "real"]


def png(seed):
    buffer = io.BytesIO()
    Image.fromarray(draw(seed)).save(buffer, format="PNG")
    return buffer.getvalue()


def image_table(cells, *, metadata=True, **columns):
    """A table with an image column and others, with the schema's note that `datasets` writes."""
    table = pa.table({"image": cells, **columns})
    features = {"image": {"_type": "Image"}, "label": {"names": CLASS_NAMES, "_type": "ClassLabel"}}
    note = {"huggingface": json.dumps({"info": {"features": features}})}
    return table.replace_schema_metadata(note if metadata else {})


def structs(contents):
    return [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(contents)]


def write_shard(path, table, *, group_rows=7):
    """Writes a table as the name says: Parquet, a stream of Arrow, or, as `x.file.arrow`, a file of Arrow."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=group_rows)
        return path
    new = pa.ipc.new_file if ".file" in path.name else pa.ipc.new_stream
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=group_rows)
    return path


SHARD_NAMES = ("a.parquet", "a.arrow", "a.file.arrow")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A shard of each kind with the same rows."""
    folder = tmp_path_factory.mktemp("shards")
    table = image_table(structs([png(seed) for seed in range(N_ROWS)]), label=[i % 2 for i in range(N_ROWS)])
    return {name: write_shard(folder / name, table) for name in SHARD_NAMES}


@pytest.mark.parametrize("name", SHARD_NAMES)
@given(rows=st.lists(st.integers(0, N_ROWS - 1), max_size=12))
def test_rows_in_any_order_are_those_that_were_written(name, rows, written):
    for row, image in zip(rows, read_each([Address(written[name], row=row) for row in rows]), strict=True):
        assert np.array_equal(image.image_rgb_uint8, draw(row))


def test_a_row_is_read_as_the_file_would_be(written, tmp_path):
    path = tmp_path / "3.png"
    path.write_bytes(png(3))
    row, file = read_row(written["a.parquet"], 3), read_image(path)
    assert np.array_equal(row.image_rgb_uint8, file.image_rgb_uint8)
    assert (row.sha256, row.n_bytes, row.format) == (file.sha256, file.n_bytes, file.format)


@pytest.mark.parametrize("name", SHARD_NAMES)
def test_rows_in_order_are_one_pass_and_earlier_ones_begin_anew(name, written, monkeypatch):
    passes = []
    batches = shards._batches
    monkeypatch.setattr(
        shards, "_batches", lambda *args, **kinds: passes.append(kinds) or batches(*args, **kinds)
    )
    shards._readers.clear()
    for row in range(N_ROWS):
        read_row(written[name], row)
    assert len(passes) == 1
    read_row(written[name], 2)
    assert len(passes) == 2


def test_groups_of_rows_between_are_not_read(written, monkeypatch):
    groups = []
    batches = shards._batches
    monkeypatch.setattr(
        shards,
        "_batches",
        lambda *args, **kinds: groups.append(kinds["first_group"]) or batches(*args, **kinds),
    )
    shards._readers.clear()
    for row in (0, 5, 8, 30):
        read_row(written["a.parquet"], row)
    assert groups == [0, 4]


def test_few_shards_stay_open(tmp_path):
    for number in range(8):
        path = write_shard(tmp_path / f"{number}.parquet", image_table(structs([png(number)])))
        assert np.array_equal(read_row(path, 0).image_rgb_uint8, draw(number))
    assert len(shards._readers) == shards.MAX_OPEN_SHARDS


def test_a_shard_that_was_replaced_is_read_anew(tmp_path):
    path = tmp_path / "a.parquet"
    for seeds in ([1], [2, 3]):
        write_shard(path, image_table(structs([png(seed) for seed in seeds])))
        assert np.array_equal(read_row(path, 0).image_rgb_uint8, draw(seeds[0]))


@pytest.mark.parametrize("name", SHARD_NAMES)
def test_memory_is_bounded_by_row_groups_and_not_by_the_shard(name, tmp_path):
    noise = np.random.default_rng(0)
    path = tmp_path / name
    write_shard(path, image_table(structs([noise.bytes(2**18) for _ in range(160)])), group_rows=8)
    shards._readers.clear()
    before = pa.total_allocated_bytes()
    peak = 0
    for row in range(0, 160, 3):
        assert len(shards._reader_of(path).cell(row)["bytes"]) == 2**18
        peak = max(peak, pa.total_allocated_bytes() - before)
    # The rows that are read at once, and two copies of a group's page with room to grow.
    assert peak < (shards.READ_ROWS + 3 * 8) * 2**18 < path.stat().st_size / 2


def test_row_groups_of_absurd_size_are_refused(written, monkeypatch):
    monkeypatch.setattr(shards, "MAX_GROUP_BYTES", 1000)
    shards._readers.clear()
    with pytest.raises(InputError, match="fewer rows in a group"):
        shard_facts(written["a.parquet"])
    with pytest.raises(UnreadableImageError, match="at most 1,000 are read"):
        read_row(written["a.parquet"], 0)


@pytest.mark.parametrize("name", SHARD_NAMES)
def test_a_row_without_an_image_has_a_reason_and_its_neighbours_do_not(name, tmp_path):
    cells = [
        {"bytes": png(0), "path": None},
        {"bytes": None, "path": "elsewhere/1.png"},
        None,
        {"bytes": b"", "path": None},
        {"bytes": b"no image", "path": "x.png"},
        {"bytes": png(5)[:-200], "path": None},
        {"bytes": png(6), "path": None},
    ]
    path = write_shard(tmp_path / name, image_table(cells))
    read = list(read_each([Address(path, row=row) for row in (*range(7), 7, 0)]))
    good = [isinstance(image, SourceImage) for image in read]
    assert good == [True, False, False, False, False, False, True, False, True]
    for image, says in zip(
        [image for image in read if isinstance(image, UnreadableImageError)],
        ["does not hold it", "no image", "no image", "not an image", "broken", "has no row 7"],
        strict=True,
    ):
        assert says in str(image)


@given(
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.floats(0.2, 1),
)
@pytest.mark.parametrize("name", ["a.parquet", "a.file.arrow"])
def test_damaged_shards_give_rows_or_reasons_and_nothing_else(name, damage, cut, written, tmp_path_factory):
    content = bytearray(written[name].read_bytes())
    for place, value in damage:
        content[int(place * (len(content) - 1))] = value
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content[: int(cut * len(content))])
    for image in read_each([Address(path, row=row) for row in (0, 20, 3)]):
        assert isinstance(image, SourceImage | UnreadableImageError)


@pytest.mark.parametrize("order", [range(N_ROWS), reversed(range(N_ROWS))])
def test_a_damaged_row_group_takes_no_rows_of_others_with_it(order, written, tmp_path):
    metadata = pq.ParquetFile(written["a.parquet"]).metadata
    group = metadata.row_group(2)
    start = min(group.column(i).dictionary_page_offset or group.column(i).data_page_offset for i in range(2))
    content = bytearray(written["a.parquet"].read_bytes())
    content[start : start + group.total_byte_size // 2] = bytes(group.total_byte_size // 2)
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    order = list(order)
    images = read_each([Address(path, row=row) for row in order])
    bad = {row for row, image in zip(order, images, strict=True) if isinstance(image, UnreadableImageError)}
    assert bad == set(range(14, 21))
    again = [str(image) for image in read_each([Address(path, row=row) for row in (15, 16, 15)])]
    assert all("cannot be read" in text for text in again)


def test_a_row_of_absurd_size_is_not_decoded(written, monkeypatch):
    monkeypatch.setattr(shards, "MAX_FILE_BYTES", 1000)
    with pytest.raises(UnreadableImageError, match="at most 1,000 are read"):
        read_row(written["a.parquet"], 0)


def test_what_is_no_table_is_a_reason(tmp_path):
    for name in ("a.parquet", "b.arrow"):
        (tmp_path / name).write_bytes(b"this is no table")
        with pytest.raises(InputError, match="cannot be read as a table"):
            shard_facts(tmp_path / name)
    for path in (tmp_path / "a.parquet", tmp_path / "b.arrow", tmp_path / "missing.parquet", tmp_path):
        with pytest.raises(UnreadableImageError, match="cannot be read"):
            read_row(path, 0)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"face": [b"x"], "thumb": [b"x"]}, "face"),
        ({"mask": [b"x"], "Image": [{"bytes": b"x", "path": None}]}, "Image"),
        ({"id": [1], "pixels": [b"x"]}, "pixels"),
    ],
)
def test_the_image_column_is_found_by_what_it_holds(columns, expected, tmp_path):
    path = write_shard(tmp_path / "a.parquet", pa.table(columns))
    assert shard_facts(path).image_column == expected


def test_what_datasets_says_goes_before_names(tmp_path):
    table = pa.table({"image": [b"mask"], "scan": [b"x"]})
    for content, expected in (
        (json.dumps({"info": {"features": {"scan": {"_type": "Image"}}}}), "scan"),
        ("{", "image"),
        ("[]", "image"),
        ('{"info": {"features": [1]}}', "image"),
        ("[" * 100_000, "image"),
    ):
        path = write_shard(tmp_path / "a.parquet", table.replace_schema_metadata({"huggingface": content}))
        assert shard_facts(path).image_column == expected


def test_cells_are_read_without_the_images(written, monkeypatch):
    for path in written.values():
        cells = list(read_cells(path, ["label"]))
        assert cells == [{"label": i % 2} for i in range(N_ROWS)]
        assert list(read_cells(path, [])) == [{}] * N_ROWS


def test_a_hub_layout_has_splits_classes_generators_groups_and_no_ties(tmp_path):
    root = tmp_path / "faces"
    for name, generators in (("train-00000-of-00002", ["sd", None]), ("train-00001-of-00002", ["sd", "sd"])):
        table = image_table(structs([png(1), png(2)]), label=[0, 1], generator=generators, group=["", "g"])
        write_shard(root / "data" / f"{name}.parquet", table)
    write_shard(root / "data" / "test-00000-of-00001.parquet", image_table(structs([png(3)]), label=[1]))
    files = find_sources([str(root)], layout="huggingface")
    assert [(file.folder, file.target, file.split, file.group, file.address.row) for file in files] == [
        ("faces_real", 1, "test", "", 0),
        ("sd", 0, "train", "", 0),
        ("faces_real", 1, "train", "g", 1),
        ("sd", 0, "train", "", 0),
        ("sd", 1, "train", "g", 1),
    ]
    assert len({file.key for file in files}) == len(files)
    assert files[0].image_path == f"{root}/data/test-00000-of-00001.parquet#row=0"
    assert matching_layouts(root) == ["huggingface"]


def test_rows_come_in_the_order_of_the_table(tmp_path):
    path = write_shard(tmp_path / "a.parquet", image_table(structs([png(0)] * 120), label=[0] * 120))
    files = find_sources([str(path)], layout="huggingface")
    assert [file.address.row for file in files] == list(range(120))


@pytest.mark.parametrize(
    ("place", "split"),
    [
        ("validation-00000-of-00001.parquet", "val"),
        ("default/train/0000.parquet", "train"),
        ("data/test.parquet", "test"),
        ("data/dev-00000-of-00001-abcdef.parquet", "val"),
        ("data/0000.parquet", ""),
        ("data/contest-00000-of-00001.parquet", ""),
    ],
)
def test_the_split_is_in_the_name_of_the_shard_or_its_folder(place, split, tmp_path):
    write_shard(tmp_path / "x" / place, image_table(structs([png(0)]), label=[0]))
    (file,) = find_sources([str(tmp_path / "x")], layout="huggingface")
    assert file.split == split


@pytest.mark.parametrize("column", ["target_class", "label", "class"])
def test_labels_may_be_words(column, tmp_path):
    table = image_table(structs([png(0), png(1)]), metadata=False, **{column: ["Real", "AI"]})
    path = write_shard(tmp_path / "a.parquet", table)
    assert [file.target for file in find_sources([str(path)], layout="huggingface")] == [1, 0]


@pytest.mark.parametrize(
    ("columns", "metadata", "says"),
    [
        ({"label": [1, 0]}, False, "'1' in column 'label' names no class.*ClassLabel"),
        ({"label": [0, 2]}, True, "row 1: '2'"),
        ({"label": ["cat", "dog"]}, False, "'cat'"),
        ({"label": [None, None]}, False, "''"),
        ({"size": [1, 2]}, False, "no column that names the class"),
    ],
)
def test_numbers_without_names_are_refused(columns, metadata, says, tmp_path):
    table = image_table(structs([png(0), png(1)]), metadata=metadata, **columns)
    with pytest.raises(InputError, match=says):
        find_sources([str(write_shard(tmp_path / "a.parquet", table))], layout="huggingface")


def test_rows_without_a_class_are_left_out(tmp_path, caplog):
    table = image_table(structs([png(seed) for seed in range(4)]), label=[-1, 1, None, 0])
    files = find_sources([str(write_shard(tmp_path / "a.parquet", table))], layout="huggingface")
    assert [(file.address.row, file.target) for file in files] == [(1, 1), (3, 0)]
    assert "2 rows without a class are left out" in caplog.text


def test_a_table_of_images_without_its_layout_is_told_so(written, tmp_path):
    for name in ("a.parquet", "a.arrow"):
        with pytest.raises(UsageError, match="--layout huggingface"):
            find_sources([str(written[name])])


@pytest.mark.parametrize("name", SHARD_NAMES)
def test_shards_lie_behind_urls_too(name, written):
    root = UPath("memory://shards/faces")
    (root / name).write_bytes(written[name].read_bytes())
    shards._readers.clear()
    addresses = [Address(root / name, row=row) for row in (0, 9, 3, 39)]
    for address, image in zip(addresses, read_each(addresses), strict=True):
        assert np.array_equal(image.image_rgb_uint8, draw(address.row))
    if name == "a.parquet":
        files = find_sources([str(root)], layout="huggingface")
        assert [file.image_path for file in files] == [f"{root}/{name}#row={row}" for row in range(N_ROWS)]
    root.fs.rm(root.path, recursive=True)


def test_a_table_without_images_is_one_clear_error(tmp_path):
    path = write_shard(tmp_path / "a.parquet", pa.table({"label": ["real"], "url": ["https://x/1.jpg"]}))
    with pytest.raises(InputError, match=r"no column of images.*label, url"):
        find_sources([str(path)], layout="huggingface")


def test_what_datasets_saves_is_what_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["real", "fake"]))
    rows = {"image": structs([png(seed) for seed in range(6)]), "label": [0, 1] * 3}
    data = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict(train=data, validation=data.select([5])).save_to_disk(
        tmp_path / "saved", num_shards={"train": 2, "validation": 1}
    )
    # `map` leaves such files beside the shards.
    (tmp_path / "saved/train/cache-0123.arrow").write_bytes(b"")
    data.to_parquet(tmp_path / "hub/data/train-00000-of-00001.parquet")
    for name, n_val in (("saved", 1), ("hub", 0)):
        files = find_sources([str(tmp_path / name)], layout="huggingface")
        train = [file for file in files if file.split == "train"]
        assert [file.target for file in train] == [1, 0] * 3
        assert sum(file.split == "val" for file in files) == n_val == len(files) - 6
        for seed, image in enumerate(read_each([file.address for file in train])):
            assert np.array_equal(image.image_rgb_uint8, draw(seed))


def test_a_state_that_names_no_shards_or_leads_elsewhere_gives_nothing(tmp_path):
    write_shard(tmp_path / "x.arrow", image_table(structs([png(0)]), label=[0]))
    root = tmp_path / "saved"
    root.mkdir()
    write_shard(root / "data-00000-of-00001.arrow", image_table(structs([png(0)]), label=[0]))
    state = root / "state.json"
    state.write_text(json.dumps({"_data_files": [{"filename": "../x.arrow"}, {"filename": 3}, 7]}))
    with pytest.raises(InputError, match="not laid out as 'huggingface'"):
        find_sources([str(root)], layout="huggingface")
    for content in ('{"_data_files": 3}', "[]", "{"):
        state.write_text(content)
        with pytest.raises(InputError, match=r"state\.json"):
            find_sources([str(root)], layout="huggingface")


def test_rows_are_prepared_and_their_manifest_leads_back_to_them(tmp_path, run_cli):
    root = tmp_path / "faces"
    cells = structs([png(seed) for seed in range(24)])
    cells[7]["bytes"] = b"broken"
    labels = [i % 2 for i in range(24)]
    write_shard(root / "data" / "train-00000-of-00001.parquet", image_table(cells, label=labels))
    options = ("--face-detector", "whole", "--image-size", "64", "--balance", "none", "--quiet")
    done = run_cli("prepare", root, "--layout", "huggingface", "--output", tmp_path / "out", *options)
    assert done.exit_code == 3, done.stderr
    rows = read_manifest(tmp_path / "out").rows
    assert [row.status for row in rows] == ["ok"] * 7 + ["unreadable"] + ["ok"] * 16
    assert rows[12].image_path.endswith("train-00000-of-00001.parquet#row=12")
    assert [row.target for row in rows] == labels
    # No row is tied to another by its place in the table.
    assert len({row.group for row in rows}) == 24
    files = find_sources([str(tmp_path / "out" / "manifest.xlsx")])
    assert [file.address.row for file in files] == list(range(24))
    images = read_each([file.address for file in files])
    again = [image.sha256 if isinstance(image, SourceImage) else "" for image in images]
    assert again == [row.sha256 for row in rows]


def test_rows_and_files_and_named_groups_mix(tmp_path):
    path = write_shard(tmp_path / "faces/a.parquet", image_table(structs([png(0), png(1)]), label=[0, 1]))
    save(tmp_path / "photos/real/web/1.png", 5)
    groups = tmp_path / "groups.csv"
    groups.write_text(f"path,group\na.parquet#row=1,ann\n{path},all\n")
    files = find_sources([str(path.parent)], layout="huggingface", groups_file=groups)
    assert [file.group for file in files] == ["all", "ann"]
    save_layout(tmp_path / "photos", {"fake/x": 1})
    assert len(find_sources([str(tmp_path / "photos")])) == 2

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import draw, save_layout, write_table
from PIL import Image

from faceauth.errors import InputError, MissingExtraError, UsageError
from faceauth.intake.manifest import OK, UNREADABLE, read_manifest
from faceauth.intake.pipeline import publish
from faceauth.intake.pipeline.store import stamp_of
from faceauth.intake.pixels.images import UnreadableImageError
from faceauth.intake.pixels.reading import read_each
from faceauth.intake.sources import remote
from faceauth.intake.sources.find import find_sources
from faceauth.intake.sources.remote import fetch_each, is_remote, is_url, path_of, version_of
from faceauth.intake.sources.walk import walk

FAST = ("--face-detector", "whole", "--image-size", "64", "--workers", "0", "--balance", "none", "--json")
MEMORY = fsspec.filesystem("memory")


@pytest.fixture
def bucket():
    """A URL below which nothing lies yet."""
    url = f"memory://{uuid4().hex}"
    yield url
    for name in [name for name in MEMORY.store if name.startswith(f"/{url.partition('://')[2]}/")]:
        del MEMORY.store[name]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Leaves out pauses between tries, and the plain-facts classifier, which takes longer than the rest."""
    monkeypatch.setattr(remote, "PAUSES_S", (0.0,))
    monkeypatch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)


def upload(folder, url):
    for path in folder.rglob("*"):
        if path.is_file():
            MEMORY.pipe_file(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return url


def below(url):
    return {name.split("/", 2)[2]: MEMORY.cat_file(name) for name in MEMORY.find(url)}


def prepare(run_cli, source, output, *options):
    result = run_cli("prepare", source, "--output", output, *FAST, *options)
    return result.exit_code, json.loads(result.stdout)


def told(rows):
    """What the rows say of the pictures, wherever these lie."""
    return [
        (Path(row.image_path).name, row.folder, row.target, row.status, row.sha256, row.phash, row.width)
        for row in rows
    ]


def test_urls_and_local_paths_are_told_apart():
    assert [is_url(text) for text in ("s3://b/x", "memory://b", "file:///a/b", "C:/b", "C:\\b", "a/b")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    assert path_of("file:///a/b") == Path("/a/b")
    assert path_of("~") == Path.home()
    assert not is_remote(path_of("a/b"))
    assert is_remote(path_of("memory://b/x"))
    assert str(path_of("memory://b/x/")) == "memory://b/x"


def test_what_a_url_needs_is_named(monkeypatch):
    with pytest.raises(UsageError, match="nowhere://b"):
        path_of("nowhere://b/x")
    with pytest.raises(UsageError, match="leads through another"):
        path_of("zip://x.zip::s3://b/x")

    def missing(scheme):
        raise ImportError("Please install something")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(MissingExtraError) as caught:
        path_of("s3://b/x")
    assert 'pip install "faceauth[s3]"' in caught.value.hint
    with pytest.raises(MissingExtraError) as caught:
        path_of("abfs://b/x")
    assert "Please install something" in caught.value.hint


def test_a_remote_folder_gives_the_rows_and_crops_of_the_same_folder_here(run_cli, tmp_path, bucket):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 6, "fake/insight/deep": 5})
    (photos / "real/wiki/empty.jpg").touch()
    (photos / "real/wiki/text.png").write_text("no image")
    (photos / "groups.csv").write_text("path,group\nreal/wiki/0001.png,one\nfake/insight/deep/0006.png,one\n")
    url = upload(photos, bucket)
    assert prepare(run_cli, photos, tmp_path / "here")[0] == 3
    code, _ = prepare(run_cli, url, tmp_path / "far")
    assert code == 3
    here, far = read_manifest(tmp_path / "here").rows, read_manifest(tmp_path / "far").rows
    assert told(far) == told(here)
    assert Counter(row.status for row in far) == {OK: 11, UNREADABLE: 2}
    assert [row.reason for row in far] == [row.reason for row in here]
    assert {row.image_path for row in far} == {
        f"{url}/{path.relative_to(photos).as_posix()}"
        for path in photos.rglob("*.*")
        if path.name != "groups.csv"
    }
    assert sum(row.group == "one" for row in far) == sum(row.group == "one" for row in here) > 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "here").rglob("*/*.png")} == {
        path.name: path.read_bytes() for path in (tmp_path / "far").rglob("*/*.png")
    }


def test_a_spreadsheet_here_may_name_images_elsewhere(tmp_path, bucket):
    upload(save_layout(tmp_path / "photos", {"real/wiki": 2}), bucket)
    table = tmp_path / "all.csv"
    table.write_text(
        f"image_path,folder,target\n{bucket}/real/wiki/0000.png,wiki,1\nphotos/real/wiki/0001.png,wiki,1\n"
    )
    files = find_sources([str(table)])
    assert {file.image_path for file in files} == {
        f"{bucket}/real/wiki/0000.png", str(tmp_path / "photos/real/wiki/0001.png"),
    }  # fmt: skip
    images = list(read_each([file.address for file in files]))
    assert {image.image_rgb_uint8.tobytes() for image in images} == {draw(0).tobytes(), draw(1).tobytes()}


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
def test_a_spreadsheet_elsewhere_names_the_images_beside_it(tmp_path, bucket, suffix):
    save_layout(tmp_path / "up/photos/real", {"wiki": 2})
    names = ["photos/real/wiki/0000.png", "photos/real/wiki/0001.png"]
    write_table(
        tmp_path / f"up/all{suffix}",
        ["image_path", "folder", "target"],
        [[name, "wiki", 1] for name in names],
    )
    upload(tmp_path / "up", bucket)
    files = find_sources([f"{bucket}/all{suffix}"])
    assert [file.image_path for file in files] == [f"{bucket}/{name}" for name in names]
    images = [image.image_rgb_uint8 for image in read_each([file.address for file in files])]
    assert [image.tobytes() for image in images] == [draw(0).tobytes(), draw(1).tobytes()]


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=60)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=6))
def test_every_listed_name_leads_back_to_its_own_object(parts):
    url = f"memory://{uuid4().hex}"
    root = path_of(url)
    wanted = {}
    for i, names in enumerate(parts):
        # Numbers, so that no object is the folder of another.
        name = "/".join([*(f"{n}-" for n in names[:-1]), f"{names[-1]}{i}.png"])
        MEMORY.pipe_file(f"{root.path}/{name}", name.encode())
        hidden = any(part.startswith(".") for part in name.split("/"))
        if not hidden and "::" not in name and "://" not in name:
            wanted[name] = name.encode()
    listed = list(walk(root))
    assert sorted(wanted.values()) == sorted(fetch_each(listed))
    assert [path.read_bytes() for path in listed] == list(fetch_each(listed))
    assert all(path_of(str(path)) == path for path in listed if not str(path).endswith("/"))
    MEMORY.rm(root.path, recursive=True)


def test_listing_asks_for_no_object_by_itself(bucket, tmp_path, monkeypatch):
    upload(save_layout(tmp_path / "photos", {"real/wiki": 20, "fake/gan": 20}), bucket)
    files = find_sources([bucket])
    monkeypatch.setattr(type(MEMORY), "info", lambda *_, **__: pytest.fail("an object was asked for"))
    stamps = {stamp_of(file) for file in files}
    assert len(stamps) == 40


def test_the_version_changes_with_the_object(bucket):
    MEMORY.pipe_file(f"{bucket}/a.png", b"one")
    path = path_of(f"{bucket}/a.png")
    assert version_of(path_of(f"{bucket}/b.png")) == "missing"
    before = version_of(path)
    assert before == version_of(path)
    time.sleep(0.01)
    MEMORY.pipe_file(f"{bucket}/a.png", b"two")
    assert version_of(path) != before
    (listed,) = walk(path_of(bucket))
    assert version_of(listed) == version_of(path) != before


def test_few_bytes_are_held_and_answers_keep_their_order(bucket, monkeypatch):
    contents = [bytes([i]) * 100 * (1 + i % 4) for i in range(30)]
    paths = [path_of(f"{bucket}/{i:02d}") for i in range(30)]
    for path, content in zip(paths, contents, strict=True):
        MEMORY.pipe_file(path.path, content)
    fetched = []
    cat_file = type(MEMORY).cat_file
    monkeypatch.setattr(remote, "FETCHED_BYTES", 1000)
    monkeypatch.setattr(
        type(MEMORY), "cat_file", lambda self, path: (fetched.append(path), cat_file(self, path))[1]
    )
    ahead = []
    for i, content in enumerate(fetch_each(paths)):
        assert content == contents[i]
        ahead.append(sum(map(len, contents[i : len(fetched)])))
    assert max(ahead) <= 1000 + 400


def test_one_missing_or_closed_object_is_one_row_and_no_end(bucket, monkeypatch):
    for name in ("a", "b", "c"):
        MEMORY.pipe_file(f"{bucket}/{name}", b"x")
    monkeypatch.setattr(remote, "MAX_FILE_BYTES", 10)
    MEMORY.pipe_file(f"{bucket}/large", b"x" * 11)
    MEMORY.pipe_file(f"{bucket}/empty", b"")
    info = type(MEMORY).info

    def guarded(self, path, **options):
        if path.endswith("/b"):
            raise PermissionError("Access Denied")
        return info(self, path, **options)

    monkeypatch.setattr(type(MEMORY), "info", guarded)
    names = ("a", "b", "gone", "large", "empty", "c")
    answers = dict(zip(names, fetch_each([path_of(f"{bucket}/{name}") for name in names]), strict=True))
    assert answers["a"] == answers["c"] == b"x"
    reasons = {name: str(answers[name]) for name in names if isinstance(answers[name], UnreadableImageError)}
    assert reasons == {
        "b": "the file cannot be read: Access Denied",
        "gone": "the file cannot be read: No such file or directory",
        "large": "the file has 11 bytes; at most 10 are read",
        "empty": "the file is empty (0 bytes)",
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError("The token has expired"), "may not be read"),
        (TimeoutError("no answer"), "cannot be reached"),
        (type("NoCredentialsError", (Exception,), {})("Unable to locate credentials"), "credentials"),
    ],
)
def test_a_place_that_answers_nothing_ends_the_run_and_makes_no_rows(bucket, monkeypatch, error, said):
    MEMORY.pipe_file(f"{bucket}/a", b"x")

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(type(MEMORY), "info", refuse)
    with pytest.raises(InputError, match=said):
        list(fetch_each([path_of(f"{bucket}/a")]))
    with pytest.raises(InputError, match=said):
        find_sources([bucket])


def test_a_moment_without_network_is_waited_out(bucket, monkeypatch):
    MEMORY.pipe_file(f"{bucket}/a", b"x")
    cat_file = type(MEMORY).cat_file
    failures = [ConnectionError("reset")]

    def flaky(self, path):
        if failures:
            raise failures.pop()
        return cat_file(self, path)

    monkeypatch.setattr(type(MEMORY), "cat_file", flaky)
    assert list(fetch_each([path_of(f"{bucket}/a")])) == [b"x"]


def test_a_remote_output_holds_what_a_local_one_would(run_cli, tmp_path, bucket):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 12, "fake/gan": 12})
    prepare(run_cli, photos, tmp_path / "here")
    code, _ = prepare(run_cli, photos, f"{bucket}/out", "--staging", tmp_path / "staging")
    assert code == 0
    there = below(f"{bucket}/out")
    here = {
        path.relative_to(tmp_path / "here").as_posix(): path.read_bytes()
        for path in (tmp_path / "here").rglob("*")
        if path.is_file() and ".prepare" not in path.parts
    }
    varying = {"out/prepare.json", "out/manifest.xlsx", "out/.prepare/settings.json"}
    assert {f"out/{name}" for name in here} == there.keys() - {"out/.prepare/settings.json"}
    assert all(
        there[f"out/{name}"] == content for name, content in here.items() if f"out/{name}" not in varying
    )


def test_publishing_goes_on_where_it_stopped_and_the_manifest_comes_last(
    run_cli, tmp_path, bucket, monkeypatch
):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 10, "fake/gan": 10})
    put_file = type(MEMORY).put_file
    sent = []

    def put(self, source, target, **options):
        if limits and len(sent) == limits[0]:
            raise ConnectionError("gone")
        sent.append(target.split("/out/")[1])
        put_file(self, source, target, **options)

    monkeypatch.setattr(type(MEMORY), "put_file", put)
    # One at a time: what is under way when another upload fails still ends.
    monkeypatch.setattr(publish, "PARALLEL_REQUESTS", 1)
    all_sent = []
    limits = [7, 5, 7]
    while limits:
        code, document = prepare(run_cli, photos, f"{bucket}/out", "--staging", tmp_path / "staging")
        assert code == 1
        assert "cannot be reached" in document["error"]["message"]
        assert not any("manifest" in name for name in below(f"{bucket}/out"))
        all_sent += sent
        sent.clear()
        limits.pop(0)
    assert prepare(run_cli, photos, f"{bucket}/out", "--staging", tmp_path / "staging")[0] == 0
    assert sent[-2:] == ["manifest.xlsx", "manifest.parquet"]
    crops = [name for name in all_sent + sent if name.endswith(".png")]
    assert len(crops) == len(set(crops)) == 20
    rows = read_manifest(tmp_path / "staging").rows
    assert {row.destination_path for row in rows} <= {name[4:] for name in below(f"{bucket}/out")}


def test_crops_that_moved_are_deleted_there_and_what_people_put_there_stays(run_cli, tmp_path, bucket):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 10, "fake/gan": 10})
    options = ("--staging", tmp_path / "staging")
    prepare(run_cli, photos, f"{bucket}/out", *options)
    MEMORY.pipe_file(f"{bucket}/out/train/notes.txt", b"mine")
    before = {name for name in below(f"{bucket}/out") if name.endswith(".png")}
    assert prepare(run_cli, photos, f"{bucket}/out", *options, "--seed", "5")[0] == 0
    after = {name for name in below(f"{bucket}/out") if name.endswith(".png")}
    assert before != after
    assert {name[4:] for name in after} == {
        row.destination_path for row in read_manifest(tmp_path / "staging").rows
    }
    assert below(f"{bucket}/out")["out/train/notes.txt"] == b"mine"


def test_other_settings_and_strange_folders_are_refused_before_any_work(run_cli, tmp_path, bucket):
    photos = save_layout(tmp_path / "photos", {"real/wiki": 4, "fake/gan": 4})
    MEMORY.pipe_file(f"{bucket}/full/thesis.doc", b"mine")
    code, document = prepare(run_cli, photos, f"{bucket}/full", "--staging", tmp_path / "s1")
    assert code == 2
    assert "was not made by" in document["error"]["message"]
    assert not (tmp_path / "s1/manifest.xlsx").exists()

    assert prepare(run_cli, photos, f"{bucket}/out", "--staging", tmp_path / "s2")[0] == 0
    code, document = prepare(run_cli, photos, f"{bucket}/out", "--staging", tmp_path / "s3", "--margin", "2")
    assert code == 2
    assert "other settings" in document["error"]["message"]
    code, _ = prepare(
        run_cli, photos, f"{bucket}/out", "--staging", tmp_path / "s3", "--image-size", "32", "--overwrite"
    )
    assert code == 0
    sizes = set()
    for name, content in below(f"{bucket}/out").items():
        if name.endswith(".png"):
            local = tmp_path / "s3" / name[4:]
            assert content == local.read_bytes()
            sizes.add(Image.open(local).size)
    assert sizes == {(32, 32)}


def test_a_remote_output_inside_the_source_is_no_source(run_cli, tmp_path, bucket):
    upload(save_layout(tmp_path / "photos", {"real/wiki": 4, "fake/gan": 4}), bucket)
    for _ in range(2):
        output = f"{bucket}/real/prepared"
        code, summary = prepare(run_cli, bucket, output, "--staging", tmp_path / "staging")
        assert code == 0
        assert summary["counts"]["by_status"][OK] == 8


def test_the_staging_folder_follows_from_the_url_and_is_refused_for_local_outputs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, destination = publish.work_folder("memory://b/out")
    assert first.is_relative_to(tmp_path)
    assert str(destination) == "memory://b/out"
    assert publish.work_folder("memory://b/out/")[0] == first
    assert publish.work_folder("memory://b/other")[0] != first
    assert publish.work_folder("out") == (Path("out"), None)
    with pytest.raises(UsageError, match="--staging"):
        publish.work_folder("out", staging=tmp_path)


@pytest.fixture(scope="module")
def s3_server():
    """The address of an S3 server on this machine, and what its clients find in their environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.1)
    yield address
    server.kill()
    server.wait()


@pytest.fixture
def s3(s3_server, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3 = fsspec.filesystem("s3", skip_instance_cache=True)
    s3.mkdir("photos")
    yield s3
    s3.rm("photos", recursive=True)


@pytest.mark.launch
def test_a_bucket_is_a_source_and_an_output_for_worker_processes_too(run_cli, tmp_path, s3):
    photos = save_layout(tmp_path / "photos", {"real/wiki [1]": 20, "fake/gan*?#": 20})
    for path in photos.rglob("*.png"):
        s3.pipe_file(f"photos/in/{path.relative_to(photos).as_posix()}", path.read_bytes())
    assert prepare(run_cli, photos, tmp_path / "here")[0] == 0
    options = ("--staging", tmp_path / "staging", "--workers", "2")
    assert prepare(run_cli, "s3://photos/in", "s3://photos/out", *options)[0] == 0
    s3.invalidate_cache()
    assert s3.cat_file("photos/out/manifest.parquet") == (tmp_path / "staging/manifest.parquet").read_bytes()
    rows = read_manifest(tmp_path / "staging").rows
    assert told(rows) == told(read_manifest(tmp_path / "here").rows)
    assert len(rows) == 40
    for row in rows:
        here = (tmp_path / "here" / row.destination_path).read_bytes()
        assert s3.cat_file(f"photos/out/{row.destination_path}") == here
    # Nothing is done twice: stamps come from the listing and are the same the next day.
    code, summary = prepare(run_cli, "s3://photos/in", "s3://photos/out", *options)
    assert (code, summary["rates"]["images_new"]) == (0, 0)


@pytest.mark.launch
def test_a_missing_bucket_and_missing_rights_are_one_message(run_cli, tmp_path, s3, monkeypatch):
    code, document = prepare(run_cli, "s3://nowhere/in", tmp_path / "out")
    assert code == 2
    assert "s3://nowhere/in does not exist" in document["error"]["message"]
    save_layout(tmp_path / "photos", {"real/wiki": 2, "fake/gan": 2})
    code, document = prepare(
        run_cli, tmp_path / "photos", "s3://nowhere/out", "--staging", tmp_path / "staging"
    )
    assert code == 1
    assert "s3://nowhere/out does not exist" in document["error"]["message"]
    # It was asked for before any work was done.
    assert not (tmp_path / "staging").exists()

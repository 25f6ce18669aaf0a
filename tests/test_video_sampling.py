"""Which frames of a video are taken, and what becomes of them in a prepared folder."""

import json
import logging
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from clips import grey_frames, number_of, save_video
from hypothesis import given
from hypothesis import strategies as st
from pictures import draw, save

from faceauth.errors import MissingExtraError, UsageError
from faceauth.intake.manifest import DUPLICATE, OK, SURPLUS, UNREADABLE, read_manifest
from faceauth.intake.pixels.reading import read_each
from faceauth.intake.sources.address import Address, split_fragment
from faceauth.intake.sources.find import find_sources, source_key
from faceauth.intake.sources.video_sampling import (
    VideoClaims,
    VideoSampling,
    expand_videos,
    parse_sampling,
    probe_video,
    sample_times,
)
from faceauth.scoring import score
from faceauth.scoring.pooling import pool_scores
from faceauth.scoring.score_tables import read_scores

RATE = 25


def expanded(folder, sampling, **options):
    return expand_videos(find_sources([str(folder)], **options), sampling)


@given(
    st.floats(0.001, 5000.0),
    st.none() | st.integers(1, 5000),
    st.builds(VideoSampling, st.integers(1, 100), st.none() | st.floats(0.01, 60.0)),
)
def test_times_are_even_inside_the_video_and_no_more_than_asked_for(duration_s, n_frames, sampling):
    times = sample_times(VideoClaims(duration_s, n_frames), sampling)
    assert 1 <= len(times) <= (n_frames or 10**9)
    assert times[0] >= 0
    assert times[-1] <= duration_s
    assert all(earlier < later for earlier, later in pairwise(times))
    if sampling.rate_hz is None:
        assert len(times) <= sampling.frames
    elif len(times) > 1:
        step_s = duration_s / round(duration_s * sampling.rate_hz)
        assert times[1] - times[0] >= step_s - 0.002


def test_sixteen_frames_or_so_many_a_second_or_all_there_are(tmp_path):
    save_video(tmp_path / "real" / "cam" / "a.mp4", grey_frames(30))
    files = {
        sampling: expanded(tmp_path, sampling)
        for sampling in (VideoSampling(), VideoSampling(100), VideoSampling(rate_hz=5.0), VideoSampling(1))
    }
    read = {
        sampling: [number_of(image) for image in read_each([file.address for file in found])]
        for sampling, found in files.items()
    }
    assert [len(numbers) for numbers in read.values()] == [16, 30, 6, 1]
    assert read[VideoSampling(100)] == list(range(30))
    assert read[VideoSampling(rate_hz=5.0)] == [2, 7, 12, 17, 22, 27]
    assert read[VideoSampling(1)] == [15]
    for file in files[VideoSampling()]:
        path, time_s, _ = split_fragment(file.image_path)
        assert (Path(path), time_s) == (file.address.path, file.address.time_s)


def test_the_options_exclude_each_other_and_have_ranges():
    assert parse_sampling(None, None) == VideoSampling(16, None)
    assert parse_sampling(4, None) == VideoSampling(4, None)
    assert parse_sampling(None, 2.5).rate_hz == 2.5
    for frames, fps in ((4, 2.0), (0, None), (None, 0.0), (None, float("nan")), (None, 1e9)):
        with pytest.raises(UsageError):
            parse_sampling(frames, fps)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mpg"])
def test_the_header_says_how_long_it_is(tmp_path, name):
    codec = {"a.avi": "mpeg4", "a.mpg": "mpeg2video"}.get(name, "libx264rgb")
    claims = probe_video(save_video(tmp_path / name, grey_frames(50), codec=codec))
    assert claims.duration_s == pytest.approx(2.0, abs=0.05)
    assert claims.n_frames == pytest.approx(50, abs=1)


def test_where_the_header_is_silent_or_absurd_the_video_is_gone_through(tmp_path):
    silent = save_video(tmp_path / "a.mkv", grey_frames(50), flags={"live": "1"})
    assert probe_video(silent) == VideoClaims(pytest.approx(2.0), 50)

    absurd = save_video(tmp_path / "b.mkv", grey_frames(50))
    content = absurd.read_bytes()
    assert content.count(b"00:00:02.000") == 1
    absurd.write_bytes(content.replace(b"00:00:02.000", b"99:00:02.000"))
    assert probe_video(absurd) == VideoClaims(pytest.approx(2.0), 50)


def test_frames_keep_what_is_known_of_their_video_and_images_stay(tmp_path):
    for place in ("real/cam/x/1.mp4", "fake/swap/x/1.mp4", "fake/swap/x/2.mkv"):
        save_video(tmp_path / place, grey_frames(8))
    save(tmp_path / "real" / "cam" / "3.png", 1)
    groups = tmp_path / "groups.csv"
    groups.write_text("path,group,identity\nfake/swap/x/2.mkv,g2,ann\n")
    found = expanded(tmp_path, VideoSampling(3), groups_file=groups)

    assert len(found) == 10
    by_video = {}
    for file in found:
        by_video.setdefault(str(file.address.path.relative_to(tmp_path)), []).append(file)
    assert [file.address.time_s for file in by_video["fake/swap/x/1.mp4"]] == sorted(
        file.address.time_s for file in by_video["fake/swap/x/1.mp4"]
    )
    assert {file.key for file in by_video["fake/swap/x/1.mp4"]} == {"x/1"}
    assert {file.key for file in by_video["real/cam/x/1.mp4"]} == {"x/1"}
    assert {(file.group, file.identity) for file in by_video["fake/swap/x/2.mkv"]} == {("g2", "ann")}
    assert {(file.folder, file.target) for file in by_video["real/cam/x/1.mp4"]} == {("cam", 1)}
    (image,) = by_video["real/cam/3.png"]
    assert image.address == Address(tmp_path / "real" / "cam" / "3.png")


def test_a_frame_that_a_table_names_is_that_frame(tmp_path):
    path = save_video(tmp_path / "a.mp4", grey_frames(30))
    table = tmp_path / "table.csv"
    table.write_text("image_path,folder,target\na.mp4#t=0.480,cam,1\n")
    found = expanded(table, VideoSampling())
    assert [file.address for file in found] == [Address(path, 0.48)]


def test_frames_of_one_video_have_one_key():
    assert (
        source_key("data/cam/x/a.mp4#t=1.000", "cam")
        == source_key("data/cam/x/a.mp4#t=2.500", "cam")
        == "x/a"
    )
    assert source_key("s.parquet#row=1", "cam") != source_key("s.parquet#row=2", "cam")


def test_videos_without_pyav_end_before_any_work(tmp_path, monkeypatch):
    save_video(tmp_path / "real" / "cam" / "a.mp4", grey_frames(8))
    save(tmp_path / "fake" / "gan" / "b.png", 1)
    files = find_sources([str(tmp_path)])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match="faceauth\\[video\\]"):
        expand_videos(files, VideoSampling())
    images = [file for file in files if file.address.path.suffix == ".png"]
    assert expand_videos(images, VideoSampling()) == images


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two videos of a camera, a fake of each with its name, a copy, a broken one, and an image."""
    root = tmp_path_factory.mktemp("videos") / "clips"
    for seed, place in enumerate(("real/cam/1.mp4", "real/cam/2.mp4", "fake/swap/1.mp4", "fake/swap/2.mp4")):
        save_video(root / place, [draw(100 * seed + i) for i in range(12)])
    shutil.copy(root / "real" / "cam" / "1.mp4", root / "real" / "cam" / "copy.mp4")
    (root / "fake" / "swap" / "text.mp4").write_text("no video")
    save(root / "real" / "cam" / "9.png", 999)
    return root


@pytest.fixture(scope="module")
def prepared(source, run_cli, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared") / "out"
    shared = ["--face-detector", "whole", "--balance", "none", "--workers", 0, "--splits", "0.5,0,0.5"]
    done = run_cli("prepare", source, "--output", output, "--frames", 3, *shared, "--image-size", 64)
    return done, output, shared


def rows_by_name(output):
    rows = {}
    for row in read_manifest(output).rows:
        path = Path(row.video_path or split_fragment(row.image_path)[0])
        rows.setdefault(f"{row.folder}/{path.name}", []).append(row)
    return rows


def test_a_folder_of_videos_becomes_frames_in_one_group_a_video(prepared):
    done, output, _ = prepared
    assert done.exit_code == 3
    rows = rows_by_name(output)
    assert {name: [row.status for row in found] for name, found in rows.items()} == {
        "cam/1.mp4": [OK] * 3,
        "cam/2.mp4": [OK] * 3,
        "cam/9.png": [OK],
        "cam/copy.mp4": [DUPLICATE] * 3,
        "swap/1.mp4": [OK] * 3,
        "swap/2.mp4": [OK] * 3,
        "swap/text.mp4": [UNREADABLE],
    }
    assert [row.frame for row in rows["cam/1.mp4"]] == [2, 6, 10]
    assert [row.timestamp_s for row in rows["cam/1.mp4"]] == pytest.approx([0.08, 0.24, 0.4])
    assert [row.format for row in rows["cam/1.mp4"]] == ["mp4/h264"] * 3
    assert rows["cam/9.png"][0].frame is None
    assert "same frame as" in rows["cam/copy.mp4"][0].reason
    assert "not a video that can be opened" in rows["swap/text.mp4"][0].reason
    groups = {name: {(row.group, row.split) for row in found if row.split} for name, found in rows.items()}
    assert groups["cam/1.mp4"] == groups["swap/1.mp4"]
    assert groups["cam/2.mp4"] == groups["swap/2.mp4"]
    assert len(groups["cam/1.mp4"]) == len(groups["cam/2.mp4"]) == 1
    assert groups["cam/1.mp4"] != groups["cam/2.mp4"]
    used = [row.destination_path for found in rows.values() for row in found if row.status == OK]
    assert len(set(used)) == len(used) == 13
    assert all((output / path).is_file() for path in used)


def test_the_sampling_stands_in_the_summary(prepared):
    settings = json.loads((prepared[1] / "prepare.json").read_text())["settings"]
    assert settings["videos"] == {"frames": 3, "rate_hz": None}


def test_another_sampling_adds_to_what_was_done(prepared, source, run_cli, tmp_path, caplog):
    output = tmp_path / "out"
    shutil.copytree(prepared[1], output)
    before = {row.image_path for row in read_manifest(output).rows}
    with caplog.at_level(logging.INFO, logger="faceauth"):
        run_cli(
            "prepare", source, "--output", output, "--frames", 1, *prepared[2], "--image-size", 64, "--quiet"
        )
    after = {row.image_path for row in read_manifest(output).rows}
    # The frame in the middle of three is also that of one.
    assert after < before
    assert len(after) == 7


def test_equalised_crops_of_one_video_share_no_file(prepared, run_cli, tmp_path):
    output = tmp_path / "equal"
    run_cli("audit", prepared[1], "--equalise", output)
    rows = [row for row in read_manifest(output).rows if row.status == OK and row.frame is not None]
    n_left_out = sum(row.status == SURPLUS for row in read_manifest(output).rows)
    assert len(rows) >= 12 - n_left_out
    assert len({row.destination_path for row in rows}) == len(rows) > 6


def test_frames_are_pooled_by_their_video(prepared, tmp_path):
    manifest = read_manifest(prepared[1])
    rows = [row for row in manifest.rows if row.status == OK]
    table = tmp_path / "scores.csv"
    lines = [f"{row.destination_path},{0.1 * i:.1f}" for i, row in enumerate(rows[:10])]
    table.write_text("\n".join(["path,p_fake", *lines]) + "\n")

    pooled = pool_scores(read_scores(table, manifest=manifest), how="mean")
    by_video = {}
    for i, row in enumerate(rows[:10]):
        by_video.setdefault(row.video_path or row.destination_path, []).append(0.1 * i)
    assert dict(zip(pooled.destination_path, pooled.p_fake, strict=True)) == pytest.approx(
        {video: sum(scores) / len(scores) for video, scores in by_video.items()}
    )
    assert {Path(video).name for video in by_video if not video.endswith(".png")} == {"1.mp4", "2.mp4"}


def test_scores_of_frames_name_their_video(prepared, monkeypatch):
    manifest = read_manifest(prepared[1])
    rows = [row for row in manifest.rows if row.status == OK]
    monkeypatch.setattr(
        score, "scores_and_features", lambda _, images: (torch.full((len(images),), 0.5), images.flatten(1))
    )
    detector = SimpleNamespace(model=torch.nn.Identity(), pixel_values=lambda images: images)
    scores, _ = score.score_rows(detector, rows, manifest, workers=0)
    assert scores.video.tolist() == [row.video_path for row in rows]
    assert len(pool_scores(scores, how="max")) == 5

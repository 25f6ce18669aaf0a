"""Frames of videos: exactly the one that is shown at a time, upright, in true colours, or a reason."""

import hashlib
import itertools
import os
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import (
    grey_frame,
    grey_frames,
    number_of,
    save_sound,
    save_video,
    turn_in_header,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceauth.errors import InputError, MissingExtraError
from faceauth.intake.pixels import video, video_index
from faceauth.intake.pixels.images import UnreadableImageError
from faceauth.intake.pixels.reading import read_each
from faceauth.intake.pixels.video import read_frames
from faceauth.intake.pixels.video_index import index_video
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.remote import path_of

RATE = 25
N = 30
# x264 makes no B-frames where it is lossless.
B_FRAMES = {"qp": "4", "bf": "3", "x264-params": "open-gop=1:b-adapt=0"}


def times_of(n, *, rate=RATE):
    """A time inside the show of each of n frames."""
    return [(number + 0.3) / rate for number in range(n)]


def moving_pictures(n):
    """Pictures that differ, and of which a codec has to carry each on from the one before."""
    still = np.kron(np.random.default_rng(0).integers(0, 256, (8, 12, 1)), np.ones((8, 8, 3)))
    return [np.roll(still.astype(np.uint8), 2 * number, axis=1) for number in range(n)]


def mean_difference(image, picture):
    return np.abs(image.image_rgb_uint8.astype(int) - picture).mean()


def reason(path, time_s=0.0):
    (error,) = read_frames(path, [time_s])
    assert isinstance(error, UnreadableImageError)
    return str(error)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264rgb", {"bf": "0"}),
        ("a.mp4", "libx264", B_FRAMES),
        ("a.mkv", "libx264", B_FRAMES),
        ("a.mkv", "ffv1", {}),
        ("a.mov", "mjpeg", {}),
        ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
        ("a.mpg", "mpeg2video", {"bf": "2"}),
        ("a.avi", "mpeg4", {}),
        ("a.avi", "libx264", B_FRAMES),
        ("a.avi", "mpeg4", {"bf": "2"}),
    ],
)
def test_each_time_gives_the_frame_that_is_shown_then(tmp_path, name, codec, options):
    path = save_video(tmp_path / name, grey_frames(N), codec=codec, options=options)
    images = list(read_frames(path, times_of(N)))

    assert [number_of(image) for image in images] == list(range(N))
    assert [image.frame for image in images] == list(range(N))
    assert [image.timestamp_s for image in images] == pytest.approx([i / RATE for i in range(N)], abs=1e-3)
    assert {image.image_rgb_uint8.shape for image in images} == {(32, 48, 3)}
    assert {image.sha256 for image in images} == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert {image.n_bytes for image in images} == {path.stat().st_size}


def test_the_format_names_container_and_codec(tmp_path):
    for name, codec, written in (("a.mp4", "libx264rgb", "mp4/h264"), ("a.mkv", "ffv1", "matroska/ffv1")):
        (image,) = read_frames(save_video(tmp_path / name, grey_frames(2), codec=codec), [0.0])
        assert (image.format, image.jpeg_quality) == (written, None)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    """A video with B-frames across its key frames, of pictures that change much, and all its frames."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 48, 3), dtype=np.uint8) for _ in range(N)]
    path = save_video(
        tmp_path_factory.mktemp("long") / "a.mkv", pictures, codec="libx264", options={**B_FRAMES, "qp": "30"}
    )
    with av.open(str(path)) as container:
        decoded = [frame.pts for frame in container.decode(video=0)]
    assert len(decoded) == N
    return path, [image.image_rgb_uint8 for image in read_frames(path, times_of(N))]


@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=6))
def test_a_frame_is_the_same_whatever_was_asked_before(long_video, numbers):
    path, alone = long_video
    times = times_of(N)
    together = read_frames(path, [times[number] for number in numbers])
    for number, image in zip(numbers, together, strict=True):
        assert image.frame == number
        np.testing.assert_array_equal(image.image_rgb_uint8, alone[number])


def test_a_gradual_refresh_without_key_frames_is_decoded_from_where_it_can_be(tmp_path):
    options = {"x264-params": "intra-refresh=1:bframes=0:keyint=8", "qp": "20"}
    pictures = moving_pictures(N)
    path = save_video(tmp_path / "a.mp4", pictures, codec="libx264", options=options, key_every=8)
    assert len(index_video(path).keys) > 1
    numbers = [20, 21, 5, 10, 29]
    found = list(read_frames(path, [times_of(N)[number] for number in numbers]))
    assert [image.frame for image in found] == numbers
    for number, image in zip(numbers, found, strict=True):
        assert mean_difference(image, pictures[number]) < 8


def test_frames_of_any_length_are_found_by_their_own_times(tmp_path):
    path = save_video(tmp_path / "a.mkv", grey_frames(6), ticks=[0, 10, 500, 520, 2000, 2001])
    asked = {0.0: 0, 0.009: 0, 0.01: 1, 0.499: 1, 0.5: 2, 1.999: 3, 2.0: 4, 2.001: 5}
    found = list(read_frames(path, list(asked)))
    assert [number_of(image) for image in found] == list(asked.values())
    assert [image.frame for image in found] == list(asked.values())
    assert [image.timestamp_s for image in found] == [0.0, 0.0, 0.01, 0.01, 0.5, 0.52, 2.0, 2.001]


def test_the_last_picture_stands_while_the_sound_goes_on(tmp_path):
    path = save_video(tmp_path / "a.mkv", grey_frames(RATE), sound_s=3.0)
    last, still_there, behind = read_frames(path, [0.99, 2.5, 3.5])
    assert last.frame == still_there.frame == RATE - 1
    assert str(behind) == "the video ends at 1.0 s"


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((1, 0, 0, 1), lambda upright: upright),
        ((0, 1, -1, 0), lambda upright: np.rot90(upright, -1)),  # a telephone held upright
        ((-1, 0, 0, -1), lambda upright: np.rot90(upright, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), np.fliplr),
    ],
)
def test_frames_are_turned_as_the_header_says(tmp_path, matrix, turned):
    picture = np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    path = turn_in_header(save_video(tmp_path / "a.mp4", [picture] * 2), matrix)
    (image,) = read_frames(path, [0.0])
    np.testing.assert_array_equal(image.image_rgb_uint8, turned(picture))


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(3, 2), (32, 72)), (Fraction(2, 3), (48, 48))])
def test_pixels_become_square(tmp_path, aspect, size):
    (image,) = read_frames(save_video(tmp_path / "a.mp4", grey_frames(2), pixel_aspect=aspect), [0.0])
    assert image.image_rgb_uint8.shape == (*size, 3)
    assert image.note == f"pixels of {aspect.numerator}:{aspect.denominator} were made square"


@pytest.mark.parametrize("pixel_format", ["gray", "gbrp10le", "yuv422p10le", "yuva420p", "bgra"])
def test_any_kind_of_pixels_and_odd_sizes_become_8_bit_rgb(tmp_path, pixel_format):
    frames = grey_frames(8, width=47, height=31)
    path = save_video(tmp_path / "a.mkv", frames, codec="ffv1", pixel_format=pixel_format)
    (image,) = read_frames(path, [times_of(8)[7]])
    assert image.image_rgb_uint8.dtype == np.uint8
    np.testing.assert_allclose(image.image_rgb_uint8.astype(int), frames[7].astype(int), atol=1)


def yuv_frame(rgb, *, k_red, k_blue, is_full):
    """A frame of one colour by the formulas of the standards: ITU-R BT.601, BT.709, BT.2020."""
    red, green, blue = (value / 255 for value in rgb)
    luma = k_red * red + (1 - k_red - k_blue) * green + k_blue * blue
    colours = (blue - luma) / (2 - 2 * k_blue), (red - luma) / (2 - 2 * k_red)
    y = 255 * luma if is_full else 16 + 219 * luma
    u, v = (128 + (255 if is_full else 224) * colour for colour in colours)
    planes = [np.full((rows, 48), round(value), np.uint8) for rows, value in ((32, y), (8, u), (8, v))]
    return av.VideoFrame.from_ndarray(np.concatenate(planes), "yuv420p")


@pytest.mark.parametrize(
    ("k_red", "k_blue", "colorspace"), [(0.299, 0.114, 6), (0.2126, 0.0722, 1), (0.2627, 0.0593, 9)]
)
@pytest.mark.parametrize("is_full", [False, True])
def test_colours_are_what_matrix_and_range_say(tmp_path, k_red, k_blue, colorspace, is_full):
    rgb = (200, 60, 40)
    frames = [yuv_frame(rgb, k_red=k_red, k_blue=k_blue, is_full=is_full)] * 2
    tags = {"colorspace": colorspace, "color_range": 2 if is_full else 1}
    (image,) = read_frames(save_video(tmp_path / "a.mp4", frames, codec="libx264", tags=tags), [0.0])
    np.testing.assert_allclose(image.image_rgb_uint8[16, 24], rgb, atol=1)
    assert image.image_rgb_uint8.std(axis=(0, 1)).max() == 0


def test_the_range_is_taken_from_the_frame_where_the_pixel_format_does_not_tell(tmp_path):
    frames = [yuv_frame((90, 90, 90), k_red=0.2126, k_blue=0.0722, is_full=True)] * 2
    options = {"codec": "ffv1", "pixel_format": "yuv420p", "tags": {"color_range": 2, "colorspace": 1}}
    (image,) = read_frames(save_video(tmp_path / "a.mkv", frames, **options), [0.0])
    np.testing.assert_allclose(image.image_rgb_uint8[16, 24], 90, atol=1)


def test_colours_that_nothing_is_said_of_are_bt_601_of_the_limited_range(tmp_path):
    rgb = (200, 60, 40)
    frames = [yuv_frame(rgb, k_red=0.299, k_blue=0.114, is_full=False)] * 2
    (image,) = read_frames(save_video(tmp_path / "a.mp4", frames, codec="libx264"), [0.0])
    np.testing.assert_allclose(image.image_rgb_uint8[16, 24], rgb, atol=1)


def test_what_is_no_video_says_why(tmp_path):
    good = save_video(tmp_path / "good.mp4", grey_frames(3))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello\n" * 999)
    (tmp_path / "header.mp4").write_bytes(good.read_bytes()[:40])
    assert reason(tmp_path / "empty.mp4") == "the file is empty (0 bytes)"
    assert reason(tmp_path / "text.mp4").startswith("the file is not a video that can be opened: ")
    assert reason(tmp_path / "header.mp4").startswith("the file is not a video that can be opened: ")
    assert reason(save_sound(tmp_path / "sound.mp4")) == "the file has no video stream"
    assert reason(tmp_path / "gone.mp4") == "the file cannot be read: No such file or directory"
    assert reason(tmp_path / "\0.mp4").startswith("the file cannot be read: ")


def test_a_playlist_opens_no_other_file(tmp_path):
    other = save_video(tmp_path / "other.mpg", grey_frames(30), codec="mpeg2video")
    playlist = tmp_path / "list.mp4"
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.mpg\nduration 1\n",
    ):
        playlist.write_text(text)
        assert reason(playlist).startswith("the file is not a video that can be opened: ")


def test_only_containers_of_videos_are_opened(tmp_path):
    Image.fromarray(grey_frame(3)).save(tmp_path / "a.mp4", format="GIF")
    assert reason(tmp_path / "a.mp4").startswith("the file is not a video that can be opened: ")


@pytest.mark.parametrize(("name", "flags"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {})])
@pytest.mark.parametrize("options", [{"bf": "0"}, B_FRAMES])
def test_a_video_that_breaks_off_gives_its_frames_up_to_there(tmp_path, name, flags, options):
    pictures = moving_pictures(50)
    path = save_video(tmp_path / name, pictures, codec="libx264", options=options, flags=flags)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])

    found = list(read_frames(path, times_of(50)))
    n_whole = next(i for i, image in enumerate(found) if isinstance(image, UnreadableImageError))
    assert 10 <= n_whole <= 40
    for number, image in enumerate(found[:n_whole]):
        assert mean_difference(image, pictures[number]) < 8
    assert {str(error) for error in found[n_whole:]} == {f"the video breaks off at {n_whole / RATE:.1f} s"}


def test_frames_behind_damage_are_refused_up_to_the_next_key_frame(tmp_path):
    pictures = moving_pictures(N)
    path = save_video(tmp_path / "a.mp4", pictures, codec="libx264", options={"bf": "0", "qp": "10"})
    with av.open(str(path)) as container:
        packet = next(itertools.islice(container.demux(video=0), 13, None))
    content = bytearray(path.read_bytes())
    content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(content)

    found = list(read_frames(path, times_of(N)))
    broken = [i for i, image in enumerate(found) if isinstance(image, UnreadableImageError)]
    assert broken == list(range(13, 20))
    assert all("damaged" in str(found[i]) for i in broken)
    for number in set(range(N)) - set(broken):
        assert mean_difference(found[number], pictures[number]) < 8


def test_absurd_sizes_and_endless_ways_are_refused(tmp_path, monkeypatch):
    path = save_video(tmp_path / "a.mp4", grey_frames(N), key_every=N)
    monkeypatch.setattr(video, "MAX_DECODED_PIXELS", 20 * 48 * 32)
    assert "behind the last one that can be decoded by itself" in reason(path, 21.5 / RATE)
    (image,) = read_frames(path, [19.5 / RATE])
    assert number_of(image) == 19
    monkeypatch.setattr(video_index, "MAX_PIXELS", 1000)
    assert reason(path) == "the video has 48 x 32 pixels; at most 1,000 are read"


def test_more_packets_than_allowed_are_not_read(tmp_path, monkeypatch):
    path = save_video(tmp_path / "a.mp4", grey_frames(N))
    monkeypatch.setattr(video_index, "MAX_PACKETS", N - 1)
    assert reason(path) == f"the video has more than {N - 1} packets; no more are read"


def test_a_video_is_gone_through_once_for_each_version(tmp_path, monkeypatch):
    path = save_video(tmp_path / "a.mp4", grey_frames(5))
    before = index_video(path)
    monkeypatch.setattr(video_index, "hashlib", None)
    assert index_video(path) is before
    monkeypatch.undo()
    save_video(path, grey_frames(7))
    os.utime(path, ns=(1, 1))
    assert len(index_video(path).pts) == 7


def test_addresses_of_frames_and_images_are_read_in_their_order(tmp_path):
    a, b = (save_video(tmp_path / name, grey_frames(N)) for name in ("a.mp4", "b.mp4"))
    picture = tmp_path / "picture.png"
    Image.fromarray(grey_frame(25)).save(picture)
    times = times_of(N)
    addresses = [Address(a, times[3]), Address(picture), Address(a, times[9]), Address(a, times[2])]
    addresses += [Address(b, times[1]), Address(tmp_path / "gone.mp4", 0.0), Address(b, times[12])]
    *images, gone, last = read_each(addresses)
    assert [number_of(image) for image in (*images, last)] == [3, 25, 9, 2, 1, 12]
    assert [image.frame for image in images] == [3, None, 9, 2, 1]
    assert isinstance(gone, UnreadableImageError)


def test_frames_are_made_one_at_a_time(tmp_path, monkeypatch):
    made = []
    whole = video._to_rgb_uint8
    monkeypatch.setattr(video, "_to_rgb_uint8", lambda *call: made.append(call) or whole(*call))
    frames = read_frames(save_video(tmp_path / "a.mp4", grey_frames(N)), times_of(N))
    list(itertools.islice(frames, 3))
    assert len(made) == 3


def test_videos_behind_a_url_are_read_like_local_ones(tmp_path):
    content = save_video(tmp_path / "a.mp4", grey_frames(N)).read_bytes()
    path = path_of("memory://clips/a.mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = list(read_frames(path, times_of(N)))
    assert [number_of(image) for image in found] == list(range(N))
    assert found[0].sha256 == hashlib.sha256(content).hexdigest()


def test_a_place_that_does_not_answer_is_no_broken_video(tmp_path, monkeypatch):
    path = path_of("memory://clips/b.mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save_video(tmp_path / "b.mp4", grey_frames(N)).read_bytes())
    file = path.open("rb")

    def fail(n_bytes):
        raise ConnectionError("the line is dead")

    monkeypatch.setattr(type(file), "read", lambda file, n_bytes=-1: fail(n_bytes))
    with pytest.raises(InputError, match="the line is dead"):
        list(read_frames(path, [0.0]))


def test_without_pyav_the_way_to_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'faceauth\[video\]'"):
        list(read_frames(tmp_path / "a.mp4", [0.0]))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mp4", "libx264", B_FRAMES),
        ("a.mkv", "libx264", B_FRAMES),
        ("a.mpg", "mpeg2video", {"bf": "2"}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_no_more_is_decoded_than_from_the_key_frame_on(tmp_path, monkeypatch, name, codec, options):
    options = {"sc_threshold": "0", **options}
    path = save_video(tmp_path / name, moving_pictures(N), codec=codec, options=options)
    keys = index_video(path).keys
    decoded = []
    monkeypatch.setattr(video, "refuse_size", lambda *size: decoded.append(size))
    (image,) = read_frames(path, [28.3 / RATE])
    assert image.frame == 28
    assert len(decoded) <= N / len(keys) + 1
    assert len(keys) >= 3

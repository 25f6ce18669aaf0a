"""Which frames of a video are taken: a number of them at even times, or so many a second.

Only the header is asked, which takes milliseconds; whoever reads the frames finds out if it told the truth.
"""

import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

from faceauth.console import progress
from faceauth.errors import UsageError
from faceauth.intake.pixels.images import UnreadableImageError
from faceauth.intake.pixels.video_index import OpenVideo, import_av, index_video, open_video
from faceauth.intake.sources.address import VIDEO_SUFFIXES
from faceauth.intake.sources.source_file import SourceFile

log = logging.getLogger(__name__)

USUAL_FRAMES = 16
MAX_RATE_HZ = 1000.0
# Longer claims are not believed: the file is gone through.
MAX_CLAIMED_S = 24 * 3600.0
# These have no header, and libavformat guesses.
HEADLESS_FORMATS = ("mpeg", "mpegts")
_PROBED_AT_ONCE = 8
_BATCH = 256
_DURATION_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True)
class VideoSampling:
    """Which frames of each video are taken.

    Attributes:
        frames: So many at even times; all if the video has fewer.
        rate_hz: So many a second instead, and never more than there are; None for `frames`.
    """

    frames: int = USUAL_FRAMES
    rate_hz: float | None = None


@dataclass(frozen=True)
class VideoClaims:
    """What the header of a video says of it.

    Attributes:
        duration_s: How long it is shown.
        n_frames: How many frames it has; None if it does not say.
    """

    duration_s: float
    n_frames: int | None


def parse_sampling(frames: int | None, rate_hz: float | None) -> VideoSampling:
    """Turns the options `--frames` and `--fps` into a sampling.

    Args:
        frames: Frames of each video; None if it was not given.
        rate_hz: Frames a second; None if it was not given.

    Raises:
        UsageError: Both were given, or a number is out of range.
    """
    if frames is not None and rate_hz is not None:
        raise UsageError(f"--frames {frames} and --fps {rate_hz:g} exclude each other.", "Give one of them.")
    if frames is not None and frames < 1:
        raise UsageError(f"--frames is {frames}.", "At least 1 frame of each video is taken.")
    if rate_hz is not None and not 0 < rate_hz <= MAX_RATE_HZ:
        raise UsageError(f"--fps is {rate_hz:g}.", f"Allowed: more than 0, at most {MAX_RATE_HZ:g}.")
    return VideoSampling(USUAL_FRAMES if frames is None else frames, rate_hz)


def expand_videos(files: list[SourceFile], sampling: VideoSampling) -> list[SourceFile]:
    """Puts the frames that are taken of each video in its place; all other files stay.

    The frames keep folder, class, group and identity of their video, and its key: so all frames of a video,
    and of all videos of that key, are one group. A video that cannot be opened stays as one address, at its
    start, which fails with its reason where it is read.

    Args:
        files: The files of all sources; an address that has a time is a frame already.
        sampling: Which frames.

    Returns:
        The files in their order, the frames of a video as they are shown.

    Raises:
        MissingExtraError: There are videos, and PyAV is not installed.
    """
    videos = [file for file in files if _is_video(file)]
    if not videos:
        return files
    import_av()
    paths = dict.fromkeys(file.address.path for file in videos)
    times = dict(_times_of_each(list(paths), sampling))
    expanded = []
    for file in files:
        if not _is_video(file):
            expanded.append(file)
            continue
        for time_s in times[file.address.path]:
            address = replace(file.address, time_s=time_s)
            expanded.append(replace(file, image_path=file.image_path + address.fragment, address=address))
    log.info("%d frames of %d videos", len(expanded) - len(files) + len(videos), len(videos))
    return expanded


def probe_video(path: Path) -> VideoClaims:
    """Asks the header of a video how long it is; if it does not say, or nothing sensible, goes through it.

    Args:
        path: The file.

    Raises:
        UnreadableImageError: It is no video that can be opened.
        MissingExtraError: PyAV is not installed.
    """
    with open_video(path) as video:
        duration_s = 0.0 if video.container.format.name in HEADLESS_FORMATS else _claimed_s(video)
        rate = video.stream.average_rate
        n_frames = video.stream.frames or (round(duration_s * rate) if rate else None)
    if not 0 < duration_s <= MAX_CLAIMED_S:
        index = index_video(path)
        return VideoClaims(index.end_s, len(index.pts))
    return VideoClaims(duration_s, n_frames)


def sample_times(claims: VideoClaims, sampling: VideoSampling) -> list[float]:
    """Chooses the times at which frames are taken.

    They lie in the middle of equal parts of the video, so that the first and last instants, which often are
    black or a title, are left aside.

    Args:
        claims: How long the video is, and of how many frames.
        sampling: Which frames.

    Returns:
        At least one time, in seconds from the start, increasing, in whole milliseconds.
    """
    n = sampling.frames if sampling.rate_hz is None else round(claims.duration_s * sampling.rate_hz)
    if claims.n_frames:
        n = min(n, claims.n_frames)
    n = max(1, n)
    times = (round((i + 0.5) * claims.duration_s / n, 3) for i in range(n))
    return list(dict.fromkeys(times))


def _is_video(file: SourceFile) -> bool:
    address = file.address
    return address.time_s is None and address.path.suffix.lower() in VIDEO_SUFFIXES


def _times_of_each(paths: list[Path], sampling: VideoSampling) -> Iterator[tuple[Path, list[float]]]:
    iterator = iter(paths)
    with (
        ThreadPoolExecutor(_PROBED_AT_ONCE) as pool,
        progress("videos", len(paths)) as advance,
    ):
        # Few at once, so that an interruption does not wait for all.
        while batch := list(islice(iterator, _BATCH)):
            for path, times in zip(
                batch, pool.map(lambda path: _times_of(path, sampling), batch), strict=True
            ):
                yield path, times
                advance()


def _times_of(path: Path, sampling: VideoSampling) -> list[float]:
    try:
        return sample_times(probe_video(path), sampling)
    except UnreadableImageError:
        return [0.0]


def _claimed_s(video: OpenVideo) -> float:
    """How long the pictures are shown; 0 if the header does not say."""
    container, stream = video.container, video.stream
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska keeps it for each stream in a tag of text.
    tag = _DURATION_TAG.match(stream.metadata.get("DURATION", ""))
    if tag:
        hours, minutes, seconds = tag.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float(Fraction(container.duration or 0, 1_000_000))

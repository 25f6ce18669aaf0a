"""What a video file holds, found without decoding: when each frame is shown, and where decoding can begin.

Headers of videos claim much and promise nothing, so whoever reads frames goes through all packets once. That
is cheap, since the file's hash needs all its bytes anyway, and it makes numbers and times exact: both follow
from the timestamps of all frames, never from an average rate.
"""

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from faceauth.errors import MissingExtraError
from faceauth.intake.pixels.images import MAX_PIXELS, UnreadableImageError
from faceauth.intake.sources.remote import is_remote, reaching, version_of

# What libavformat may take a file for. Others stay shut: playlists would open files and addresses of their
# own choice.
CONTAINER_FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts"
MAX_PACKETS = 10_000_000
# A container's claim of its duration may be this far off without meaning that something is missing.
CLAIM_TOLERANCE_S = 0.5
# For a video of which nothing says how fast it runs.
USUAL_RATE = Fraction(25)


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video file.

    Attributes:
        sha256: Hash of the file's bytes as 64 hexadecimal digits.
        n_bytes: Size of the file in bytes.
        time_base: Seconds of one tick.
        pts: When each frame is shown, in ticks, increasing; int64 (n,) with n > 0. Where timestamps are
            missing or wrong the frames are counted instead: 0, 1, 2, ...
        keys: Of each key frame when it is shown, and when it is decoded, in ticks; int64 (k, 2), increasing.
        is_counted: True if the file's own timestamps are not used.
        end_s: Until when the last frame is shown, in seconds from the first one.
        claimed_s: How long the file says that it is, sound included; 0 if it does not say.
        is_cut: True if the file ends before its header says so, or cannot be read to its end.
    """

    sha256: str
    n_bytes: int
    time_base: Fraction
    pts: np.ndarray
    keys: np.ndarray
    is_counted: bool
    end_s: float
    claimed_s: float
    is_cut: bool

    def seconds(self, pts: int) -> float:
        """Returns when a frame is shown, in seconds from the first one."""
        return round(float((pts - int(self.pts[0])) * self.time_base), 6)

    def frame_at(self, time_s: float) -> int:
        """Returns the number of the frame that is shown at a time; the last one for all times behind it."""
        milliseconds = Fraction(round(time_s * 1000), 1000)
        ticks = int(self.pts[0]) + int(milliseconds // self.time_base)
        return max(0, int(np.searchsorted(self.pts, ticks, side="right")) - 1)


def import_av() -> Any:
    """Returns PyAV, which is imported only where there are videos.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            "Videos need the package PyAV, which is not installed.",
            "Install it: pip install 'faceauth[video]'",
        ) from error
    return av


class OpenVideo:
    """An opened video.

    Attributes:
        container: The container of PyAV.
        stream: Its first video stream, which decodes in one thread.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = _WatchedFile(file)
        try:
            # A file and not its name, which libav could take for an address or a pattern.
            self.container = import_av().open(
                self._file, container_options={"format_whitelist": CONTAINER_FORMATS}
            )
        except Exception as error:
            # Hostile bytes make libav raise almost anything.
            self.raise_if_lost()
            raise UnreadableImageError(
                f"the file is not a video that can be opened: {what_libav_says(error)}"
            ) from error
        # The picture of a record's cover is a stream too.
        streams = [stream for stream in self.container.streams.video if not _is_cover(stream)]
        if not streams:
            raise UnreadableImageError("the file has no video stream")
        self.stream = streams[0]
        if self.stream.codec_context is None:
            raise UnreadableImageError("the video's codec is not known")
        refuse_size(self.stream.codec_context.width, self.stream.codec_context.height)
        self.stream.thread_count = 1

    def raise_if_lost(self) -> None:
        """Tells a file whose bytes cannot be fetched from one whose bytes are broken.

        Raises:
            InputError: A remote place does not answer.
            UnreadableImageError: A local file cannot be read.
        """
        if self._file.error is None:
            return
        if is_remote(self._path):
            with reaching(self._path):
                raise self._file.error
        raise _cannot_be_read(self._file.error) from self._file.error


class _WatchedFile:
    """A file that remembers why it could not be read: libav takes any error for the file's end."""

    def __init__(self, file: BinaryIO) -> None:
        self.error: Exception | None = None
        self.seek = file.seek
        self.tell = file.tell
        self._read = file.read

    def read(self, n_bytes: int) -> bytes:
        try:
            return self._read(n_bytes)
        except Exception as error:
            self.error = error
            raise


@contextmanager
def open_video(path: Path) -> Iterator[OpenVideo]:
    """Opens a video and finds its stream of pictures.

    Args:
        path: The file.

    Yields:
        The opened video.

    Raises:
        UnreadableImageError: The file is empty, is no video, or has no pictures or too large ones.
        InputError: A remote place does not answer.
        MissingExtraError: PyAV is not installed.
    """
    import_av()
    try:
        if path.stat().st_size == 0:
            raise UnreadableImageError("the file is empty (0 bytes)")
        with path.open("rb") as file:
            video = OpenVideo(path, file)
            with video.container:
                yield video
    except (FileNotFoundError, PermissionError, IsADirectoryError, ValueError) as error:
        # A name with a null character is a ValueError.
        raise _cannot_be_read(error) from error


def _cannot_be_read(error: Exception) -> UnreadableImageError:
    return UnreadableImageError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}")


def refuse_size(width: int, height: int) -> None:
    """Raises UnreadableImageError if a frame has too many pixels."""
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"the video has {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are read"
        )


def index_video(path: Path) -> VideoIndex:
    """Goes through a video once and notes when its frames are shown.

    It is done once for each version of a file, as long as few others come between.

    Args:
        path: The file.

    Returns:
        The index.

    Raises:
        UnreadableImageError: It is no video, or has not one whole frame.
        InputError: A remote place does not answer.
    """
    return _index_version(path, version_of(path))


@functools.lru_cache(maxsize=16)
def _index_version(path: Path, version: str) -> VideoIndex:
    with open_video(path) as video:
        container, stream = video.container, video.stream
        packets = _read_packets(video)
        rate = stream.average_rate or stream.guessed_rate or USUAL_RATE
        # AVI numbers packets and not pictures: where these are reordered its times are in the wrong order.
        is_counted = packets.n_without_pts > 0 or (
            container.format.name == "avi" and bool(stream.codec_context.has_b_frames)
        )
    pts, keys, time_base = packets.pts, packets.keys, stream.time_base
    interval = packets.last_duration or max(1, round(1 / (rate * time_base)))
    if is_counted:
        time_base, interval = 1 / Fraction(rate), 1
        pts = np.arange(packets.n, dtype=np.int64)
        keys = np.zeros((1, 2), np.int64)
    if not len(pts) or not len(keys):
        raise UnreadableImageError("the video has not one whole frame")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        n_bytes = file.tell()
    return VideoIndex(
        sha256=sha256,
        n_bytes=n_bytes,
        time_base=time_base,
        pts=pts,
        keys=keys,
        is_counted=is_counted,
        end_s=float((int(pts[-1]) - int(pts[0]) + interval) * time_base),
        claimed_s=packets.claimed_s,
        is_cut=packets.is_cut,
    )


@dataclass(frozen=True)
class _Packets:
    """The packets of a video stream; `pts` and `keys` as in `VideoIndex`."""

    n: int
    n_without_pts: int
    pts: np.ndarray
    keys: np.ndarray
    last_duration: int
    claimed_s: float
    is_cut: bool


def _read_packets(video: OpenVideo) -> _Packets:
    container, stream = video.container, video.stream
    shown: list[int] = []
    keys: list[tuple[int, int]] = []
    n = n_without_pts = last_duration = last_dts = 0
    is_cut = is_reordered = last_is_corrupt = False
    start_s, end_s = float("inf"), 0.0
    try:
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                start_s = min(start_s, float(packet.pts * packet.time_base))
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            # A packet without bytes only says that the stream is over.
            if packet.stream_index != stream.index or not packet.size:
                continue
            n += 1
            if n > MAX_PACKETS:
                raise UnreadableImageError(
                    f"the video has more than {MAX_PACKETS:,} packets; no more are read"
                )
            last_is_corrupt = packet.is_corrupt
            if packet.pts is None:
                n_without_pts += 1
                continue
            last_dts = packet.pts if packet.dts is None else packet.dts
            last_duration = packet.duration or last_duration
            if packet.is_keyframe:
                keys.append((packet.pts, last_dts))
            # What an edit of the file cut away is decoded and never shown.
            if not packet.is_discard:
                is_reordered = is_reordered or (bool(shown) and packet.pts < shown[-1])
                shown.append(packet.pts)
    except UnreadableImageError:
        raise
    except Exception:
        # Whatever stands behind this place cannot be reached.
        video.raise_if_lost()
        is_cut = True
    if last_is_corrupt and shown:
        is_cut = True
        shown.pop()
    claimed_s = (container.duration or 0) / 1_000_000
    is_cut = is_cut or (claimed_s > 0 and claimed_s - (end_s - start_s) > CLAIM_TOLERANCE_S)
    pts = np.unique(np.array(shown, dtype=np.int64))
    if is_cut and is_reordered:
        # Of the frames that come behind the last one in decoding, some that are shown earlier are missing.
        pts = pts[pts <= last_dts]
    ordered = np.array(sorted(set(keys)), dtype=np.int64).reshape(-1, 2)
    return _Packets(n - last_is_corrupt, n_without_pts, pts, ordered, last_duration, claimed_s, is_cut)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & import_av().stream.Disposition.attached_pic)


def what_libav_says(error: Exception) -> str:
    """Returns the reason of an error of PyAV, without the name of a file."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).lower()

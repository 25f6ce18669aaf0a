"""Reads single frames of a video: the frame that is shown at a time, upright, as 8-bit RGB.

A frame is always decoded from the last key frame before it, whatever was read before, so that one address has
one picture. Frames between the same two key frames share one pass.

Colour is converted by swscale, with the matrix (BT.601, BT.709, BT.2020) and the range (16 to 235, or 0 to
255) that the video names. For videos that name none it is BT.601 of the limited range, as FFmpeg does it.
High dynamic range is not mapped to the usual one.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceauth.intake.pixels.images import SourceImage, UnreadableImageError
from faceauth.intake.pixels.video_index import index_video, open_video, refuse_size, what_libav_says

# From a key frame to the frame that is wanted: 10,000 frames of full HD, about a minute of work.
MAX_DECODED_PIXELS = 20_000_000_000

# Numbers of libavutil (AVColorSpace) and of swscale (SWS_CS) for the matrices between YUV and RGB.
_MATRIX_OF_COLORSPACE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601 = 5
_LIMITED, _FULL = 1, 2
# Bicubic, colour at full width, accurate rounding, the same bits on any processor.
_SWSCALE_FLAGS = 0x4 | 0x2000 | 0x40000 | 0x80000
_MAX_ASPECT = 8


def read_frames(path: Path, times_s: Sequence[float]) -> Iterator[SourceImage | UnreadableImageError]:
    """Reads the frames that a video shows at some times.

    Args:
        path: The video.
        times_s: n times in seconds from the first frame; fastest in increasing order.

    Yields:
        n times the frame, with its number and the time from which it is shown; or the error that says why
        there is none.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    try:
        frames = _Frames(path)
    except UnreadableImageError as error:
        yield from [error] * len(times_s)
        return
    with frames:
        for time_s in times_s:
            try:
                yield frames.read(time_s)
            except UnreadableImageError as error:
                yield error


class _Pass:
    """Frames from one key frame on, in the order in which they are shown."""

    def __init__(self, key: int, frames: Iterator[Any]) -> None:
        self.key = key
        self.shown: Any = None
        self._frames = frames
        self._ahead: Any = None
        self._damage: UnreadableImageError | None = None

    def advance(self, pts: int) -> Any:
        """Returns the last frame that is shown at `pts` or before; None if decoding gives none.

        Raises:
            UnreadableImageError: The video is damaged between the key frame and there.
        """
        while self.shown is None or self.shown.pts < pts:
            if self._ahead is None:
                self._ahead = self._next()
            if self._ahead is None or self._ahead.pts > pts:
                break
            self.shown, self._ahead = self._ahead, None
        return self.shown

    def _next(self) -> Any:
        if self._damage is not None:
            raise self._damage
        try:
            return next(self._frames, None)
        except UnreadableImageError as error:
            self._damage = error
            raise


class _Frames(ExitStack):
    """An opened video, and how far it was decoded."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._index = index_video(path)
        self._open()
        self._pass = _Pass(0, self._frames_from(0))
        # Key frames that are none: at which decoding can begin only for later frames, and not exactly.
        self._unusable: set[int] = set()

    def read(self, time_s: float) -> SourceImage:
        """Returns the frame shown at a time."""
        index = self._index
        if time_s > index.end_s and (index.is_cut or time_s > index.claimed_s):
            what = "breaks off" if index.is_cut else "ends"
            raise UnreadableImageError(f"the video {what} at {index.end_s:.1f} s")
        frame = self._decode(int(index.pts[index.frame_at(time_s)]))
        pixels, note = _to_rgb_uint8(frame, self._stream.sample_aspect_ratio)
        names = self._container.format.name.split(",")
        suffix = self._path.suffix.lower().removeprefix(".")
        return SourceImage(
            image_rgb_uint8=pixels,
            format=f"{suffix if suffix in names else names[0]}/{self._stream.codec_context.name}",
            jpeg_quality=None,
            n_bytes=index.n_bytes,
            sha256=index.sha256,
            note=note,
            frame=int(np.searchsorted(index.pts, frame.pts)),
            timestamp_s=index.seconds(frame.pts),
        )

    def _open(self) -> None:
        self.close()
        self._video = self.enter_context(open_video(self._path))
        self._container, self._stream = self._video.container, self._video.stream

    def _decode(self, pts: int) -> Any:
        keys_pts = self._index.keys[:, 0]
        last = max(0, int(np.searchsorted(keys_pts, pts, side="right")) - 1)
        for key in dict.fromkeys((last, 0)):
            if key in self._unusable:
                continue
            self._refuse_work(int(keys_pts[key]), pts)
            if self._pass.key != key or (self._pass.shown is not None and self._pass.shown.pts > pts):
                self._pass = _Pass(key, self._frames_from(key))
            frame = self._pass.advance(pts)
            if frame is not None:
                return frame
        raise UnreadableImageError(f"the frame at {self._index.seconds(pts):.3f} s cannot be decoded")

    def _refuse_work(self, from_pts: int, to_pts: int) -> None:
        between = np.searchsorted(self._index.pts, [from_pts, to_pts])
        n_frames = int(between[1] - between[0])
        context = self._stream.codec_context
        if n_frames * context.width * context.height > MAX_DECODED_PIXELS:
            raise UnreadableImageError(
                f"the frame stands {n_frames:,} frames behind the last one that can be decoded by itself; "
                f"at most {MAX_DECODED_PIXELS:,} pixels are decoded on the way to one"
            )

    def _frames_from(self, key: int) -> Iterator[Any]:
        """Yields the frames from a key frame on, in the order in which they are shown."""
        index = self._index
        key_pts = int(index.keys[key, 0])
        n_shown = 0
        last_pts = key_pts
        try:
            for frame in self._decoded_from(key):
                if index.is_counted:
                    frame.pts = n_shown
                # Some that are shown before a key frame stand behind it and need what is before it.
                if frame.pts is None or frame.pts < key_pts:
                    continue
                if frame.is_corrupt:
                    raise UnreadableImageError(f"the video is damaged at {index.seconds(frame.pts):.3f} s")
                if key and not n_shown and frame.pts != key_pts:
                    self._unusable.add(key)
                    return
                refuse_size(frame.width, frame.height)
                n_shown += 1
                last_pts = frame.pts
                yield frame
        except UnreadableImageError:
            raise
        except Exception as error:
            # Hostile bytes make libav raise almost anything.
            self._video.raise_if_lost()
            raise UnreadableImageError(
                f"the video is damaged behind {index.seconds(last_pts):.3f} s: {what_libav_says(error)}"
            ) from error

    def _decoded_from(self, key: int) -> Iterator[Any]:
        for packet in self._packets_from(key):
            try:
                frames = packet.decode()
            except Exception:
                # Where a file breaks off there may be half a packet, while whole frames still wait.
                if self._index.is_cut:
                    yield from self._stream.decode(None)
                raise
            yield from frames

    def _packets_from(self, key: int) -> Iterator[Any]:
        if self._index.is_counted:
            self._open()
            yield from self._container.demux(self._stream)
            return
        key_pts, key_dts = (int(ticks) for ticks in self._index.keys[key])
        for is_from_start in (False, True):
            if is_from_start:
                self._open()
            else:
                self._container.seek(key_dts, stream=self._stream)
            is_reached = False
            for packet in self._container.demux(self._stream):
                is_reached = is_reached or (packet.is_keyframe and packet.pts == key_pts)
                if is_reached:
                    yield packet
                elif packet.is_keyframe and packet.pts is not None and packet.pts > key_pts:
                    break
            if is_reached:
                return


def _to_rgb_uint8(frame: Any, pixel_aspect: Fraction | None) -> tuple[np.ndarray, str]:
    """Returns a frame as upright (height, width, 3) uint8 with square pixels, and what to know of it."""
    options: dict[str, Any] = {"interpolation": _SWSCALE_FLAGS}
    if not frame.format.is_rgb and len(frame.format.components) >= 3:
        is_full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
        options["src_colorspace"] = _MATRIX_OF_COLORSPACE.get(frame.colorspace, _BT601)
        options["dst_colorspace"] = _BT601
        options["src_color_range"] = _FULL if is_full else _LIMITED
        options["dst_color_range"] = _FULL
    try:
        converted = frame.reformat(format="rgb24", threads=1, **options)
    except TypeError:
        # Older versions of PyAV know no threads here, and use one.
        converted = frame.reformat(format="rgb24", **options)
    pixels = np.ascontiguousarray(converted.to_ndarray())
    note = ""
    aspect = pixel_aspect or Fraction(1)
    if aspect != 1 and 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
        height, width = pixels.shape[:2]
        # The shorter direction is stretched, so that no detail is lost.
        size = round(width * max(aspect, 1)), round(height * max(1 / aspect, 1))
        refuse_size(*size)
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        note = f"pixels of {aspect.numerator}:{aspect.denominator} were made square"
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return (pixels if matrix is None else _upright(pixels, bytes(matrix))), note


def _upright(pixels: np.ndarray, display_matrix: bytes) -> np.ndarray:
    """Turns by right angles and mirrors, as 9 int32 of libavutil's `display.h` say."""
    a, b, _, c, d, *_ = struct.unpack("=9i", display_matrix[:36])
    # A pixel (x, y) is shown at (a x + c y, b x + d y).
    if abs(a) + abs(d) >= abs(b) + abs(c):
        mirror_x, mirror_y = a < 0, d < 0
    else:
        pixels = pixels.transpose(1, 0, 2)
        mirror_x, mirror_y = c < 0, b < 0
    return np.ascontiguousarray(pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1])

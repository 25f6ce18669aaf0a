"""Small videos for tests: of which frame a picture is can be seen from its grey."""

import struct
from fractions import Fraction

import av
import numpy as np

# x264 would also put key frames where pictures change much.
_X264 = {"qp": "0", "sc_threshold": "0"}
_MPEG = {"qmin": "1", "qmax": "2"}
_OPTIONS = {"libx264rgb": _X264, "libx264": _X264, "mpeg4": _MPEG, "mpeg2video": _MPEG}
PIXELS = {"libx264rgb": "rgb24", "libx264": "yuv420p", "ffv1": "bgr0", "mjpeg": "yuvj420p"}
STEP = 8
# The unit matrix as QuickTime writes it: 16.16 fixed point, the last column 2.30.
_UPRIGHT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def grey_frame(number, *, width=48, height=32):
    """A picture of one grey that tells the number of its frame, (height, width, 3) uint8."""
    return np.full((height, width, 3), number * STEP % 256, dtype=np.uint8)


def grey_frames(n, **size):
    return [grey_frame(number, **size) for number in range(n)]


def number_of(image):
    """Which frame an image of `grey_frame` is, modulo 32; a codec may have changed it a little."""
    return round(float(image.image_rgb_uint8.mean()) / STEP)


def save_video(
    path,
    frames,
    *,
    codec="libx264rgb",
    rate=25,
    key_every=10,
    ticks=None,
    options=None,
    pixel_format=None,
    pixel_aspect=None,
    tags=None,
    flags=None,
    sound_s=0.0,
):
    """Writes a video, lossless with `libx264rgb` and `ffv1`, and returns its path.

    Args:
        path: The suffix decides the container.
        frames: Pictures, (height, width, 3) uint8 each; or frames of PyAV.
        codec: Name of an encoder.
        rate: Frames a second.
        key_every: Frames from one key frame to the next.
        ticks: For each frame when it is shown, in milliseconds; evenly if not given.
        options: Of the encoder.
        pixel_format: Of the encoder.
        pixel_aspect: Width of a pixel against its height.
        tags: What the stream says of its colours, as attributes of PyAV's codec context.
        flags: Options of the container.
        sound_s: Seconds of sound beside the pictures.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=flags or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        first = frames[0]
        stream.height, stream.width = (
            first.shape[:2] if isinstance(first, np.ndarray) else (first.height, first.width)
        )
        stream.pix_fmt = pixel_format or PIXELS.get(codec, "yuv420p")
        stream.options = {**_OPTIONS.get(codec, {}), **(options or {})}
        context = stream.codec_context
        context.gop_size = key_every
        if pixel_aspect:
            context.sample_aspect_ratio = pixel_aspect
        if ticks is not None:
            context.time_base = Fraction(1, 1000)
        for name, value in (tags or {}).items():
            setattr(context, name, value)
        sound = (
            container.add_stream("aac" if path.suffix == ".mp4" else "pcm_s16le", rate=8000)
            if sound_s
            else None
        )
        for number, picture in enumerate(frames):
            frame = (
                av.VideoFrame.from_ndarray(picture, "rgb24") if isinstance(picture, np.ndarray) else picture
            )
            if ticks is not None:
                frame.pts, frame.time_base = ticks[number], Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            _add_sound(container, sound, sound_s)
    return path


def save_sound(path, seconds=1.0):
    """Writes a file that holds sound alone, and returns its path."""
    with av.open(str(path), "w") as container:
        _add_sound(container, container.add_stream("aac", rate=8000), seconds)
    return path


def turn_in_header(path, matrix):
    """Writes a display matrix of whole numbers (a, b, c, d) into the header of an MP4."""
    a, b, c, d = (value << 16 for value in matrix)
    content = path.read_bytes()
    # The film's own matrix comes first; the track's is the second.
    place = content.index(_UPRIGHT, content.index(_UPRIGHT) + 1)
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:place] + turned + content[place + len(turned) :])
    return path


def _add_sound(container, stream, seconds):
    samples = np.zeros(
        (1, round(seconds * 8000)), dtype=np.float32 if stream.codec.name == "aac" else np.int16
    )
    for start in range(0, samples.shape[1], 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, start : start + 1024]),
            format="fltp" if stream.codec.name == "aac" else "s16",
            layout="mono",
        )
        frame.sample_rate, frame.pts = 8000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))

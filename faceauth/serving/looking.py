"""What worker processes of the server do: they read what strangers sent, find faces and cut them out.

Nothing of this happens in the server's own process: what crashes, hangs or fills the memory does so here.
Nothing here imports torch or the web, so that a worker starts fast and stays small.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from faceauth.errors import MissingExtraError
from faceauth.intake.faces.face import FACE_DETECTORS, SEARCH_LONG_SIDE_PX, FaceDetector
from faceauth.intake.pipeline.batch import Decoded, decoded, unreadable_row
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.pixels.images import TooManyPixelsError, UnreadableImageError, decode_image
from faceauth.intake.pixels.video_index import open_video
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.source_file import SourceFile
from faceauth.intake.sources.video_sampling import VideoSampling, probe_video, sample_times
from faceauth.memory import give_back_memory, limit_memory
from faceauth.verdicts.cutting import CutFace, cut_decoded, cut_files
from faceauth.verdicts.find import picture
from faceauth.verdicts.tracks import follow_faces

# What a worker may take beside what it takes when it is idle; libraries then fail instead of the machine.
SPARE_BYTES = 1536 * 2**20
# Larger pictures wait as they were sent, and are decoded again for their crops.
KEPT_PIXEL_BYTES = 16 * 2**20
# A process that has held larger ones gives back what they took.
LARGE_PIXELS = 8_000_000
# Frames that are in memory at once.
BATCH_FRAMES = 8
# Of a crowd the smaller faces are left out, and a note says so.
MAX_FACES_OF_A_PICTURE = 50
MAX_FACES_OF_A_VIDEO = 320

_UPLOAD = picture(Path("upload"))


@dataclass(frozen=True, slots=True)
class Look:
    """One upload to look at.

    Attributes:
        content: The bytes of a picture; empty for a video.
        video: Where a video lies, under a name of ours; None for a picture.
        n_frames: Frames that are taken of a video.
    """

    content: bytes
    video: Path | None = None
    n_frames: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in one upload.

    Attributes:
        frames: For each frame, of which a picture has one, its faces, the largest first, or one entry that
            says why there is none; those of a video say of which person they are.
        is_too_large: Whether it was refused for its pixels.
        note: What a reader should know, mostly empty.
    """

    frames: list[list[CutFace]]
    is_too_large: bool = False
    note: str = ""


def load_looking(
    settings: CollectSettings, max_pixels: int
) -> functools.partial[Callable[[list[Look]], list[Seen]]]:
    """Returns what a worker process calls to get what looks at uploads; it can be pickled.

    Args:
        settings: How faces are found and cut.
        max_pixels: Largest picture or frame.

    Raises:
        UnknownNameError: No face detector has that name.
    """
    # By reference to its module, so that a process imports the one face detector that it needs.
    load_detector = functools.partial(FACE_DETECTORS.get(settings.face_detector), device="cpu")
    return functools.partial(_load, settings, max_pixels, load_detector)


def unseen(reason: str) -> Seen:
    """Returns what stands for an upload that no process survived.

    Args:
        reason: Why it cannot be used, for people.
    """
    return Seen([[CutFace(unreadable_row(_UPLOAD, reason))]])


def look_at_each(
    looks: list[Look], *, settings: CollectSettings, max_pixels: int, detect: FaceDetector
) -> list[Seen]:
    """Finds and cuts the faces of uploads.

    Args:
        looks: n pictures, or one video.
        settings: How faces are found and cut.
        max_pixels: Largest picture or frame.
        detect: The face detector.

    Returns:
        What was seen in each.
    """
    if looks and looks[0].video is not None:
        return [_look_at_video(look, settings, max_pixels, detect) for look in looks]
    batch: list[Decoded | TooManyPixelsError] = [_decoded(look.content, max_pixels) for look in looks]
    readable = [item for item in batch if isinstance(item, Decoded)]
    cut = iter(cut_decoded(readable, settings, detect))
    seen = [
        _within_bounds([next(cut)], MAX_FACES_OF_A_PICTURE) if isinstance(item, Decoded) else _too_large(item)
        for item in batch
    ]
    if any((item.row.width or 0) * (item.row.height or 0) > LARGE_PIXELS for item in readable):
        del batch, readable
        give_back_memory()
    return seen


def _load(
    settings: CollectSettings, max_pixels: int, load_detector: Callable[[], FaceDetector]
) -> Callable[[list[Look]], list[Seen]]:
    look = functools.partial(look_at_each, settings=settings, max_pixels=max_pixels, detect=load_detector())
    limit_memory(SPARE_BYTES)
    return look


def _decoded(content: bytes, max_pixels: int) -> Decoded | TooManyPixelsError:
    decode = functools.partial(decode_image, content, max_pixels=max_pixels)
    try:
        item = decoded(_UPLOAD, decode(draft_side_px=SEARCH_LONG_SIDE_PX))
    except TooManyPixelsError as error:
        return error
    except UnreadableImageError as error:
        return decoded(_UPLOAD, error)
    if item.kept_bytes <= KEPT_PIXEL_BYTES:
        return item
    return replace(item, decode=lambda: decode().image_rgb_uint8, kept_bytes=len(content))


def _look_at_video(look: Look, settings: CollectSettings, max_pixels: int, detect: FaceDetector) -> Seen:
    assert look.video is not None
    try:
        with open_video(look.video) as video:
            context = video.stream.codec_context
            width, height = context.width, context.height
        if width * height > max_pixels:
            raise TooManyPixelsError(
                f"the video has {width:,} x {height:,} pixels; at most {max_pixels:,} are read"
            )
        times = sample_times(probe_video(look.video), VideoSampling(look.n_frames))
    except TooManyPixelsError as error:
        return _too_large(error)
    except (UnreadableImageError, MissingExtraError) as error:
        return unseen(str(error))
    frames = [_frame(look.video, time_s) for time_s in times]
    seen: list[list[CutFace]] = []
    for start in range(0, len(frames), BATCH_FRAMES):
        seen += cut_files(frames[start : start + BATCH_FRAMES], settings, detect)
    (seen,) = follow_faces([seen])
    give_back_memory()
    return _within_bounds(seen, max(1, MAX_FACES_OF_A_VIDEO // len(frames)))


def _frame(path: Path, time_s: float) -> SourceFile:
    address = Address(path, time_s)
    return replace(_UPLOAD, image_path=f"{path}{address.fragment}", address=address)


def _within_bounds(frames: list[list[CutFace]], at_most: int) -> Seen:
    n_most = max(map(len, frames))
    note = f"only the {at_most} largest of {n_most} faces were judged" if n_most > at_most else ""
    return Seen([faces[:at_most] for faces in frames], note=note)


def _too_large(error: TooManyPixelsError) -> Seen:
    return replace(unseen(str(error)), is_too_large=True)

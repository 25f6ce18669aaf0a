"""From frames to videos: one score a video, by a named rule.

A fake video need not be fake in each frame, and a detector may fail on single frames of a real one: `max`
calls a video by its worst frame, `mean` by all of them, and `top3` stands between the two.
"""

from collections.abc import Callable

import numpy as np

from faceauth.errors import InputError
from faceauth.registry import Registry
from faceauth.scoring.scores import Scores

# From the frames' p_fake of one video, float64 (n,) with n > 0, to the video's.
PoolingRule = Callable[[np.ndarray], float]

POOLING_RULES: Registry[PoolingRule] = Registry("pooling rule", "faceauth.scoring.pooling")

# What all frames of a video must have in common.
SHARED_COLUMNS = ("target", "folder", "split", "group")


@POOLING_RULES.register("mean")
def pool_by_mean(p_fake: np.ndarray) -> float:
    """Mean of all frames."""
    return float(p_fake.mean())


@POOLING_RULES.register("max")
def pool_by_max(p_fake: np.ndarray) -> float:
    """The frame that looks most fake."""
    return float(p_fake.max())


@POOLING_RULES.register("top3")
def pool_by_top3(p_fake: np.ndarray) -> float:
    """Mean of the three frames that look most fake, or of all if there are fewer."""
    return float(np.sort(p_fake)[-3:].mean())


def pool_scores(scores: Scores, *, how: str) -> Scores:
    """Makes one row of each video's frames; a picture of its own stays as it is.

    A video's row stands where its first frame stood, and has the video's name for `destination_path`. Groups
    are kept, so that intervals respect them; without groups, each video is one.

    Args:
        scores: With videos or without.
        how: A name in `POOLING_RULES`.

    Raises:
        UnknownNameError: There is no such rule.
        InputError: The frames of a video differ in target, folder, split or group.
    """
    rule = POOLING_RULES.get(how)
    if scores.video is None:
        return scores
    videos = scores.video.astype(str)
    is_frame = videos != ""
    # A picture is a video of its own here, under a number that no name can be.
    names, video_of_frame = np.unique(videos[is_frame], return_inverse=True)
    number = np.empty(len(scores), dtype=np.int64)
    number[is_frame] = video_of_frame
    number[~is_frame] = len(names) + np.arange(int((~is_frame).sum()))
    # Stable, so that rows of one video stay in their order and the first one is the first.
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    first_row = order[starts]
    _refuse_mixed_videos(scores, first_row[number])
    p_fake = np.array([rule(frames) for frames in np.split(scores.p_fake[order], starts[1:])])
    by_place = np.argsort(first_row)
    kept = scores.where(first_row[by_place])
    assert kept.video is not None
    return Scores(
        destination_path=np.where(kept.video != "", kept.video, kept.destination_path),
        folder=kept.folder,
        split=kept.split,
        target=kept.target,
        p_fake=np.clip(p_fake[by_place], 0.0, 1.0),
        group=kept.group,
        video=kept.video,
    )


def _refuse_mixed_videos(scores: Scores, first_row_of: np.ndarray) -> None:
    """Compares each row with the first one of its video, int64 (n,)."""
    assert scores.video is not None
    for name in SHARED_COLUMNS:
        column = getattr(scores, name)
        if column is None:
            continue
        differing = np.flatnonzero(column != column[first_row_of])
        if len(differing):
            row = int(differing[0])
            raise InputError(
                f"The frames of the video {scores.video[row]} differ in their {name}: "
                f"'{column[first_row_of[row]]}' and '{column[row]}'.",
                f"All frames of a video share {', '.join(SHARED_COLUMNS)}; two videos need two names.",
            )

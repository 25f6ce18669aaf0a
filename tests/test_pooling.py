"""From frames to videos, and rates by any label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceauth.errors import InputError, UnknownNameError
from faceauth.scoring.breakdown import rates_by
from faceauth.scoring.intervals import measure_rates
from faceauth.scoring.pooling import POOLING_RULES, pool_scores
from faceauth.scoring.scores import Scores


def texts(values):
    return np.array(list(values), dtype=object)


def frames(rows, *, groups=None):
    """Scores from (video, target, p_fake) rows."""
    videos, target, p_fake = zip(*rows, strict=True)
    return Scores(
        destination_path=texts(f"test/{i}.png" for i in range(len(rows))),
        folder=texts("swap" if each == 0 else "camera" for each in target),
        split=texts(["test"] * len(rows)),
        target=np.array(target),
        p_fake=np.array(p_fake, dtype=np.float64),
        group=None if groups is None else texts(groups),
        video=texts(videos),
    )


SOME = [
    ("b", 0, 0.9),
    ("a", 1, 0.2),
    ("b", 0, 0.1),
    ("", 1, 0.4),
    ("b", 0, 0.6),
    ("a", 1, 0.3),
    ("b", 0, 0.3),
]


@pytest.mark.parametrize(
    ("how", "of_b", "of_a"), [("mean", 0.475, 0.25), ("max", 0.9, 0.3), ("top3", 0.6, 0.25)]
)
def test_each_video_becomes_one_row_and_a_picture_stays(how, of_b, of_a):
    pooled = pool_scores(frames(SOME, groups="xyxzxyx"), how=how)
    assert pooled.destination_path.tolist() == ["b", "a", "test/3.png"]
    assert pooled.p_fake.tolist() == pytest.approx([of_b, of_a, 0.4])
    assert pooled.target.tolist() == [0, 1, 1]
    assert pooled.folder.tolist() == ["swap", "camera", "camera"]
    assert pooled.group.tolist() == ["x", "y", "z"]
    assert pooled.video.tolist() == ["b", "a", ""]


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.floats(0, 1)), min_size=1, max_size=20),
    st.sampled_from(POOLING_RULES.names()),
)
def test_every_rule_stays_between_the_lowest_and_the_highest_frame_whatever_the_order(rows, how):
    scores = frames([(video, 0, p_fake) for video, p_fake in rows])
    pooled = pool_scores(scores, how=how)
    assert len(pooled) == len({video for video, _ in rows if video}) + sum(not video for video, _ in rows)
    turned = pool_scores(scores.where(np.arange(len(rows))[::-1]), how=how)
    of_turned = dict(zip(turned.destination_path.tolist(), turned.p_fake.tolist(), strict=True))
    for name, p_fake in zip(pooled.destination_path.tolist(), pooled.p_fake.tolist(), strict=True):
        own = [score for video, score in rows if video == name] or [scores.p_fake[int(name[5:-4])]]
        assert min(own) - 1e-12 <= p_fake <= max(own) + 1e-12
        assert of_turned[name] == pytest.approx(p_fake)


def test_without_videos_nothing_is_pooled():
    scores = frames([("", 0, 0.9), ("", 1, 0.1)])
    assert pool_scores(scores, how="mean").p_fake.tolist() == [0.9, 0.1]
    no_column = Scores(
        *(getattr(scores, name) for name in ("destination_path", "folder", "split", "target", "p_fake"))
    )
    assert pool_scores(no_column, how="mean") is no_column
    with pytest.raises(UnknownNameError, match="mean"):
        pool_scores(no_column, how="meen")


@pytest.mark.parametrize("column", ["target", "folder", "split", "group"])
def test_frames_that_contradict_each_other_are_refused_with_the_video(column):
    scores = frames(SOME, groups="xyxzxyx")
    mixed = getattr(scores, column).copy()
    mixed[5] = 0 if column == "target" else "other"
    columns = {name: getattr(scores, name) for name in scores.__dataclass_fields__} | {column: mixed}
    with pytest.raises(InputError, match=f"video a differ in their {column}"):
        pool_scores(Scores(**columns), how="mean")


def test_groups_of_videos_widen_the_interval():
    rng = np.random.default_rng(0)
    rows = [
        (f"{target}-{i // 4}", target, p) for target in (0, 1) for i, p in enumerate(rng.uniform(size=240))
    ]
    people = [f"{video.split('-')[0]}-{int(video.split('-')[1]) // 5}" for video, *_ in rows]
    pooled = pool_scores(frames(rows, groups=people), how="mean")
    assert len(pooled) == 120
    assert len(set(pooled.group.tolist())) == 24
    rate = measure_rates(pooled.target, pooled.p_fake, groups=pooled.group, metrics=["auroc"])["auroc"]
    assert (rate.n_real, rate.n_fake) == (60, 60)


def scores_by_level():
    rng = np.random.default_rng(0)
    target = np.tile([0, 1], 150)
    level = np.repeat([30, 50, 90], 100)
    # The coarser the level, the less there is to see.
    p_fake = np.clip(rng.uniform(size=300) * 0.5 + (target == 0) * level / 200, 0, 1)
    folder = texts(np.where(target == 0, np.tile(["gan", "x", "swap", "x"], 75), "camera"))
    scores = Scores(texts(map(str, range(300))), folder, texts(["test"] * 300), target, p_fake)
    return scores, level


def test_a_label_of_both_classes_is_measured_on_its_own_faces():
    scores, level = scores_by_level()
    rates = rates_by(scores, level, threshold=0.5, draws=50)
    assert list(rates) == ["30", "50", "90"]
    rows = level == 50
    assert rates["50"] == measure_rates(scores.target[rows], scores.p_fake[rows], threshold=0.5, draws=50)
    assert rates["30"]["auroc"].value < rates["90"]["auroc"].value


def test_a_label_of_one_class_is_measured_against_all_of_the_other():
    scores, _ = scores_by_level()
    rates = rates_by(scores, scores.folder, metrics=["auroc"], draws=50)
    assert list(rates) == ["camera", "gan", "swap"]
    rows = (scores.folder == "gan") | (scores.target == 1)
    assert rates["gan"] == measure_rates(
        scores.target[rows], scores.p_fake[rows], metrics=["auroc"], draws=50
    )
    assert (rates["gan"]["auroc"].n_real, rates["gan"]["auroc"].n_fake) == (150, 75)
    assert (rates["camera"]["auroc"].n_real, rates["camera"]["auroc"].n_fake) == (150, 150)


def test_rates_by_label_respect_groups():
    scores, level = scores_by_level()
    groups = texts(f"{i // 20}" for i in range(300))
    columns = {name: getattr(scores, name) for name in scores.__dataclass_fields__} | {"group": groups}
    rates = rates_by(Scores(**columns), level, metrics=["auroc"], draws=50)
    rows = level == 50
    assert rates["50"] == measure_rates(
        scores.target[rows], scores.p_fake[rows], groups=groups[rows], metrics=["auroc"], draws=50
    )
    assert rates["50"] != rates_by(scores, level, metrics=["auroc"], draws=50)["50"]


def test_as_many_labels_as_scores_are_needed():
    scores, level = scores_by_level()
    with pytest.raises(InputError, match="300 scores"):
        rates_by(scores, level[:-1])

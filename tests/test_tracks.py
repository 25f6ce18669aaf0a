"""Faces followed through the frames of a video: who is who, and what is never mixed up."""

import itertools
import weakref
from dataclasses import replace

import numpy as np
import pytest
from films import FACE_PX, LEFT, MIDDLE, RIGHT, box_at, find_planted, frame_of, portrait, save_film
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceauth.intake.faces.crop import CropSettings, crop_face
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.sources.video_sampling import VideoSampling, expand_videos
from faceauth.verdicts import tracks
from faceauth.verdicts.cutting import cut_files
from faceauth.verdicts.find import find_pictures
from faceauth.verdicts.glimpses import Glimpse, glimpse_of, scene_of, share_unchanged, unlikeness
from faceauth.verdicts.tracks import Tracker, follow_faces

SCENE = np.zeros((9, 16, 3), np.uint8)
CROP = CropSettings(image_size=96)


def seen(frame, places):
    scene = scene_of(frame)
    return [glimpse_of(crop_face(frame, box_at(place), CROP), scene) for place in places]


def follow(story, *, seconds=2.0):
    """Who is taken for whom, frame by frame, as `{person: number of the track}`; see `films.frame_of`."""
    tracker, found = Tracker(), []
    for i, (people, scene) in enumerate(story):
        frame = frame_of(people, scene=scene, pose=i % 3)
        places = list(people.values())
        numbers = tracker.follow(seen(frame, places), [box_at(place) for place in places], time_s=i * seconds)
        found.append(dict(zip(people, numbers, strict=True)))
    return found


def is_everybody_one_track(found):
    pairs = {pair for frame in found for pair in frame.items()}
    people, numbers = {person for person, _ in pairs}, {number for _, number in pairs}
    return len(pairs) == len(people) == len(numbers)


STORIES = {
    "one alone": [({0: MIDDLE}, 0)] * 5,
    "two side by side": [({0: LEFT, 1: RIGHT}, 0)] * 5,
    "two cross": [({0: LEFT, 1: RIGHT}, 0)] * 3 + [({1: LEFT, 0: RIGHT}, 0)] * 3,
    "one leaves and comes back elsewhere": [({0: LEFT, 1: RIGHT}, 0)] * 2
    + [({1: RIGHT}, 0)] * 4
    + [({0: MIDDLE, 1: RIGHT}, 0)] * 2,
    "cuts to and fro between two": [({0: MIDDLE}, 0), ({1: MIDDLE}, 1), ({0: MIDDLE}, 0), ({1: MIDDLE}, 1)]
    * 2,
    "one takes the place of another": [({0: MIDDLE}, 0)] * 3 + [({1: MIDDLE}, 0)] * 3,
    "a frame without faces between": [({0: MIDDLE}, 0), ({}, 0), ({0: MIDDLE}, 0)],
}


@pytest.mark.parametrize("name", STORIES)
def test_people_keep_their_tracks(name):
    assert is_everybody_one_track(follow(STORIES[name]))


def test_drawn_people_differ_more_than_their_poses_do():
    looks = {
        (person, pose): glimpse_of(portrait(person, pose), SCENE) for person in range(2) for pose in range(3)
    }
    pairs = list(itertools.combinations(looks, 2))
    same = [unlikeness(looks[a], looks[b]) for a, b in pairs if a[0] == b[0]]
    other = [unlikeness(looks[a], looks[b]) for a, b in pairs if a[0] != b[0]]
    assert max(same) < tracks.MAX_UNLIKENESS < min(other)


def test_a_cut_is_noticed_and_a_person_who_moves_is_none():
    frame = frame_of({0: LEFT})
    still, moved, cut = (
        seen(other, [LEFT])[0] for other in (frame, frame_of({0: RIGHT}), frame_of({0: LEFT}, scene=1))
    )
    (first,) = seen(frame, [LEFT])
    assert share_unchanged(first, still) == 1
    assert share_unchanged(first, moved) > tracks.SAME_SCENE
    assert share_unchanged(first, cut) < tracks.SAME_SCENE


def looks(*parts):
    """A glimpse of made-up looks: shares of colours of which no two have anything in common."""
    shares = np.zeros(32, np.float32)
    for number, share in parts:
        shares[number] += share
    return Glimpse(np.sqrt(shares / shares.sum()), SCENE)


def test_a_place_helps_while_the_scene_lasts_and_not_for_ever():
    face, changed = looks((0, 1.0)), looks((0, 0.5), (1, 0.5))
    assert tracks.MAX_UNLIKENESS < unlikeness(face, changed) < tracks.MAX_UNLIKENESS + tracks.PLACE_BONUS
    elsewhere = replace(changed, scene_rgb_uint8=SCENE + 100)

    def again(glimpse, *, place=MIDDLE, time_s=2.0):
        tracker = Tracker()
        tracker.follow([face], [box_at(MIDDLE)], time_s=0.0)
        return tracker.follow([glimpse], [box_at(place)], time_s=time_s)

    assert again(changed) == [1]
    assert again(changed, place=RIGHT) == [2]
    assert again(elsewhere) == [2]
    assert again(changed, time_s=600.0) == [2]
    assert again(face, place=RIGHT, time_s=600.0) == [1]


def test_two_who_look_alike_are_never_taken_for_one():
    twin = looks((0, 1.0))
    tracker = Tracker()
    apart = [box_at(LEFT), box_at(RIGHT)]
    assert tracker.follow([twin, twin], apart, time_s=0.0) == [1, 2]
    # Their places tell them apart.
    assert tracker.follow([twin, twin], apart, time_s=1.0) == [1, 2]
    # After a cut nothing does.
    elsewhere = replace(twin, scene_rgb_uint8=SCENE + 100)
    assert tracker.follow([elsewhere], [box_at(MIDDLE)], time_s=2.0) == [3]
    # Which of two faces goes on with a track nobody knows either.
    alone = Tracker()
    alone.follow([twin], [box_at(MIDDLE)], time_s=0.0)
    assert alone.follow([elsewhere, elsewhere], apart, time_s=1.0) == [2, 3]


def test_what_is_kept_is_bounded():
    tracker = Tracker()
    for i in range(3 * tracks.MAX_TRACKS):
        shares = np.random.default_rng(i).exponential(size=400).astype(np.float32) ** 4
        one = Glimpse(np.sqrt(shares / shares.sum()), SCENE + i % 2 * 100)
        tracker.follow([one], [box_at((60 + 90 * (i % 3), 60))], time_s=i * 100.0)
    assert tracker._n_people > tracks.MAX_TRACKS
    assert len(tracker._tracks) <= tracks.MAX_TRACKS
    assert all(len(track.glimpses) <= tracks.LOOKS_KEPT for track in tracker._tracks)


@st.composite
def scenes(draw):
    """Frames of up to four faces each, of five people who look more or less alike, at random places."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    people = rng.dirichlet(np.full(6, draw(st.sampled_from([0.05, 0.5, 5.0]))), 5)
    frames = []
    for _ in range(draw(st.integers(1, 8))):
        cast = rng.choice(5, rng.integers(0, 5), replace=False)
        level = int(rng.integers(2)) * 100
        frames.append(
            [
                (
                    Glimpse(np.sqrt(0.9 * people[who] + 0.1 * rng.dirichlet(np.ones(6))), SCENE + level),
                    box_at(tuple(rng.uniform(0, 5 * FACE_PX, 2))),
                )
                for who in cast
            ]
        )
    return frames


def tracked(frames, orders):
    tracker, found = Tracker(), []
    for i, (frame, order) in enumerate(zip(frames, orders, strict=True)):
        faces = [frame[k] for k in order]
        numbers = tracker.follow([glimpse for glimpse, _ in faces], [box for _, box in faces], time_s=2.0 * i)
        found.append(dict(zip(order, numbers, strict=True)))
    return found


@settings(max_examples=60, deadline=None)
@given(scenes(), st.randoms(use_true_random=False))
def test_every_face_has_one_track_and_a_frame_none_twice_whatever_the_order(frames, random):
    forwards = [list(range(len(frame))) for frame in frames]
    shuffled = [random.sample(order, len(order)) for order in forwards]
    found, again = tracked(frames, forwards), tracked(frames, shuffled)
    for frame, numbers in zip(frames, found, strict=True):
        assert len(set(numbers.values())) == len(numbers) == len(frame)
    every = [number for numbers in found for number in numbers.values()]
    assert set(every) == set(range(1, len(set(every)) + 1))

    def tracks_of(found):
        by_number = {}
        for i, numbers in enumerate(found):
            for face, number in numbers.items():
                by_number.setdefault(number, set()).add((i, face))
        return {frozenset(faces) for faces in by_number.values()}

    assert tracks_of(found) == tracks_of(again)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    two = [frame_of({0: LEFT, 1: RIGHT}), frame_of({}), frame_of({1: LEFT, 0: RIGHT}, pose=1)]
    save_film(folder / "a.mp4", two)
    save_film(folder / "b.mp4", [frame_of({1: MIDDLE})] * 2)
    return folder


def cut(folder):
    files = expand_videos(find_pictures([str(folder)]), VideoSampling(frames=3))
    return cut_files(files, CollectSettings(crop=CropSettings(image_size=64)), find_planted)


def test_numbers_do_not_depend_on_batches_and_begin_anew_with_each_video(films):
    frames = cut(films)
    (whole,) = follow_faces([frames])
    assert [[face.person for face in faces] for faces in whole] == [[1, 2], [None], [2, 1], [1], [1]]
    for size in (1, 2, 4):
        parts = [frames[start : start + size] for start in range(0, len(frames), size)]
        again = [faces for batch in follow_faces(parts) for faces in batch]
        assert [[face.person for face in faces] for faces in again] == [
            [face.person for face in faces] for faces in whole
        ]


def test_photos_have_no_people(tmp_path):
    Image.fromarray(frame_of({0: LEFT, 1: RIGHT})).save(tmp_path / "photo.png")
    (faces,) = cut(tmp_path)
    assert len(faces) == 2
    assert {face.glimpse for face in faces} == {None}
    ((followed,),) = follow_faces([[faces]])
    assert {face.person for face in followed} == {None}


def test_of_a_video_nothing_is_kept_once_the_next_comes(films, monkeypatch):
    alive = []

    class Watched(Tracker):
        def __init__(self):
            super().__init__()
            alive.append(weakref.ref(self))

    monkeypatch.setattr(tracks, "Tracker", Watched)
    frames = cut(films)
    followed = follow_faces([[faces] for faces in frames] * 2)
    for _ in followed:
        assert sum(tracker() is not None for tracker in alive) == 1
    assert len(alive) >= 4

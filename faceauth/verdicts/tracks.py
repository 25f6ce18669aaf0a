"""Follows faces through the sampled frames of a video: which faces are of one person.

Frames lie seconds apart, people move and scenes cut, so that a face is found again by what it looks like, and
by its place only where the scene is still the same. Each frame's faces go to the tracks so far by an optimal
assignment. A face that fits none well enough, or two people nearly as well, begins a new track: to take two
people for one would mix their verdicts, which is worse than one person with two verdicts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from faceauth.intake.sources.address import split_fragment
from faceauth.verdicts.cutting import CutBatch, CutFace
from faceauth.verdicts.glimpses import Glimpse, share_unchanged, unlikeness

# A face is one of a track's if it looks no more unlike than that, wherever it is...
MAX_UNLIKENESS = 0.22
# ... and so much more unlike if it is where the track's last face was. Both were chosen with
# benchmarks/tracks.py, so that two people are hardly ever taken for one.
PLACE_BONUS = 0.18
# Two people who fit a face that nearly as well as each other are not told apart.
CLEAR_LEAD = 0.05
# How far a face moves, as a share of its side, until its place says little; the same for halving its size.
REACH = 0.7
# How long a place is kept free for whoever was there.
PLACE_LASTS_S = 30.0
# From so much of the frame unchanged on, the camera shows the same scene; from so much on it surely does.
SAME_SCENE, SURELY_SAME_SCENE = 0.3, 0.6
# Faces that were longest not seen are forgotten first.
MAX_TRACKS = 64
LOOKS_KEPT = 4


@dataclass
class Track:
    """Faces of one person so far.

    Attributes:
        person: Number of the person within the video, from 1.
        glimpses: The last few faces, the latest last.
        box_xyxy: Where the latest face was, in pixels of the upright frame.
        time_s: When that was.
        seen_with: Persons that were in a frame together with this one, and so are others.
    """

    person: int
    glimpses: list[Glimpse]
    box_xyxy: tuple[float, float, float, float]
    time_s: float
    seen_with: set[int] = field(default_factory=set)


class Tracker:
    """Follows the faces of one video, frame by frame; what it keeps is bounded."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._n_people = 0

    def follow(
        self,
        glimpses: list[Glimpse],
        boxes_xyxy: list[tuple[float, float, float, float]],
        *,
        time_s: float,
    ) -> list[int]:
        """Takes the next frame.

        Args:
            glimpses: What is kept of n faces.
            boxes_xyxy: Their places, in pixels of the upright frame.
            time_s: When the frame is shown, not before the last one.

        Returns:
            The n numbers of their persons, from 1, each one once. New persons are numbered as they come.
        """
        if not glimpses:
            return []
        gains = self._gains(glimpses, boxes_xyxy, time_s)
        track_of = _clear_matches(gains, self._tracks)
        # A track that one of several faces goes on with, and nobody knows which, ends.
        torn = {track for track, face in _matches(gains) if track_of.get(face) != track}
        found: list[Track] = []
        for face, (glimpse, box) in enumerate(zip(glimpses, boxes_xyxy, strict=True)):
            if face in track_of:
                track = self._tracks[track_of[face]]
                track.glimpses = [*track.glimpses[1 - LOOKS_KEPT :], glimpse]
                track.box_xyxy, track.time_s = box, time_s
            else:
                self._n_people += 1
                track = Track(self._n_people, [glimpse], box, time_s)
            found.append(track)
        people = [track.person for track in found]
        for track in found:
            track.seen_with |= set(people) - {track.person}
        taken = torn | set(track_of.values())
        rest = [track for number, track in enumerate(self._tracks) if number not in taken]
        self._tracks = [*rest, *found][-MAX_TRACKS:]
        known = {track.person for track in self._tracks}
        for track in self._tracks:
            track.seen_with &= known
        return people

    def _gains(
        self, glimpses: list[Glimpse], boxes_xyxy: list[tuple[float, float, float, float]], time_s: float
    ) -> np.ndarray:
        """How much better than the least that is asked for each track fits each face, (tracks, faces).

        0 where it does not fit.
        """
        gains = np.zeros((len(self._tracks), len(glimpses)))
        for i, track in enumerate(self._tracks):
            for j, (glimpse, box) in enumerate(zip(glimpses, boxes_xyxy, strict=True)):
                unlike = min(unlikeness(seen, glimpse) for seen in track.glimpses)
                bonus = PLACE_BONUS * _same_place(track, glimpse, box, time_s)
                gains[i, j] = max(0.0, MAX_UNLIKENESS + bonus - unlike)
        return gains


def follow_faces(batches: Iterable[CutBatch]) -> Iterator[CutBatch]:
    """Tells which faces of a video are of one person, as frames come.

    Args:
        batches: Faces that were cut out; the frames of a video one after the other, in the order of time.

    Yields:
        The same batches; each judged face of a video has the number of its person. Of a video nothing is kept
        once the next file comes.
    """
    path, tracker = "", Tracker()
    for batch in batches:
        followed: CutBatch = []
        for faces in batch:
            row = faces[0].row
            video, asked_s, _ = split_fragment(row.image_path)
            if video != path:
                path, tracker = video, Tracker()
            time_s = asked_s if row.timestamp_s is None else row.timestamp_s
            followed.append(faces if time_s is None else _followed(faces, tracker, time_s))
        yield followed


def _followed(faces: list[CutFace], tracker: Tracker, time_s: float) -> list[CutFace]:
    glimpses: list[Glimpse] = []
    boxes_xyxy: list[tuple[float, float, float, float]] = []
    for face in faces:
        if face.glimpse is not None:
            assert face.row.box is not None
            glimpses.append(face.glimpse)
            boxes_xyxy.append(face.row.box)
    people = iter(tracker.follow(glimpses, boxes_xyxy, time_s=time_s))
    return [face if face.glimpse is None else replace(face, person=next(people)) for face in faces]


def _matches(gains: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (track, face) that gain most together; none without gain."""
    pairs = zip(*linear_sum_assignment(gains, maximize=True), strict=True)
    return [(int(track), int(face)) for track, face in pairs if gains[track, face] > 0]


def _clear_matches(gains: np.ndarray, tracks: list[Track]) -> dict[int, int]:
    """The tracks by their faces, without those that might as well be another person's."""
    matches = _matches(gains)
    face_of, track_of = dict(matches), {face: track for track, face in matches}

    def lead(track: int, face: int) -> float:
        """How much is lost if the face goes to another's track, or the track to another face."""
        losses = [np.inf]
        for other in range(len(tracks)):
            if tracks[other].person in tracks[track].seen_with and gains[other, face] > 0:
                given_up = face_of.get(other)
                swapped = 0.0 if given_up is None else gains[track, given_up] - gains[other, given_up]
                losses.append(gains[track, face] - gains[other, face] - swapped)
        for other in range(gains.shape[1]):
            if other != face and other not in track_of and gains[track, other] > 0:
                losses.append(gains[track, face] - gains[track, other])
        return min(losses)

    return {face: track for track, face in matches if lead(track, face) >= CLEAR_LEAD}


def _same_place(
    track: Track, glimpse: Glimpse, box_xyxy: tuple[float, float, float, float], time_s: float
) -> float:
    """How surely whoever is here is who was here, from 0 to 1."""
    unchanged = share_unchanged(track.glimpses[-1], glimpse)
    scene = np.clip((unchanged - SAME_SCENE) / (SURELY_SAME_SCENE - SAME_SCENE), 0.0, 1.0)
    if scene == 0:
        return 0.0
    x, y, side = _centre_and_side(track.box_xyxy)
    to_x, to_y, to_side = _centre_and_side(box_xyxy)
    moved = np.hypot(to_x - x, to_y - y) / np.sqrt(side * to_side)
    grown = np.log2(to_side / side)
    near = np.exp(-(moved**2 + grown**2) / REACH**2)
    return float(scene * near * np.exp(-max(0.0, time_s - track.time_s) / PLACE_LASTS_S))


def _centre_and_side(box_xyxy: tuple[float, float, float, float]) -> tuple[float, float, float]:
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1, 1.0)

"""From the verdicts on faces to one on each person of a video.

A person's `p_fake` is the mean of that of their faces, as videos are pooled in `faceauth evaluate`. Frames of
one person have light, camera and compression in common and are no independent evidence: to add up their
log-odds, as for independent ones, would make sixteen frames that each are rather unsure into a certainty.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from faceauth.decisions.attribution import UNKNOWN
from faceauth.decisions.decided import Decided
from faceauth.intake.rows import OK
from faceauth.labels import FAKE, ID2LABEL, REAL
from faceauth.scoring.pooling import POOLING_RULES
from faceauth.verdicts.cutting import CutBatch
from faceauth.verdicts.judge import Judge
from faceauth.verdicts.tracks import follow_faces
from faceauth.verdicts.verdict import FAKE_LABEL, WARNINGS, Moment, Person, Verdict

POOLING = "mean"
# What a cell of a spreadsheet holds.
MAX_MOMENTS = 400
# What sums of shares may differ by through rounding.
_ROUNDING = 1e-9


def judge_people(judge: Judge, batches: Iterable[CutBatch], *, batch_size: int) -> Iterator[Verdict]:
    """Judges faces as they come, and the people of each video after its last frame.

    Args:
        judge: What judges crops.
        batches: Faces that were cut out; the frames of a video one after the other, in the order of time.
        batch_size: Crops that pass the network at once.

    Yields:
        A verdict for each face, or for each picture without one, in their order. Faces of videos say of which
        person they are, and a `Person` for each person follows the last frame of their video.
    """
    return with_people(judge.verdicts(follow_faces(batches), batch_size=batch_size), judge.decided)


def with_people(verdicts: Iterable[Verdict], decided: Decided) -> Iterator[Verdict]:
    """Adds what is to be said of each person.

    Args:
        verdicts: Verdicts on faces, those of a video one after the other.
        decided: What the detector's card says was decided on val.

    Yields:
        The verdicts, and after those of each video its people by their numbers. Of a video nothing is kept
        once the next file comes.
    """
    path: str | None = None
    people: dict[int, _Faces] = {}
    for verdict in verdicts:
        if verdict.path != path:
            yield from _in_order(people, decided)
            path, people = verdict.path, {}
        yield verdict
        if verdict.person is not None:
            people.setdefault(verdict.person, _Faces()).add(verdict)
    yield from _in_order(people, decided)


def person_of(faces: Iterable[Verdict], decided: Decided) -> Person:
    """Pools the verdicts on the faces of one person.

    Args:
        faces: At least one, all with the status `ok`, of one video, as they are shown.
        decided: What the detector's card says was decided on val.

    Returns:
        `p_fake` is the mean of the faces', and the label comes from the detector's threshold. `unsure` where
        the mean lies in the band, or where more faces are surely called the other label than the band lets
        through of one class; None without a band. The generator is the one that most faces called fake are
        said to be of, or `unknown` where those are not more than half of them. Warnings are those of any
        face. One face alone makes all these what they are for the face.
    """
    seen = _Faces()
    for face in faces:
        seen.add(face)
    return seen.person(decided)


class _Faces:
    """What is kept of the verdicts on one person's faces: a few numbers of each."""

    def __init__(self) -> None:
        self._p_fake = array("d")
        self._timestamp_s = array("d")
        self._frame = array("q")
        self._n_fake = 0
        self._n_sure: Counter[str | None] = Counter()
        self._generator_scores: dict[str, list[float]] = {}
        self._warnings: set[str] = set()
        self._largest: Verdict | None = None

    def add(self, face: Verdict) -> None:
        """Takes the next face."""
        assert face.p_fake is not None
        assert face.timestamp_s is not None
        assert face.frame is not None
        self._p_fake.append(face.p_fake)
        self._timestamp_s.append(face.timestamp_s)
        self._frame.append(face.frame)
        self._n_fake += face.label == FAKE_LABEL
        self._n_sure[face.label] += face.unsure is False
        if face.generator is not None:
            self._generator_scores.setdefault(face.generator, []).append(face.generator_score or 0.0)
        self._warnings.update(face.warnings)
        if self._largest is None or _side_px(face) > _side_px(self._largest):
            self._largest = face

    def person(self, decided: Decided) -> Person:
        """Returns what the faces so far amount to."""
        largest = self._largest
        assert largest is not None
        p_fake = np.frombuffer(self._p_fake)
        # Rounding takes the mean of equal numbers past them.
        pooled = float(np.clip(POOLING_RULES.get(POOLING)(p_fake), p_fake.min(), p_fake.max()))
        label = ID2LABEL[FAKE if pooled >= decided.threshold.value else REAL]
        in_band = decided.unsure.is_unsure(np.array([pooled]))
        n_contrary = self._n_sure.total() - self._n_sure[label]
        is_torn = n_contrary > (1 - (decided.unsure.coverage or 1.0)) * len(p_fake) + _ROUNDING
        generator, score = self._generator() if label == FAKE_LABEL else (None, None)
        return Person(
            path=largest.path,
            status=OK,
            label=label,
            p_fake=pooled,
            unsure=None if in_band is None else bool(in_band[0]) or is_torn,
            generator=generator,
            generator_score=score,
            box=largest.box,
            p_face=largest.p_face,
            frame=largest.frame,
            timestamp_s=largest.timestamp_s,
            reason=_contradiction(n_contrary, len(p_fake), label) if in_band is not None and is_torn else "",
            warnings=tuple(name for name in WARNINGS if name in self._warnings),
            person=largest.person,
            n_frames=len(p_fake),
            first_s=self._timestamp_s[0],
            last_s=self._timestamp_s[-1],
            timeline=tuple(self._timeline()),
        )

    def _generator(self) -> tuple[str | None, float | None]:
        if not self._generator_scores:
            return None, None
        name = max(self._generator_scores, key=lambda name: len(self._generator_scores[name]))
        if 2 * len(self._generator_scores[name]) <= self._n_fake:
            name = UNKNOWN
        scores = self._generator_scores.get(name)
        return name, None if scores is None else float(np.mean(scores))

    def _timeline(self) -> Iterator[Moment]:
        n = len(self._p_fake)
        for i in np.unique(np.linspace(0, n - 1, min(n, MAX_MOMENTS)).round().astype(int)):
            yield Moment(self._timestamp_s[i], self._frame[i], self._p_fake[i])


def _side_px(face: Verdict) -> float:
    if face.box is None:
        return 0.0
    x1, y1, x2, y2 = face.box
    return max(x2 - x1, y2 - y1)


def _contradiction(n_contrary: int, n: int, label: str) -> str:
    other = ID2LABEL[REAL if label == FAKE_LABEL else FAKE]
    return f"frames contradict each other: {n_contrary} of {n} are surely {other}"


def _in_order(people: dict[int, _Faces], decided: Decided) -> Iterator[Person]:
    for number in sorted(people):
        yield people[number].person(decided)

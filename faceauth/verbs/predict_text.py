"""What people read from `faceauth predict`: a line a face, or a person of a video, as verdicts come.

Lines have at most 100 characters.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from faceauth.console import harmless
from faceauth.decisions.attribution import UNKNOWN
from faceauth.intake.rows import OK
from faceauth.verbs.predict import Tally, count
from faceauth.verdicts.verdict import WARNINGS, Person, Verdict, describe_warnings

MAX_CHARACTERS = 100
MAX_PATH_CHARACTERS = 36
_VERDICT_CHARACTERS = len("unsure, rather fake")
# From a p_fake of 0 to one of 1; the tenths where a terminal has no blocks.
BLOCKS, TENTHS = "▁▂▃▄▅▆▇█", "0123456789"
MAX_SPARKS = 12


class VerdictTable:
    """Formats verdicts as lines of a table whose widths are known before the first one comes.

    A video has a line for each person, and below them one for each way in which frames were not judged.

    Args:
        paths: What will be judged, as text.
        each_frame: Each face of each frame of a video has a line, too.
        sparks: The characters that timelines are drawn with, from 0 to 1.
    """

    def __init__(self, paths: Iterable[str], *, each_frame: bool = False, sparks: str = BLOCKS) -> None:
        # A person's number takes a character more than the time in the name of a frame.
        longest = max((len(path) + 1 for path in paths), default=0)
        self._path_width = min(MAX_PATH_CHARACTERS, max(len("file"), longest))
        self._each_frame = each_frame
        self._sparks = sparks
        self._failed: list[Verdict] = []

    def header(self) -> list[str]:
        """Returns the names of the columns, and the line below them."""
        return [self._line("file", "verdict", "p_fake", "face at", "notes"), "-" * MAX_CHARACTERS]

    def lines(self, verdict: Verdict) -> list[str]:
        """Returns the lines that can be shown once a verdict is there; mostly one, or none."""
        ended = self.rest() if self._failed and self._failed[0].path != verdict.path else []
        if verdict.timestamp_s is not None and not isinstance(verdict, Person) and not self._each_frame:
            if verdict.status != OK:
                self._failed.append(verdict)
            return ended
        return [*ended, self.line(verdict)]

    def rest(self) -> list[str]:
        """Returns the lines on frames of the last video that were not judged."""
        failed, self._failed = self._failed, []
        by_status: dict[str, list[Verdict]] = {}
        for verdict in failed:
            by_status.setdefault(verdict.status, []).append(verdict)
        return [self._line_of_frames(verdicts) for verdicts in by_status.values()]

    def line(self, verdict: Verdict) -> str:
        """Returns the line of a face, of a person, or of a picture without a face."""
        path = _one_line(verdict.path or "")
        if isinstance(verdict, Person):
            path = f"{path} person {verdict.person}"
        elif verdict.timestamp_s is not None:
            path = f"{path} {verdict.timestamp_s:.1f} s"
        if verdict.status != OK:
            words = f"{verdict.status.replace('_', ' ')}: {_one_line(verdict.reason)}"
            return _cut_off(f"{self._path(path)}  {words}")
        words = f"unsure, rather {verdict.label}" if verdict.unsure else str(verdict.label)
        notes = _notes(verdict)
        if isinstance(verdict, Person):
            line = sparkline([moment.p_fake for moment in verdict.timeline], sparks=self._sparks)
            notes = [" ".join([line, *notes[:1]]), *notes[1:], count(verdict.n_frames, "frame")]
        return self._line(path, words, f"{verdict.p_fake:.3f}", _place(verdict), ", ".join(notes))

    def _line_of_frames(self, verdicts: list[Verdict]) -> str:
        first = verdicts[0]
        thing = "frame" if first.box is None else "face"
        words = f"{first.status.replace('_', ' ')}: {_one_line(first.reason)}"
        if len(verdicts) > 1:
            words = f"{first.status.replace('_', ' ')}: {count(len(verdicts), thing)}, the first at "
            words += f"{first.timestamp_s:.1f} s: {_one_line(first.reason)}"
        return _cut_off(f"{self._path(_one_line(first.path or ''))}  {words}")

    def _line(self, path: str, words: str, p_fake: str, place: str, notes: str) -> str:
        cells = f"{words:{_VERDICT_CHARACTERS}}  {p_fake:>6}  {place:>9}  {notes}"
        return _cut_off(f"{self._path(path)}  {cells}".rstrip())

    def _path(self, path: str) -> str:
        # The end of a path says more than its beginning.
        width = self._path_width
        return f"{path:{width}}" if len(path) <= width else f"…{path[1 - width :]}"


def describe_tally(tally: Tally) -> list[str]:
    """Returns what stands below the table: what was found, and what the warnings mean."""
    return [tally.describe(), *(f"{name.replace('_', ' ')}: {WARNINGS[name]}" for name in tally.by_warning)]


def _notes(verdict: Verdict) -> list[str]:
    maker = []
    if verdict.generator == UNKNOWN:
        maker = ["unknown generator"]
    elif verdict.generator is not None:
        maker = [f"like {_one_line(verdict.generator)}"]
    return maker + describe_warnings(verdict.warnings)


def sparkline(p_fake: Sequence[float], *, sparks: str = BLOCKS) -> str:
    """Draws a timeline in at most 12 characters, each the mean of what it stands for.

    Args:
        p_fake: At least one number in [0, 1].
        sparks: The characters, from 0 to 1.
    """
    parts = np.array_split(np.asarray(p_fake), min(MAX_SPARKS, len(p_fake)))
    return "".join(sparks[min(int(part.mean() * len(sparks)), len(sparks) - 1)] for part in parts)


def _place(verdict: Verdict) -> str:
    if isinstance(verdict, Person):
        # Long ones push the notes to the right.
        digits = 1 if verdict.last_s < 100 else 0
        times = dict.fromkeys(f"{time_s:.{digits}f}" for time_s in (verdict.first_s, verdict.last_s))
        return f"{'-'.join(times)} s"
    if verdict.box is None:
        return ""
    x1, y1, x2, y2 = verdict.box
    return f"{round((x1 + x2) / 2)},{round((y1 + y2) / 2)}"


def _one_line(text: str) -> str:
    return harmless(text).replace("\n", " ").replace("\t", " ")


def _cut_off(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"

"""What people read from `faceauth predict`: a line a face as verdicts come, of at most 100 characters."""

from collections.abc import Iterable

from faceauth.console import harmless
from faceauth.decisions.attribution import UNKNOWN
from faceauth.intake.rows import OK
from faceauth.verbs.predict import Tally
from faceauth.verdicts.verdict import WARNINGS, Verdict, describe_warnings

MAX_CHARACTERS = 100
MAX_PATH_CHARACTERS = 36
_VERDICT_CHARACTERS = len("unsure, rather fake")


class VerdictTable:
    """Formats verdicts as lines of a table whose widths are known before the first one comes.

    Args:
        paths: What will be judged, as text.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        longest = max((len(path) for path in paths), default=0)
        self._path_width = min(MAX_PATH_CHARACTERS, max(len("file"), longest))

    def header(self) -> list[str]:
        """Returns the names of the columns, and the line below them."""
        return [self._line("file", "verdict", "p_fake", "face at", "notes"), "-" * MAX_CHARACTERS]

    def line(self, verdict: Verdict) -> str:
        """Returns the line of a face, or of a picture without one."""
        path = _one_line(verdict.path or "")
        if verdict.timestamp_s is not None:
            path = f"{path} {verdict.timestamp_s:.1f} s"
        if verdict.status != OK:
            words = f"{verdict.status.replace('_', ' ')}: {_one_line(verdict.reason)}"
            return _cut_off(f"{self._path(path)}  {words}")
        words = f"unsure, rather {verdict.label}" if verdict.unsure else str(verdict.label)
        return self._line(path, words, f"{verdict.p_fake:.3f}", _middle(verdict), ", ".join(_notes(verdict)))

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


def _middle(verdict: Verdict) -> str:
    if verdict.box is None:
        return ""
    x1, y1, x2, y2 = verdict.box
    return f"{round((x1 + x2) / 2)},{round((y1 + y2) / 2)}"


def _one_line(text: str) -> str:
    return harmless(text).replace("\n", " ").replace("\t", " ")


def _cut_off(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"

"""The folder that `--heatmap` names: a picture for each judged face, and what was measured of the maps.

`<name>-<hash>.png` shows the face as painted. The hash is of that picture, so that no two faces share a file;
the name is what is left of the source's when all but letters and digits is taken out. `heatmaps.jsonl` has a
line a face, `heatmaps.json` the means.
"""

import hashlib
import io
import json
import math
import re
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image
from scipy.stats import t as students_t

from faceauth.errors import FaceAuthError, UsageError
from faceauth.files import whole_file, write_json
from faceauth.intake.pixels.images import UnreadableImageError
from faceauth.intake.pixels.reading import read_each
from faceauth.intake.sources.source_file import SourceFile
from faceauth.verdicts.cutting import CutBatch
from faceauth.verdicts.explainer import ExplainedFace, Explainer
from faceauth.verdicts.verdict import PERSON_KIND, Verdict

LINES_NAME, MEANS_NAME = "heatmaps.jsonl", "heatmaps.json"
MAX_NAME_CHARACTERS = 40
MEASURED = ("deletion", "deletion_random", "insertion", "insertion_random")


def check_heatmap_folder(folder: Path) -> None:
    """Makes sure, before the work begins, that a folder can be made or is one.

    Raises:
        UsageError: It is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", "Give --heatmap the name of a folder.")


class HeatmapFolder:
    """Writes heat maps as verdicts come; memory grows by a few numbers a file.

    Args:
        folder: Where.
        explainer: What makes them.
        method: Name of the kind of heat map; None takes the one made for the network.
        lines: `heatmaps.jsonl`, open for writing.
    """

    def __init__(self, folder: Path, explainer: Explainer, method: str | None, lines: TextIO) -> None:
        self._folder = folder
        self._explainer = explainer
        self._lines = lines
        self._means = HeatmapMeans()
        self._method = explainer.check(method)
        # Of which file each face is whose verdict is still to come; and of one video its frames.
        self._sources: deque[SourceFile] = deque()
        self._frames: dict[int, SourceFile] = {}

    def watched(self, batches: Iterable[CutBatch], files: Iterable[SourceFile]) -> Iterator[CutBatch]:
        """Hands on what was cut, and notes of which file each face is.

        Args:
            batches: Faces that were cut out.
            files: The files, in the same order.
        """
        remaining = iter(files)
        for batch in batches:
            for faces, file in zip(batch, remaining, strict=False):
                self._sources.extend(file for _ in faces)
            yield batch

    def painted(self, verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
        """Hands on verdicts on what was watched, those that are explained with the paths of their heat maps.

        Explained are each judged face of a picture, and of a video the largest face of each person.
        """
        path = None
        for verdict in verdicts:
            if verdict.kind == PERSON_KIND:
                assert verdict.frame is not None
                yield self.add(verdict, self._frames[verdict.frame])
                continue
            source = self._sources.popleft()
            if verdict.path != path:
                path, self._frames = verdict.path, {}
            if verdict.frame is not None:
                self._frames[verdict.frame] = source
            yield verdict if verdict.person is not None else self.add(verdict, source)

    def add(self, verdict: Verdict, file: SourceFile) -> Verdict:
        """Writes the heat map of a face.

        Args:
            verdict: The verdict on it.
            file: Where its picture is.

        Returns:
            The verdict with the path of the file; without it if there was no face to explain, or its picture
            could not be read again. Then `heatmaps.jsonl` says why.

        Raises:
            OSError: The disk is full, or the like.
            FaceAuthError: Heat maps cannot be made at all.
        """
        if verdict.p_fake is None:
            return verdict
        try:
            image_rgb_uint8 = _read(file)
            face = self._explainer.explain(image_rgb_uint8, verdict, method=self._method, measure=True)
            sheet = face.sheet(image_rgb_uint8)
        except UnreadableImageError as error:
            self._write(ExplainedFace(verdict), None, str(error))
            return verdict
        except (FaceAuthError, OSError):
            raise
        except Exception as error:
            # Whatever one face does to the network and its memory, it shall not cost the others their maps.
            self._write(ExplainedFace(verdict), None, f"{type(error).__name__}: {error}"[:500])
            return verdict
        content = _png(sheet)
        path = self._folder / safe_name(file.image_path, content)
        with whole_file(path) as draft:
            draft.write_bytes(content)
        self._write(face, path, "")
        self._means.add(verdict.path, face)
        return replace(verdict, heatmap=str(path))

    def finish(self) -> None:
        """Writes `heatmaps.json`."""
        write_json(self._folder / MEANS_NAME, {"method": self._method, **self._means.to_json()})

    def _write(self, face: ExplainedFace, path: Path | None, reason: str) -> None:
        verdict = face.verdict
        line: dict[str, Any] = {
            "path": verdict.path,
            "box": None if verdict.box is None else list(verdict.box),
            "frame": verdict.frame,
            "timestamp_s": verdict.timestamp_s,
            "label": verdict.label,
            "p_fake": verdict.p_fake,
            "unsure": verdict.unsure,
            "heatmap": None if path is None else path.name,
            "reason": reason,
            "method": self._method,
            "square": None if face.square_xyxy is None else list(face.square_xyxy),
            "log_odds": face.log_odds,
        }
        line |= face.faithfulness or {}
        print(json.dumps(line, ensure_ascii=False, allow_nan=False), file=self._lines, flush=True)


@contextmanager
def heatmap_folder(
    folder: Path, explainer: Explainer, *, method: str | None = None
) -> Iterator[HeatmapFolder]:
    """Opens a folder for heat maps; its `heatmaps.jsonl` and `heatmaps.json` appear when the block has ended.

    Raises:
        FaceAuthError: Heat maps cannot be made of this detector; see `Explainer.check`.
    """
    check_heatmap_folder(folder)
    with (
        whole_file(folder / LINES_NAME) as draft,
        draft.open("w", encoding="utf-8", newline="\n") as lines,
    ):
        open_folder = HeatmapFolder(folder, explainer, method, lines)
        yield open_folder
        open_folder.finish()


class HeatmapMeans:
    """Means over files with their intervals: faces of one file are no independent evidence."""

    def __init__(self) -> None:
        self._n_faces = 0
        self._n_of_file: array[float] = array("d")
        self._sums = {name: array("d") for name in MEASURED}
        self._path: str | None = None

    def add(self, path: str | None, face: ExplainedFace) -> None:
        """Takes the next face; those of one file come one after the other."""
        assert face.faithfulness is not None
        if not self._n_faces or path != self._path:
            for numbers in (self._n_of_file, *self._sums.values()):
                numbers.append(0.0)
            self._path = path
        self._n_faces += 1
        self._n_of_file[-1] += 1
        for name in MEASURED:
            self._sums[name][-1] += face.faithfulness[name]

    def to_json(self) -> dict[str, Any]:
        """Returns what `heatmaps.json` holds beside the method."""
        n = np.asarray(self._n_of_file)
        of_file = {name: np.asarray(sums) / n for name, sums in self._sums.items()}
        means = {name: mean_with_interval(values) for name, values in of_file.items()}
        means["deletion_below_random"] = mean_with_interval(of_file["deletion_random"] - of_file["deletion"])
        means["insertion_above_random"] = mean_with_interval(
            of_file["insertion"] - of_file["insertion_random"]
        )
        return {"n_files": len(n), "n_faces": self._n_faces, **means}


def mean_with_interval(values: np.ndarray) -> dict[str, Any]:
    """Returns a mean with its 95 % interval by Student's t.

    Args:
        values: (n,) of independent files.

    Returns:
        `{"value", "ci95", "n", "reason"}`, with nulls, and the reason, where there are too few.
    """
    n = len(values)
    if n < 2:
        value = float(values[0]) if n else None
        return {"value": value, "ci95": None, "n": n, "reason": f"{n} files; an interval needs 2"}
    mean = float(values.mean())
    reach = float(students_t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return {"value": mean, "ci95": [mean - reach, mean + reach], "n": n, "reason": None}


def safe_name(source: str, content: bytes) -> str:
    """Returns a file name that leads nowhere else, and that no other content has.

    Args:
        source: What the picture is called; letters and digits of ASCII are kept for people.
        content: What the file will hold.
    """
    stem = re.split(r"[/\\]", source)[-1].rpartition(".")[0]
    kept = re.sub(r"[^A-Za-z0-9]+", "-", stem)[:MAX_NAME_CHARACTERS].strip("-")
    return f"{kept or 'face'}-{hashlib.sha256(content).hexdigest()[:32]}.png"


def _read(file: SourceFile) -> np.ndarray:
    (image,) = read_each([file.address])
    if isinstance(image, UnreadableImageError):
        raise image
    return image.image_rgb_uint8


def _png(image_rgb_uint8: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_rgb_uint8).save(buffer, format="PNG")
    return buffer.getvalue()

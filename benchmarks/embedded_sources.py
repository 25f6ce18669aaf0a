"""Fits where the sources of a finished detector lie, and writes it to its card and model card.

    python benchmarks/embedded_sources.py --manifest prepared/ --output faceauth/embedded/

`faceauth train` does so by itself; this is for an older checkpoint with a frozen trunk. At most some crops of
each source are read, as training did. What is fitted is the domain, and of the attribution the shape of each
generator with the distance from which on a fake is `unknown`; names, threshold and calibration stay as they
are. What comes of it is printed for faces of test: as they are, and brought through the chain of
`left_out.py`, which scales them down and saves them as JPEG.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from left_out import ALIKE
from unknown_generators import augmentation_of, some_rows, view_places

from faceauth.console import configure_logging
from faceauth.decisions.attribution import UNKNOWN, attribute
from faceauth.decisions.attribution_fit import choose_farthest
from faceauth.decisions.domain import is_outside
from faceauth.decisions.known_sources import embed_readings, fit_domain_of_rows
from faceauth.detectors.card import card_of_json, model_card
from faceauth.detectors.embedded import open_checkpoint
from faceauth.detectors.folder import CARD_NAME
from faceauth.files import read_json, whole_file, write_json
from faceauth.intake.manifest import ManifestRow, read_manifest
from faceauth.labels import FAKE, TEST, TRAIN, VAL
from faceauth.scoring.bounds import clopper_pearson, effective_number_of_faces
from faceauth.scoring.resampling import number_groups
from faceauth.training.frozen import keep_readings


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("embedded"))
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--readings", type=Path, default=Path("readings"), help="Where readings are kept.")
    parser.add_argument("--most", type=int, default=120, help="Faces of a source in train; half in val.")
    parser.add_argument("--output", type=Path, required=True, help="The checkpoint folder to change.")
    arguments = parser.parse_args()
    configure_logging(quiet=False)
    detector, card = open_checkpoint(arguments.model)
    manifest = read_manifest(arguments.manifest)
    plain, augmented = view_places(detector, arguments.model, arguments.readings)
    equal = plain.with_name(f"equal-{plain.name}")
    rows = some_rows(manifest, most=arguments.most)
    of = {split: [row for row in rows if row.split == split] for split in (TRAIN, VAL, TEST)}

    def embed(split: str, place: Path, alter: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        keep_readings(detector, of[split], manifest, place, alter=alter)
        return embed_readings(detector, of[split], place)

    seen = augmentation_of(arguments.model)
    train, val = embed(TRAIN, augmented, seen), embed(VAL, plain, None)
    how = {
        "fitted": f"after the training, on at most {arguments.most} faces of a source in train",
        "manifest_sha256": manifest.sha256,
    }
    domain = fit_domain_of_rows(of, {TRAIN: train, VAL: val}, {VAL: embed(VAL, augmented, seen)}) | how
    known = {name: number for number, name in enumerate(card.attribution["generators"])}
    number, val_number = (
        np.array([known.get(row.folder, -1) if row.target == FAKE else -1 for row in of[split]])
        for split in (TRAIN, VAL)
    )
    attribution = card.attribution | choose_farthest(
        card.attribution,
        train[number >= 0].astype(np.float64),
        number[number >= 0],
        val[val_number >= 0].astype(np.float64),
    )
    attribution["shapes"] = how
    for name, features in (
        ("as they are", embed(TEST, plain, None)),
        ("scaled down and saved as JPEG", embed(TEST, equal, ALIKE)),
    ):
        print(f"faces of test, {name}:")
        is_fake = np.array([row.target == FAKE for row in of[TEST]])
        is_far = is_outside(features, domain)
        folders = np.array([row.folder for row in of[TEST]], dtype=object)
        named = np.array([found for found, _ in attribute(features, attribution)], dtype=object)
        for what, is_hit, own in (
            ("fakes outside", is_far, is_fake),
            ("reals outside", is_far, ~is_fake),
            ("fakes with their generator's name", named == folders, is_fake),
            ("fakes called unknown", named == UNKNOWN, is_fake),
        ):
            rows = [row for row, is_own in zip(of[TEST], own, strict=True) if is_own]
            print(f"  {what}: {describe_share(is_hit[own], rows)}")
    facts = read_json(arguments.output / CARD_NAME) | {"attribution": attribution, "domain": domain}
    write_json(arguments.output / CARD_NAME, facts)
    readme = arguments.output / "README.md"
    # What an export adds to the model card stays.
    _, heading, exported = readme.read_text("utf-8").partition("\n## Exported as")
    with whole_file(readme) as draft:
        draft.write_text(model_card(card_of_json(facts)) + heading + exported, "utf-8")


def describe_share(is_hit: np.ndarray, rows: Sequence[ManifestRow]) -> str:
    """Writes a share with its 95 % interval over groups and n."""
    groups = np.array([row.group or row.destination_path for row in rows], dtype=object)
    n_effective = effective_number_of_faces(is_hit, number_groups(groups, len(rows)))
    low, high = clopper_pearson(float(is_hit.mean()), n_effective)
    return f"{is_hit.mean():.3f} ({low:.3f} to {high:.3f}), n = {len(rows)}"


if __name__ == "__main__":
    main()

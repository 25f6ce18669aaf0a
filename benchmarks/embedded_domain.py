"""Fits the training domain of a finished detector anew, and writes it to its card and model card.

    python benchmarks/embedded_domain.py --manifest prepared/ --output faceauth/embedded/

`faceauth train` does so by itself; this is for an older checkpoint with a frozen trunk. At most some crops of
each source are read, as training did; weights, threshold, calibration and names of generators stay as they
are. How many faces of test lie outside is printed: as they are, and brought through the chain of
`left_out.py`, which scales them down and saves them as JPEG.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from left_out import ALIKE
from unknown_generators import augmentation_of, some_rows, view_places

from faceauth.console import configure_logging
from faceauth.decisions.domain import is_outside
from faceauth.decisions.known_sources import embed_readings, fit_domain_of_rows
from faceauth.detectors.card import card_of_json, model_card
from faceauth.detectors.embedded import open_checkpoint
from faceauth.detectors.folder import CARD_NAME
from faceauth.files import read_json, whole_file, write_json
from faceauth.intake.manifest import read_manifest
from faceauth.labels import ID2LABEL, TEST, TRAIN, VAL
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
    detector, _ = open_checkpoint(arguments.model)
    manifest = read_manifest(arguments.manifest)
    plain, augmented = view_places(detector, arguments.model, arguments.readings)
    equal = plain.with_name(f"equal-{plain.name}")
    rows = some_rows(manifest, most=arguments.most)
    of = {split: [row for row in rows if row.split == split] for split in (TRAIN, VAL, TEST)}

    def embed(split: str, place: Path, alter: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        keep_readings(detector, of[split], manifest, place, alter=alter)
        return embed_readings(detector, of[split], place)

    seen = augmentation_of(arguments.model)
    entry = fit_domain_of_rows(
        of,
        {TRAIN: embed(TRAIN, augmented, seen), VAL: embed(VAL, plain, None)},
        {VAL: embed(VAL, augmented, seen)},
    )
    entry |= {
        "fitted": f"after the training, on at most {arguments.most} faces of a source in train",
        "manifest_sha256": manifest.sha256,
    }
    groups = np.array([row.group or row.destination_path for row in of[TEST]], dtype=object)
    targets = np.array([row.target for row in of[TEST]])
    for name, features in (
        ("as they are", embed(TEST, plain, None)),
        ("scaled down and saved as JPEG", embed(TEST, equal, ALIKE)),
    ):
        is_far = is_outside(features, entry)
        for target, label in ID2LABEL.items():
            own = targets == target
            n = effective_number_of_faces(is_far[own], number_groups(groups[own], int(own.sum())))
            low, high = clopper_pearson(float(is_far[own].mean()), n)
            print(f"{label} faces of test {name}: {is_far[own].mean():.3f} outside ({low:.3f} to {high:.3f})")
    facts = read_json(arguments.output / CARD_NAME) | {"domain": entry}
    write_json(arguments.output / CARD_NAME, facts)
    readme = arguments.output / "README.md"
    # What an export adds to the model card stays.
    _, heading, exported = readme.read_text("utf-8").partition("\n## Exported as")
    with whole_file(readme) as draft:
        draft.write_text(model_card(card_of_json(facts)) + heading + exported, "utf-8")


if __name__ == "__main__":
    main()

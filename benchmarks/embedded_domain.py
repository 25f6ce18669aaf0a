"""Fits the training domain of a finished detector anew, and writes it to its card and model card.

    python benchmarks/embedded_domain.py --manifest prepared/ --output faceauth/embedded/

`faceauth train` does so by itself; this is for an older checkpoint with a frozen trunk.
Crops are read as they are, at most some of each source; weights, threshold, calibration and names of
generators stay as they are.
"""

import argparse
from pathlib import Path

import numpy as np
from unknown_generators import some_rows

from faceauth.console import configure_logging
from faceauth.decisions.domain_fit import fit_domain
from faceauth.decisions.known_sources import embed_readings
from faceauth.detectors.card import card_of_json, model_card
from faceauth.detectors.embedded import open_checkpoint
from faceauth.detectors.folder import CARD_NAME
from faceauth.files import read_json, whole_file, write_json
from faceauth.intake.manifest import read_manifest
from faceauth.labels import TRAIN, VAL
from faceauth.training.frozen import keep_readings, view_folder


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
    place = view_folder(detector, arguments.readings, augment={}, seed=0, view=0)
    features, sources, groups = {}, {}, {}
    for split in (TRAIN, VAL):
        rows = [row for row in some_rows(manifest, most=arguments.most) if row.split == split]
        keep_readings(detector, rows, manifest, place)
        features[split] = embed_readings(detector, rows, place)
        sources[split] = np.array([f"{row.target_class}/{row.folder}" for row in rows])
        groups[split] = np.array([row.group for row in rows], dtype=object)
    entry = fit_domain(features[TRAIN], sources[TRAIN], features[VAL], sources[VAL], groups[VAL])
    entry |= {
        "fitted": f"after the training, on plain crops, at most {arguments.most} of a source in train",
        "manifest_sha256": manifest.sha256,
    }
    facts = read_json(arguments.output / CARD_NAME) | {"domain": entry}
    write_json(arguments.output / CARD_NAME, facts)
    readme = arguments.output / "README.md"
    # What an export adds to the model card stays.
    _, heading, exported = readme.read_text("utf-8").partition("\n## Exported as")
    with whole_file(readme) as draft:
        draft.write_text(model_card(card_of_json(facts)) + heading + exported, "utf-8")
    print({name: value for name, value in entry.items() if not isinstance(value, dict)})


if __name__ == "__main__":
    main()

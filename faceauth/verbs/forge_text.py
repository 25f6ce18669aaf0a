"""What `faceauth forge` tells people, from the part `forged` of `prepare.json`."""

from typing import Any

from faceauth.console import print_table

_WORDS = {
    "no_face": "no face found",
    "too_small": "too small",
    "unreadable": "unreadable",
    "no_partner": "nobody to swap with",
    "unchanged": "nothing changed",
    "duplicate": "made twice",
    "look_alike": "looks like a crop of another split",
}


def print_forged(document: dict[str, Any]) -> None:
    """Prints how many forgeries each method made, and why others were not made.

    Args:
        document: What stands under `forged` in `prepare.json`.
    """
    rows = []
    for method, entry in document["methods"].items():
        reasons = [f"{n:,} {_WORDS[reason]}" for reason, n in entry["n_skipped"].items() if n]
        rows.append([method, f"{entry['n_made']:,}", ", ".join(reasons)])
    print_table(["method", "forgeries", "not made"], rows)
    if document["n_groups_merged"]:
        print(
            f"{document['n_groups_merged']:,} groups were merged with that of whom they swapped faces with."
        )

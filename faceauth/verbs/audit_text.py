"""What `faceauth audit` tells people: tables and sentences from the content of `audit.json`."""

from typing import Any

from faceauth.console import print_table
from faceauth.shortcuts.shortcuts import CLEAN, EXPOSED, LEANS, RATINGS, UNCLEAR, UNKNOWN, describe_ruler

MAX_PRINTED_ROWS = 20
MAX_NAMED_PAIRS = 3
MAX_COLLECTIONS_ABREAST = 8
_MARKS = {CLEAN: " ", LEANS: "~", EXPOSED: "!", UNCLEAR: "?", UNKNOWN: " "}


def print_audit(document: dict[str, Any], leaks: str) -> None:
    """Prints an audit.

    Args:
        document: The content of `audit.json`.
        leaks: The leaks in one line.
    """
    shortcuts = document["shortcuts"]
    rates = {"all": shortcuts["overall"], **shortcuts["by_folder"]}
    print_table(
        ["plain facts alone against", "AUROC", "95 % interval", "real", "fake"],
        [[name, *rate_cells(rate), str(rate["n_real"]), str(rate["n_fake"])] for name, rate in rates.items()],
    )
    print()
    print(describe_ruler(shortcuts))
    if shortcuts["pairs"]:
        print()
        for header, rows in pair_matrices(shortcuts["pairs"]):
            print_table(header, rows)
            print()
        for sentence in describe_pairs(shortcuts["pairs"]):
            print(sentence)
        print()
    print(f"Leaks: {leaks}.")
    if document["leaking_rows"]:
        print()
        print_leaking_rows(document)


def print_leaking_rows(document: dict[str, Any]) -> None:
    """Prints the first of the rows that leak, and where the others are."""
    rows = document["leaking_rows"]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    # Each kind of leak gets its share, in whole pairs: many of one kind would hide the others.
    share = MAX_PRINTED_ROWS // len(kinds) // 2 * 2
    shown = [row for kind in kinds for row in [row for row in rows if row["kind"] == kind][:share]]
    print_table(
        ["leak", "split", "row", "shares"],
        [
            [row["kind"], row["split"], row["destination_path"] or row["image_path"], row["shared"]]
            for row in shown
        ],
    )
    n_more = len(rows) + document["leaking_rows_not_listed"] - len(shown)
    if n_more > 0:
        print(f"and {n_more:,} more; audit.json lists {len(rows):,} in all.")


def print_remains(document: dict[str, Any]) -> None:
    """Prints how far the crops' plain facts alone go, before and after equalising.

    Args:
        document: What `prepare.json` holds under `equalised`.
    """
    n_left_out = {None: sum(document["n_left_out"].values()), **document["n_left_out"]}
    print()
    print_table(
        ["crops alone against", "before", "95 % interval", "after", "95 % interval", "leans on", "left out"],
        [
            [
                part["generator"] or "all",
                *rate_cells(part["before"], reason="-"),
                *rate_cells(part["after"], reason="-"),
                part["leaned_on"] or "-",
                str(n_left_out.get(part["generator"], 0)),
            ]
            for part in document["remains"]
        ],
    )
    for reason in dict.fromkeys(part["after"]["reason"] for part in document["remains"]):
        if reason:
            print(f"-: {reason}")
    print()
    low, high = document["side_px"]
    print(
        f"{document['n_kept']:,} crops were scaled down to {low} to {high} px and back, as "
        f"{document['side_set_by']} allows, and saved once as JPEG of quality "
        f"{document['jpeg_quality'][0]} to {document['jpeg_quality'][1]}."
    )


def pair_matrices(pairs: list[dict[str, Any]]) -> list[tuple[list[str], list[list[str]]]]:
    """Lays out the AUROC of each generator (rows) against each collection (columns).

    Args:
        pairs: The part `pairs` of `audit.json`.

    Returns:
        Tables of at most 8 collections each, as header and rows. `!` marks a pair that is exposed, `~` one
        that leans, `?` one of which too little is known; `-` was not measured.
    """
    cells = {(pair["generator"], pair["collection"]): _cell(pair) for pair in pairs}
    generators = list(dict.fromkeys(pair["generator"] for pair in pairs))
    collections = list(dict.fromkeys(pair["collection"] for pair in pairs))
    tables = []
    for start in range(0, len(collections), MAX_COLLECTIONS_ABREAST):
        abreast = collections[start : start + MAX_COLLECTIONS_ABREAST]
        rows = [[name, *(cells[name, collection] for collection in abreast)] for name in generators]
        tables.append((["AUROC of a pair", *abreast], rows))
    return tables


def describe_pairs(pairs: list[dict[str, Any]]) -> list[str]:
    """Says in a sentence for each rating which pairs of sources have it, and what the facts were.

    Args:
        pairs: The part `pairs` of `audit.json`.
    """
    sentences = []
    for rating, meaning in RATINGS.items():
        found = [pair for pair in pairs if pair["rating"] == rating]
        if found:
            named = "; ".join(_name(pair) for pair in found[:MAX_NAMED_PAIRS])
            rest = f"; and {len(found) - MAX_NAMED_PAIRS} more" if len(found) > MAX_NAMED_PAIRS else ""
            mark = f" ({_MARKS[rating]})" if _MARKS[rating].strip() else ""
            sentences.append(f"{rating}{mark}: {len(found)} of {len(pairs)} pairs, {meaning}: {named}{rest}.")
    return sentences


def rate_cells(rate: dict[str, Any], *, reason: str | None = None) -> list[str]:
    """Returns a rate's value and its interval as text; without a value why, or what is given for that."""
    if rate["value"] is None:
        return ["-", reason or rate["reason"] or ""]
    interval = f"{rate['ci95'][0]:.3f} to {rate['ci95'][1]:.3f}" if rate["ci95"] else "-"
    return [f"{rate['value']:.3f}", interval]


def _cell(pair: dict[str, Any]) -> str:
    value = pair["auroc"]["value"]
    return "-" if value is None else f"{value:.2f} {_MARKS[pair['rating']]}"


def _name(pair: dict[str, Any]) -> str:
    leaned_on = f" by {pair['leaned_on'][0]}" if pair["leaned_on"] else ""
    return f"{pair['generator']} against {pair['collection']}{leaned_on}"

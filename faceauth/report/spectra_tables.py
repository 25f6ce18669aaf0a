"""Tables and main finding of the average frequency spectra; all of it may be incomplete."""

from collections.abc import Mapping
from typing import Any

from faceauth.labels import FAKE, ID2LABEL
from faceauth.report.records import objects_of
from faceauth.report.tables import Cell, Table, as_number, as_rate, sub_document

KINDS = ("peaks", "lines")


def spectra_tables(document: dict[str, Any]) -> list[Table | None]:
    """A row a source with its strongest peak, and every peak and line."""
    rows: list[tuple[Cell, ...]] = []
    every: list[tuple[Cell, ...]] = []
    kinds = document.get("kinds")
    kinds = [str(kind) for kind in kinds] if isinstance(kinds, list) else []
    sources = sub_document(document, "sources")
    for name in sources:
        source = sub_document(sources, name)
        peaks = list(objects_of(source.get("peaks")))
        lines = list(objects_of(source.get("lines")))
        remark = str(source.get("reason") or "")
        if peaks:
            first = peaks[0]
            remark = f"strongest at {_frequency(first)}, {as_number(first.get('height_db')) or 0:.1f} dB"
            remark += ", on the JPEG grid" if first.get("on_jpeg_grid") is True else ""
        target = as_number(source.get("target"))
        rows.append(
            (
                name,
                ID2LABEL.get(int(target), "") if target is not None else "",
                as_number(source.get("n")),
                as_number(source.get("n_groups")),
                *(
                    len(found) if isinstance(source.get(key), list) else None
                    for key, found in (("peaks", peaks), ("lines", lines))
                ),
                *(as_rate(sub_document(source, "high_frequency_db").get(kind)) for kind in kinds),
                remark,
            )
        )
        every += [
            (
                name,
                str(peak.get("kind") or ""),
                _frequency(peak),
                str(peak.get("fraction") or ""),
                as_number(peak.get("height_db")),
                as_number(peak.get("z")),
                {True: "yes", False: "no"}.get(peak.get("on_jpeg_grid"), ""),  # type: ignore[arg-type]
            )
            for peak in [*peaks, *lines]
        ]
    headers = (
        "Source",
        "Class",
        "n",
        "Groups",
        "Peaks",
        "Lines",
        *(f"High frequencies in dB, {kind}" for kind in kinds),
    )
    peak_headers = ("Source", "Kind", "Cycles a pixel", "Fraction", "dB", "z", "On the JPEG grid")
    return [
        Table("Spectra by source", (*headers, "Remark"), tuple(rows)) if rows else None,
        Table("Every peak and line", peak_headers, tuple(every), folded=True) if every else None,
    ]


def spectra_finding(document: dict[str, Any]) -> str:
    """Counts the generators with peaks or lines that stand higher than in any collection of reals."""
    sources = sub_document(document, "sources")
    fakes = [
        source for source in sources.values() if isinstance(source, Mapping) and source.get("target") == FAKE
    ]
    sought = [source for source in fakes if isinstance(source.get("peaks"), list)]
    if not sought:
        return ""
    n_with = {key: sum(any(map(_is_own, objects_of(source.get(key)))) for source in sought) for key in KINDS}
    found = " and ".join(f"{n} have {key}" for key, n in n_with.items())
    return f"Of {len(sought)} generators, {found} that stand higher than in any collection of reals."


def _is_own(peak: Mapping[str, Any]) -> bool:
    own, real = (as_number(peak.get(key)) for key in ("own_height_db", "highest_real_db"))
    return own is not None and (real is None or own > real)


def _frequency(peak: Mapping[str, Any]) -> str:
    if "axis" in peak:
        return f"{as_number(peak.get('frequency')) or 0:.3f} along {peak['axis']}"
    return ", ".join(f"{as_number(peak.get(key)) or 0:.3f}" for key in ("fx", "fy"))

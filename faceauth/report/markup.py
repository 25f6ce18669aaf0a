"""Small pieces of HTML. Whatever comes from data passes `escape` here, and nowhere else is text pasted."""

import base64
import json
import re
from html import escape
from pathlib import Path
from typing import Any, NewType

from faceauth.evaluation.drawing import DOTS_PER_INCH
from faceauth.report.tables import Cell, Rate, Table

# Text that is HTML already, as opposed to text that still has to be escaped.
Markup = NewType("Markup", str)
# What a part of the page may consist of; what there is nothing to say of is None or empty.
Block = Markup | Table | None

NONE_SIGN = "–"
# Longer text than this gets a column wide enough to read, also on a phone.
_PROSE_FROM = 30
# A figure wider than this, in points of 1/72 inch, is unreadable in half of the page.
_WIDE_FROM_POINTS = 500
_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


def join(*parts: Markup) -> Markup:
    """Puts pieces one after the other."""
    return Markup("\n".join(part for part in parts if part))


def text(value: str) -> Markup:
    """Escapes text for element content and for quoted attributes."""
    return Markup(escape(value, quote=True))


def paragraph(content: str, *, kind: str = "") -> Markup:
    """Returns a paragraph of plain text."""
    return Markup(f"<p{_kind(kind)}>{text(content)}</p>")


def callout(content: str, *, kind: str) -> Markup:
    """Returns a sentence that must not be overlooked.

    Args:
        content: Plain text.
        kind: `warning` or `note`.
    """
    return Markup(f'<p class="callout {text(kind)}" role="note">{text(content)}</p>')


def script_json(document: Any) -> Markup:
    """Returns JSON that may stand inside a script element: no `<` is left that could end it."""
    written = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for character, replacement in escapes.items():
        written = written.replace(character, replacement)
    return Markup(written)


def inline_image(path: Path, description: str) -> Markup:
    """Returns a figure with the image's bytes in the page.

    A drawing goes in as an image and not as elements, since scripts inside an image do not run.

    Args:
        path: A `.png` or `.svg` file.
        description: What it shows, for those who do not see it.
    """
    content = path.read_bytes()
    data = base64.b64encode(content).decode("ascii")
    source = f"data:{_MEDIA_TYPES[path.suffix.lower()]};base64,{data}"
    kind = "plate wide" if _width_points(content) > _WIDE_FROM_POINTS else "plate"
    return Markup(
        f'<figure class="{kind}"><div><img src="{source}" alt="{text(description)}" loading="lazy"></div>'
        f"<figcaption>{text(description)}</figcaption></figure>"
    )


def _width_points(content: bytes) -> float:
    """Returns how wide a figure is, if it says so: a drawing in its first lines, a bitmap in its header."""
    if content.startswith(b"\x89PNG") and len(content) > 20:
        return int.from_bytes(content[16:20], "big") * 72 / DOTS_PER_INCH
    found = re.search(rb'<svg[^>]*\swidth="([\d.]+)pt"', content[:4_000])
    return float(found.group(1)) if found else 0.0


def number(value: float | int | None) -> str:
    """Writes a number for people: counts with separators, other figures with three decimals."""
    if value is None:
        return NONE_SIGN
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    magnitude = abs(value)
    if magnitude >= 1_000:
        return f"{value:,.0f}".replace(",", "\u202f")
    if magnitude >= 10:
        return f"{value:.1f}"
    if 0 < magnitude < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}"


def interval(ci95: tuple[float, float] | None) -> str:
    """Writes an interval for people, or nothing."""
    return f"{number(ci95[0])}–{number(ci95[1])}" if ci95 else ""


def table(shown: Table) -> Markup:
    """Returns a table that a click on a header sorts, within a frame that scrolls by itself."""
    has_text = [any(isinstance(row[i], str) for row in shown.rows) for i in range(len(shown.columns))]
    kinds = ["" if is_text else "num" for is_text in has_text]
    header = "".join(
        f'<th scope="col"{_kind(kind)}><button type="button">{text(title)}</button></th>'
        for title, kind in zip(shown.columns, kinds, strict=True)
    )
    body = "\n".join(
        f"<tr>{''.join(_cell(cell, first=i == 0) for i, cell in enumerate(row))}</tr>" for row in shown.rows
    )
    notes = "".join(f"<li>{text(note)}</li>" for note in shown.notes)
    framed = (
        f'<div class="frame" tabindex="0" role="region" aria-label="{text(shown.title)}"><table>'
        f"<thead><tr>{header}</tr></thead>\n<tbody>{body}</tbody></table></div>"
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
    )
    title = f"{text(shown.title)} <small>{len(shown.rows)}</small>" if shown.folded else text(shown.title)
    if shown.folded:
        return Markup(f"<details><summary>{title}</summary>{framed}</details>")
    return Markup(f"<h3>{title}</h3>\n{framed}")


def _cell(cell: Cell, *, first: bool) -> str:
    tag = 'th scope="row"' if first else "td"
    closing = tag.split()[0]
    if isinstance(cell, Rate):
        if cell.value is None:
            reason = text(cell.reason or "undefined")
            return f'<{tag} class="num none" title="{reason}" data-value="">{NONE_SIGN}</{closing}>'
        bounds = interval(cell.ci95)
        detail = f"<small>{text(bounds)}</small>" if bounds else ""
        return f'<{tag} class="num rate" data-value="{cell.value!r}">{number(cell.value)}{detail}</{closing}>'
    if isinstance(cell, str):
        kind = "prose" if len(cell) > _PROSE_FROM else ""
        return f"<{tag}{_kind(kind)}>{text(cell)}</{closing}>"
    value = "" if cell is None else repr(cell)
    return f'<{tag} class="num" data-value="{value}">{number(cell)}</{closing}>'


def _kind(kind: str) -> str:
    return f' class="{text(kind)}"' if kind else ""

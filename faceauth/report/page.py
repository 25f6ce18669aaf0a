"""The page itself: one file that needs no network, on paper and on a phone, by day and by night."""

from datetime import date
from importlib.resources import files

from faceauth import __version__
from faceauth.report.collect import Collected
from faceauth.report.map import plotly_source
from faceauth.report.markup import Markup, join, table, text
from faceauth.report.sections import Section
from faceauth.report.tables import Table
from faceauth.report.verdict_box import verdict_box

# The browser itself refuses whatever is not in the file; pictures may be saved, hence blob.
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


def render_page(collected: Collected, sections: list[Section], *, written_on: date) -> str:
    """Returns the page as HTML.

    Args:
        collected: What was found, for the verdict and for what is missing.
        sections: What to show.
        written_on: The date to put under the title.
    """
    places = ", ".join(dict.fromkeys(folder.resolve().name for folder in collected.folders))
    contents = "".join(
        f'<li><a href="#{section.anchor}">{text(section.title)}</a></li>' for section in sections
    )
    body = join(*(_section(section) for section in sections))
    has_map = any(clusters.points is not None for clusters in collected.clusters)
    has_tables = any(isinstance(block, Table) for section in sections for block in section.blocks)
    workbook = 'Tables are in <a href="report.xlsx">report.xlsx</a> too. ' if has_tables else ""
    drawing = f"<script>{plotly_source()}</script>" if has_map else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="faceauth {__version__}">
<title>{text(f"FaceAuth report: {places}")}</title>
<link rel="icon" href="data:,">
<style>{_asset("page.css")}</style>
</head>
<body>
<header>
<h1>FaceAuth report</h1>
<p>{text(places)} <span>{written_on.isoformat()}, faceauth {__version__}</span></p>
</header>
<nav aria-label="Contents"><ol><li><a href="#verdict">Verdict</a></li>{contents}</ol></nav>
<main>
<section id="verdict" aria-label="Verdict">
{verdict_box(collected)}
{_missing(collected)}
</section>
{body}
</main>
<footer><p>{workbook}This page asks nothing of the network.</p></footer>
{drawing}
<script>{_asset("page.js")}</script>
</body>
</html>
"""


def _section(section: Section) -> Markup:
    blocks = [table(block) if isinstance(block, Table) else block for block in section.blocks]
    return join(
        Markup(f'<section id="{section.anchor}"><h2>{text(section.title)}</h2>'),
        *blocks,
        Markup("</section>"),
    )


def _missing(collected: Collected) -> Markup:
    """Names in a line what was not found, and in another what could not be read."""
    lines = []
    if collected.not_found:
        lines.append(
            f'<p class="missing">Not found, and so left out: {text("; ".join(collected.not_found))}.</p>'
        )
    lines += [f'<p class="callout warning" role="note">{text(problem)}</p>' for problem in collected.problems]
    return Markup("\n".join(lines))


def _asset(name: str) -> str:
    return files("faceauth.report").joinpath("assets", name).read_text("utf-8")

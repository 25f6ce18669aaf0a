"""One colour and one marker for each source, the same in every figure.

Colours are told apart with every common kind of colour blindness (Okabe and Ito 2008, "Color universal
design"; then Paul Tol, "Colour schemes", SRON/EPS/TN/09-002, the muted scheme), and the marker's shape
says the class again: reals are round, fakes are triangles. Where sources outnumber colours, the next
round has other shapes.
"""

from dataclasses import dataclass

import numpy as np

from faceauth.labels import REAL

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#882255",
    "#117733",
    "#332288",
    "#999933",
    "#aa4499",
    "#7f6b5d",
)
# Shapes of each round through the colours, by matplotlib's names and by plotly's.
REAL_MARKERS = (("o", "circle"), ("8", "octagon"), ("h", "hexagon"))
FAKE_MARKERS = (("^", "triangle-up"), ("v", "triangle-down"), ("<", "triangle-left"))


@dataclass(frozen=True, slots=True)
class SourceStyle:
    """How one source is drawn.

    Attributes:
        colour: Such as `#0072b2`.
        marker: Shape by matplotlib's name.
        plotly_symbol: The same shape by plotly's name.
        is_real: Whether the source holds real faces.
    """

    colour: str
    marker: str
    plotly_symbol: str
    is_real: bool


def source_styles(names: np.ndarray, target: np.ndarray) -> dict[str, SourceStyle]:
    """Gives each source its style: reals first, each class in alphabetical order.

    Args:
        names: Source of each face, as `source_names` gives them; (n,) of str.
        target: 1 for real, 0 for fake; (n,) of int.
    """
    classes = {str(name): int(kind) == REAL for name, kind in zip(names, target, strict=True)}
    ordered = sorted(classes, key=lambda name: (not classes[name], name))
    styles = {}
    for i, name in enumerate(ordered):
        lap, colour = divmod(i, len(COLOURS))
        markers = REAL_MARKERS if classes[name] else FAKE_MARKERS
        marker, plotly_symbol = markers[lap % len(markers)]
        styles[name] = SourceStyle(COLOURS[colour], marker, plotly_symbol, classes[name])
    return styles

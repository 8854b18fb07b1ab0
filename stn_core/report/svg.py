"""The style of every figure of a report: SVG with text as text, in colours for all readers."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np

from stn_core.errors import needs_extra, one_line

with needs_extra("report"):
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

COLOURS = ("#1F83C4", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F")
"""Okabe and Ito's (2008), which colour-blind readers tell apart; a lighter blue, for dark pages."""

WIDTH = 5.0
"""Of a figure, in inches: on a phone's page its text can still be read."""

_DASHES = ("-", ":", "-.", (0, (4, 1, 1, 1, 1, 1)))
"""Of curves; when the colours are used up, the next dashes begin."""

LABEL = 36
"""Characters of a line of a label: with longer ones, no room is left for the chart beside it."""

_PIECE = re.compile(rf"[^,\s]{{1,{LABEL - 1}}}[,\s]*|[,\s]+")
"""What a line of a label may end with: a comma or a blank, or as much as fits."""

_ROW = 0.2
"""The height of a row of a legend, in inches."""

_INK = "#1a1b1c"
"""The colour of text and axes and of nothing else, so that a page can replace it by its own."""

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_PNG = re.compile(r"data:image/png;base64,([^\"]+)")
_FONT = "font-family:'DejaVu Sans';"
_LONG_NUMBER = re.compile(r"(\d\.\d\d)\d+")
"""Coordinates need no more than hundredths of a point."""

_NO_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Characters that are not allowed in XML, which the name of a class might have."""

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "image.interpolation": "none",
    "text.parse_math": False,
}


@contextlib.contextmanager
def drawing_style() -> Iterator[None]:
    """Within the block, figures are made and rendered in one style, whatever the user has set."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text stays text: the reader's fonts have the glyphs that matplotlib's lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams  # its stubs know each name, and no mapping of them
        parameters.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of a size in inches (of 72 pixels) with one pair of axes; no window, no backend."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def line_style(number: int) -> dict[str, Any]:
    """The colour and the dashes of the curve with a number, which the next 31 do not have."""
    dashes = _DASHES[number // len(COLOURS) % len(_DASHES)]
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": dashes}


def wrapped(label: str) -> str:
    """A label of a chart, such as the name of a variant, in lines of `LABEL` characters.

    Only a very long one is shortened in its middle.
    """
    lines = [""]
    for piece in _PIECE.findall(one_line(label, 4 * LABEL)):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > LABEL:
            lines.append("")
        lines[-1] += piece
    return "\n".join(map(str.rstrip, lines))


def most_lines(labels: Iterable[str]) -> int:
    """How many lines the longest of some wrapped labels has."""
    return 1 + max(label.count("\n") for label in labels)


def longest_line(labels: Iterable[str]) -> int:
    """How many characters the longest line of some wrapped labels has."""
    return max(len(line) for label in labels for line in label.split("\n"))


def legend_below(figure: Figure, axes: Axes, most_columns: int) -> None:
    """Put a legend below a figure, in as many columns as it has room for.

    Args:
        figure: high enough for a legend of `most_columns`; a higher one makes it grow.
        axes: what it explains; what has the same label is named once.
        most_columns: >= 1.
    """
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(map(wrapped, labels), handles, strict=True))
    canvas: Any = FigureCanvasAgg(figure)  # whose stubs leave the renderer untyped
    for columns in range(most_columns, 0, -1):
        legend = figure.legend(unique.values(), unique, loc="outside lower center", ncols=columns)
        box = legend.get_window_extent(canvas.get_renderer())
        if box.width <= figure.bbox.width or columns == 1:
            break
        legend.remove()
    rows = -(-len(unique) // most_columns)
    further = box.height / figure.dpi - _ROW * rows
    figure.set_figheight(figure.get_figheight() + max(further, 0.0))


def to_svg(figure: Figure, name: str) -> str:
    """A figure as SVG, the same for the same figure.

    Args:
        figure: made within `drawing_style`, and rendered within it.
        name: unique on the page, which makes the ids within unique.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(_NO_XML.sub(b"", buffer.getvalue()))
    root.set("font-family", "DejaVu Sans, sans-serif")
    for element in root.iter():
        _lighten(element)
    return ElementTree.tostring(root, encoding="unicode")


def _lighten(element: ElementTree.Element) -> None:
    """Remove what the figure does not need, which makes a page a third smaller.

    A page of three cells takes 426 KB, and 639 without this (2026-11-29); no library that is still
    maintained does it.
    """
    if element.tag == f"{{{_SVG}}}g":
        element.attrib.pop("id", None)
    if element.get("transform", "").startswith("rotate(-0 "):
        element.attrib.pop("transform")
    for name, value in element.items():
        if name != _HREF:
            element.set(name, _lighter_text(value))
    children: list[ElementTree.Element] = []
    for child in element:
        children += _without_bare_groups(child)
    element[:] = [child for child in children if child.tag != f"{{{_SVG}}}metadata"]
    for part in (element, *element):
        if not (part.text or "").strip():
            part.text = None
        part.tail = None


def _lighter_text(value: str) -> str:
    shorter = _LONG_NUMBER.sub(r"\1", value.strip())
    return re.sub(r"\s*([;:\n])\s*", r"\1", shorter).replace(_FONT, "")


def _without_bare_groups(element: ElementTree.Element) -> list[ElementTree.Element]:
    """The element, or its content if it is a group without attributes."""
    if element.tag != f"{{{_SVG}}}g" or set(element.keys()) - {"id"}:
        return [element]
    return [inner for child in element for inner in _without_bare_groups(child)]


def for_page(svg: str, title: str) -> str:
    """An SVG inside a page: as wide as the page allows, in the colour of the page's text.

    Args:
        svg: from `to_svg`.
        title: a description for readers who cannot see it, HTML-safe.
    """
    width, height = (
        float(value) for value in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2]
    )
    opening = (
        f'<svg role="img" aria-label="{title}" viewBox="0 0 {width:g} {height:g}"'
        f' style="max-width:{width / 0.75:.0f}px"'
    )
    body = re.sub(r"^<svg[^>]*", lambda _: opening, svg, count=1)
    return _PNG.sub(_as_webp, body.replace(_INK, "currentColor"))


def _as_webp(match: re.Match[str]) -> str:
    """An image in fewer bytes: coloured photographs in a fifth, all others without loss."""
    image = Image.open(io.BytesIO(base64.b64decode(match[1]))).convert("RGBA")
    pixels = np.asarray(image)
    is_grey = bool((pixels[..., :1] == pixels[..., :3]).all())
    is_photograph = not is_grey and image.getcolors(256) is None
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=not is_photograph, quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def for_file(svg: str) -> str:
    """An SVG as a file of its own, on white."""
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + svg.replace("<svg ", '<svg style="background: white" ', 1)

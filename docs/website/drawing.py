"""Elements of SVG as text: what the site's pictures are written with."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

INK, PALE, BLUE, ORANGE = "#222222", "#e8edf2", "#1f6fb2", "#c4560c"


def element(name: str, content: str = "", **attributes: object) -> str:
    """One element; an attribute's underscore stands for a dash."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(str(value))}"
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>"


def text(x: float, y: float, words: str, size: int = 13, **attributes: object) -> str:
    """Words with their baseline at a place."""
    settings = {"fill": INK, "font_size": size, **attributes}
    return element("text", escape(words), x=x, y=y, **settings)


def box(x: float, y: float, width: float, height: float, **attributes: object) -> str:
    """A rectangle by its upper left corner."""
    settings = {"fill": "white", "stroke": INK, **attributes}
    return element("rect", x=x, y=y, width=width, height=height, **settings)


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str = INK) -> str:
    """A line with a head at its second end."""
    return element(
        "line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=1.5, marker_end="url(#head)"
    )


def picture(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """A whole file, white behind so that it can be read on a dark page."""
    head = element("path", d="M0 0L8 4L0 8z", fill=INK)
    marker = element(
        "marker",
        head,
        id="head",
        markerWidth=8,
        markerHeight=8,
        refX=8,
        refY=4,
        markerUnits="userSpaceOnUse",
        orient="auto",
    )
    inside = [element("title", escape(title)), element("defs", marker)]
    inside += [box(0, 0, width, height, stroke="none"), *parts]
    return element(
        "svg",
        "\n".join(inside),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        font_family="sans-serif",
    )

"""Rows of text as a table that fits its width, for a terminal or as Markdown; numbers as text."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stn_core.errors import needs_extra, printable

if TYPE_CHECKING:
    from stn_core.gate.intervals import Difference

WIDTH = 120
"""Of a table in a log or a file, where the width of the reader's window is unknown."""

WORDS = frozenset(
    (
        "budget",
        "dataset",
        "model",
        "device",
        "best of dataset",
        "verdict",
        "finding",
        "caution",
        "other model",
    )
)
"""The columns of words, which are aligned left; numbers are aligned right."""

_MARKUP = re.compile(r"[*`\[\]\\]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
"""What Markdown takes for markup; an underscore within a word is none."""

_GAP = 2
"""Spaces between two columns."""

_PADDING = 2
"""What tabulate adds to the width of a heading."""

_LARGE = 1000.0
"""Larger differences are shown without digits, as ">1000"."""


def aligned_table(rows: Sequence[Mapping[str, str]], style: str) -> str:
    """Rows as a table, words aligned left and numbers aligned right; "" without rows.

    Args:
        rows: texts by column; each row has the same columns.
        style: a format of tabulate's; with "simple", a long heading takes several lines.
    """
    if not rows:
        return ""
    with needs_extra("suite"):  # only where a table is made
        from tabulate import tabulate

    names = list(rows[0])
    rows = [{name: _safe(text, style) for name, text in row.items()} for row in rows]
    headings = [_heading(rows, name) for name in names] if style == "simple" else names
    text: str = tabulate(
        [list(row.values()) for row in rows],
        headers=headings,
        tablefmt=style,
        colalign=["left" if name in WORDS else "right" for name in names],
        disable_numparse=True,
    )
    return text


def fitting_columns(
    rows: Sequence[Mapping[str, str]], width: int, droppable: Sequence[str]
) -> tuple[list[dict[str, str]], list[str]]:
    """The rows with as many of their columns as fit a width.

    Args:
        rows: texts by column; each row has the same columns.
        width: in characters.
        droppable: the columns that may be left out, the first one first.

    Returns:
        The rows, and the names of the columns that were left out.
    """
    widths = {name: _width(rows, name) for name in (rows[0] if rows else ())}
    left_out: list[str] = []
    for name in droppable:
        if sum(widths.values()) + _GAP * (len(widths) - 1) <= width:
            break
        if widths.pop(name, None) is not None:
            left_out.append(name)
    return [{name: row[name] for name in widths} for row in rows], left_out


def counted(count: int, noun: str) -> str:
    """How many there are of something: "1 run", "2 runs"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def difference_text(difference: Difference | None, digits: int, unit: str = "") -> str:
    """A difference with its interval: "+1.20 points [+0.80, +1.60]"; "" if there is none.

    Args:
        difference: its interval is nan if no spread is known; an end of it may be infinite.
        digits: after the decimal point.
        unit: written after the estimate.
    """
    if difference is None or math.isnan(difference.estimate):
        return ""
    estimate, low, high = (
        f">{_LARGE:.0f}" if _LARGE < value < math.inf else f"{value:+.{digits}f}"
        for value in (difference.estimate, difference.low, difference.high)
    )
    interval = "n/a" if math.isnan(difference.low) else f"{low}, {high}"
    return " ".join(filter(None, (estimate, unit, f"[{interval}]")))


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Names in one line, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def table_that_fits(
    rows: Sequence[Mapping[str, str]], width: int, droppable: Sequence[str], file: str
) -> str:
    """A table for a terminal, with a line that names the columns that only a file has.

    Args:
        rows, width, droppable: as for `fitting_columns`.
        file: that has all of them.
    """
    kept, left_out = fitting_columns(rows, width, droppable)
    table = aligned_table(kept, "simple")
    also = textwrap.fill(f"(also in {file}: {'; '.join(left_out)})", max(width, 40))
    return f"{table}\n{also}" if left_out else table


def markdown_text(text: str) -> str:
    """A text that Markdown shows as it is, as in a comment on a pull request."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKUP.sub(r"\\\g<0>", text)


def _safe(text: str, style: str) -> str:
    """A text that cannot forge a line, a column or markup."""
    return markdown_text(text).replace("|", "\\|") if style == "github" else printable(text)


def _heading(rows: Sequence[Mapping[str, str]], name: str) -> str:
    """The name of a column, wrapped to the width of its values."""
    room = max(len(row[name]) for row in rows) - _PADDING
    return textwrap.fill(name, max(room, *map(len, name.split())), break_on_hyphens=False)


def _width(rows: Sequence[Mapping[str, str]], name: str) -> int:
    """The width of a column; tabulate pads headings."""
    heading = max(map(len, _heading(rows, name).splitlines()))
    return max(*(len(row[name]) for row in rows), heading + _PADDING)

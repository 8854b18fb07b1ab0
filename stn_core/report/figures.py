"""The figures of a page, each of which is also written to a file."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

from stn_core.atomic_files import write_output
from stn_core.errors import needs_extra
from stn_core.report.svg import for_file, for_page, to_svg
from stn_core.session.file_names import safe_stem

with needs_extra("report"):
    from matplotlib.figure import Figure


class FigureFolder:
    """Draws figures and keeps each one as a file.

    Args:
        folder: where they go; None keeps none.

    Attributes:
        failures: a message for every figure that could not be drawn.
        files: those that were written, in their order.
    """

    def __init__(self, folder: Path | None) -> None:
        self.failures: list[str] = []
        self.files: list[Path] = []
        self._folder = folder

    def __call__(self, name: str, title: str, draw: Callable[[], Figure]) -> str:
        """A figure as the SVG element of a page; "" if its data cannot be drawn.

        Args:
            name: of the file, without its ending; unique, any text.
            title: a description for readers who cannot see the figure.
            draw: makes it.

        Raises:
            UsageError: its file cannot be written.
        """
        try:
            svg = to_svg(draw(), name)
        except Exception as error:  # odd data must not cost the rest of the page
            self.failures.append(f"{name} is not drawn: {type(error).__name__}: {error}")
            return ""
        if self._folder:
            self.files.append(self._folder / f"{safe_stem(name)}.svg")
            write_output(self.files[-1], for_file(svg))
        return for_page(svg, html.escape(title, quote=True))

"""The page of a comparison: two sessions, or two sets of baselines, cell against cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError, needs_extra
from stn_core.report.cell_section import Figure
from stn_core.report.charts import difference_chart
from stn_core.report.compare import CellComparison, environments_differ
from stn_core.report.compare_table import compare_lines, compare_rows
from stn_core.report.figures import FigureFolder
from stn_core.report.page import render
from stn_core.report.sources import Source
from stn_core.report.svg import drawing_style

with needs_extra("report"):
    from markupsafe import Markup


def write_comparison(
    a: Source, b: Source, comparisons: Sequence[CellComparison], page: Path, figures: Path | None
) -> None:
    """Write the page of a comparison.

    Args:
        a, b: the sides.
        comparisons: of their cells.
        page: the file to write.
        figures: the folder where the figure goes as a file too; None for none.

    Raises:
        UsageError: they cannot be written.
    """
    differences = [
        (_called(comparison, comparisons), comparison.accuracy_points)
        for comparison in comparisons
        if comparison.accuracy_points and math.isfinite(comparison.accuracy_points.low)
    ]
    shown = []
    try:
        draw = FigureFolder(figures)
        if differences:
            with drawing_style():
                chart = partial(difference_chart, differences)
                svg = draw("comparison", "Differences of accuracy", chart)
            shown.append(Figure("Differences of accuracy, with their intervals", "", Markup(svg)))
        content = render(
            "compare.html",
            title=f"{a.path} against {b.path}",
            sides=side_lines(a, b),
            rows=comparison_page_rows(comparisons),
            lines=compare_lines(comparisons),
            figures=shown,
            complaints=[*a.complaints, *b.complaints, *draw.failures],
        )
        page.parent.mkdir(parents=True, exist_ok=True)
        write_at_once(page, content)
    except OSError as error:
        raise UsageError(f"cannot write {page}: {error.strerror}") from None


def _called(comparison: CellComparison, comparisons: Sequence[CellComparison]) -> str:
    """Dataset and model, and budget and device where there are several."""
    several = [
        name
        for name in ("budget", "device")
        if len({getattr(other, name) for other in comparisons}) > 1
    ]
    return " ".join(getattr(comparison, name) for name in (*several, "dataset", "model"))


def side_lines(a: Source, b: Source) -> list[str]:
    """What the two sides are, and in what environments they differ."""
    differ = environments_differ(a, b)
    lines = [f"A: {a.line}", f"B: {b.line}"]
    return [*lines, f"they differ in {differ}"] if differ else lines


def comparison_page_rows(comparisons: Sequence[CellComparison]) -> list[dict[str, Any]]:
    """The rows of the page's table."""
    return [
        {"anchor": "", "verdict": comparison.verdict.name.lower(), "cells": cells}
        for comparison, cells in zip(comparisons, compare_rows(comparisons), strict=True)
    ]

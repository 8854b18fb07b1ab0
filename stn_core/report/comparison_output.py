"""A comparison of two sides as a table, a few lines of text, numbers and a page."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stn_core.atomic_files import write_output
from stn_core.errors import needs_extra, printable
from stn_core.gate.intervals import Difference
from stn_core.gate.judgement import accuracy_text
from stn_core.report.cell_section import Figure
from stn_core.report.charts import difference_chart
from stn_core.report.comparison import (
    CONFIDENCE,
    CellComparison,
    Finding,
    environments_differ,
)
from stn_core.report.figures import FigureFolder
from stn_core.report.page import render
from stn_core.report.sources import CellRuns, Source, several_places
from stn_core.report.svg import drawing_style
from stn_core.report.text_table import (
    WIDTH,
    counted,
    difference_text,
    first_few,
    table_that_fits,
)

with needs_extra("report"):
    import pandas as pd
    from markupsafe import Markup

_SURE = f"{100 * CONFIDENCE:.0f} %"
_LOSS = "test loss, B - A, %"
_DROPPED_FIRST = ("budget", _LOSS)
"""The columns that a narrow terminal does without."""


def comparison_frame(comparisons: Sequence[CellComparison]) -> pd.DataFrame:
    """The comparisons as numbers, one row per cell, in their order.

    Differences are B's less A's: accuracies in points, test losses in per cent of A's. What does
    not exist is nan.
    """
    return pd.DataFrame([_row(comparison) for comparison in comparisons])


def _row(comparison: CellComparison) -> dict[str, Any]:
    return {
        "budget": comparison.budget,
        "dataset": comparison.dataset,
        "model": comparison.model,
        "device": comparison.device,
        **_side("a", comparison.a),
        **_side("b", comparison.b),
        **_ends("points", comparison.accuracy_points),
        **_ends("loss_percent", comparison.loss_percent),
        "finding": str(comparison.finding),
        "caution": ", ".join(comparison.cautions),
    }


def _side(side: str, cell: CellRuns | None) -> dict[str, float]:
    runs = cell.runs if cell else ()
    accuracies = [100 * run.accuracy for run in runs]
    return {
        f"{side}_percent": _mean(accuracies),
        f"{side}_sd": float(np.std(accuracies, ddof=1)) if len(runs) > 1 else math.nan,
        f"{side}_runs": len(runs),
        f"{side}_test_loss": _mean([run.cross_entropy for run in runs]),
        f"{side}_train_seconds": _mean([run.train_seconds for run in runs]),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _ends(name: str, difference: Difference | None) -> dict[str, float]:
    difference = difference or Difference(math.nan, math.nan, math.nan)
    return {
        f"difference_{name}": difference.estimate,
        f"low_{name}": difference.low,
        f"high_{name}": difference.high,
    }


def comparison_table(comparisons: Sequence[CellComparison], width: int = WIDTH) -> str:
    """The table for a terminal, with the columns that fit its width."""
    rows = comparison_rows(comparisons)
    return table_that_fits(rows, width, _DROPPED_FIRST, "comparison.html")


def comparison_rows(comparisons: Sequence[CellComparison]) -> list[dict[str, str]]:
    """The cells of the table, texts by column; the device is a column if there are several."""
    names_device = "device" in several_places(comparisons)
    return [
        {
            "budget": comparison.budget,
            "dataset": comparison.dataset,
            "model": comparison.model,
            **({"device": comparison.device} if names_device else {}),
            "finding": str(comparison.finding),
            "A, % (n)": accuracy_text(comparison.a.accuracies) if comparison.a else "",
            "B, % (n)": accuracy_text(comparison.b.accuracies) if comparison.b else "",
            "B - A, points": difference_text(comparison.accuracy_points, 2),
            _LOSS: difference_text(comparison.loss_percent, 1),
            "caution": ", ".join(comparison.cautions),
        }
        for comparison in comparisons
    ]


def comparison_answer(comparisons: Sequence[CellComparison]) -> str:
    """The comparison in one sentence: how many cells of each finding, which are worse in B."""
    counts = collections.Counter(comparison.finding for comparison in comparisons)
    said = ", ".join(f"{counts[finding]} {finding}" for finding in Finding if counts[finding])
    worse = [
        f"{one.model} on {one.dataset} ({one.accuracy_points.estimate:+.2f} points)"
        for one in comparisons
        if one.finding is Finding.A_BETTER and one.accuracy_points
    ]
    named = f"; worse in B: {first_few(worse)}" if worse else ""
    return printable(f"{counted(len(comparisons), 'cell')}: {said}{named}.")


def comparison_lines(comparisons: Sequence[CellComparison]) -> list[str]:
    """What the test loss adds to the table, and what the intervals mean."""
    lines = _loss_lines(comparisons)
    intervals = sum(_has_interval(comparison) for comparison in comparisons)
    if intervals:
        lines.append(
            f"[{_SURE}]: in {_SURE} of such comparisons every interval of a column, here"
            f" {intervals}, contains its true difference (Welch, Satterthwaite, Bonferroni);"
            " the finding is based on accuracy"
        )
    return lines


def _loss_lines(comparisons: Sequence[CellComparison]) -> list[str]:
    """Cells whose test loss differs although no difference of accuracy was found."""
    lines = []
    for sign, loss, accuracy, agrees in (
        (-1, "lower", "higher", Finding.B_BETTER),
        (1, "higher", "lower", Finding.A_BETTER),
    ):
        keys = [
            comparison.key
            for comparison in comparisons
            if comparison.loss_percent
            and comparison.loss_percent.sign == sign
            and comparison.finding is not agrees
        ]
        if keys:
            lines.append(
                f"the test loss of B is {loss}, but its accuracy was not found to be {accuracy}:"
                f" {printable(first_few(keys))}"
            )
    return lines


def _has_interval(comparison: CellComparison) -> bool:
    points = comparison.accuracy_points
    return points is not None and not math.isnan(points.low)


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
    differences = _differences(comparisons)
    shown = []
    draw = FigureFolder(figures)
    if differences:
        with drawing_style():
            chart = partial(difference_chart, differences)
            svg = draw("comparison", "Differences in accuracy", chart)
        shown.append(Figure("Differences in accuracy, with their intervals", "", Markup(svg)))
    content = render(
        "comparison.html",
        title=f"{a.path} against {b.path}",
        answer=comparison_answer(comparisons),
        sides=side_lines(a, b),
        rows=comparison_page_rows(comparisons),
        lines=comparison_lines(comparisons),
        figures=shown,
        complaints=[*a.complaints, *b.complaints, *draw.failures],
    )
    write_output(page, content)


def _differences(comparisons: Sequence[CellComparison]) -> list[tuple[str, Difference]]:
    """What the chart shows: by dataset and model, and budget and device if there are several."""
    names = (*several_places(comparisons), "dataset", "model")
    return [
        (printable(" ".join(getattr(one, name) for name in names)), one.accuracy_points)
        for one in comparisons
        if one.accuracy_points and math.isfinite(one.accuracy_points.low)
    ]


def side_lines(a: Source, b: Source) -> list[str]:
    """What the two sides are, and in what environments they differ."""
    differ = environments_differ(a, b)
    lines = [f"A: {a.line}", f"B: {b.line}", *([f"they differ in {differ}"] if differ else [])]
    return [printable(line) for line in lines]


def comparison_page_rows(comparisons: Sequence[CellComparison]) -> list[dict[str, Any]]:
    """The rows of the page's table."""
    return [
        {"anchor": "", "verdict": comparison.finding.name.lower(), "cells": cells}
        for comparison, cells in zip(comparisons, comparison_rows(comparisons), strict=True)
    ]

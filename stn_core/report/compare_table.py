"""A comparison of two sides, as text and as numbers."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stn_core.errors import needs_extra
from stn_core.gate.intervals import Difference
from stn_core.gate.verdict import accuracy_text
from stn_core.report.compare import CONFIDENCE, CellComparison, Finding
from stn_core.report.sources import CellRuns
from stn_core.report.table import aligned_table

with needs_extra("report"):
    import pandas as pd

_SURE = f"{100 * CONFIDENCE:.0f} %"
_LARGE = 1000.0
"""A difference of the test loss in per cent that is not worth its digits."""


def compare_frame(comparisons: Sequence[CellComparison]) -> pd.DataFrame:
    """The comparisons as numbers, a row a cell, in their order.

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
        "verdict": str(comparison.verdict),
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


def compare_table(comparisons: Sequence[CellComparison], style: str = "simple") -> str:
    """The table as text.

    Args:
        comparisons: a cell each.
        style: a format of tabulate's: "simple" for a terminal, "github" for Markdown.
    """
    return aligned_table(compare_rows(comparisons), style)


def compare_rows(comparisons: Sequence[CellComparison]) -> list[dict[str, str]]:
    """The cells of the table, texts by column; the device is a column where there are several."""
    several = len({comparison.device for comparison in comparisons}) > 1
    return [
        {
            "budget": comparison.budget,
            "dataset": comparison.dataset,
            "model": comparison.model,
            **({"device": comparison.device} if several else {}),
            "A % (n)": accuracy_text(comparison.a.accuracies) if comparison.a else "",
            "B % (n)": accuracy_text(comparison.b.accuracies) if comparison.b else "",
            f"B - A, points [{_SURE}]": _interval(comparison.accuracy_points, 2),
            f"test loss, % [{_SURE}]": _interval(comparison.loss_percent, 1),
            "verdict": str(comparison.verdict),
            "caution": ", ".join(comparison.cautions),
        }
        for comparison in comparisons
    ]


def _interval(difference: Difference | None, digits: int) -> str:
    if difference is None:
        return ""
    low, high = _number(difference.low, digits), _number(difference.high, digits)
    ends = "n/a" if math.isnan(difference.low) else f"{low}, {high}"
    return f"{_number(difference.estimate, digits)} [{ends}]"


def _number(value: float, digits: int) -> str:
    return f">{_LARGE:.0f}" if value > _LARGE else f"{value:+.{digits}f}"


def compare_lines(comparisons: Sequence[CellComparison]) -> list[str]:
    """The comparison in a few lines: verdicts, what the test loss adds, and what an interval is."""
    counts = collections.Counter(comparison.verdict for comparison in comparisons)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Finding if counts[verdict])
    lines = [f"{len(comparisons)} cells: {said}", *_loss_lines(comparisons)]
    intervals = sum(_has_interval(comparison) for comparison in comparisons)
    if intervals:
        lines.append(
            f"[{_SURE}]: in {_SURE} of such comparisons every interval of a column, here"
            f" {intervals}, holds its true difference (Welch, Satterthwaite, Bonferroni);"
            " the verdict is that of the accuracy"
        )
    return lines


def _loss_lines(comparisons: Sequence[CellComparison]) -> list[str]:
    """Where the test loss says what the accuracy does not."""
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
            and comparison.verdict is not agrees
        ]
        if keys:
            rest = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            lines.append(
                f"the test loss of B is {loss}, its accuracy was not found {accuracy}:"
                f" {', '.join(keys[:3])}{rest}"
            )
    return lines


def _has_interval(comparison: CellComparison) -> bool:
    points = comparison.accuracy_points
    return points is not None and not math.isnan(points.low)

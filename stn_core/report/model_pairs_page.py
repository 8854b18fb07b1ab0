"""The page of models against each other: for each dataset every pair in a matrix, every seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from stn_core.atomic_files import write_output
from stn_core.errors import needs_extra, printable
from stn_core.report.cell_section import Figure
from stn_core.report.charts import Accuracies, accuracy_chart
from stn_core.report.figures import FigureFolder
from stn_core.report.model_pairs import ModelPair, PairFinding, pairs_answer, pairs_page_rows
from stn_core.report.page import render
from stn_core.report.sources import CellRuns, Source
from stn_core.report.svg import (
    COLOURS,
    drawing_style,
    longest_line,
    most_lines,
    new_figure,
    wrapped,
)
from stn_core.session.cells import Place
from stn_core.session.file_names import file_stem

with needs_extra("report"):
    from markupsafe import Markup
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure as Drawing

MOST_NUMBERED_MODELS = 12
"""A matrix of more models has symbols alone."""

_MIRRORED = {
    PairFinding.BETTER: PairFinding.WORSE,
    PairFinding.WORSE: PairFinding.BETTER,
}
_SYMBOLS = {
    PairFinding.BETTER: "↑",
    PairFinding.WORSE: "↓",
    PairFinding.EQUIVALENT: "≈",
    PairFinding.NOT_DISTINGUISHABLE: "○",
}
_FILLS = {
    PairFinding.BETTER: to_rgba(COLOURS[2], 0.4),
    PairFinding.WORSE: to_rgba(COLOURS[1], 0.4),
    PairFinding.EQUIVALENT: to_rgba(COLOURS[5], 0.3),
    PairFinding.NOT_DISTINGUISHABLE: to_rgba(COLOURS[7], 0.0),
}
_LEGEND = (
    "The model of the row against that of the column: ↑ better, ↓ worse (the interval excludes 0),"
    " ≈ equivalent, ○ not distinguishable."
)


def write_pairs_page(
    pairs: Sequence[ModelPair],
    source: Source,
    page: Path,
    figures: Path | None,
    complaints: Sequence[str] = (),
) -> None:
    """Write the page.

    Args:
        pairs: of `compare_models`, in its order.
        source: where their values are from.
        page: the file to write.
        figures: the folder where each figure goes as a file too; None for none.
        complaints: what the page lacks.

    Raises:
        UsageError: they cannot be written.
    """
    draw = FigureFolder(figures)
    with drawing_style():
        shown = [
            figure
            for place, of_place in itertools.groupby(pairs, _place)
            for figure in _figures(place, list(of_place), draw)
        ]
    content = render(
        "models.html",
        title=f"models of {source.path}",
        answer=pairs_answer(pairs),
        source=source.line,
        rows=pairs_page_rows(pairs),
        figures=shown,
        complaints=[*complaints, *draw.failures],
    )
    write_output(page, content)


def _place(pair: ModelPair) -> tuple[str, str, str]:
    return pair.first.budget, pair.first.dataset, pair.first.device


def _figures(
    place: tuple[str, str, str], pairs: Sequence[ModelPair], draw: FigureFolder
) -> Iterable[Figure]:
    budget, dataset, device = place
    name = f"{Place(budget, dataset)} ({device})"
    stem = file_stem(*place)
    heading = f"Models against each other, {name}"
    text = _LEGEND
    models = list(_cells(pairs).values())
    if len(models) <= MOST_NUMBERED_MODELS:
        text += " Numbers: the difference of the mean accuracies in points."
    svg = draw(f"pairs-{stem}", heading, partial(matrix_chart, pairs))
    yield Figure(heading, text, Markup(svg))
    heading = f"Accuracy by model, {name}"
    rows = [Accuracies(printable(cell.model), {"": cell.accuracies}) for cell in models]
    svg = draw(f"seeds-{stem}", heading, partial(accuracy_chart, rows, "test"))
    yield Figure(heading, "", Markup(svg))


def _cells(pairs: Iterable[ModelPair]) -> dict[str, CellRuns]:
    """The cells that pairs consist of, by model, in the order of the pairs: the best one first."""
    return {cell.model: cell for pair in pairs for cell in (pair.first, pair.second)}


def matrix_chart(pairs: Sequence[ModelPair]) -> Drawing:
    """What is found of each model (row) against each other one (column).

    Args:
        pairs: all of one dataset, the better model of a pair first.
    """
    models = list(_cells(pairs))
    size = len(models)
    is_numbered = size <= MOST_NUMBERED_MODELS
    names = [wrapped(printable(model)) for model in models]
    cell = max(0.4 if is_numbered else 0.2, 0.14 * most_lines(names))
    side = 1.4 + 0.06 * max(longest_line(names) - 20, 0) + cell * size
    figure, axes = new_figure(side, side)
    colours = np.zeros((size, size, 4))
    for pair in pairs:
        row, column = models.index(pair.first.model), models.index(pair.second.model)
        for place, finding, points in (
            ((row, column), pair.finding, pair.points.estimate),
            ((column, row), _MIRRORED.get(pair.finding, pair.finding), 0.0 - pair.points.estimate),
        ):
            colours[place] = _FILLS[finding]
            text = f"{_SYMBOLS[finding]}\n{points:+.2f}" if is_numbered else _SYMBOLS[finding]
            axes.text(*place[::-1], text, ha="center", va="center", fontsize=7)
    axes.imshow(colours)
    axes.set_xticks(range(size), names, rotation=90, fontsize=7)
    axes.set_yticks(range(size), names, fontsize=7)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", alpha=0.2)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    return figure

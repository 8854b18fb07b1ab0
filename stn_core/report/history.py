"""Each cell over the commits of several sessions, compared with its stored baseline.

Small losses from one commit to the next are too small to see; compared with the baseline, they add
up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stn_core.atomic_files import write_output
from stn_core.errors import needs_extra, printable
from stn_core.gate.intervals import Difference, difference_of_means
from stn_core.gate.judgement import accuracy_text
from stn_core.gate.statistics import sampling_deviation
from stn_core.report.cell_section import Figure as Drawing
from stn_core.report.charts import bounded_interval
from stn_core.report.figures import FigureFolder
from stn_core.report.page import render
from stn_core.report.sources import CellRuns, Source, several_places
from stn_core.report.svg import COLOURS, WIDTH, drawing_style, longest_line, new_figure, wrapped
from stn_core.report.text_table import aligned_table, counted, difference_text, first_few
from stn_core.session.cells import split_key

with needs_extra("report"):
    from markupsafe import Markup
    from matplotlib.figure import Figure

LEVEL = 0.05


@dataclass(frozen=True)
class CellHistory:
    """One cell on one type of device.

    Args:
        key, device: of the cell.
        sessions: names (commits) of the sessions that have the cell, in their order.
        accuracies: in [0, 1], one list per session.
        baseline: stored ones; empty without a baseline.
        test_images: how many they were measured on.
    """

    key: str
    device: str
    sessions: tuple[str, ...]
    accuracies: tuple[list[float], ...]
    baseline: list[float]
    test_images: int

    @property
    def budget(self) -> str:
        """The budget of the cell."""
        return split_key(self.key).budget

    @property
    def drift(self) -> Difference | None:
        """The last session less the baseline in points, with its 95 % interval."""
        if not self.baseline:
            return None
        last = self.accuracies[-1]
        floors = [
            sampling_deviation(float(np.mean(values)), self.test_images)
            for values in (self.baseline, last)
        ]
        change = difference_of_means(self.baseline, last, (floors[0], floors[1]), LEVEL)
        return change.mapped(lambda share: 100 * share)


def histories(
    sessions: Sequence[Source], baselines: Source | None
) -> tuple[list[CellHistory], list[str]]:
    """Every cell of the sessions, sorted, in the order of the sessions.

    Args:
        sessions: as the user gave them, the oldest first.
        baselines: the stored ones, None without any.

    Returns:
        The cells, and messages: for every baseline that was measured on other data or with another
        recipe than its cell's last session, and is left out; and for every cell of which sessions
        differ in data or recipe.
    """
    stored = {(cell.key, cell.device): cell for cell in baselines.cells} if baselines else {}
    found: dict[tuple[str, str], list[tuple[str, CellRuns]]] = {}
    for source in sessions:
        for cell in source.cells:
            name = ", ".join(source.commits) or source.path.name
            found.setdefault((cell.key, cell.device), []).append((name, cell))
    cells = []
    messages = []
    for (key, device), runs in sorted(found.items()):
        last, baseline = runs[-1][1], stored.get((key, device))
        if baseline and (other := _differing(baseline, last)):
            messages.append(f"{key}: its baseline was measured {other}, left out")
            baseline = None
        changes = [_differing(cell, last) for _, cell in runs]
        messages += [
            f"{key}: {name} was measured {other} than the last session"
            for (name, _), other in zip(runs, changes, strict=True)
            if other
        ]
        cells.append(
            CellHistory(
                key=key,
                device=device,
                sessions=tuple(name for name, _ in runs),
                accuracies=tuple(cell.accuracies for _, cell in runs),
                baseline=baseline.accuracies if baseline else [],
                test_images=last.test_images,
            )
        )
    return cells, messages


def _differing(cell: CellRuns, last: CellRuns) -> str:
    """How a cell was measured otherwise than in the last session, "" if it was not."""
    if cell.data_hash != last.data_hash:
        return "on other data"
    return "with another recipe" if cell.recipe_hash != last.recipe_hash else ""


def history_answer(cells: Sequence[CellHistory]) -> str:
    """What has drifted, in one sentence."""
    if not any(cell.baseline for cell in cells):
        return "No cell has a baseline to compare with."
    drifted: dict[int, list[str]] = {-1: [], 1: []}
    for cell in cells:
        if cell.drift and cell.drift.sign:
            drifted[cell.drift.sign].append(cell.key)
    parts = [
        f"{counted(len(keys), 'cell')} {way} than the baseline ({first_few(keys)})"
        for keys, way in ((drifted[-1], "lower"), (drifted[1], "higher"))
        if keys
    ]
    if not parts:
        return "No cell differs from its baseline by more than chance explains."
    return "; ".join(parts) + "."


def history_rows(cells: Sequence[CellHistory]) -> list[dict[str, str]]:
    """The table, one row per cell; budget and device are columns if there are several."""
    several = several_places(cells)
    return [
        {
            **{name: getattr(cell, name) for name in several},
            "dataset": split_key(cell.key).dataset,
            "model": split_key(cell.key).model,
            "sessions": str(len(cell.sessions)),
            "baseline, % (n)": accuracy_text(cell.baseline),
            "first, % (n)": accuracy_text(cell.accuracies[0]),
            "last, % (n)": accuracy_text(cell.accuracies[-1]),
            "change from baseline, points": difference_text(cell.drift, 2),
        }
        for cell in cells
    ]


def history_text(cells: Sequence[CellHistory]) -> str:
    """The table for a terminal."""
    return aligned_table(history_rows(cells), "simple")


def history_chart(cell: CellHistory) -> Figure:
    """Each session's mean with its 95 % interval, over a band for the baseline's."""
    names = [wrapped(printable(name)) for name in cell.sessions]
    figure, axes = new_figure(WIDTH, 2.15 + 0.035 * longest_line(names))
    if cell.baseline:
        mean, low, high = bounded_interval(100 * np.array(cell.baseline))
        if not np.isnan(low):  # as of a single value
            axes.axhspan(low, high, color=COLOURS[7], alpha=0.25, linewidth=0)
        axes.axhline(mean, color=COLOURS[7], linewidth=1, label="baseline")
        axes.legend(loc="best", frameon=False)
    places = np.arange(len(cell.sessions))
    intervals = [bounded_interval(100 * np.array(values)) for values in cell.accuracies]
    means, lows, highs = np.array(intervals).T
    ends = np.nan_to_num([means - lows, highs - means])  # 0 for a single value
    axes.errorbar(places, means, yerr=ends, marker="o", capsize=3, color=COLOURS[0])
    axes.set_xticks(places, names, rotation=30, ha="right")
    axes.set_ylabel("test accuracy, %")
    return figure


def write_history(
    cells: Sequence[CellHistory],
    lines: Sequence[str],
    complaints: Sequence[str],
    page: Path,
    figures: Path | None,
) -> None:
    """Write the page.

    Args:
        cells: one or more.
        lines: where the sessions and the baseline come from.
        complaints: what is left out, or is doubtful.
        page: the file to write.
        figures: the folder where each figure goes as a file too; None for none.

    Raises:
        UsageError: they cannot be written.
    """
    shown = []
    draw = FigureFolder(figures)
    with drawing_style():
        for cell in cells:
            name = f"{cell.key} ({cell.device})"
            svg = draw(f"history-{name}", f"{name} over commits", partial(history_chart, cell))
            shown.append(Drawing(name, "", Markup(svg)))
    content = render(
        "comparison.html",
        title="Accuracy over commits",
        answer=history_answer(cells),
        sides=lines,
        rows=[{"anchor": "", "verdict": "", "cells": row} for row in history_rows(cells)],
        lines=[],
        figures=shown,
        complaints=[*complaints, *draw.failures],
    )
    write_output(page, content)

"""What models make of images that are changed more and more, as tables and as curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stn_core.errors import needs_extra
from stn_core.report.charts import mean_interval
from stn_core.report.figures import FigureFolder
from stn_core.report.svg import WIDTH, drawing_style, legend_below, line_style

with needs_extra("report"):
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from tabulate import tabulate


@dataclass(frozen=True)
class Measure:
    """One thing that is measured on changed images.

    Args:
        column: of the frame.
        name: as tables and axes show it; {images} is replaced by test or validation.
        scale: from the frame's unit to the one that is shown.
        file: the stem of its figure, before the dataset.
    """

    column: str
    name: str
    scale: float
    file: str


MEASURES = (
    Measure("accuracy", "{images} accuracy, %", 100.0, "robustness"),
    Measure("consistency", "same prediction as for the unchanged image, %", 100.0, "invariance"),
    Measure("misplaced", "distance from a warp that follows, pixels", 1.0, "following"),
)


def robustness_tables(frame: pd.DataFrame) -> str:
    """A table for each change and measure, one row per model: mean ± standard deviation (seeds).

    The last column is the mean height of the curve over the amounts: its area, with the whole range
    of amounts as one; with Student's 95 % interval of its mean over the seeds.

    Args:
        frame: a session's, one row per model, seed and amount, with the columns dataset, model,
            seed, images (test or validation), change, unit, amount, and those of `MEASURES` that
            were measured.
    """
    tables = []
    for (change, unit, images), rows in frame.groupby(["change", "unit", "images"], sort=False):
        for measure in _measured(rows):
            name = measure.name.format(images=images)
            heading = f"{change}, {unit}; {images} images; {name}"
            tables.append(f"\n{heading}\n{_table(rows, measure)}")
    return "\n".join(tables)


def _measured(rows: pd.DataFrame) -> list[Measure]:
    return [
        measure
        for measure in MEASURES
        if measure.column in rows and rows[measure.column].notna().any()
    ]


def _table(rows: pd.DataFrame, measure: Measure) -> str:
    rows = rows[rows[measure.column].notna()]
    names = ["dataset", "model"]
    cells = rows.groupby([*names, "amount"])[measure.column].agg(partial(_text, measure.scale))
    table = cells.unstack("amount")
    table["area [95 %]"] = [
        _area_text([measure.scale * _area(run, measure) for _, run in runs.groupby("seed")])
        for _, runs in rows.groupby(names)
    ]
    table = table.reset_index()
    headers = [name if isinstance(name, str) else f"{name:g}" for name in table.columns]
    text: str = tabulate(table.values.tolist(), headers, disable_numparse=True)
    return text


def _area(run: pd.DataFrame, measure: Measure) -> float:
    """Under the curve of one seed, over the range of its amounts; of one amount its value."""
    curve = run.sort_values("amount")
    amounts, values = curve["amount"].to_numpy(), curve[measure.column].to_numpy()
    if len(amounts) < 2:
        return float(values[0])
    return float(np.trapezoid(values, amounts) / (amounts[-1] - amounts[0]))


def _area_text(areas: Sequence[float]) -> str:
    """Their mean with its interval (one seed has none) and how many they are."""
    count = len(areas)
    interval = ""
    mean, half = mean_interval(areas)
    if count > 1:
        interval = f" [{mean - half:.2f}, {mean + half:.2f}]"
    return f"{mean:.2f}{interval} ({count})"


def _text(scale: float, values: pd.Series) -> str:
    mean, count = scale * values.mean(), len(values)
    spread = f" ± {scale * values.std():.2f}" if count > 1 else ""
    return f"{mean:.2f}{spread} ({count})"


def write_robustness_curves(frame: pd.DataFrame, folder: Path) -> list[str]:
    """Draw the curves of each dataset and measure into a folder.

    Args:
        frame: as for `robustness_tables`.
        folder: where they go, ``robustness-<dataset>.svg`` and so on.

    Returns:
        The paths of the files, then a message for every figure that could not be drawn.

    Raises:
        UsageError: they cannot be written.
    """
    draw = FigureFolder(folder)
    with drawing_style():
        for dataset, rows in frame.groupby("dataset"):
            for measure in _measured(rows):
                name, title = f"{measure.file}-{dataset}", measure.file.capitalize()
                draw(name, title, partial(robustness_chart, rows, measure))
    return [*map(str, draw.files), *draw.failures]


def robustness_chart(rows: pd.DataFrame, measure: Measure = MEASURES[0]) -> Figure:
    """One panel per change, one line per model: the mean over its seeds and their range, shaded.

    Args:
        rows: of one dataset, as for `robustness_tables`.
        measure: what is drawn; models that it was not measured of have no line.
    """
    rows = rows[rows[measure.column].notna()]
    changes = list(rows.groupby(["change", "unit"], sort=False))
    images = rows["images"].iloc[0]
    figure = Figure(figsize=(WIDTH, 0.6 + 1.9 * len(changes)), layout="constrained")
    panels: Any = figure.subplots(len(changes), 1, squeeze=False).ravel()
    for axes, ((change, unit), of_change) in zip(panels, changes, strict=True):
        for number, (model, of_model) in enumerate(of_change.groupby("model")):
            values = measure.scale * of_model.groupby("amount")[measure.column].agg(
                ["mean", "min", "max"]
            )
            style = line_style(number)
            axes.plot(values.index, values["mean"], label=model, **style)
            ends = (values["min"], values["max"])
            axes.fill_between(values.index, *ends, color=style["color"], alpha=0.2, linewidth=0)
        axes.set_xlabel(f"{change}, {unit}")
        axes.set_ylabel(measure.name.format(images=images))
        axes.grid(alpha=0.2)
    legend_below(figure, panels[0], 3)
    return figure

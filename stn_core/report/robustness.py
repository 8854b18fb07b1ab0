"""Accuracy against rising changes of the images, as tables and as curves."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from stn_core.errors import needs_extra
from stn_core.report.figures import FigureFolder
from stn_core.report.svg import COLOURS, WIDTH, drawing_style

with needs_extra("report"):
    import pandas as pd
    from matplotlib.figure import Figure
    from tabulate import tabulate


def robustness_tables(frame: pd.DataFrame) -> str:
    """A table a change, a row a model: mean accuracy in % ± standard deviation (seeds).

    Args:
        frame: a session's, a row a model, seed and amount, with the columns dataset, model, seed,
            images (test or validation), change, unit, amount and accuracy (in [0, 1]).
    """
    return "\n".join(
        f"\n{change}, {unit}; {images} images\n{_table(rows)}"
        for (change, unit, images), rows in frame.groupby(["change", "unit", "images"], sort=False)
    )


def _table(rows: pd.DataFrame) -> str:
    cells = rows.groupby(["dataset", "model", "amount"])["accuracy"].agg(_text)
    table = cells.unstack("amount").reset_index()
    headers = [name if isinstance(name, str) else f"{name:g}" for name in table.columns]
    text: str = tabulate(table.values.tolist(), headers, disable_numparse=True)
    return text


def _text(accuracies: pd.Series) -> str:
    mean, count = 100 * accuracies.mean(), len(accuracies)
    spread = f" ± {100 * accuracies.std():.2f}" if count > 1 else ""
    return f"{mean:.2f}{spread} ({count})"


def write_robustness_curves(frame: pd.DataFrame, folder: Path) -> list[str]:
    """Draw the curves of each dataset into a folder; the names of the files.

    Args:
        frame: as for `robustness_tables`.
        folder: where ``robustness-<dataset>.svg`` go.

    Raises:
        OSError: they cannot be written.
    """
    draw = FigureFolder(folder)
    names = []
    with drawing_style():
        for dataset, rows in frame.groupby("dataset"):
            names.append(f"robustness-{dataset}")
            draw(names[-1], "Robustness", partial(robustness_chart, rows))
    return [f"{name}.svg" for name in names]


def robustness_chart(rows: pd.DataFrame) -> Figure:
    """A panel a change, a line a model: mean accuracy over its seeds, and their range as a shade.

    Args:
        rows: of one dataset, as for `robustness_tables`.
    """
    changes = list(rows.groupby(["change", "unit"], sort=False))
    images = rows["images"].iloc[0]
    figure = Figure(figsize=(WIDTH, 0.6 + 1.9 * len(changes)), layout="constrained")
    panels = figure.subplots(len(changes), 1, squeeze=False).ravel()
    for axes, ((change, unit), of_change) in zip(panels, changes, strict=True):
        for number, (model, of_model) in enumerate(of_change.groupby("model")):
            accuracies = 100 * of_model.groupby("amount")["accuracy"].agg(["mean", "min", "max"])
            colour = COLOURS[number % len(COLOURS)]
            dashes = "-" if number < len(COLOURS) else ":"
            axes.plot(accuracies.index, accuracies["mean"], dashes, color=colour, label=model)
            ends = (accuracies["min"], accuracies["max"])
            axes.fill_between(accuracies.index, *ends, color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel(f"{change}, {unit}")
        axes.set_ylabel(f"{images} accuracy, %")
        axes.grid(alpha=0.2)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))
    return figure

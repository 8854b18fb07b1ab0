"""The charts that compare models and sessions: numbers to matplotlib's figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stn_core.errors import needs_extra
from stn_core.gate.intervals import Difference
from stn_core.report.label_placement import place_labels
from stn_core.report.svg import (
    COLOURS,
    WIDTH,
    legend_below,
    line_style,
    most_lines,
    new_figure,
    wrapped,
)

with needs_extra("report"):
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
    from scipy import stats

CONFIDENCE = 0.95
_SESSION_COLOURS = (*COLOURS[:4], COLOURS[5], COLOURS[6])
"""The others mark baselines and published numbers."""
_PLAIN = FuncFormatter(lambda value, _: f"{value:,g}")
"""A number in full, not as a power of ten."""


@dataclass(frozen=True)
class Accuracies:
    """The measured and the stored accuracies of a model on a dataset, in [0, 1].

    Args:
        model: its name.
        groups: one value per seed, by session.
        baseline: stored values.
        published: values by source.
    """

    model: str
    groups: Mapping[str, Sequence[float]]
    baseline: Sequence[float] = ()
    published: Mapping[str, float] = field(default_factory=dict)


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (Student's t); nan for a single value."""
    sample = np.asarray(values, np.float64)
    mean = float(sample.mean())
    if len(sample) < 2:
        return mean, math.nan
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(sample) - 1)
    return mean, float(quantile * sample.std(ddof=1) / np.sqrt(len(sample)))


def bounded_interval(percent: ArrayLike) -> tuple[float, float, float]:
    """Mean of accuracies in per cent and the ends of its 95 % interval, none beyond 0 to 100.

    The ends of a single value are nan.
    """
    mean, half = mean_interval(percent)
    low, high = np.clip([mean - half, mean + half], 0.0, 100.0)
    return mean, float(low), float(high)


def accuracy_chart(rows: Sequence[Accuracies], measured_on: str) -> Figure:
    """Every seed as a dot, the mean with its 95 % interval, the baseline, published numbers.

    Args:
        rows: a model each, best first.
        measured_on: "test" or "validation".
    """
    sessions = list(dict.fromkeys(name for row in rows for name in row.groups))
    names = [wrapped(row.model) for row in rows]
    row_height = max(0.36, 0.216 * len(sessions), 0.18 * most_lines(names))
    figure, axes = new_figure(WIDTH, 1.2 + row_height * len(rows))
    for place, row in enumerate(rows):
        for number, session in enumerate(sessions):
            offset = (number - (len(sessions) - 1) / 2) * 0.6 / len(sessions)
            prefix = f"{session}: " if len(sessions) > 1 else ""
            colour = _SESSION_COLOURS[number % len(_SESSION_COLOURS)]
            if values := row.groups.get(session):
                percent = [100 * value for value in values]
                interval = bounded_interval(percent)
                _seeds(axes, percent, interval, place + offset, colour, prefix)
        _reference(axes, row, place)
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, 0.0), min(high, 100.0 + 0.02 * (100.0 - max(low, 0.0))))
    axes.set_xlabel(f"{measured_on} accuracy, %")
    axes.grid(axis="x", alpha=0.2)
    legend_below(figure, axes, 2)
    return figure


def metric_chart(samples: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Every seed of each model as a dot, and the mean with its 95 % interval.

    Args:
        samples: by the models' names.
        label: of the values.
    """
    names = [wrapped(name) for name in samples]
    figure, axes = new_figure(WIDTH, 0.8 + max(0.32, 0.18 * most_lines(names)) * len(samples))
    for place, values in enumerate(samples.values()):
        mean, half = mean_interval(values)
        _seeds(axes, values, (mean, mean - half, mean + half), place, COLOURS[0])
    axes.set_yticks(range(len(samples)), names)
    axes.set_ylim(len(samples) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.2)
    return figure


def _seeds(
    axes: Axes,
    values: Sequence[float],
    interval: tuple[float, float, float],
    place: float,
    colour: str,
    prefix: str = "",
) -> None:
    """Dots, and their mean with the ends of its interval unless these are nan."""
    jitter = np.resize([-0.08, 0.0, 0.08], len(values))  # so that equal values show
    axes.plot(values, place + jitter, ".", color=colour, alpha=0.6, label=f"{prefix}a seed")
    mean, low, high = interval
    if math.isnan(low):
        return
    axes.errorbar(
        mean, place, xerr=[[mean - low], [high - mean]], fmt="|", color=colour, capsize=3,
        markersize=11, label=f"{prefix}mean, 95 % interval",
    )  # fmt: skip


def _reference(axes: Axes, row: Accuracies, place: float) -> None:
    if row.baseline:
        mean, low, high = bounded_interval([100 * value for value in row.baseline])
        ends = [[0.0], [0.0]] if math.isnan(low) else [[mean - low], [high - mean]]
        axes.errorbar(
            mean, place + 0.3, xerr=ends, fmt="D", color=COLOURS[7], markersize=4, capsize=2,
            markerfacecolor="none", label="baseline: mean, 95 % interval",
        )  # fmt: skip
    for value in row.published.values():
        axes.plot(100 * value, place - 0.3, "*", color=COLOURS[4], label="published elsewhere")


def difference_chart(differences: Sequence[tuple[str, Difference]]) -> Figure:
    """Differences in accuracy, in points, with their intervals, and the line of no difference.

    Args:
        differences: each with its name; the intervals are finite.
    """
    names = [wrapped(name) for name, _ in differences]
    figure, axes = new_figure(WIDTH, 0.9 + max(0.26, 0.16 * most_lines(names)) * len(differences))
    for place, (_, difference) in enumerate(differences):
        colour = {1: COLOURS[2], -1: COLOURS[1], 0: COLOURS[7]}[difference.sign]
        ends = [[difference.estimate - difference.low], [difference.high - difference.estimate]]
        axes.errorbar(difference.estimate, place, xerr=ends, fmt="o", color=colour, markersize=4)
    axes.axvline(0, color=COLOURS[7], linewidth=0.8)
    axes.set_yticks(range(len(differences)), names, fontsize=8)
    axes.set_ylim(len(differences) - 0.5, -0.5)
    axes.set_xlabel("B - A, points of accuracy")
    axes.grid(axis="x", alpha=0.2)
    return figure


@dataclass(frozen=True)
class Cost:
    """What a model costs, and the accuracy that it reaches.

    Args:
        model: its name.
        cost: parameters, or seconds; more than 0.
        accuracy: mean, in [0, 1].
    """

    model: str
    cost: float
    accuracy: float


def pareto_front(points: Sequence[Cost]) -> list[Cost]:
    """The models that no other one matches at a lower cost or beats at the same, cheapest first."""
    front: list[Cost] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def cost_chart(points: Sequence[Cost], label: str) -> Figure:
    """Accuracy against a cost, with the Pareto front.

    Args:
        points: a model each.
        label: of the cost's axis.
    """
    figure, axes = new_figure(WIDTH, 3.0 + 0.06 * max(len(points) - 12, 0))
    front = pareto_front(points)
    axes.plot([p.cost for p in front], [100 * p.accuracy for p in front], "-", color=COLOURS[0])
    for point in points:
        colour = COLOURS[0] if point in front else COLOURS[7]
        axes.plot(point.cost, 100 * point.accuracy, "o", color=colour, markersize=5)
    axes.set_xscale("log")
    costs = [point.cost for point in points]
    is_wide = max(costs) > 10 * min(costs)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if is_wide else MaxNLocator(4))
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.1)
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy, %")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0.0), min(high, 101.0))
    axes.grid(alpha=0.2)
    _label_points(axes, sorted(points, key=lambda point: point not in front))
    return figure


def _label_points(axes: Axes, points: Sequence[Cost]) -> None:
    """Name the points of a chart whose limits are set, the first ones nearest to their points."""
    figure = axes.get_figure(root=True)
    assert figure
    canvas: Any = FigureCanvasAgg(figure)  # whose stubs leave the renderer untyped
    renderer = canvas.get_renderer()
    figure.draw_without_rendering()  # which lays it out
    labels = [
        axes.annotate(
            wrapped(point.model), (point.cost, 100 * point.accuracy), (0, 0), fontsize=7,
            textcoords="offset points", arrowprops={"arrowstyle": "-", "linewidth": 0.4,
                                                    "color": COLOURS[7], "shrinkA": 0,
                                                    "shrinkB": 2},
        )
        for point in points
    ]  # fmt: skip
    sizes = np.array([Text.get_window_extent(one, renderer).size for one in labels]) + 2
    places = axes.transData.transform([(p.cost, 100 * p.accuracy) for p in points])
    start = axes.bbox.min
    corners = place_labels(places - start, sizes, (axes.bbox.width, axes.bbox.height))
    for label, place, corner in zip(labels, places - start, corners, strict=True):
        label.set_in_layout(False)
        if corner is None:
            label.remove()
        else:
            label.set_position(tuple((corner + 1 - place) * 72 / figure.dpi))


Course = Sequence[Mapping[str, float]]
"""A training: an entry an epoch with epoch, train_loss, loss and accuracy (of a `RunRecord`)."""


def curves_chart(runs: Mapping[str, Sequence[Course]], *, log: bool, train: bool = True) -> Figure:
    """Loss and validation accuracy by epoch, all runs in one chart.

    Args:
        runs: courses by name; each name has a colour.
        log: whether the loss is on a logarithmic axis.
        train: whether the training loss is drawn too, dashed.
    """
    figure = Figure(figsize=(WIDTH, 2.5 + 0.17 * (-(-len(runs) // 3))), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for number, (name, courses) in enumerate(runs.items()):
        for course in courses:
            epochs = [entry["epoch"] for entry in course]
            marker = "." if len(course) == 1 else ""  # a line needs two points
            if train:
                values = [entry["train_loss"] for entry in course]
                colour = line_style(number)["color"]
                losses.plot(
                    epochs, values, "--", marker=marker, color=colour, linewidth=0.8, alpha=0.5
                )
            style = {"marker": marker, **line_style(number)}
            losses.plot(epochs, [entry["loss"] for entry in course], **style)
            values = [100 * entry["accuracy"] for entry in course]
            accuracies.plot(epochs, values, label=name, **style)
    if log:
        losses.set_yscale("log")
        losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        losses.yaxis.set_major_formatter(_PLAIN)
        losses.yaxis.set_minor_formatter(NullFormatter())
    losses.set_ylabel("loss, nats" + (" (training dashed)" if train else ""))
    accuracies.set_ylabel("validation accuracy, %")
    for axes in (losses, accuracies):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if axes.get_xlim()[1] < 2:  # one epoch alone would be drawn between fractions of it
            axes.set_xlim(0, 2)
        axes.grid(alpha=0.2)
    legend_below(figure, accuracies, 3)
    return figure

"""The charts of one cell: what it confuses, how sure it is, how its warp treats the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stn_core.errors import needs_extra
from stn_core.report.svg import COLOURS, WIDTH, new_figure

with needs_extra("report"):
    from matplotlib.figure import Figure

MOST_NUMBERED_CLASSES = 12
"""A confusion matrix of more classes is drawn without numbers."""

MOST_COORDINATES = 6
"""How many coordinates of theta are shown: those that vary most over the images."""


def confusion_chart(counts: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """A confusion matrix: counts as numbers, per cent of the true class as shade and number.

    Args:
        counts: (K, K), row the true class, column the predicted one.
        class_names: K of them.
    """
    size = len(counts)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    numbered = size <= MOST_NUMBERED_CLASSES
    side = 1.2 + (0.46 * size if numbered else 3.6)
    figure, axes = new_figure(side + 0.4, side)
    shown = np.where(np.eye(size, dtype=bool), np.nan, shares)  # mistakes set the scale
    most = float(np.nanmax(shown, initial=1.0)) if size > 1 else 1.0
    axes.imshow(shown, cmap="Oranges", vmin=0, vmax=max(most, 1.0))
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if not numbered:
        return figure
    long = max(map(len, class_names)) > 3
    axes.set_xticks(
        range(size), class_names, rotation=45 if long else 0, ha="right" if long else "center"
    )
    axes.set_yticks(range(size), class_names)
    for row, column in np.argwhere(counts > 0):
        share = shares[row, column]
        light = row == column or share < 0.6 * max(most, 1.0)
        ink = None if row == column else "#000000" if light else "#ffffff"
        text = f"{counts[row, column]}\n{share:.1f} %"
        axes.text(column, row, text, ha="center", va="center", fontsize=6, color=ink)
    return figure


def calibration_chart(bins: NDArray[np.float64]) -> Figure:
    """How often predictions of a given confidence are right (Guo et al. 2017).

    Args:
        bins: (bins, 3): count, mean confidence, accuracy.
    """
    figure, axes = new_figure(3.4, 2.8)
    counts, confidence, accuracy = bins.T
    axes.plot([0, 100], [0, 100], "--", color=COLOURS[7], linewidth=0.8)
    axes.plot(100 * confidence, 100 * accuracy, "-", color=COLOURS[0], linewidth=0.8)
    sizes = 8 + 60 * np.sqrt(counts / counts.max())
    axes.scatter(100 * confidence, 100 * accuracy, sizes, color=COLOURS[0], alpha=0.6)
    axes.set_xlabel("confidence, %")
    axes.set_ylabel("right, %")
    axes.grid(alpha=0.2)
    return figure


def calibration_error(bins: NDArray[np.float64]) -> float:
    """The expected calibration error in [0, 1] (Guo et al. 2017, eq. 5).

    Args:
        bins: (bins, 3): count, mean confidence, accuracy.
    """
    counts, confidence, accuracy = bins.T
    return float(np.sum(counts * np.abs(accuracy - confidence)) / counts.sum())


def theta_chart(
    theta: NDArray[np.float32], labels: NDArray[np.int64], class_names: Sequence[str]
) -> Figure:
    """How the parameters of a warp spread over the classes: mean and standard deviation.

    Args:
        theta: (N, P).
        labels: (N,).
        class_names: of the labels.
    """
    shown = np.sort(np.argsort(-theta.std(0), kind="stable")[:MOST_COORDINATES])
    classes = np.unique(labels)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, coordinate in zip(panels, shown, strict=False):
        groups = [theta[labels == label, coordinate] for label in classes]
        means = [group.mean() for group in groups]
        deviations = [group.std() for group in groups]
        axes.errorbar(range(len(classes)), means, deviations, fmt="o", markersize=3,
                      color=COLOURS[0])  # fmt: skip
        axes.set_title(f"theta[{coordinate}]")
        axes.tick_params(length=0)
        few = len(classes) <= MOST_NUMBERED_CLASSES
        names = [class_names[label] for label in classes] if few else []
        rotation = 90 if max(map(len, names), default=0) > 2 else 0
        axes.set_xticks(range(len(names)), names, rotation=rotation, fontsize=7)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    return figure

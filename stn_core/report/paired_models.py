"""Two trained models on the same test images: which is better, and where they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stn_core.atomic_files import write_output
from stn_core.errors import needs_extra, printable
from stn_core.gate.paired import PairedCounts
from stn_core.report.cell_charts import confusion_chart
from stn_core.report.cell_section import Figure
from stn_core.report.comparison import Finding
from stn_core.report.figures import FigureFolder
from stn_core.report.mosaics import gallery
from stn_core.report.page import render
from stn_core.report.svg import drawing_style
from stn_core.report.text_table import aligned_table, counted, difference_text

with needs_extra("report"):
    from markupsafe import Markup

LEVEL = 0.05
"""The chance of calling equal models different, and of an interval that misses."""

_OF_CLASSES = f"the intervals of all classes hold together with {100 * (1 - LEVEL):.0f} %"

MOST_SHOWN = 24
"""How many of the images that only one model classifies correctly the page shows, per model."""


@dataclass(frozen=True, eq=False)
class Side:
    """One of two models, on the images of a test set.

    Args:
        path: of its file.
        name: of the model.
        predictions: (N,) classes.
        cross_entropy: its mean negative log-likelihood, in nats an image.
    """

    path: Path
    name: str
    predictions: NDArray[np.int64]
    cross_entropy: float


@dataclass(frozen=True, eq=False)
class PairedModels:
    """Two models and the images that both classified.

    Args:
        dataset: its name.
        class_names: K of them.
        images: uint8 (N, C, H, W).
        labels: (N,) true classes.
        a, b: the models.
    """

    dataset: str
    class_names: Sequence[str]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    a: Side
    b: Side

    def right(self, side: Side) -> NDArray[np.bool_]:
        """(N,) whether each prediction is correct."""
        return np.equal(side.predictions, self.labels)

    @property
    def counts(self) -> PairedCounts:
        """Of all images."""
        return PairedCounts.of(self.right(self.a), self.right(self.b))

    @property
    def finding(self) -> Finding:
        """By accuracy: whether the interval of the difference, 1 - `LEVEL`, excludes 0."""
        if np.array_equal(self.a.predictions, self.b.predictions):
            return Finding.IDENTICAL
        words = {1: Finding.B_BETTER, 0: Finding.NOT_DISTINGUISHABLE, -1: Finding.A_BETTER}
        return words[self.counts.difference(LEVEL).sign]


def paired_lines(pair: PairedModels) -> list[str]:
    """The answer, and the numbers behind it."""
    counts, words = pair.counts, _points(pair.counts, LEVEL)
    answer = f"{pair.finding}: B - A is {words} points on {pair.dataset}"
    lines = [f"{answer} (McNemar's test, p = {counts.p_value:.2g}; n = {counts.images:,} images)."]
    for letter, side in (("A", pair.a), ("B", pair.b)):
        accuracy = 100 * float(pair.right(side).mean())
        lines.append(
            f"{letter}: {side.name}, {side.path}: {accuracy:.2f} % right,"
            f" test loss {side.cross_entropy:.4f}"
        )
    lines.append(
        f"right only in A: {counted(counts.only_first, 'image')},"
        f" only in B: {counts.only_second:,}; the intervals are of these two files:"
        " other seeds of the same models may differ by more"
    )
    return [printable(line) for line in lines]


def paired_rows(pair: PairedModels) -> list[dict[str, str]]:
    """One row per class, with simultaneous intervals: Bonferroni over the classes."""
    rows = []
    a, b = pair.right(pair.a), pair.right(pair.b)
    for number, name in enumerate(pair.class_names):
        chosen = pair.labels == number
        counts = PairedCounts.of(a[chosen], b[chosen])
        rows.append(
            {
                "class": printable(name),
                "images": str(counts.images),
                "A right, %": _share(a[chosen]),
                "B right, %": _share(b[chosen]),
                "B - A, points": _points(counts, LEVEL / len(pair.class_names)),
                "only A right": str(counts.only_first),
                "only B right": str(counts.only_second),
            }
        )
    return rows


def _share(right: NDArray[np.bool_]) -> str:
    return f"{100 * float(right.mean()):.2f}" if len(right) else ""


def _points(counts: PairedCounts, level: float) -> str:
    return difference_text(counts.difference(level).mapped(lambda share: 100 * share), 2)


def paired_table(pair: PairedModels) -> str:
    """The classes as a table for a terminal, and what holds of their intervals."""
    return f"{aligned_table(paired_rows(pair), 'simple')}\n\n{_OF_CLASSES}"


def write_paired_page(pair: PairedModels, page: Path, figures: Path | None) -> None:
    """Write the page: classes, both confusion matrices, and images that only one model gets right.

    Args:
        pair: the models.
        page: the file to write.
        figures: the folder where each figure goes as a file too; None for none.

    Raises:
        UsageError: they cannot be written.
    """
    answer, *lines = paired_lines(pair)
    draw = FigureFolder(figures)
    with drawing_style():
        shown = [*_confusions(pair, draw), *_disagreements(pair, draw)]
    content = render(
        "comparison.html",
        title=f"{pair.a.name} against {pair.b.name} on {pair.dataset}",
        answer=answer,
        sides=lines,
        rows=[{"anchor": "", "verdict": "", "cells": cells} for cells in paired_rows(pair)],
        lines=[_OF_CLASSES],
        figures=shown,
        complaints=draw.failures,
    )
    write_output(page, content)


def _confusions(pair: PairedModels, draw: FigureFolder) -> list[Figure]:
    figures = []
    size = len(pair.class_names)
    for letter, side in (("A", pair.a), ("B", pair.b)):
        places = pair.labels * size + side.predictions
        counts = np.bincount(places, minlength=size**2).reshape(size, size)
        heading = f"Confusion matrix of {letter}, {side.name}"
        chart = partial(confusion_chart, counts, pair.class_names)
        svg = draw(f"confusion-{letter.lower()}", heading, chart)
        figures.append(Figure(heading, "", Markup(svg)))
    return figures


def _disagreements(pair: PairedModels, draw: FigureFolder) -> list[Figure]:
    figures = []
    a, b = pair.right(pair.a), pair.right(pair.b)
    for letter, chosen, wrong in (("A", a & ~b, pair.b), ("B", b & ~a, pair.a)):
        places = np.flatnonzero(chosen)[:MOST_SHOWN]
        if not len(places):
            continue
        captions = [
            f"{pair.class_names[pair.labels[place]]}, not"
            f" {pair.class_names[wrong.predictions[place]]}"
            for place in places
        ]
        heading = f"Right only in {letter}"
        chart = partial(gallery, pair.images[places], captions)
        text = f"The first {len(places)} of {int(chosen.sum()):,}: the true class, and what the"
        text += " other model says."
        svg = draw(f"right-in-{letter.lower()}-alone", heading, chart)
        figures.append(Figure(heading, text, Markup(svg)))
    return figures

"""Pairs of models on each dataset: which is better, and how many seeds would show it."""

from __future__ import annotations

import collections
import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stn_core.atomic_files import write_output
from stn_core.errors import UsageError, needs_extra, unknown_name
from stn_core.gate.all_pairs import CONFIDENCE, differences_of_all_pairs, seeds_to_settle
from stn_core.gate.intervals import Difference
from stn_core.gate.judgement import accuracy_text
from stn_core.gate.metrics import Metric
from stn_core.gate.statistics import sampling_deviation
from stn_core.report.sources import CellRuns, Source, several_places
from stn_core.report.text_table import (
    WIDTH,
    counted,
    difference_text,
    table_that_fits,
)
from stn_core.session.cells import Place

with needs_extra("report"):
    import pandas as pd

_LOSS = "test loss, %"


class PairFinding(enum.StrEnum):
    """The finding on the first model of a pair, by accuracy."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    NOT_DISTINGUISHABLE = "not distinguishable"


@dataclass(frozen=True)
class ModelPair:
    """Two models on one dataset.

    Args:
        first, second: their runs.
        points: the first one's mean accuracy less the second one's, in points; the intervals of
            all pairs of the dataset hold together with 95 %; nan if neither has two runs.
        loss_percent: by how much the first one's test loss is above the second one's, likewise.
        finding: on the first one.
        seeds: how many each would need if they are not distinguishable; None if unknown.
    """

    first: CellRuns
    second: CellRuns
    points: Difference
    loss_percent: Difference
    finding: PairFinding
    seeds: int | None = None


def compare_models(
    source: Source, models: Sequence[str] = (), margin_points: float | None = None
) -> tuple[list[ModelPair], list[str]]:
    """Every pair of models of each budget, dataset and type of device.

    Args:
        source: a session, records or baselines.
        models: their names; all of them if it is empty.
        margin_points: a pair whose whole interval lies within ± this is equivalent.

    Returns:
        The pairs, sorted by dataset, the best model first, and a message for what is left out.

    Raises:
        UsageError: the source lacks a model, or no dataset has two of them.
    """
    known = {cell.model for cell in source.cells}
    for name in models:
        if name not in known:
            raise unknown_name("model in " + str(source.path), name, known)
    places: dict[tuple[str, str, str], list[CellRuns]] = {}
    for cell in source.cells:
        if not models or cell.model in models:
            places.setdefault((cell.budget, cell.dataset, cell.device), []).append(cell)
    pairs: list[ModelPair] = []
    complaints: list[str] = []
    for place, cells in sorted(places.items()):
        alike, others = _of_one_data(cells)
        complaints += [f"{other.key}: measured on other data, left out" for other in others]
        if len(alike) > 1:
            pairs += _pairs(alike, margin_points)
        else:
            budget, dataset, device = place
            where = f"{Place(budget, dataset)} ({device})"
            complaints.append(f"{where}: only {alike[0].model}, nothing to compare")
    if not pairs:
        why = f"; {complaints[0]}" if complaints else ""
        raise UsageError(f"{source.path}: no dataset has two of these models{why}")
    return pairs, complaints


def _of_one_data(cells: Sequence[CellRuns]) -> tuple[list[CellRuns], list[CellRuns]]:
    """The cells measured on the most common data, the best one first, and the others."""
    (usual, _), *_ = collections.Counter(cell.data_hash for cell in cells).most_common(1)
    ranked = sorted(cells, key=lambda cell: (-float(np.mean(cell.accuracies)), cell.model))
    alike = [cell for cell in ranked if cell.data_hash == usual]
    return alike, [cell for cell in ranked if cell.data_hash != usual]


def _pairs(cells: Sequence[CellRuns], margin_points: float | None) -> list[ModelPair]:
    by_model = {cell.model: cell for cell in cells}
    accuracies = {name: [100 * a for a in cell.accuracies] for name, cell in by_model.items()}
    floors = {
        name: 100 * sampling_deviation(float(np.mean(cell.accuracies)), cell.test_images)
        for name, cell in by_model.items()
    }
    losses = {n: Metric.LOSS.badness(c.runs, c.test_images) for n, c in by_model.items()}
    loss_floors = {
        n: Metric.LOSS.least_deviation(c.runs, c.test_images) for n, c in by_model.items()
    }
    loss_differences = differences_of_all_pairs(losses, loss_floors)
    pairs = []
    for (first, second), points in differences_of_all_pairs(accuracies, floors).items():
        finding = _finding(points, margin_points)
        seeds = None
        if finding is PairFinding.NOT_DISTINGUISHABLE:
            seeds = seeds_to_settle(
                accuracies[first],
                accuracies[second],
                (floors[first], floors[second]),
                margin_points,
                models=len(cells),
            )
        loss = loss_differences[first, second].mapped(_percent)
        bounded = points.mapped(lambda value: float(np.clip(value, -100, 100)))
        pairs.append(ModelPair(by_model[first], by_model[second], bounded, loss, finding, seeds))
    return pairs


def _finding(points: Difference, margin_points: float | None) -> PairFinding:
    if margin_points and -margin_points <= points.low and points.high <= margin_points:
        return PairFinding.EQUIVALENT
    words = {1: PairFinding.BETTER, 0: PairFinding.NOT_DISTINGUISHABLE, -1: PairFinding.WORSE}
    return words[points.sign]


def _percent(logarithm: float) -> float:
    return 100 * math.expm1(min(logarithm, 30.0))


def pairs_table(pairs: Sequence[ModelPair], width: int = WIDTH) -> str:
    """The pairs as a table for a terminal."""
    droppable = ("other's, % (n)", "accuracy, % (n)", _LOSS)
    return table_that_fits(pairs_rows(pairs), width, droppable, "models.csv")


def pairs_rows(pairs: Sequence[ModelPair]) -> list[dict[str, str]]:
    """The rows of the table, texts by column; budget and device are if there are several."""
    several = several_places(pair.first for pair in pairs)
    return [
        {
            **{name: getattr(pair.first, name) for name in several},
            "dataset": pair.first.dataset,
            "model": pair.first.model,
            "finding": str(pair.finding),
            "other model": pair.second.model,
            "accuracy, % (n)": accuracy_text(pair.first.accuracies),
            "other's, % (n)": accuracy_text(pair.second.accuracies),
            "difference, points": difference_text(pair.points, 2),
            _LOSS: difference_text(pair.loss_percent, 1),
            "seeds to settle": str(pair.seeds or ""),
        }
        for pair in pairs
    ]


def pairs_page_rows(pairs: Sequence[ModelPair]) -> list[dict[str, Any]]:
    """The rows as the table of a page takes them."""
    return [
        {"anchor": "", "verdict": pair.finding.name.lower(), "cells": cells}
        for pair, cells in zip(pairs, pairs_rows(pairs), strict=True)
    ]


def pairs_answer(pairs: Sequence[ModelPair]) -> str:
    """The comparison in one sentence."""
    counts = collections.Counter(pair.finding for pair in pairs)
    differing = counts[PairFinding.BETTER] + counts[PairFinding.WORSE]
    parts = [f"{differing} of {counted(len(pairs), 'pair')} of models differ"]
    for finding in (PairFinding.EQUIVALENT, PairFinding.NOT_DISTINGUISHABLE):
        if counts[finding]:
            parts.append(f"{counts[finding]} {'are' if counts[finding] > 1 else 'is'} {finding}")
    return "; ".join(parts) + (
        f". The intervals [ ] of a dataset hold together with {100 * CONFIDENCE:.0f} %."
    )


def pairs_frame(pairs: Sequence[ModelPair]) -> pd.DataFrame:
    """The pairs as numbers, one row per pair; differences are the first model less the second."""
    frame = pd.DataFrame([_numbers(pair) for pair in pairs])
    return frame.astype({"seeds_to_settle": "Int64"})  # whole numbers though some are missing


def _numbers(pair: ModelPair) -> dict[str, Any]:
    sides: Mapping[str, CellRuns] = {"first": pair.first, "second": pair.second}
    return {
        "budget": pair.first.budget,
        "dataset": pair.first.dataset,
        "device": pair.first.device,
        **{f"{name}_model": cell.model for name, cell in sides.items()},
        **{f"{name}_percent": 100 * float(np.mean(c.accuracies)) for name, c in sides.items()},
        **{f"{name}_runs": len(cell.runs) for name, cell in sides.items()},
        "difference_points": pair.points.estimate,
        "low_points": pair.points.low,
        "high_points": pair.points.high,
        "difference_loss_percent": pair.loss_percent.estimate,
        "low_loss_percent": pair.loss_percent.low,
        "high_loss_percent": pair.loss_percent.high,
        "finding": str(pair.finding),
        "seeds_to_settle": pair.seeds,
    }


def write_pairs(pairs: Sequence[ModelPair], file: Path) -> None:
    """Write the pairs as CSV.

    Raises:
        UsageError: the file cannot be written.
    """
    write_output(file, pairs_frame(pairs).to_csv(index=False))

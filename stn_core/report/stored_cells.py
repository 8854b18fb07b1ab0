"""The stored runs of each cell, for claims: baselines, and the records of an evidence file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from stn_core.gate.baselines import BaselineRun, Baselines, baseline_run
from stn_core.gate.intervals import Spread, moderated_spreads
from stn_core.gate.metrics import Metric
from stn_core.gate.statistics import sampling_deviation
from stn_core.session.answers import Question, answers_like_the_last
from stn_core.session.cells import split_key
from stn_core.session.records import Machine, RunRecord

FEWEST_SEEDS = 2
"""With fewer on either side, a difference has no interval."""

QUIET_CORES = 0.1
"""A run's training time counts if other processes kept at most this many cores busy on average."""


@dataclass(frozen=True)
class StoredCell:
    """The stored runs of a cell on one type of device.

    Args:
        runs: by seed.
        test_images: how many the accuracies were measured on.
        hashes: of recipe and data.
        records: complete ones, of those runs that have one.
        timed: those whose training times are of a quiet machine; of each seed the last one on each
            kind of machine, also if another record of the seed counts for all else.
        parameters: trainable ones of the model; 0 if no complete record says so.
        is_outdated: the recipe is not the one that the budget has now.
        points: the spread of their accuracies, in points; None for a single run.
        log_loss: the same for their test losses, as `Metric.LOSS` compares them.
    """

    runs: tuple[BaselineRun, ...]
    test_images: int
    hashes: tuple[str, str]
    records: tuple[RunRecord, ...] = ()
    timed: tuple[RunRecord, ...] = ()
    parameters: int = 0
    is_outdated: bool = False
    points: Spread | None = None
    log_loss: Spread | None = None

    @property
    def percent(self) -> list[float]:
        """The accuracies, in per cent."""
        return [100 * run.accuracy for run in self.runs]

    @property
    def least_points(self) -> float:
        """The least credible standard deviation of an accuracy, in points."""
        accuracy = float(np.mean([run.accuracy for run in self.runs]))
        return 100 * sampling_deviation(accuracy, self.test_images)


def is_quiet(other_load: float | None) -> bool:
    """Whether a machine on which others kept this many cores busy is quiet; not if unknown."""
    return other_load is not None and other_load <= QUIET_CORES


Stored: TypeAlias = Mapping[tuple[str, str], StoredCell]
"""Cells by key (``budget/dataset/model``) and type of device."""


def stored_cells(
    baselines: Baselines,
    records: Iterable[RunRecord],
    shipped_recipe: Callable[[str], str] = lambda key: "",
) -> Stored:
    """Everything that claims can be judged from.

    A complete record takes the place of the baseline's value of its seed. If the baseline has
    another recipe, or other data, than a cell's last record, only one of the two counts: the
    baseline if it alone has the present recipe, else the records. How many parameters a model has
    on a dataset is the same in each budget.

    Args:
        baselines, records: what is stored.
        shipped_recipe: the hash of the recipe that a cell has now, by its key; "" if unknown.
    """
    cells: dict[tuple[str, str], StoredCell] = {}
    for key, cell in baselines.cells.items():
        for device in {run.device for run in cell.runs}:
            runs = tuple(run for run in cell.runs if run.device == device)
            hashes = (cell.recipe_hash, cell.data_hash)
            cells[key, device] = StoredCell(runs, cell.test_images, hashes)
    for key, device, complete, timed in _complete_runs(records):
        last = complete[-1]
        hashes = (last.recipe_hash, last.data_hash)
        stored = cells.get((key, device))
        if stored and stored.hashes[0] == shipped_recipe(key) != last.recipe_hash:
            continue
        further = stored.runs if stored and stored.hashes == hashes else ()
        seeds = {record.seed for record in complete}
        runs = tuple(map(baseline_run, complete))
        runs += tuple(run for run in further if run.seed not in seeds)
        cells[key, device] = StoredCell(
            runs, last.test_images, hashes, records=tuple(complete), timed=timed
        )
    dated = {
        place: replace(cell, is_outdated=shipped_recipe(place[0]) not in ("", cell.hashes[0]))
        for place, cell in cells.items()
    }
    return _with_spreads(_with_parameters(dated))


def _with_parameters(
    cells: Mapping[tuple[str, str], StoredCell],
) -> dict[tuple[str, str], StoredCell]:
    """Give each cell the number of parameters that a record of its model and dataset says."""
    counts = {
        _model_on_dataset(key): cell.records[-1].parameters
        for (key, _), cell in sorted(cells.items(), key=lambda item: item[0])
        if cell.records
    }
    return {
        place: replace(cell, parameters=counts.get(_model_on_dataset(place[0]), 0))
        for place, cell in cells.items()
    }


def _model_on_dataset(key: str) -> tuple[str, str]:
    name = split_key(key)
    return name.dataset, name.model


def _complete_runs(
    records: Iterable[RunRecord],
) -> Iterator[tuple[str, str, list[RunRecord], tuple[RunRecord, ...]]]:
    """Each cell and type of device: its good runs of the same kind as the last, and timed ones."""
    by_device: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.status == "ok" and record.test_accuracy is not None and not record.is_search:
            by_device.setdefault(record.environment.device_type, []).append(record)
    for device, good in by_device.items():
        timed = _timed(good)
        for key, runs in answers_like_the_last(good)[0].items():
            yield key, device, runs, timed.get(Question.answered_by(runs[-1]), ())


def _timed(records: Iterable[RunRecord]) -> dict[Question, tuple[RunRecord, ...]]:
    """The records of quiet machines: the last one of each seed on each kind of machine."""
    found: dict[Question, dict[tuple[int, Machine], RunRecord]] = {}
    for record in records:
        if is_quiet(record.other_load):
            of_cell = found.setdefault(Question.answered_by(record), {})
            of_cell[record.seed, record.environment.machine] = record
    return {question: tuple(of_cell.values()) for question, of_cell in found.items()}


def _with_spreads(cells: Mapping[tuple[str, str], StoredCell]) -> Stored:
    """Moderate the spread of each cell by those of the same budget and type of device."""
    groups: dict[tuple[str, str], dict[str, StoredCell]] = {}
    for (key, device), cell in cells.items():
        if len(cell.runs) >= FEWEST_SEEDS:
            groups.setdefault((split_key(key).budget, device), {})[key] = cell
    found = dict(cells)
    for (_, device), group in groups.items():
        points = moderated_spreads(
            {key: cell.percent for key, cell in group.items()},
            {key: cell.least_points for key, cell in group.items()},
        )
        losses = moderated_spreads(
            {k: Metric.LOSS.badness(cell.runs, cell.test_images) for k, cell in group.items()},
            {k: Metric.LOSS.least_deviation(c.runs, c.test_images) for k, c in group.items()},
        )
        for key, cell in group.items():
            found[key, device] = replace(cell, points=points[key], log_loss=losses[key])
    return found

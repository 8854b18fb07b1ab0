"""baselines.json: raw values of measured runs, checked when read and written in one piece."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError
from stn_core.schema import (
    Amount,
    Count,
    CountFrom1,
    Number,
    Share,
    checked,
    json_object,
    read_versioned,
)
from stn_core.session.cells import split_key
from stn_core.session.records import RunRecord

BASELINES_VERSION = 1


@dataclass(frozen=True)
class BaselineRun:
    """One measured run.

    Args:
        seed: of the run.
        accuracy: on the test set, in [0, 1].
        cross_entropy: on the test set, in nats.
        train_seconds: wall clock.
        environment: the key of its environment.
        device: the type of device, "cpu" or "cuda"; values of different ones are never mixed.
        digest: the run's.
        metrics: values of further metrics by name; not in the file if there are none.
    """

    seed: Count
    accuracy: Share
    cross_entropy: Amount
    train_seconds: Amount
    environment: str
    device: str
    digest: str
    metrics: dict[str, Number] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """The run as a JSON object."""
        values = vars(self).copy()  # not asdict, which takes ten times as long
        if not self.metrics:
            del values["metrics"]
        return values


@dataclass(frozen=True)
class CellBaseline:
    """The measured runs of one cell, and the recipe and data they were measured with.

    Args:
        recipe_hash, data_hash: of every run.
        test_images: how many images the accuracies were measured on.
        date: of the latest measurement, ISO; "" if nothing is stored, as of another commit's runs.
        commit: where it was measured, "" outside a checkout.
        runs: of several environments, sorted; two or more per type of device.
    """

    recipe_hash: str
    data_hash: str
    test_images: CountFrom1
    date: str
    commit: str
    runs: tuple[BaselineRun, ...]

    @property
    def is_stored(self) -> bool:
        """Whether these are stored runs, and not those of a commit that is compared with."""
        return bool(self.date)

    @property
    def accuracies(self) -> list[float]:
        """The runs' accuracies, in [0, 1]."""
        return [run.accuracy for run in self.runs]

    @property
    def metrics(self) -> frozenset[str]:
        """The names of the further metrics that some run has a value of."""
        return frozenset(name for run in self.runs for name in run.metrics)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of a hash of all its content."""
        values = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        """The cell as a JSON object."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {**values, "runs": [run.to_dict() for run in self.runs]}

    def on(self, device: str) -> CellBaseline | None:
        """The part measured on a type of device, None if there is none."""
        runs = tuple(run for run in self.runs if run.device == device)
        return dataclasses.replace(self, runs=runs) if runs else None

    def digest(self, seed: int, environment: str) -> str | None:
        """The digest that a seed gave in an environment, None if it was not measured there."""
        for run in self.runs:
            if run.seed == seed and run.environment == environment:
                return run.digest
        return None


@dataclass(frozen=True)
class Baselines:
    """Every cell's baseline, and the environments that their runs name."""

    cells: Mapping[str, CellBaseline]
    environments: Mapping[str, Mapping[str, Any]]

    def of(self, key: str, device: str) -> CellBaseline | None:
        """A cell's baseline on a type of device, None if it has none."""
        baseline = self.cells.get(key)
        return baseline.on(device) if baseline else None

    def without(self, keys: Iterable[str]) -> Baselines:
        """These baselines without some cells; environments without runs are dropped."""
        gone = set(keys)
        kept = {key: cell for key, cell in self.cells.items() if key not in gone}
        return Baselines(kept, _named_by(kept, self.environments))

    def expected_seconds(self, key: str, device: str) -> float:
        """A run's training time on a type of device; infinite if unknown, so that it starts first.

        The time on a GPU says nothing about the time on a CPU, and vice versa.
        """
        baseline = self.of(key, device)
        if baseline is None:
            return math.inf
        return sum(run.train_seconds for run in baseline.runs) / len(baseline.runs)

    def updated(self, cells: Mapping[str, CellBaseline], records: Iterable[RunRecord]) -> Baselines:
        """These baselines with new values of some cells; environments without runs are dropped.

        Values of another type of device stay if recipe and data are the same.
        """
        merged = dict(self.cells)
        for key, cell in cells.items():
            merged[key] = _beside(cell, self.cells.get(key))
        known = dict(self.environments)
        for record in records:
            known[record.environment.key()] = record.environment.place()
        return Baselines(merged, _named_by(merged, known))


def _named_by(
    cells: Mapping[str, CellBaseline], environments: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    used = {run.environment for cell in cells.values() for run in cell.runs}
    return {key: environments[key] for key in used}


def _beside(new: CellBaseline, old: CellBaseline | None) -> CellBaseline:
    if old is None or (old.recipe_hash, old.data_hash) != (new.recipe_hash, new.data_hash):
        return new
    measured = {run.device for run in new.runs}
    others = tuple(run for run in old.runs if run.device not in measured)
    return dataclasses.replace(new, runs=new.runs + others)


def baseline_of(records: Iterable[RunRecord]) -> CellBaseline:
    """The baseline made from a cell's records.

    Raises:
        UsageError: a run failed, came from a dirty checkout or kept the test set closed; seeds
            repeat or are fewer than two; recipes or data differ.
    """
    runs = sorted(records, key=lambda record: record.seed)
    first = runs[0]
    for record in runs:
        if record.status != "ok" or record.test_accuracy is None:
            raise UsageError(
                f"{first.key}: seed {record.seed} {record.status}, so its runs cannot be a baseline"
            )
        if record.is_search:
            raise UsageError(f"{first.key}: an overridden recipe is a search, not a baseline")
        if record.environment.dirty:
            raise UsageError(
                f"{first.key}: the checkout has uncommitted changes; commit them first"
            )
        if (record.recipe_hash, record.data_hash) != (first.recipe_hash, first.data_hash):
            raise UsageError(f"{first.key}: its runs have different recipes or data")
    if len({(run.environment.commit, run.environment.stn_core) for run in runs}) > 1:
        raise UsageError(f"{first.key}: its runs come from different commits or versions")
    if len({record.seed for record in runs}) < max(2, len(runs)):
        raise UsageError(f"{first.key}: a baseline needs two or more different seeds")
    return CellBaseline(
        recipe_hash=first.recipe_hash,
        data_hash=first.data_hash,
        test_images=first.test_images,
        date=datetime.date.today().isoformat(),
        commit=first.environment.commit or "",
        runs=tuple(baseline_run(record) for record in runs),
    )


def baseline_run(record: RunRecord) -> BaselineRun:
    """The judged values of a good run that was evaluated on the test set."""
    assert record.test_accuracy is not None
    assert record.test_cross_entropy is not None
    return BaselineRun(
        seed=record.seed,
        accuracy=record.test_accuracy,
        cross_entropy=round(record.test_cross_entropy, 6),
        train_seconds=round(record.train_seconds, 2),
        environment=record.environment.key(),
        device=record.environment.device_type,
        digest=record.digest,
        metrics={name: round(value, 6) for name, value in record.metrics.items()},
    )


@dataclass(frozen=True)
class _Content:
    """The content of the file."""

    version: int
    environments: dict[str, dict[str, Any]]
    cells: dict[str, Any]


def read_baselines(path: Path) -> Baselines:
    """The baselines of a file.

    Raises:
        UsageError: the file is not what `write_baselines` writes; the line names cell and field.
    """
    content = checked(
        _Content, read_versioned(path, BASELINES_VERSION, "a baselines file"), f"{path}: "
    )
    try:
        for key, place in content.environments.items():
            if not isinstance(place.get("device_type"), str):
                raise UsageError(f"environment {key}: device_type is missing")
        cells = {
            key: _read_cell(key, values, content.environments)
            for key, values in content.cells.items()
        }
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return Baselines(cells, content.environments)


def _read_cell(key: str, values: Any, environments: Mapping[str, Any]) -> CellBaseline:
    where = f"{key}: "
    split_key(key)
    cell = checked_cell(values, where)
    for number, run in enumerate(cell.runs, start=1):
        _check_environment(run, environments, f"{where}run {number}: ")
    for device in {run.device for run in cell.runs} or {"any device"}:
        if sum(run.device == device for run in cell.runs) < 2:
            raise UsageError(f"{where}has fewer than 2 runs on {device}")
    if len({(run.seed, run.environment) for run in cell.runs}) < len(cell.runs):
        raise UsageError(f"{where}has a seed twice in one environment")
    return cell


def checked_cell(values: Any, where: str) -> CellBaseline:
    """The baseline of one cell, from its JSON object.

    Raises:
        UsageError: it is not one; the line begins with `where`, and names run and field.
    """
    values = json_object(values, where)
    runs = values.get("runs")
    for number, run in enumerate(runs if isinstance(runs, list) else (), start=1):
        checked(BaselineRun, run, f"{where}run {number}: ")
    return checked(CellBaseline, values, where)


def _check_environment(run: BaselineRun, environments: Mapping[str, Any], where: str) -> None:
    if run.environment not in environments:
        raise UsageError(f"{where}environment {run.environment!r} is not among the environments")
    device = environments[run.environment]["device_type"]
    if run.device != device:
        raise UsageError(f"{where}device is {run.device!r}, that of its environment {device!r}")


def write_baselines(path: Path, baselines: Baselines) -> None:
    """Write the file in one piece, sorted, one line per run, so that a diff is readable."""
    cells = ",\n".join(
        f"    {json.dumps(key)}: {_cell_text(cell)}"
        for key, cell in sorted(baselines.cells.items())
    )
    environments = ",\n".join(
        f"    {json.dumps(key)}: {json.dumps(values, sort_keys=True)}"
        for key, values in sorted(baselines.environments.items())
    )
    text = (
        f'{{\n  "version": {BASELINES_VERSION},\n'
        f'  "environments": {{\n{environments}\n  }},\n'
        f'  "cells": {{\n{cells}\n  }}\n}}\n'
    )
    write_at_once(path, text)


def _cell_text(cell: CellBaseline) -> str:
    head = {
        entry.name: getattr(cell, entry.name)
        for entry in dataclasses.fields(cell)
        if entry.name != "runs"
    }
    runs = ",\n".join(f"        {json.dumps(run.to_dict())}" for run in cell.runs)
    return f'{json.dumps(head)[:-1]}, "runs": [\n{runs}\n    ]}}'

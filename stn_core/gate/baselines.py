"""baselines.json: raw values of measured runs, read with suspicion and written in one piece."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_core.errors import UsageError
from stn_core.records import RunRecord

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
        digest: the run's.
    """

    seed: int
    accuracy: float
    cross_entropy: float
    train_seconds: float
    environment: str
    digest: str


@dataclass(frozen=True)
class CellBaseline:
    """The measured runs of one cell and what they were measured with.

    Args:
        recipe_hash, data_hash: of every run.
        test_images: how many images the accuracies were measured on.
        date: of the measurement, ISO.
        runs: two or more, by seed.
    """

    recipe_hash: str
    data_hash: str
    test_images: int
    date: str
    runs: tuple[BaselineRun, ...]

    @property
    def accuracies(self) -> list[float]:
        """The runs' accuracies, in [0, 1]."""
        return [run.accuracy for run in self.runs]

    def digest(self, seed: int, environment: str) -> str | None:
        """The digest that a seed gave in an environment, None where it was not measured there."""
        for run in self.runs:
            if run.seed == seed and run.environment == environment:
                return run.digest
        return None


@dataclass(frozen=True)
class Baselines:
    """Every cell's baseline, and the environments that their runs name."""

    cells: Mapping[str, CellBaseline]
    environments: Mapping[str, Mapping[str, Any]]

    def expected_seconds(self, key: str) -> float:
        """A run's training time as stored; infinite where nobody knows, so that it starts first."""
        baseline = self.cells.get(key)
        if baseline is None:
            return math.inf
        return sum(run.train_seconds for run in baseline.runs) / len(baseline.runs)

    def updated(self, cells: Mapping[str, CellBaseline], records: Iterable[RunRecord]) -> Baselines:
        """These baselines with some cells replaced; environments that no run names go."""
        merged = {**self.cells, **cells}
        known = dict(self.environments)
        for record in records:
            values = dataclasses.asdict(record.environment)
            del values["dirty"]
            known[record.environment.key()] = values
        used = {run.environment for cell in merged.values() for run in cell.runs}
        return Baselines(merged, {key: known[key] for key in used})


def baseline_of(records: Iterable[RunRecord]) -> CellBaseline:
    """The baseline that a cell's records make.

    Raises:
        UsageError: a run failed, came from a dirty checkout or kept the test set closed; seeds
            repeat or are fewer than two; recipes or data differ.
    """
    runs = sorted(records, key=lambda record: record.seed)
    first = runs[0]
    for record in runs:
        if record.status != "ok" or record.test_accuracy is None:
            raise UsageError(
                f"{first.key}: seed {record.seed} {record.status}; no baseline of that"
            )
        if record.is_search:
            raise UsageError(f"{first.key}: an overridden recipe is a search, not a baseline")
        if record.environment.dirty:
            raise UsageError(
                f"{first.key}: the checkout has uncommitted changes; commit them first"
            )
        if (record.recipe_hash, record.data_hash) != (first.recipe_hash, first.data_hash):
            raise UsageError(f"{first.key}: its runs are of several recipes or data")
    if len({record.seed for record in runs}) < max(2, len(runs)):
        raise UsageError(f"{first.key}: a baseline needs two or more different seeds")
    return CellBaseline(
        recipe_hash=first.recipe_hash,
        data_hash=first.data_hash,
        test_images=first.test_images,
        date=datetime.date.today().isoformat(),
        runs=tuple(_baseline_run(record) for record in runs),
    )


def _baseline_run(record: RunRecord) -> BaselineRun:
    assert record.test_accuracy is not None
    assert record.test_cross_entropy is not None
    return BaselineRun(
        seed=record.seed,
        accuracy=record.test_accuracy,
        cross_entropy=round(record.test_cross_entropy, 6),
        train_seconds=round(record.train_seconds, 2),
        environment=record.environment.key(),
        digest=record.digest,
    )


def read_baselines(path: Path) -> Baselines:
    """The baselines of a file; none where there is no file.

    Raises:
        UsageError: the file is not what `write_baselines` writes; the line names cell and field.
    """
    if not path.exists():
        return Baselines({}, {})
    try:
        content = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON: line {error.lineno}: {error.msg}") from None
    except (UsageError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(content, dict) or content.get("version") != BASELINES_VERSION:
        raise UsageError(f"{path} is not a baselines file of version {BASELINES_VERSION}")
    try:
        environments = _typed(content, "environments", dict)
        cells = {
            key: _read_cell(key, values, environments)
            for key, values in _typed(content, "cells", dict).items()
        }
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return Baselines(cells, environments)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{twice!r} stands there twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise UsageError(f"{name} is not a value")


def _typed(values: Any, name: str, kind: type, where: str = "") -> Any:
    if not isinstance(values, dict) or name not in values:
        raise UsageError(f"{where}{name} is missing")
    value = values[name]
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"{where}{name} must be {kind.__name__}, not {value!r}")
    return value


def _read_cell(key: str, values: Any, environments: Mapping[str, Any]) -> CellBaseline:
    where = f"{key}: "
    if key.count("/") != 2:
        raise UsageError(f"{key!r} is not budget/dataset/model")
    runs = [
        _read_run(f"{where}run {number}: ", run, environments)
        for number, run in enumerate(_typed(values, "runs", list, where), start=1)
    ]
    seeds = [run.seed for run in runs]
    if len(runs) < 2:
        raise UsageError(f"{where}runs has fewer than 2 values")
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"{where}runs has a seed twice")
    test_images = _typed(values, "test_images", int, where)
    if test_images < 1:
        raise UsageError(f"{where}test_images must be 1 or more, not {test_images}")
    return CellBaseline(
        recipe_hash=_typed(values, "recipe_hash", str, where),
        data_hash=_typed(values, "data_hash", str, where),
        test_images=test_images,
        date=_typed(values, "date", str, where),
        runs=tuple(runs),
    )


def _read_run(where: str, values: Any, environments: Mapping[str, Any]) -> BaselineRun:
    kinds = {"int": int, "float": float, "str": str}
    run = BaselineRun(
        **{
            entry.name: _typed(values, entry.name, kinds[str(entry.type)], where)
            for entry in dataclasses.fields(BaselineRun)
        }
    )
    if not 0 <= run.accuracy <= 1:
        raise UsageError(f"{where}accuracy must be in [0, 1], not {run.accuracy}")
    if not math.isfinite(run.cross_entropy):
        raise UsageError(f"{where}cross_entropy must be finite")
    if run.environment not in environments:
        raise UsageError(f"{where}environment {run.environment!r} is not among the environments")
    return run


def write_baselines(path: Path, baselines: Baselines) -> None:
    """Write the file in one piece, sorted, a run a line, so that a diff is readable."""
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
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _cell_text(cell: CellBaseline) -> str:
    head = {
        name: getattr(cell, name) for name in ("date", "recipe_hash", "data_hash", "test_images")
    }
    runs = ",\n".join(f"        {json.dumps(dataclasses.asdict(run))}" for run in cell.runs)
    return f'{json.dumps(head)[:-1]}, "runs": [\n{runs}\n    ]}}'

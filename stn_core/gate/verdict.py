"""The verdict on one cell: its records against its baseline."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stn_core.gate.baselines import CellBaseline
from stn_core.gate.statistics import accuracy_tolerance
from stn_core.recipe import Cell
from stn_core.records import RunRecord

MIN_POINTS = 0.3
"""A smaller difference of accuracy is neither a regression nor an improvement, however sure."""


class Verdict(enum.StrEnum):
    """What is said of a cell, in the words of the table."""

    IDENTICAL = "PASS (identical)"
    PASS = "PASS"
    IMPROVED = "IMPROVED"
    NEW = "NEW"
    REGRESSED = "REGRESSED"
    STALE = "STALE"
    MISSING = "MISSING"
    DIVERGED = "DIVERGED"
    CRASHED = "CRASHED"

    @property
    def passes(self) -> bool:
        """Whether a session with this verdict may succeed."""
        return self in (Verdict.IDENTICAL, Verdict.PASS, Verdict.IMPROVED, Verdict.NEW)


@dataclass(frozen=True)
class Judgement:
    """A cell's verdict and the numbers behind it.

    Args:
        key: ``budget/dataset/model``.
        verdict: what is said of it.
        message: why, one sentence, "" where the verdict says it all.
        records: the runs that were judged.
        baseline: what they were judged against, None where there is nothing.
        tolerance_points: the difference in points that chance explains, None without a comparison.
    """

    key: str
    verdict: Verdict
    message: str = ""
    records: tuple[RunRecord, ...] = ()
    baseline: CellBaseline | None = None
    tolerance_points: float | None = None

    @property
    def on_validation(self) -> bool:
        """Whether the accuracies are those of the validation images: the test set stayed closed."""
        return any(
            record.test_accuracy is None and record.status == "ok" for record in self.records
        )

    @property
    def accuracies(self) -> list[float]:
        """A value a good run, in [0, 1]: test accuracy, or validation accuracy in a search."""
        values = [
            record.validation_accuracy if self.on_validation else record.test_accuracy
            for record in self.records
            if record.status == "ok"
        ]
        return [value for value in values if value is not None]

    @property
    def difference_points(self) -> float | None:
        """Mean accuracy less the baseline's, in points; None without a comparison."""
        if self.tolerance_points is None or self.baseline is None:
            return None
        return 100 * float(np.mean(self.accuracies) - np.mean(self.baseline.accuracies))

    @property
    def line(self) -> str:
        """The judgement in one line."""
        parts = [self.key, accuracy_text(self.accuracies)]
        if self.on_validation:
            parts.append("on validation")
        if self.baseline:
            parts.append(f"baseline {accuracy_text(self.baseline.accuracies)}")
        seconds = sum(record.train_seconds + record.evaluate_seconds for record in self.records)
        parts += [f"{self.verdict}{': ' if self.message else ''}{self.message}", f"{seconds:.1f} s"]
        return "  ".join(part for part in parts if part)


def accuracy_text(accuracies: Sequence[float]) -> str:
    """Accuracies in per cent as mean ± standard deviation (n)."""
    if not accuracies:
        return ""
    mean = f"{100 * float(np.mean(accuracies)):.2f}"
    if len(accuracies) > 1:
        mean += f" ± {100 * float(np.std(accuracies, ddof=1)):.2f}"
    return f"{mean} ({len(accuracies)})"


def judge_cell(
    cell: Cell,
    records: Sequence[RunRecord],
    baseline: CellBaseline | None,
    *,
    data_hash: str,
    seeds: Sequence[int],
    cells: int,
) -> Judgement:
    """Judge the records of one cell; without any, STALE is told all the same.

    Args:
        cell: what was planned.
        records: what came back of it, in any order.
        baseline: the stored values, None where there are none.
        data_hash: of the dataset as it is now.
        seeds: the runs that were planned.
        cells: how many cells the budget's whole matrix has, for the correction.
    """
    runs = tuple(sorted(records, key=lambda record: record.seed))
    compared = None if cell.is_search else baseline
    failure = _failure(runs) or _stale(cell, data_hash, compared)
    if failure:
        return Judgement(cell.key, *failure, runs, compared)
    back = [run.seed for run in runs]
    if back != sorted(seeds):
        message = f"{len(set(back) & set(seeds))} of {len(seeds)} planned runs came back"
        return Judgement(cell.key, Verdict.MISSING, message, runs, compared)
    if compared is None:
        message = "the recipe is overridden" if cell.is_search else "no baseline"
        return Judgement(cell.key, Verdict.NEW, message, runs)
    return _compare(cell, runs, compared, cells)


def _failure(records: Sequence[RunRecord]) -> tuple[Verdict, str] | None:
    for record in records:
        if record.status != "ok":
            return Verdict(record.status.upper()), f"seed {record.seed}: {record.message}"
    return None


def _stale(cell: Cell, data_hash: str, baseline: CellBaseline | None) -> tuple[Verdict, str] | None:
    if baseline is None:
        return None
    accept = "measure it again with --update-baselines"
    if baseline.recipe_hash != cell.recipe.hash():
        return Verdict.STALE, f"the recipe has changed since the baseline; {accept}"
    if baseline.data_hash != data_hash:
        return Verdict.STALE, f"the data have changed since the baseline; {accept}"
    return None


def _compare(
    cell: Cell, records: tuple[RunRecord, ...], baseline: CellBaseline, cells: int
) -> Judgement:
    chance = accuracy_tolerance(baseline.accuracies, len(records), baseline.test_images, cells)
    tolerance = 100 * chance
    judgement = Judgement(cell.key, Verdict.PASS, "", records, baseline, tolerance)
    difference = 100 * float(np.mean(judgement.accuracies) - np.mean(baseline.accuracies))
    if all(
        baseline.digest(record.seed, record.environment.key()) == record.digest
        for record in records
    ):
        return replace(judgement, verdict=Verdict.IDENTICAL)
    if difference < -max(tolerance, MIN_POINTS):
        return replace(
            judgement,
            verdict=Verdict.REGRESSED,
            message=f"{-difference:.2f} points lost; chance explains {tolerance:.2f}",
        )
    if difference > max(tolerance, MIN_POINTS):
        return replace(
            judgement,
            verdict=Verdict.IMPROVED,
            message=f"{difference:.2f} points gained; accept with fresh seeds: pytest benchmarks"
            f" --budget {cell.budget} --dataset {cell.dataset} -k {cell.id!r}"
            " --seeds 100-119 --update-baselines",
        )
    return judgement

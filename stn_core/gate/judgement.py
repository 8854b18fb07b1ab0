"""The verdict on a cell and the numbers behind it, and the seeds that are needed before it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stn_core.gate.baselines import CellBaseline
from stn_core.session.records import RunRecord

NO_BASELINE = "no baseline"
"""The message of a cell that is NEW because nothing is stored for it."""

LARGEST_DROP_POINTS = 100.0
"""The detectable drop of a cell that could miss any, even that of its whole accuracy."""


class Verdict(enum.StrEnum):
    """The verdicts on a cell, as the table shows them."""

    IDENTICAL = "PASS (identical)"
    PASS = "PASS"
    IMPROVED = "IMPROVED"
    NEW = "NEW"
    REGRESSED = "REGRESSED"
    STALE = "STALE"
    MISSING = "MISSING"
    DIVERGED = "DIVERGED"
    CRASHED = "CRASHED"
    BLIND = "BLIND"
    SKIPPED = "SKIPPED"

    @property
    def passes(self) -> bool:
        """Whether a session with this verdict may succeed."""
        return self in (
            Verdict.IDENTICAL,
            Verdict.PASS,
            Verdict.IMPROVED,
            Verdict.NEW,
            Verdict.SKIPPED,
        )


@dataclass(frozen=True)
class Judgement:
    """A cell's verdict and the numbers behind it.

    Args:
        key: ``budget/dataset/model``.
        verdict: the verdict.
        message: why, in one sentence; "" if the verdict needs no reason.
        records: the judged runs.
        baseline: what they were compared with, None if nothing.
        detectable_points: the smallest drop that would have been detected with 95 % power, None if
            nothing is compared.
        slowdown: training time divided by the baseline's on the same kind of device, None unless
            it is significantly longer.
    """

    key: str
    verdict: Verdict
    message: str = ""
    records: tuple[RunRecord, ...] = ()
    baseline: CellBaseline | None = None
    detectable_points: float | None = None
    slowdown: float | None = None

    @property
    def on_validation(self) -> bool:
        """Whether the accuracies are on validation images because the test set was not used."""
        return any(
            record.test_accuracy is None and record.status == "ok" for record in self.records
        )

    @property
    def accuracies(self) -> list[float]:
        """One value per good run, in [0, 1]: test accuracy, or validation accuracy in a search."""
        values = [
            record.validation_accuracy if self.on_validation else record.test_accuracy
            for record in self.records
            if record.status == "ok"
        ]
        return [value for value in values if value is not None]

    @property
    def difference_points(self) -> float | None:
        """Mean accuracy minus the baseline's, in points; None if nothing is compared."""
        compared = (Verdict.PASS, Verdict.IMPROVED, Verdict.REGRESSED, Verdict.BLIND)
        if self.baseline is None or self.verdict not in compared or not self.accuracies:
            return None  # no accuracies: the records of the runs are lost
        return 100 * float(np.mean(self.accuracies) - np.mean(self.baseline.accuracies))

    @property
    def line(self) -> str:
        """The judgement in one line."""
        parts = [self.key, accuracy_text(self.accuracies)]
        if self.on_validation:
            parts.append("on validation")
        if self.baseline:
            parts.append(f"baseline {accuracy_text(self.baseline.accuracies)}")
        seconds = sum(record.run_seconds for record in self.records)
        parts += [f"{self.verdict}{': ' if self.message else ''}{self.message}", f"{seconds:.1f} s"]
        return "  ".join(part for part in parts if part)


@dataclass(frozen=True)
class SeedsNeeded:
    """The answer of a judge that cannot judge a cell yet: some seeds must run first.

    Args:
        key: ``budget/dataset/model``.
        seeds: those that must run, in order.
        planned: how many runs the next look needs, including those that are there.
        records: the runs so far.
        baseline: what the cell will be compared with, None if nothing.
        reference_seeds: those that must run with the code of the compared commit.
    """

    key: str
    seeds: tuple[int, ...]
    planned: int
    records: tuple[RunRecord, ...] = ()
    baseline: CellBaseline | None = None
    reference_seeds: tuple[int, ...] = ()

    def closed(self, verdict: Verdict = Verdict.MISSING, message: str = "") -> Judgement:
        """The judgement if these seeds will never run.

        Args:
            verdict: MISSING, or CRASHED if it is known what stopped them.
            message: why; by default how many runs came back.
        """
        done = self.planned - len(self.seeds)
        if not (message or self.seeds):
            message = "a run of the commit that is compared with did not come back"
        message = message or f"{done} of {self.planned} planned runs came back"
        return Judgement(self.key, verdict, message, self.records, self.baseline)


def early_answer(judgement: Judgement, asked: Sequence[int]) -> Judgement | SeedsNeeded | None:
    """The answer as long as a requested seed failed or is missing; None once all succeeded."""
    runs = {record.seed: record for record in judgement.records}
    for record in (runs[seed] for seed in asked if seed in runs):
        if record.status != "ok":
            verdict, reason = Verdict(record.status.upper()), f"seed {record.seed}: "
            return replace(judgement, verdict=verdict, message=reason + record.message)
    missing = tuple(seed for seed in asked if seed not in runs)
    if not missing:
        return None
    return SeedsNeeded(judgement.key, missing, len(asked), judgement.records, judgement.baseline)


def accuracy_text(accuracies: Sequence[float]) -> str:
    """Accuracies in per cent as mean ± standard deviation (n)."""
    if not accuracies:
        return ""
    mean = f"{100 * float(np.mean(accuracies)):.2f}"
    if len(accuracies) > 1:
        mean += f" ± {100 * float(np.std(accuracies, ddof=1)):.2f}"
    return f"{mean} ({len(accuracies)})"

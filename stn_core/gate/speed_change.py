"""The training times of two sides that took turns on one machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stn_core.gate.groups import GroupJudgement
from stn_core.gate.judgement import Verdict
from stn_core.gate.metrics import MIN_SLOWDOWN
from stn_core.gate.statistics import t_isf
from stn_core.session.records import RunRecord


@dataclass(frozen=True)
class SpeedChange:
    """Training time divided by the other side's.

    Args:
        factor: geometric mean over cells.
        low, high: its 95 % interval over cells.
        cells: how many were timed on both sides.
    """

    factor: float
    low: float
    high: float
    cells: int

    @property
    def line(self) -> str:
        """The change in words."""
        return (
            f"training takes {self.factor:.2f} times as long (95 % interval {self.low:.2f} to"
            f" {self.high:.2f}, {self.cells} cells) as that"
        )

    @property
    def is_slower(self) -> bool:
        """Whether it is slower by more than machines with shared cores vary."""
        return self.low > 1 and self.factor >= MIN_SLOWDOWN

    def failure(self, revision: str) -> GroupJudgement:
        """The verdict if slower training fails the session."""
        return GroupJudgement("speed", Verdict.REGRESSED, f"{self.line} of {revision}")


def speed_change(
    fresh: Mapping[str, Sequence[RunRecord]], references: Mapping[str, Sequence[RunRecord]]
) -> SpeedChange | None:
    """The change over cells, from the seeds that both sides trained; None for fewer than two cells.

    Args:
        fresh, references: runs of each side by cell; those from a cache have no time.
    """
    logs = []
    for key, runs in fresh.items():
        others = {run.seed: run.train_seconds for run in references.get(key, ())}
        pairs = [
            math.log(run.train_seconds / others[run.seed])
            for run in runs
            if run.train_seconds > 0 and others.get(run.seed, 0.0) > 0
        ]
        if pairs:
            logs.append(float(np.mean(pairs)))
    if len(logs) < 2:
        return None
    mean, error = float(np.mean(logs)), float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    half = float(t_isf(0.025, len(logs) - 1)) * error
    low, high = math.exp(mean - half), math.exp(mean + half)
    return SpeedChange(math.exp(mean), low, high, len(logs))

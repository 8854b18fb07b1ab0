"""A cell on two sides: runs of this code, and runs of another commit trained beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stn_core.gate.baselines import baseline_run
from stn_core.gate.difference import side_spread
from stn_core.gate.metrics import AnyMetric
from stn_core.gate.statistics import FloatArray, Yardstick
from stn_core.session.records import RunRecord

StoredValues = Mapping[AnyMetric, Mapping[str, FloatArray]]
"""Badness of the stored runs by metric and cell, of cells that have two runs or more."""


@dataclass(frozen=True)
class OtherSide:
    """What a cell is compared with in place of a baseline.

    Args:
        key: the cell's.
        runs: the commit's good runs, in the order of the seeds.
        stored: says how far values lie apart over seeds, and nothing of where they lie.
    """

    key: str
    runs: tuple[RunRecord, ...]
    stored: StoredValues

    def yardstick(self, metric: AnyMetric, sides: Sequence[Sequence[RunRecord]]) -> Yardstick:
        """What the fresh runs are compared with: the commit's mean, and the spread of both sides.

        Args:
            metric: what is compared.
            sides: runs of the commit and fresh ones, as many of each.
        """
        images = sides[0][0].test_images
        values = [metric.badness([baseline_run(run) for run in side], images) for side in sides]
        floor = metric.least_deviation([baseline_run(run) for run in sides[0]], images)
        others = dict(self.stored[metric])
        own = others.pop(self.key, None)
        deviation, degrees = side_spread(values, floor, own, list(others.values()))
        return Yardstick(float(np.mean(values[0])), deviation, degrees, len(values[0]))

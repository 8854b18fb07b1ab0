"""The runs of another commit that a cell is compared with, trained in the same session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stn_core.gate.baselines import baseline_run
from stn_core.gate.difference import OverSeeds, side_spread
from stn_core.gate.metrics import AnyMetric
from stn_core.gate.statistics import Yardstick
from stn_core.session.records import RunRecord

StoredSpreads = Mapping[AnyMetric, Mapping[str, OverSeeds]]
"""Of the badness of stored runs by metric and cell, for cells with two or more runs."""


@dataclass(frozen=True)
class OtherSide:
    """The commit's side of a comparison, in place of a baseline.

    Args:
        key: the cell's.
        runs: the commit's good runs, in the order of the seeds.
        stored: spreads that inform that of this cell.
    """

    key: str
    runs: tuple[RunRecord, ...]
    stored: StoredSpreads

    def yardstick(self, metric: AnyMetric, sides: Sequence[Sequence[RunRecord]]) -> Yardstick:
        """The yardstick of the fresh runs: the commit's mean, and the spread of both sides.

        Args:
            metric: the metric.
            sides: runs of the commit, and equally many fresh ones.
        """
        images = sides[0][0].test_images
        values = [metric.badness([baseline_run(run) for run in side], images) for side in sides]
        floor = metric.least_deviation([baseline_run(run) for run in sides[0]], images)
        others = dict(self.stored[metric])
        own = others.pop(self.key, None)
        deviation, degrees = side_spread(values, floor, own, list(others.values()))
        return Yardstick(float(np.mean(values[0])), deviation, degrees, len(values[0]))

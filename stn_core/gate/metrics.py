"""The metrics that a run is judged by: accuracy, loss, and speed on request."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stn_core.gate.baselines import BaselineRun
from stn_core.gate.statistics import log_error, log_error_floor, log_loss, log_loss_floor
from stn_core.session.metrics import MetricInfo

MIN_DROP_POINTS = 0.3
"""A smaller difference in accuracy is neither a regression nor an improvement, however certain."""
MIN_LOSS_RISE = 1.05
"""The same for the test loss, as a factor."""
MIN_SLOWDOWN = 1.25
"""The same for training time, as a factor: machines with shared cores vary by as much."""
LEAST_JITTER = 0.01
"""The least standard deviation of the logarithm of a training time."""


class Metric(enum.StrEnum):
    """A number of a run, on a logarithmic scale on which more is worse."""

    ACCURACY = "accuracy"
    LOSS = "loss"
    SPEED = "speed"

    def is_known(self, runs: Sequence[BaselineRun]) -> bool:
        """Whether every run has a value."""
        return True

    def badness(self, runs: Sequence[BaselineRun], test_images: int) -> NDArray[np.float64]:
        """The runs' values: the logarithm of the error rate, of the loss, of the seconds."""
        if self is Metric.ACCURACY:
            return log_error([run.accuracy for run in runs], test_images)
        if self is Metric.LOSS:
            return log_loss([run.cross_entropy for run in runs])
        return np.log([max(run.train_seconds, 0.01) for run in runs])

    def least_deviation(self, runs: Sequence[BaselineRun], test_images: int) -> float:
        """The least credible standard deviation of these runs over seeds."""
        accuracy = float(np.mean([run.accuracy for run in runs]))
        if self is Metric.ACCURACY:
            return log_error_floor(accuracy, test_images)
        return log_loss_floor(accuracy, test_images) if self is Metric.LOSS else LEAST_JITTER

    def least_rise(self, mean: float, min_drop_points: float) -> float:
        """The smallest rise in badness from a baseline's mean that matters in practice."""
        if self is Metric.ACCURACY:
            return math.log1p(min_drop_points / 100 / math.exp(mean))
        return math.log(MIN_LOSS_RISE if self is Metric.LOSS else MIN_SLOWDOWN)

    def change(self, stored: NDArray[np.float64], fresh: NDArray[np.float64]) -> float:
        """How much worse fresh values are on average, in the unit of `in_words`.

        Lost points of accuracy; for other metrics the logarithm of a factor. The images that
        `log_error` adds cancel out.
        """
        if self is Metric.ACCURACY:
            return 100 * float(np.mean(np.exp(fresh)) - np.mean(np.exp(stored)))
        return float(np.mean(fresh) - np.mean(stored))

    def least_group_change(self, min_drop_points: float) -> float:
        """The smallest `change` of a group's mean that matters in practice: half a cell's."""
        if self is Metric.ACCURACY:
            return min_drop_points / 2
        return math.log(MIN_LOSS_RISE if self is Metric.LOSS else MIN_SLOWDOWN) / 2

    def in_words(self, change: float) -> str:
        """A `change` in words: "0.42 points lost", "test loss 12 % higher"."""
        if self is Metric.ACCURACY:
            return f"{abs(change):.2f} points {'gained' if change < 0 else 'lost'}"
        if self is Metric.LOSS:
            higher = math.expm1(change)
            return f"test loss {100 * abs(higher):.0f} % {'higher' if higher > 0 else 'lower'}"
        return f"training took {math.exp(change):.2f} times as long as stored"

    def baseline_in_words(self, runs: Sequence[BaselineRun], mean: float, limit: float) -> str:
        """The baseline and its limit in words: "baseline 97.95 %, limit 0.84 points".

        Args:
            runs: the baseline's.
            mean: of their badness.
            limit: the largest rise of the mean badness that passes.
        """
        limit = min(limit, 30.0)  # with too few stored runs nothing is large enough
        if self is Metric.ACCURACY:
            accuracy = 100 * float(np.mean([run.accuracy for run in runs]))
            points = min(100 * math.exp(mean) * math.expm1(limit), 100.0)
            return f"baseline {accuracy:.2f} %, limit {points:.2f} points"
        if self is Metric.LOSS:
            loss = float(np.mean([run.cross_entropy for run in runs]))
            return f"baseline {loss:.4f}, limit {100 * math.expm1(limit):.0f} %"
        seconds = float(np.mean([run.train_seconds for run in runs]))
        return f"baseline {seconds:.1f} s, limit {math.exp(limit):.2f} times"


@dataclass(frozen=True)
class RegisteredMetric:
    """A registered metric, on a scale on which more is worse, like `Metric`.

    Shares are compared like accuracy, by the logarithm of 1 minus the share; other values as they
    are.

    Args:
        info: the registered metric.
    """

    info: MetricInfo

    @property
    def value(self) -> str:
        """Its name."""
        return self.info.name

    def is_known(self, runs: Sequence[BaselineRun]) -> bool:
        """Whether every run has a value."""
        return bool(runs) and all(self.value in run.metrics for run in runs)

    def badness(self, runs: Sequence[BaselineRun], test_images: int) -> NDArray[np.float64]:
        """The runs' values on the scale; errors as of `check`."""
        self.check(runs)
        values = np.array([run.metrics[self.value] for run in runs], dtype=np.float64)
        if self.info.is_share:
            return log_error(values, test_images)
        return -values if self.info.higher_is_better else values

    def check(self, runs: Sequence[BaselineRun], where: str = "") -> None:
        """Check that the runs were measured when the metric had the scale that it has now.

        Raises:
            UsageError: a value is not on the scale; the line begins with `where`.
        """
        for run in runs:
            if self.value in run.metrics:
                self.info.check(run.metrics[self.value], where)

    def least_deviation(self, runs: Sequence[BaselineRun], test_images: int) -> float:
        """The least credible standard deviation of these runs over seeds."""
        if self.info.is_share:
            share = float(np.mean([run.metrics[self.value] for run in runs]))
            return log_error_floor(min(share, 1.0), test_images)
        return self.info.floor / 4

    def least_rise(self, mean: float, min_drop_points: float) -> float:
        """The smallest rise in badness from a baseline's mean that matters in practice."""
        if self.info.is_share:
            return math.log1p(self.info.floor / math.exp(mean))
        return self.info.floor

    def change(self, stored: NDArray[np.float64], fresh: NDArray[np.float64]) -> float:
        """How much worse fresh values are on average, in the unit of `in_words`."""
        return float(np.mean(fresh) - np.mean(stored))

    def least_group_change(self, min_drop_points: float) -> float:
        """The smallest `change` of a group's mean that matters in practice."""
        return (math.log(MIN_LOSS_RISE) if self.info.is_share else self.info.floor) / 2

    def in_words(self, change: float) -> str:
        """A `change` in words."""
        name = self.value.replace("_", " ")
        if self.info.is_share:
            lack = math.expm1(change)
            way = "further from" if lack > 0 else "closer to"
            return f"{name} {100 * abs(lack):.0f} % {way} 1"
        is_higher = (change > 0) != self.info.higher_is_better
        return f"{name} {abs(change):.4g} {'higher' if is_higher else 'lower'}"

    def baseline_in_words(self, runs: Sequence[BaselineRun], mean: float, limit: float) -> str:
        """The baseline and its limit in words, as for `Metric`."""
        stored = float(np.mean([run.metrics[self.value] for run in runs]))
        limit = min(limit, 30.0)
        text = f"{100 * math.expm1(limit):.0f} %" if self.info.is_share else f"{limit:.4g}"
        return f"baseline {stored:.4f}, limit {text}"


AnyMetric = Metric | RegisteredMetric
VALUES = (Metric.ACCURACY, Metric.LOSS)
"""The metrics that a digest covers; it does not cover speed."""

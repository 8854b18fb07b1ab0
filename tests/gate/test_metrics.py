"""The metrics that can fail a cell: their scales and their floors."""

import dataclasses

import numpy as np
import pytest

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines
from stn_core.gate.metrics import Metric, RegisteredMetric
from stn_core.gate.rules import Rules
from stn_core.session.metrics import PLAIN, MetricInfo
from tests.examples import baseline

PLAIN_METRIC = MetricInfo("error", higher_is_better=False, floor=0.1, scale=PLAIN)


def test_every_metric_has_a_spread_even_where_the_runs_have_none():
    perfect = baseline([1.0] * 5)
    for metric in Metric:
        assert metric.least_deviation(perfect.runs, 500) > 0
        assert np.isfinite(metric.badness(perfect.runs, 500)).all()


@pytest.mark.parametrize("metric", [Metric.LOSS, Metric.SPEED, RegisteredMetric(PLAIN_METRIC)])
def test_the_floor_of_a_group_is_half_of_a_cell_s(metric):
    (run,) = baseline([0.9]).runs
    stored = metric.badness([dataclasses.replace(run, metrics={"error": 0.5})], 500)
    fresh = stored + metric.least_rise(float(stored[0]), 0.3) / 2
    assert metric.change(stored, fresh) == pytest.approx(metric.least_group_change(0.3))


@pytest.mark.parametrize("value", [-0.01, 1.01, 5.0])
def test_a_stored_value_that_is_not_on_the_scale_of_its_metric_is_refused(value):
    """A metric that was registered with another scale when the baseline was measured."""
    share = MetricInfo("error")
    cell = baseline([0.9, 0.91])
    runs = tuple(dataclasses.replace(run, metrics={"error": value}) for run in cell.runs)
    stored = Baselines({"smoke/digits/stn": dataclasses.replace(cell, runs=runs)}, {})
    message = f"the baseline of smoke/digits/stn: the metric error is {value:g}, not a share from 0"
    with pytest.raises(UsageError, match=message):
        Rules((0,), (1,), 1, metrics=(share,)).check_stored(stored, "smoke")
    with pytest.raises(UsageError, match="the metric error is"):
        RegisteredMetric(share).badness(runs, 500)
    Rules((0,), (1,), 1, metrics=(share,)).check_stored(stored, "quick")
    Rules((0,), (1,), 1, metrics=(PLAIN_METRIC,)).check_stored(stored, "smoke")

"""The metrics that can fail a cell have a finite scale."""

import numpy as np

from stn_core.gate.metrics import Metric
from tests.examples import baseline


def test_every_metric_has_a_spread_even_where_the_runs_have_none():
    perfect = baseline([1.0] * 5)
    for metric in Metric:
        assert metric.least_deviation(perfect.runs, 500) > 0
        assert np.isfinite(metric.badness(perfect.runs, 500)).all()

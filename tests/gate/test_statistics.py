"""The tolerance keeps its promise on values for which the promise can be computed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stn_core.gate import statistics
from stn_core.gate.statistics import accuracy_tolerance, sampling_deviation


@given(accuracy=st.floats(0, 1), images=st.integers(1, 10**6))
def test_sampling_deviation_is_never_zero(accuracy, images):
    assert 0.5 / images <= sampling_deviation(accuracy, images) * math.sqrt(images) <= 1


def test_sampling_deviation_is_the_published_rule():
    # 0.06 points at 0.7 % error, 0.17 at 6 %, on 10,000 images; the rule is quoted to 2 digits.
    assert 100 * sampling_deviation(0.993, 10_000) == pytest.approx(0.06, abs=0.005)
    assert 100 * sampling_deviation(0.94, 10_000) == pytest.approx(0.17, abs=0.005)


@given(runs=st.integers(2, 30), candidates=st.integers(1, 10), cells=st.integers(1, 100))
def test_more_evidence_narrows_and_more_questions_widen(runs, candidates, cells):
    values = list(np.linspace(0.90, 0.95, runs))
    tolerance = accuracy_tolerance(values, candidates, 500, cells)
    assert 0 < accuracy_tolerance(values, candidates + 1, 500, cells) < tolerance
    assert accuracy_tolerance(values, candidates, 500, cells + 1) > tolerance


@pytest.mark.parametrize("values", [[0.9, 0.9], [1.0, 1.0, 1.0], [0.0, 0.0]])
def test_values_without_spread_still_have_a_tolerance(values):
    assert accuracy_tolerance(values, 3, 500, 18) > 0


def test_false_alarms_are_as_rare_as_promised(monkeypatch):
    """20,000 null comparisons of 3 runs with 20, at a rate that can be counted."""
    monkeypatch.setattr(statistics, "SESSION_FALSE_ALARM_RATE", 0.05)
    draws = np.random.default_rng(0).normal(0.9, 0.02, (20_000, 23))
    alarms = sum(
        np.mean(row[20:]) < np.mean(row[:20]) - accuracy_tolerance(row[:20], 3, 10**9, 1)
        for row in draws
    )
    low, high = stats.binomtest(int(alarms), len(draws)).proportion_ci(0.999)
    assert low <= 0.05 <= high

"""Uniform numbers turned into others: in their range, in their shares, and always finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from stn_core.datasets.distortions.unit_numbers import between, normal, whole

LARGEST = 1 - 2.0**-53
UNIT = st.floats(0, LARGEST)
EVEN = (np.arange(600) + 0.5) / 600


@given(UNIT, st.integers(1, 2**40))
def test_whole_numbers_stay_below_their_count(unit: float, count: int) -> None:
    assert 0 <= whole(np.array([unit]), count)[0] < count


@pytest.mark.parametrize("count", [1, 3, 7, 2**31 + 1, 3 * 2**40])
def test_the_largest_uniform_number_is_the_last_whole_one(count: int) -> None:
    assert whole(np.array([LARGEST]), count)[0] == count - 1


def test_a_choice_among_none_is_the_first() -> None:
    assert whole(np.array([0.0, LARGEST]), 0).tolist() == [0, 0]


def test_whole_numbers_come_in_equal_shares() -> None:
    assert np.bincount(whole(EVEN, 6)).tolist() == [100] * 6


def test_numbers_between_two_ends_come_in_equal_shares() -> None:
    made = between(EVEN, -0.5, 1.0)
    np.testing.assert_allclose(np.diff(made), 1.5 / 600, rtol=1e-9)  # float64's own roundings
    assert made[0] == pytest.approx(-0.5 + 1.5 / 1200)


def test_normal_numbers_are_the_quantiles() -> None:
    np.testing.assert_allclose(norm.cdf(normal(EVEN)), EVEN, rtol=1e-12)  # two special functions
    assert normal(np.array([0.5]))[0] == 0.0


def test_the_ends_are_finite() -> None:
    assert np.isfinite(normal(np.array([0.0, LARGEST]))).all()

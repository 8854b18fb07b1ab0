"""McNemar's test and the interval of a paired difference, against counting by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stn_core.gate.paired import PairedCounts


def test_pairs_are_counted_by_who_is_right():
    first = np.array([True, True, False, False, True])
    second = np.array([True, False, True, False, False])
    assert PairedCounts.of(first, second) == PairedCounts(5, only_first=2, only_second=1)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (0, 6), (3, 5), (4, 4), (9, 1)])
def test_the_p_value_is_that_of_all_exchanges_of_the_models(only_first, only_second):
    """Without a difference each image that tells them apart is as likely to favour the other."""
    marks = [1] * only_second + [-1] * only_first
    sums = [
        abs(sum(sign * mark for sign, mark in zip(signs, marks, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(marks))
    ]
    expected = np.mean([found >= abs(only_second - only_first) for found in sums])
    assert PairedCounts(100, only_first, only_second).p_value == pytest.approx(expected)


@pytest.mark.parametrize("shares", [(0.01, 0.01), (0.02, 0.05), (0.001, 0.02), (0.3, 0.1)])
def test_the_interval_misses_no_more_often_than_it_says(shares):
    """Its exact coverage: the chance of every count of 150 images."""
    images, missed = 150, 0.0
    law = stats.multinomial(images, [*shares, 1 - sum(shares)])
    for first in range(images + 1):
        for second in range(images + 1 - first):
            chance = law.pmf([first, second, images - first - second])
            if chance > 1e-12:
                found = PairedCounts(images, first, second).difference(0.05)
                missed += chance * (not found.low <= shares[1] - shares[0] <= found.high)
    assert missed < 0.06


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60))
def test_exchanging_the_models_negates_the_difference(first, second, others):
    images = first + second + others
    one = PairedCounts(images, first, second)
    other = PairedCounts(images, second, first)
    assert one.p_value == pytest.approx(other.p_value)
    found, opposite = one.difference(0.05), other.difference(0.05)
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert found.estimate == -opposite.estimate
    assert (found.low, found.high) == pytest.approx((-opposite.high, -opposite.low))

"""McNemar's test and the interval of a paired difference, against counting by hand."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from stn_core.gate.paired import PairedCounts


def test_pairs_are_counted_by_who_is_right():
    first = np.array([True, True, False, False, True])
    second = np.array([True, False, True, False, False])
    assert PairedCounts.of(first, second) == PairedCounts(5, only_first=2, only_second=1)


def most_likely(counts, difference):
    """The likeliest shares with this difference, by trying all: those that one model gets right."""
    others = counts.images - counts.only_first - counts.only_second

    def surprise(first):
        shares = np.array([first, first + difference, 1 - 2 * first - difference])
        counted = np.array([counts.only_first, counts.only_second, others])
        return -special.xlogy(counted, np.maximum(shares, 1e-300)).sum()

    least, most = max(0.0, -difference), (1 - difference) / 2
    found = optimize.minimize_scalar(
        surprise, bounds=(least, most), method="bounded", options={"xatol": 1e-12}
    )
    return found.x, found.x + difference


@pytest.mark.parametrize(
    ("images", "only_first", "only_second"),
    [(50, 1, 7), (50, 7, 1), (50, 0, 4), (200, 30, 12), (1797, 20, 35), (10, 4, 5)],
)
def test_the_ends_of_the_interval_are_where_the_score_is_at_its_quantile(
    images, only_first, only_second
):
    """With the variance of the likeliest shares that have the difference."""
    counts = PairedCounts(images, only_first, only_second)
    found = counts.difference(0.05)
    for end, quantile in ((found.low, 1.96), (found.high, -1.96)):
        shares = most_likely(counts, end)
        deviation = math.sqrt((sum(shares) - end**2) / images)
        assert (found.estimate - end) / deviation == pytest.approx(quantile, abs=1e-3)


def test_the_interval_is_the_published_one_of_an_example():
    """Of 21 patients 1 and 7 changed (Fagerland, Lydersen and Laake 2014, Statist. Med. 33)."""
    found = PairedCounts(21, only_first=7, only_second=1).difference(0.05)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_without_disagreement_the_ends_are_those_of_wilsons_interval():
    found = PairedCounts(150, 0, 0).difference(0.05)
    end = 1.959964**2 / (150 + 1.959964**2)
    assert (found.low, found.estimate, found.high) == pytest.approx((-end, 0.0, end))


def test_a_difference_of_all_images_ends_at_one():
    found = PairedCounts(10, 0, 10).difference(0.05)
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert 0.4 < found.low < 0.5


@pytest.mark.parametrize("level", [0.05, 0.005])
@pytest.mark.parametrize(
    "shares", [(0.01, 0.01), (0.02, 0.05), (0.001, 0.02), (0.3, 0.1), (0, 0.03)]
)
def test_the_interval_misses_no_more_often_than_it_says(shares, level):
    """Its exact coverage: the chance of every count of 150 images."""
    images, missed = 150, 0.0
    law = stats.multinomial(images, [*shares, 1 - sum(shares)])
    for first in range(images + 1):
        for second in range(images + 1 - first):
            chance = law.pmf([first, second, images - first - second])
            if chance > 1e-9:
                found = PairedCounts(images, first, second).difference(level)
                missed += chance * (not found.low <= shares[1] - shares[0] <= found.high)
    assert missed < 1.2 * level


@pytest.mark.parametrize("differing", [2, 5, 10, 20, 24.5, 50])
def test_equal_models_are_called_different_no_more_often_than_the_level_says(differing):
    """Exactly, over every number of images that tell them apart, Poisson with this mean."""
    false_alarms = 0.0
    for count in range(1, int(2 * differing) + 40):
        halves = stats.binom.pmf(range(count + 1), count, 0.5)
        alarms = [PairedCounts(10_000, n, count - n).p_value < 0.05 for n in range(count + 1)]
        false_alarms += stats.poisson.pmf(count, differing) * halves[alarms].sum()
    assert false_alarms < 0.0535


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 400), st.sampled_from([0.05, 0.005]))
@example(1, 7, 42, 0.05)
def test_the_interval_excludes_0_exactly_where_the_p_value_is_below_its_level(
    first, second, others, level
):
    """1 against 7 of 50 images, say: p was 0.07, and the interval above 0."""
    counts = PairedCounts(first + second + others, first, second)
    found = counts.difference(level)
    assert (found.sign != 0) == (counts.p_value < level)
    assert found.sign in (0, np.sign(second - first))


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

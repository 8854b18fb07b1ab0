"""Intervals of all pairs: those of an independent implementation, and wide enough."""

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stn_core.gate.all_pairs import differences_of_all_pairs, seeds_to_settle
from stn_core.gate.intervals import MOST_SEEDS, Spread, error_of_difference
from stn_core.gate.statistics import sampling_deviation
from tests.nightly import mostly_nightly

POOL = Path(__file__).with_name("pool.json.gz")


def tiny(values):
    return dict.fromkeys(values, 1e-9)


@pytest.mark.parametrize(
    ("models", "runs"), mostly_nightly([(2, 2), (3, 3), (4, 5)], on_every_run=[(2, 2)])
)
def test_intervals_of_equal_spreads_equal_scipys(models, runs):
    """The same deviations about other means: no variance is below the common one."""
    rng = np.random.default_rng(models)
    deviations = rng.normal(size=runs)
    deviations -= deviations.mean()
    values = {f"m{n}": deviations * (-1) ** n + n**2 for n in range(models)}
    intervals = stats.tukey_hsd(*values.values(), equal_var=False).confidence_interval(0.95)
    found = differences_of_all_pairs(values, tiny(values))
    assert len(found) == models * (models - 1) // 2
    for (first, second), difference in found.items():
        place = int(first[1:]), int(second[1:])
        assert difference.estimate == pytest.approx(place[0] ** 2 - place[1] ** 2)
        # Interpolated between degrees, within a thousandth of the half width.
        width = intervals.high[place] - intervals.low[place]
        assert difference.low == pytest.approx(intervals.low[place], abs=1e-3 * width)
        assert difference.high == pytest.approx(intervals.high[place], abs=1e-3 * width)


@pytest.mark.parametrize(
    ("models", "runs"), mostly_nightly([(9, 20), (20, 3)], on_every_run=[(9, 20)])
)
def test_the_width_for_many_models_is_that_of_scipys_distribution(models, runs):
    """Games and Howell's; `tukey_hsd` would compute the same quantile for each pair."""
    deviations = np.random.default_rng(models).normal(size=runs)
    values = {f"m{n}": deviations + n for n in range(models)}
    error = np.sqrt(np.var(deviations, ddof=1) / runs)
    half = stats.studentized_range.ppf(0.95, models, 2 * (runs - 1)) * error
    for difference in differences_of_all_pairs(values, tiny(values)).values():
        assert difference.high - difference.estimate == pytest.approx(half, rel=2e-3)
        assert difference.estimate - difference.low == pytest.approx(half, rel=2e-3)


def test_no_standard_error_is_smaller_than_welchs_or_than_the_floor_says():
    rng = np.random.default_rng(1)
    values = [rng.normal(size=size) for size in (2, 4, 7, 20)]
    for first, second in itertools.combinations(values, 2):
        spreads = [Spread(float(np.var(one, ddof=1)), len(one), 1e-9) for one in (first, second)]
        error, _ = error_of_difference(*spreads)
        welch = np.sqrt(sum(np.var(one, ddof=1) / len(one) for one in (first, second)))
        assert error >= welch * (1 - 1e-12)
    constant = {"a": [1.0] * 5, "b": [1.1] * 5}
    floored = differences_of_all_pairs(constant, dict.fromkeys(constant, 1.0))["a", "b"]
    normal = stats.norm.isf(0.025) * np.sqrt(2 / 5)
    assert floored.high - floored.low > 2 * normal


def test_without_any_spread_there_is_no_interval():
    lonely = differences_of_all_pairs({"a": [1.0], "b": [2.0]}, {"a": 0.1, "b": 0.1})
    assert lonely["a", "b"].estimate == -1
    assert np.isnan(lonely["a", "b"].low)


@pytest.mark.nightly
def test_all_intervals_of_unchanged_models_hold_in_95_of_100_datasets():
    """Real accuracies less their mean, so that every true difference is 0: 18 datasets in turn.

    600 families of 9 models; 5 % are 30 misses, and 47 are exceeded by 1e-3 of chance.
    """
    cells = json.loads(gzip.decompress(POOL.read_bytes()))["cells"].values()
    accuracies = [100 * np.array(cell["accuracy"]) for cell in cells]
    floors = [
        100 * sampling_deviation(float(np.mean(cell["accuracy"])), cell["test_images"])
        for cell in cells
    ]
    rng = np.random.default_rng(5)
    missed = {}
    for runs in (3, 5, 10):
        missed[runs] = 0
        for _ in range(200):
            chosen = rng.permutation(len(accuracies))[:9]
            values = {
                str(n): rng.choice(accuracies[n] - accuracies[n].mean(), runs) for n in chosen
            }
            found = differences_of_all_pairs(values, {str(n): floors[n] for n in chosen})
            missed[runs] += any(one.sign for one in found.values())
    assert sum(missed.values()) <= 47, missed


@pytest.mark.parametrize(
    ("distance", "sizes", "margin"),
    [(0.3, (5, 5), None), (0.3, (5, 20), None), (0.3, (5, 5), 0.8), (0.3, (5, 5), 0.1)],
    ids=["differ", "one has more", "within the margin", "differ before they fit the margin"],
)
def test_seeds_that_would_settle_a_pair_settle_it_and_one_less_does_not(distance, sizes, margin):
    def stretched(mean, size, variance=1.0):
        """So many values with this mean and variance."""
        grid = np.linspace(-1.0, 1.0, size)
        return mean + grid * np.sqrt(variance / np.var(grid, ddof=1))

    def interval(runs):
        values = {
            "a": stretched(distance, max(runs, sizes[0])),
            "b": stretched(0.0, max(runs, sizes[1])),
            "c": [0, 1],
            "d": [0, 1],
        }
        return differences_of_all_pairs(values, dict.fromkeys("abcd", 0.1))["a", "b"]

    def is_settled(runs):
        found = interval(runs)
        return found.sign or (margin and -margin <= found.low and found.high <= margin)

    samples = [stretched(mean, size) for mean, size in zip((distance, 0.0), sizes, strict=True)]
    needed = seeds_to_settle(*samples, (0.1, 0.1), margin, models=4)
    assert needed
    assert needed > min(sizes)
    assert is_settled(needed)
    assert not is_settled(needed - 1)


def test_a_pair_that_no_number_of_seeds_settles_has_none():
    assert seeds_to_settle([0.0, 1.0], [0.0, 1.0], (0.1, 0.1), models=2) is None
    assert seeds_to_settle([0.0, 1.0], [0.0, 1.0], (0.1, 0.1), 1e-6, models=2) is None
    assert seeds_to_settle([0.0], [1.0], (0.1, 0.1), 1.0, models=2) is None
    assert MOST_SEEDS >= 100


def test_exchanging_the_models_negates_the_difference():
    values = {"a": [1.0, 2.0, 4.0], "b": [2.0, 2.5], "c": [0.0, 0.1, 0.3, 0.2]}
    for first, second in itertools.combinations("abc", 2):
        turned = differences_of_all_pairs(dict(reversed(values.items())), tiny(values))
        there = differences_of_all_pairs(values, tiny(values))[first, second]
        back = turned[second, first]
        assert (there.low, there.high) == pytest.approx((-back.high, -back.low))

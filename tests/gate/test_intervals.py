"""An interval of a difference of means holds the true one as often as it says."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stn_core.gate.intervals import (
    MODERATED_FROM,
    Difference,
    Spread,
    difference_of_means,
    margin,
    moderated_spreads,
    satterthwaite,
)
from stn_core.gate.statistics import sampling_deviation
from tests.nightly import mostly_nightly

POOL = Path(__file__).with_name("pool.json.gz")
CELLS = 18
LEVEL = 0.05 / CELLS
SIZES = [(2, 2), (3, 3), (5, 3), (20, 2), (20, 3), (20, 10), (20, 20)]
samples = st.lists(st.floats(0, 100), min_size=1, max_size=6)


@given(samples, samples, st.floats(0.01, 1), st.floats(0.01, 1))
def test_exchanging_the_samples_only_changes_the_sign(first, second, one, other):
    there = difference_of_means(first, second, (one, other), LEVEL)
    back = difference_of_means(second, first, (other, one), LEVEL)
    assert back.sign == -there.sign
    assert there.estimate == -back.estimate
    if len(first) + len(second) > 2:
        assert (there.low, there.high) == (-back.high, -back.low)
        assert there.low < there.estimate < there.high
    else:
        assert all(map(math.isnan, (there.low, there.high, back.low, back.high)))


@given(samples, st.floats(-50, 50), st.floats(0.1, 10))
def test_the_interval_moves_and_grows_with_the_values(first, shift, scale):
    """Values beside a fixed sample, all moved and stretched; tolerance: sums of ten numbers."""
    second = [10.0, 12.0, 11.0]
    plain = difference_of_means(first, second, (0.5, 0.25), LEVEL)
    other = difference_of_means(
        [scale * (value + shift) for value in first],
        [scale * (value + shift) for value in second],
        (0.5 * scale, 0.25 * scale),
        LEVEL,
    )
    for end in ("estimate", "low", "high"):
        expected = scale * getattr(plain, end)
        assert getattr(other, end) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_two_samples_of_one_spread_and_size_have_students_interval():
    """There Welch and Student agree, so scipy's own t test is the oracle."""
    first, second = [1.0, 2.0, 3.0], [7.0, 5.0, 6.0]
    found = difference_of_means(first, second, (0.01, 0.01), 0.05)
    expected = stats.ttest_ind(second, first).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-12)


def test_the_less_steady_sample_is_taken_as_it_is_and_the_steadier_one_raised():
    first, second = Spread(1.0, 5, 0.01), Spread(9.0, 5, 0.01)
    parts = np.array([5.0, 9.0]) / 5  # 5 is what the two have in common
    degrees = satterthwaite(parts[0], parts[1], 4, 4)
    expected = stats.t.isf(0.025, degrees) * np.sqrt(parts.sum())
    assert margin(first, second, 0.05) == pytest.approx(expected, rel=1e-12)


def test_constant_values_are_as_uncertain_as_their_floors():
    found = difference_of_means([90.0] * 3, [90.0] * 3, (0.5, 0.5), 0.05)
    half = stats.t.isf(0.025, 4) * 0.5 * math.sqrt(2 / 3)
    assert (found.low, found.high) == pytest.approx((-half, half))


def test_a_single_value_is_as_uncertain_as_the_others():
    """The interval is then that in which one more value of the same kind is expected."""
    many = [90.0, 91.0, 92.0, 95.0]
    found = difference_of_means(many, [97.0], (0.01, 0.01), 0.05)
    half = stats.t.isf(0.025, 3) * np.std(many, ddof=1) * math.sqrt(1 + 1 / 4)
    assert (found.low, found.high) == pytest.approx((5 - half, 5 + half))


@pytest.mark.parametrize(
    ("difference", "sign"),
    [((1, 0.5, 1.5), 1), ((-1, -1.5, -0.5), -1), ((1, -1, 3), 0), ((1, math.nan, math.nan), 0)],
)
def test_the_sign_is_that_of_the_whole_interval(difference, sign):
    assert Difference(*difference).sign == sign


def test_another_scale_maps_every_number():
    assert Difference(1, 0, 2).mapped(lambda value: 10 * value) == Difference(10, 0, 20)


def missed(first, second, floors, shift=0.0):
    """The share of families, (families, cells, runs), of which an interval misses the shift."""
    spreads = [
        Spread(values.var(axis=-1, ddof=1), values.shape[-1], floors) for values in (first, second)
    ]
    error = second.mean(axis=-1) - first.mean(axis=-1) - shift
    return np.mean(np.any(np.abs(error) > margin(*spreads, LEVEL), axis=-1))


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("sizes", SIZES)
def test_all_intervals_of_a_family_hold_in_95_percent(sizes, ratio):
    """18 normal cells, 3,000 times; 5 % of that are 150, and 190 are exceeded by 5e-4 of chance."""
    rng = np.random.default_rng(5)
    first, second = (rng.normal(size=(3000, CELLS, runs)) for runs in sizes)
    assert missed(first, 2.0 + ratio * second, 1e-9, shift=2.0) <= 190 / 3000


def test_the_intervals_of_many_values_are_no_wider_than_they_must():
    """Raised variances cost nearly nothing there: 1.5 % are half of the 3 % that are measured."""
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(2, 3000, CELLS, 20))
    assert missed(first, second, 1e-9) >= 0.015


@pytest.mark.parametrize("sizes", SIZES)
def test_no_difference_is_found_between_real_runs_of_one_kind(sizes):
    """Accuracies in points, resampled of 60 seeds of each core smoke cell; 190 as above."""
    with gzip.open(Path(__file__).with_name("pool.json.gz"), "rt", encoding="utf-8") as file:
        cells = list(json.load(file)["cells"].values())
    accuracies = np.array([cell["accuracy"] for cell in cells])
    means = accuracies.mean(axis=-1)
    least = [
        100 * sampling_deviation(mean, cell["test_images"])
        for mean, cell in zip(means, cells, strict=True)
    ]
    rng = np.random.default_rng(7)
    first, second = (
        np.stack([rng.choice(100 * cell, (3000, runs)) for cell in accuracies], axis=1)
        for runs in sizes
    )
    assert missed(first, second, np.array(least)) <= 190 / 3000


def test_moderated_spreads_move_towards_each_other_in_units_of_their_floors():
    floors = dict(zip("abcdef", (0.5, 1.0, 2.0, 4.0, 8.0, 1.0), strict=True))
    factors = dict(zip("abcdef", (2, 5, 3, 8, 4, 6), strict=True))
    normal = stats.norm.isf((np.arange(MODERATED_FROM) + 0.5) / MODERATED_FROM)
    values = {name: floors[name] * factors[name] * normal for name in floors}
    values["f"] = values["f"][1:]  # too few to be moderated
    found = moderated_spreads(values, floors)
    own = [np.var(values[name], ddof=1) / floors[name] ** 2 for name in "abcde"]
    moderated = [found[name].variances / floors[name] ** 2 for name in "abcde"]
    assert np.array_equal(np.argsort(own), np.argsort(moderated))
    assert min(own) < min(moderated) < max(moderated) < max(own)
    assert all(found[name].borrowed > 0 for name in "abcde")
    alone = np.var(values["f"], ddof=1)
    assert found["f"] == Spread(pytest.approx(alone), len(values["f"]), 1.0, borrowed=0.0)


def test_samples_too_small_to_be_moderated_do_not_change_others():
    """Three runs near chance on one dataset, say, the intervals of all the others."""
    values = {
        name: scale * np.arange(MODERATED_FROM)
        for name, scale in zip("abc", (1, 2, 3), strict=True)
    }
    floors = dict.fromkeys("abcd", 1.0)
    alone = moderated_spreads(values, floors)
    few = moderated_spreads({**values, "d": [0.0, 100.0, 200.0]}, floors)
    assert {name: few[name] for name in alone} == alone
    assert few["d"] == Spread(10_000.0, 3, 1.0)


@pytest.mark.parametrize(
    ("runs", "families", "most"),
    mostly_nightly(
        [(MODERATED_FROM, 60, 9), (MODERATED_FROM, 500, 41), (10, 500, 41)],
        on_every_run=[(MODERATED_FROM, 60, 9)],
    ),
)
def test_moderated_intervals_of_unchanged_models_hold_together(runs, families, most):
    """Real accuracies less their mean, so that every true difference is 0; 9 pairs at a time.

    5 % of the families are misses, and more than `most` of them a chance of 1e-3.
    """
    cells = json.loads(gzip.decompress(POOL.read_bytes()))["cells"].values()
    pools = [100 * (np.array(cell["accuracy"]) - np.mean(cell["accuracy"])) for cell in cells]
    floors = {
        str(n): 100 * sampling_deviation(float(np.mean(cell["accuracy"])), cell["test_images"])
        for n, cell in enumerate(cells)
    }
    rng = np.random.default_rng(runs)
    missed, ratios = 0, []
    for _ in range(families):
        values = {str(n): rng.choice(pool, runs) for n, pool in enumerate(pools)}
        spreads = moderated_spreads(values, floors)
        pairs = rng.permutation(len(pools)).reshape(-1, 2).astype(str)
        halves = [float(margin(spreads[a], spreads[b], 0.05 / len(pairs))) for a, b in pairs]
        means = [np.mean(values[a]) - np.mean(values[b]) for a, b in pairs]
        missed += any(abs(mean) > half for mean, half in zip(means, halves, strict=True))
        alone = [
            difference_of_means(values[a], values[b], (floors[a], floors[b]), 0.05 / len(pairs))
            for a, b in pairs
        ]
        ratios += [2 * half / (one.high - one.low) for half, one in zip(halves, alone, strict=True)]
    assert missed <= most
    assert np.median(ratios) < 1  # what they are for

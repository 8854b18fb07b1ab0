"""Scales and yardsticks keep what they promise where the promise can be computed."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from stn_core.gate.baselines import read_baselines
from stn_core.gate.sequential import (
    Outcome,
    decide,
)
from stn_core.gate.statistics import (
    DEGREES_KEPT,
    LEAST_LOSS,
    log_error,
    log_error_floor,
    log_loss,
    log_loss_floor,
    moderated_deviations,
    sampling_deviation,
    t_isf,
    t_sf,
    yardsticks,
)

LOOKS = (3, 6, 10)
LEVEL = 0.006 / 36
USUAL = {"looks": LOOKS, "level": LEVEL}

badness = st.floats(-8, 1)
samples = st.dictionaries(
    st.sampled_from("abcdefgh"), st.lists(badness, min_size=2, max_size=8), min_size=1, max_size=8
)
spreads = st.floats(0.01, 1)


# Student's t.


@given(value=st.floats(-1e6, 1e6), chance=st.floats(1e-300, 0.999), degrees=st.floats(0.5, 1e6))
def test_t_is_scipys_to_the_last_bit(value, chance, degrees):
    assert t_sf(value, degrees) == stats.t.sf(value, degrees)
    assert t_isf(chance, degrees) == stats.t.isf(chance, degrees)


# Scales.


@given(images=st.integers(2, 10**6), first=st.integers(0, 10**6), second=st.integers(0, 10**6))
def test_log_error_orders_as_the_error_does(images, first, second):
    right = np.minimum([first, second], images)
    worse, better = log_error(np.sort(right) / images, images)
    assert (worse > better) == (right[0] != right[1])


def test_log_error_counts_wrong_images_and_four_more():
    assert log_error(1.0, 500) == pytest.approx(math.log(4 / 500))
    assert log_error([0.9, 0.99], 500) == pytest.approx(np.log([54 / 500, 9 / 500]))


def test_a_lucky_image_or_two_do_not_hide_a_model_at_chance():
    """Eight nearly perfect runs on 256 images, and no other cell to learn the spread from."""
    stored = log_error(1 - np.array([0, 4, 0, 13, 0, 1, 0, 2]) / 256, 256)
    (yardstick,) = yardsticks({"a": stored}, {"a": log_error_floor(0.99, 256)}).values()
    assert decide(yardstick, log_error([0.5] * 10, 256), **USUAL).outcome is Outcome.ROSE


def test_log_loss_is_finite():
    assert log_loss([1.0, math.e]) == pytest.approx([0, 1])
    assert np.isfinite(log_loss(0.0))


@given(losses=st.lists(st.floats(0, 100), min_size=1))
def test_rounding_a_loss_to_its_stored_decimals_changes_it_by_half_a_per_cent_at_most(losses):
    rounded = [round(loss, 6) for loss in losses]
    assert np.abs(log_loss(rounded) - log_loss(losses)).max() < 1.01 * math.log1p(0.005)


def test_losses_that_rounding_hardly_changes_are_compared_as_they_are():
    losses = [LEAST_LOSS, 1e-3, 0.01122, 0.5, 7.0]
    assert np.array_equal(log_loss(losses), np.log(losses))


def test_every_stored_loss_is_large_enough_to_be_compared_as_it_is():
    cells = read_baselines(Path(__file__).parents[2] / "baselines.json").cells.values()
    assert min(run.cross_entropy for cell in cells for run in cell.runs) > 10 * LEAST_LOSS


@given(accuracy=st.floats(0, 1), images=st.integers(1, 10**6))
def test_floors_are_never_zero(accuracy, images):
    assert 0.5 / images <= sampling_deviation(accuracy, images) * math.sqrt(images) <= 1
    assert log_error_floor(accuracy, images) > log_loss_floor(accuracy, images) > 0


def test_sampling_deviation_is_the_published_rule():
    # 0.06 points at 0.7 % error, 0.17 at 6 %, on 10,000 images; the rule is quoted to 2 digits.
    assert 100 * sampling_deviation(0.993, 10_000) == pytest.approx(0.06, abs=0.005)
    assert 100 * sampling_deviation(0.94, 10_000) == pytest.approx(0.17, abs=0.005)


@given(accuracy=st.floats(0, 1), images=st.integers(1, 10**6))
def test_few_right_images_vary_as_little_as_few_wrong_ones(accuracy, images):
    few = sampling_deviation(accuracy, images)
    assert few == pytest.approx(sampling_deviation(1 - accuracy, images))
    assert few <= max(math.sqrt(accuracy * (1 - accuracy) / images), 0.5 / images) * 1.0001


def test_log_error_floor_is_what_the_logarithm_makes_of_the_rule():
    # 10,000 images: a step of a tenth of the deviation bends the logarithm by parts in a hundred.
    step = 0.1 * sampling_deviation(0.99, 10_000)
    rise = log_error(0.99 - step, 10_000) - log_error(0.99, 10_000)
    assert rise == pytest.approx(0.1 * log_error_floor(0.99, 10_000), rel=0.01)


# Yardsticks.


def test_cells_of_one_variance_share_it():
    values = np.array([0.1, -0.2, 0.4, 0.0, -0.3])
    same = {name: values + offset for offset, name in enumerate("abcd")}
    for yardstick in yardsticks(same, dict.fromkeys(same, 0.01)).values():
        # The sum over equal variances rounds, no more.
        assert yardstick.deviation == pytest.approx(float(np.std(values, ddof=1)), rel=1e-12)
        assert yardstick.degrees == pytest.approx(DEGREES_KEPT * 4 * 4)
        assert yardstick.runs == 5


def test_cells_of_very_different_variance_keep_their_own():
    rng = np.random.default_rng(0)
    values = {str(k): rng.normal(0, 10.0**-k, 20) for k in range(6)}
    for name, yardstick in yardsticks(values, dict.fromkeys(values, 1e-9)).items():
        # d0 is 0.24 here against 19 degrees of their own: what the largest variance loses is
        # 0.6 %, and the smallest, though the prior is a hundred times as large, gains 63 %.
        assert 19 <= yardstick.degrees / DEGREES_KEPT < 19.5
        assert 0.99 < yardstick.deviation / np.std(values[name], ddof=1) < 2


def test_a_cell_alone_keeps_its_own():
    values = [-3.0, -3.5, -3.1]
    yardstick = yardsticks({"a": values}, {"a": 0.01})["a"]
    assert yardstick.mean == pytest.approx(np.mean(values))
    assert yardstick.deviation == pytest.approx(np.std(values, ddof=1))
    assert yardstick.degrees == pytest.approx(DEGREES_KEPT * 2)


def test_a_cell_without_spread_takes_part_with_its_floor():
    values = {"a": [-3.0, -3.0, -3.0], "b": [-3.0, -3.4, -3.2]}
    assert yardsticks({"a": values["a"]}, {"a": 0.2})["a"].deviation == 0.2
    assert yardsticks(values, {"a": 0.3, "b": 0.1})["a"].deviation >= 0.3


def test_a_cell_of_one_run_takes_the_spread_of_the_others():
    values = {"a": [-2.0], "b": [-3.0, -3.4, -3.2], "c": [-3.0, -3.4, -3.2]}
    measured = yardsticks(values, dict.fromkeys(values, 0.01))
    assert measured["a"].deviation == pytest.approx(0.2)
    assert measured["a"].degrees == pytest.approx(DEGREES_KEPT * 4)
    assert measured["a"].runs == 1


def test_values_that_give_no_yardstick_are_refused():
    assert yardsticks({}, {}) == {}
    with pytest.raises(ValueError, match="two values"):
        yardsticks({"a": [1.0], "b": [2.0]}, {"a": 0.1, "b": 0.1})
    with pytest.raises(ValueError, match="positive"):
        yardsticks({"a": [1.0, 2.0]}, {"a": 0.0})


@given(values=samples, factor=st.floats(0.1, 10), offset=badness)
def test_yardsticks_follow_the_scale_and_the_origin(values, factor, offset):
    # The floor is above what rounding makes of equal values.
    one = yardsticks(values, dict.fromkeys(values, 0.01))
    moved = {name: factor * np.array(sample) + offset for name, sample in values.items()}
    other = yardsticks(moved, dict.fromkeys(values, 0.01 * factor))
    for name, yardstick in one.items():
        # Logarithms of variances lose parts in 1e-13; so near a spread that just needs no prior,
        # d0 jumps to infinity and with it the degrees, not the deviation.
        assert other[name].deviation == pytest.approx(factor * yardstick.deviation, rel=1e-6)
        assert other[name].mean == pytest.approx(factor * yardstick.mean + offset, abs=1e-9)


@given(values=samples, floors=spreads)
def test_moderation_keeps_the_order_and_the_floor(values, floors):
    equal = {name: np.resize(sample, 4) for name, sample in values.items()}
    measured = yardsticks(equal, dict.fromkeys(equal, floors))
    by_own = sorted(equal, key=lambda name: float(np.var(equal[name])))
    deviations = [measured[name].deviation for name in by_own]
    assert min(deviations) >= floors
    assert all(a <= b * (1 + 1e-12) for a, b in itertools.pairwise(deviations))


@pytest.mark.parametrize("prior_degrees", [2.0, 8.0, 40.0])
def test_the_prior_of_simulated_cells_is_found(prior_degrees):
    """20,000 cells drawn from the model that moderation assumes, Smyth 2004, section 3."""
    rng = np.random.default_rng(1)
    cells, degrees, scale = 20_000, 9, 0.04
    truth = scale * prior_degrees / rng.chisquare(prior_degrees, cells)
    variances = truth * rng.chisquare(degrees, cells) / degrees
    deviations, freedom = moderated_deviations(
        variances, np.full(cells, float(degrees)), np.full(cells, 1e-9)
    )
    # Simulated 200 times, d0 came back within 18 % of 40, 5 % of 8 and 3 % of 2.
    assert freedom[0] / DEGREES_KEPT - degrees == pytest.approx(prior_degrees, rel=0.2)
    expected = (prior_degrees * scale + degrees * variances) / (prior_degrees + degrees)
    assert deviations**2 == pytest.approx(expected, rel=0.15)


def test_moderated_statistics_are_student():
    """Of cells drawn from the model, the moderated t has the degrees that it says (Smyth)."""
    rng = np.random.default_rng(2)
    cells, degrees = 200_000, 4
    truth = 0.04 * 6 / rng.chisquare(6, cells)
    variances = truth * rng.chisquare(degrees, cells) / degrees
    deviations, freedom = moderated_deviations(
        variances, np.full(cells, float(degrees)), np.full(cells, 1e-9)
    )
    exceed = np.mean(
        rng.normal(0, np.sqrt(truth)) / deviations > stats.t.isf(1e-3, freedom / DEGREES_KEPT)
    )
    low, high = stats.binomtest(int(exceed * cells), cells).proportion_ci(0.999)
    assert low <= 1e-3 <= high


def test_the_fit_is_solved_to_the_end():
    """d0 of two cells against the equation that defines it, over all that variances can span."""
    for ratio in (1.5, 2.0, 10.0, 1e3, 1e8):
        variances, degrees = np.array([1.0, ratio]), np.full(2, 50.0)
        _, freedom = moderated_deviations(variances, degrees, np.full(2, 1e-9))
        found = float(freedom[0]) / DEGREES_KEPT - 50
        if found < 50:
            excess = np.var(np.log(variances), ddof=1) - special.polygamma(1, 25)
            assert special.polygamma(1, found / 2) == pytest.approx(excess, rel=1e-9)
        else:
            assert ratio < 2


# Looks.


# Decisions.


# What a gate can see.

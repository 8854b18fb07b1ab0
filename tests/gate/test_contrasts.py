"""What an interval says about a claimed difference, and how many seeds would decide."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stn_core.gate.contrasts import (
    Direction,
    Expectation,
    Finding,
    joint_finding,
    seeds_to_decide,
)
from stn_core.gate.intervals import (
    Difference,
    Spread,
    difference_of_means,
    margin,
    moderated_spreads,
)
from stn_core.gate.statistics import DEGREES_KEPT

HIGHER, LOWER, EQUAL = Direction.HIGHER, Direction.LOWER, Direction.EQUAL
ends = st.floats(-50, 50)


@pytest.mark.parametrize(
    ("expectation", "interval", "finding"),
    [
        (Expectation(HIGHER), (0.1, 0.5), Finding.HOLDS),
        (Expectation(HIGHER), (-0.1, 0.5), Finding.OPEN),
        (Expectation(HIGHER), (-0.5, -0.1), Finding.DOES_NOT_HOLD),
        (Expectation(HIGHER), (-0.5, 0.0), Finding.DOES_NOT_HOLD),
        (Expectation(LOWER), (0.0, 0.0), Finding.DOES_NOT_HOLD),
        (Expectation(HIGHER, size=2.0), (0.1, 3.0), Finding.HOLDS),
        (Expectation(HIGHER, size=2.0), (0.1, 1.9), Finding.DOES_NOT_HOLD),
        (Expectation(HIGHER, size=2.0), (-0.1, 2.1), Finding.OPEN),
        (Expectation(LOWER, size=15.0), (-20.0, -1.0), Finding.HOLDS),
        (Expectation(LOWER, size=15.0), (-14.0, 8.0), Finding.DOES_NOT_HOLD),
        (Expectation(EQUAL, margin=0.3), (-0.2, 0.1), Finding.HOLDS),
        (Expectation(EQUAL, margin=0.3), (-0.4, 0.1), Finding.OPEN),
        (Expectation(EQUAL, margin=0.3), (0.4, 0.9), Finding.DOES_NOT_HOLD),
    ],
)
def test_a_finding_follows_from_where_the_interval_lies(expectation, interval, finding):
    low, high = interval
    assert expectation.finding(Difference((low + high) / 2, low, high)) is finding


@given(ends, ends, st.floats(0, 20))
def test_lower_is_higher_with_the_sides_exchanged(one, other, size):
    low, high = sorted((one, other))
    mirrored = Difference(-(low + high) / 2, -high, -low)
    straight = Difference((low + high) / 2, low, high)
    assert Expectation(LOWER, size).finding(mirrored) is Expectation(HIGHER, size).finding(straight)


@given(ends, ends, st.floats(0, 10), st.sampled_from([HIGHER, LOWER, EQUAL]))
def test_a_wider_interval_never_turns_one_answer_into_the_other(one, other, more, direction):
    low, high = sorted((one, other))
    expectation = Expectation(direction, margin=1.0 if direction is EQUAL else 0.0)
    narrow = expectation.finding(Difference((low + high) / 2, low, high))
    wide = expectation.finding(Difference((low + high) / 2, low - more, high + more))
    assert wide in (narrow, Finding.OPEN)


def test_without_an_interval_a_claim_is_open():
    assert Expectation(HIGHER).finding(Difference(1.0, math.nan, math.nan)) is Finding.OPEN


def test_a_claim_holds_only_if_all_its_parts_do():
    holds, fails, is_open = Finding.HOLDS, Finding.DOES_NOT_HOLD, Finding.OPEN
    assert joint_finding([holds, holds]) is holds
    assert joint_finding([holds, is_open]) is is_open
    assert joint_finding([is_open, fails, holds]) is fails
    assert joint_finding([]) is is_open


@pytest.mark.parametrize("estimate", [0.1, 0.5, -0.2])
def test_the_seeds_needed_settle_a_claim_and_one_fewer_does_not(estimate):
    expectation = Expectation(HIGHER)
    wanted = seeds_to_decide(estimate, (Spread(0.04, 5, 0.01),) * 2, expectation, 0.001)
    assert wanted is not None

    def finding(runs: int) -> Finding:
        sample = np.tile([-1.0, 1.0], runs)[:runs].astype(float)
        sample = (sample - sample.mean()) / sample.std(ddof=1) * 0.2
        difference = difference_of_means(sample, sample + estimate, (0.01, 0.01), 0.001)
        return expectation.finding(difference)

    assert finding(wanted) is not Finding.OPEN
    assert finding(wanted - 1) is Finding.OPEN


@pytest.mark.parametrize("estimate", [0.5, 2.0, 20.0])
def test_the_seeds_needed_of_moderated_spreads_settle_a_claim_and_one_fewer_does_not(estimate):
    """Cells whose spreads differ so much that they borrow less than a fifth of their degrees."""
    rng = np.random.default_rng(0)
    values = {str(n): rng.normal(0, math.exp(s), 20) for n, s in enumerate(rng.normal(0, 1.2, 12))}
    found = moderated_spreads(values, dict.fromkeys(values, 0.05))
    spreads = (found["0"], found["1"])
    at_first = tuple(replace(spread, runs=2) for spread in spreads)
    borrowed = spreads[0].degrees - DEGREES_KEPT * 19
    assert 0 < borrowed < (1 - DEGREES_KEPT) * 19
    wanted = seeds_to_decide(estimate, at_first, Expectation(HIGHER), 0.001)
    assert wanted is not None

    def half(runs):
        """Welch's, the larger variance counting for both if it is the common one at least."""
        degrees = DEGREES_KEPT * (runs - 1) + borrowed
        variances = [float(spread.credible) for spread in spreads]
        parts = np.maximum(variances, np.mean(variances)) / runs
        freedom = parts.sum() ** 2 * degrees / np.square(parts).sum()
        return stats.t.isf(0.0005, freedom) * math.sqrt(parts.sum())

    assert half(wanted) < estimate
    assert wanted == 2 or half(wanted - 1) >= estimate


def test_what_is_open_needs_more_seeds_than_the_smaller_sample_has():
    """Welch's interval of 2 and 5 values can be wider than that of 2 and 2 with the same spreads: a
    mean that is known well leaves the few degrees of the other one."""
    few, many = Spread(0.0085, 2, 0.05), Spread(0.03, 5, 0.05, borrowed=10.0, kept=DEGREES_KEPT)
    level, expectation = 0.0005, Expectation(LOWER)
    half = float(margin(few, many, level))
    fewer = float(margin(few, replace(many, runs=2), level))
    assert fewer < half
    estimate = -(half + fewer) / 2
    open_now = Difference(estimate, estimate - half, estimate + half)
    assert expectation.finding(open_now) is Finding.OPEN
    wanted = seeds_to_decide(estimate, (few, many), expectation, level)
    assert wanted is not None
    assert wanted > few.runs


def test_a_direction_is_never_settled_if_the_difference_is_zero():
    spreads = (Spread(0.04, 5, 0.01),) * 2
    assert seeds_to_decide(0.0, spreads, Expectation(HIGHER), 0.001) is None
    assert seeds_to_decide(0.0, spreads, Expectation(EQUAL, margin=0.3), 0.001)

"""Decisions, look by look, keep what they promise where the promise can be computed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stn_core.gate.sequential import (
    Outcome,
    decide,
    limits,
    settle,
    smallest_detectable_rise,
    spend,
)
from stn_core.gate.statistics import (
    Yardstick,
)
from stn_core.session.budgets import get_budget
from tests.gate.test_statistics import LEVEL, LOOKS, USUAL, badness, spreads

CELL = Yardstick(mean=-3.5, deviation=0.25, degrees=22, runs=20)


spaced = st.integers(-800, 100).map(lambda hundredths: hundredths / 100)


@given(
    level=st.floats(1e-6, 0.5),
    looks=st.sets(st.integers(1, 40), min_size=1, max_size=5).map(sorted),
    runs=st.integers(1, 60),
)
def test_looks_spend_the_level_and_no_more(level, looks, runs):
    spent = spend(level, looks, runs)
    assert all(share > 0 for share in spent)
    assert sum(spent) == pytest.approx(level, rel=1e-9)


def test_spending_follows_the_information():
    # I(3) = 60/23, I(6) = 120/26, I(10) = 200/30: fractions 0.3913 and 0.6923 of the last, cubed.
    assert np.cumsum(spend(1.0, LOOKS, 20)) == pytest.approx([0.0599, 0.3318, 1], abs=5e-5)
    assert spend(0.01, (3,), 20) == (0.01,)


@given(values=st.lists(badness, min_size=0, max_size=12), more=st.lists(badness, max_size=6))
def test_more_values_never_change_a_decision(values, more):
    early = decide(CELL, values, **USUAL)
    if early.outcome is not Outcome.UNCLEAR:
        assert decide(CELL, values + more, **USUAL) == early
        assert early.seeds_needed == early.looked_at <= len(values)
    else:
        assert early.looked_at <= len(values) < early.seeds_needed


def test_steadiness_needs_more_evidence_with_every_seed():
    """A rise of one standard error may end the looking early, and not late."""
    bounds = limits(1.0, 30.0, 20, looks=(1, 2, 4, 8), level=1e-3, futility=0.2)
    errors = np.sqrt(1 / np.array([1, 2, 4]) + 1 / 20)
    chances = stats.t.sf(bounds.steady[:3] / errors, 30)
    assert chances == pytest.approx([0.2, 0.1, 0.05])
    assert bounds.steady[-1] == np.inf


def test_a_look_at_too_few_values_ends_no_test_as_steady():
    values = [CELL.mean] * 3 + [CELL.mean + 2] * 7
    assert decide(CELL, values, **USUAL).outcome is Outcome.STEADY
    later = decide(CELL, values, **USUAL, least_seeds=6)
    assert (later.outcome, later.looked_at) == (Outcome.ROSE, 6)
    clear = decide(CELL, [CELL.mean + 2] * 3, **USUAL, least_seeds=6)
    assert (clear.outcome, clear.looked_at) == (Outcome.ROSE, 3)


@given(values=st.lists(badness, min_size=10, max_size=10), floor=st.floats(0, 0.5))
def test_all_looks_end(values, floor):
    decision = decide(CELL, values, **USUAL, floor=floor)
    assert decision.outcome is not Outcome.UNCLEAR
    assert decision.looked_at in LOOKS


def test_before_the_first_look_nothing_is_known():
    decision = decide(CELL, [-3.5, 9.0], **USUAL)
    assert (decision.outcome, decision.looked_at, decision.seeds_needed) == ("unclear", 0, 3)
    assert math.isnan(decision.rise)
    assert math.isnan(decision.p_value)


@pytest.mark.parametrize(
    ("rise", "outcome"), [(2.0, "rose"), (0.1, "steady"), (-0.2, "steady"), (-2.0, "fell")]
)
def test_a_clear_cell_is_settled_at_the_first_look(rise, outcome):
    decision = decide(CELL, [CELL.mean + rise] * 3, **USUAL)
    assert (decision.outcome, decision.looked_at) == (outcome, 3)
    assert decision.rise == pytest.approx(rise)


def test_an_unclear_cell_is_judged_again():
    middling = [CELL.mean + 0.45] * 10
    assert decide(CELL, middling[:3], **USUAL).seeds_needed == 6
    assert decide(CELL, middling[:6], **USUAL).seeds_needed == 10
    assert decide(CELL, middling, **USUAL).outcome is Outcome.ROSE
    assert decide(CELL, [*middling[:9], CELL.mean - 0.5], **USUAL).outcome is Outcome.STEADY


@given(rise=st.floats(-0.99, 0.99))
def test_within_the_floor_nothing_is_a_change(rise):
    sharp = Yardstick(mean=-3.5, deviation=1e-6, degrees=1e6, runs=10**6)
    decision = decide(sharp, [sharp.mean + rise] * 10, **USUAL, floor=1.0)
    assert decision.outcome is Outcome.STEADY


@given(values=st.lists(spaced, min_size=3, max_size=20, unique=True), fresh=spaced)
def test_one_value_against_one_cell_is_students_test(values, fresh):
    spread = float(np.std(values, ddof=1))
    yardstick = Yardstick(float(np.mean(values)), spread, len(values) - 1, len(values))
    decision = decide(yardstick, [fresh], looks=(1,), level=0.01)
    oracle = stats.ttest_ind([fresh], values, alternative="greater").pvalue
    # The oracle computes the variance another way; far in the tail the chance feels it most.
    assert decision.p_value == pytest.approx(oracle, rel=1e-6, abs=1e-12)
    if not math.isclose(oracle, 0.01, rel_tol=1e-6):
        assert (decision.outcome is Outcome.ROSE) == (oracle < 0.01)


@given(
    rises=st.lists(st.floats(-1, 1), min_size=30, max_size=30),
    deviation=spreads,
    floor=st.floats(0, 0.3),
)
def test_many_cells_at_once_are_decided_as_one_by_one(rises, deviation, floor):
    values = np.array(rises).reshape(3, 10)
    cell = Yardstick(mean=0.0, deviation=deviation, degrees=19, runs=20)
    means = np.stack([values[:, :look].mean(axis=1) for look in LOOKS], axis=-1)
    bounds = limits(np.full(3, deviation), np.full(3, 19), 20, looks=LOOKS, level=0.01, floor=floor)
    stops, outcomes = settle(means, bounds)
    for row, stop, outcome in zip(values, stops, outcomes, strict=True):
        decision = decide(cell, row, looks=LOOKS, level=0.01, floor=floor)
        assert LOOKS[stop] == decision.looked_at
        assert decision.outcome == {1: "rose", 0: "steady", -1: "fell"}[int(outcome)]


@pytest.mark.parametrize("looks", [get_budget("smoke").looks, LOOKS, (1,), (3,), (2, 20)])
@pytest.mark.parametrize(("floor", "least_seeds"), [(0.0, 1), (0.4, 1), (0.0, 4), (0.0, 99)])
def test_the_smallest_detectable_rise_is_detected(looks, floor, least_seeds):
    """Deviation and baseline as uncertain as the yardstick says; 20,000 cells."""
    rules = {"looks": looks, "level": LEVEL, "floor": floor, "least_seeds": least_seeds}
    rise = smallest_detectable_rise(CELL, **rules)
    found = {share: _power(share * rise, rules) for share in (0.85, 1.0)}
    # 0.95 in 20,000 is uncertain by 0.0015; a bound, it may find more, but little.
    assert 0.945 < found[1.0] < 0.97
    assert found[0.85] < 0.92


def _power(rise, rules):
    """How often a rise is found, the truth as uncertain as the measured deviation leaves it."""
    looks = rules["looks"]
    rng = np.random.default_rng(5)
    cells = 20_000
    truth = CELL.deviation * np.sqrt(CELL.degrees / rng.chisquare(CELL.degrees, cells))
    draws = rng.normal(size=(cells, looks[-1] + 1)) * truth[:, None]
    baseline = draws[:, -1] / math.sqrt(CELL.runs)
    sums = np.cumsum(draws[:, :-1], axis=1)
    means = np.stack([sums[:, look - 1] / look for look in looks], axis=-1)
    bounds = limits(CELL.deviation, CELL.degrees, CELL.runs, **rules)
    _, outcomes = settle(rise + means - baseline[:, None], bounds)
    return np.mean(outcomes == 1)


@given(deviation=spreads, level=st.floats(1e-6, 1e-2), floor=st.floats(0, 1))
def test_the_detectable_rise_follows_noise_level_floor_and_seeds(deviation, level, floor):
    cell = Yardstick(mean=-3.5, deviation=deviation, degrees=22, runs=20)
    rise = smallest_detectable_rise(cell, looks=LOOKS, level=level)
    noisier = Yardstick(mean=-3.5, deviation=2 * deviation, degrees=22, runs=20)
    twice = smallest_detectable_rise(noisier, looks=LOOKS, level=level)
    assert twice == pytest.approx(2 * rise, rel=1e-6)  # brentq: parts in 1e-12 of a number near 1
    assert smallest_detectable_rise(cell, looks=LOOKS, level=level / 2) > rise
    floored = smallest_detectable_rise(cell, looks=LOOKS, level=level, floor=floor)
    assert floored >= max(rise, floor) - 1e-9
    assert smallest_detectable_rise(cell, looks=(3,), level=level) > rise

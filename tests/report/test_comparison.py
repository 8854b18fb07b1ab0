"""Of two sides the better is named where chance does not explain it, and only there."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stn_core.errors import UsageError
from stn_core.gate.baselines import BaselineRun
from stn_core.report.comparison import Finding, compare_sources, environments_differ
from stn_core.report.sources import CellRuns, Source

MIRRORED = {
    Finding.A_BETTER: Finding.B_BETTER,
    Finding.B_BETTER: Finding.A_BETTER,
    Finding.ONLY_IN_A: Finding.ONLY_IN_B,
    Finding.ONLY_IN_B: Finding.ONLY_IN_A,
}


def cell(accuracies, model="m", losses=None, first_seed=0, side="", **changes):
    losses = [0.2] * len(accuracies) if losses is None else losses
    runs = tuple(
        BaselineRun(seed, accuracy, loss, 2.0, "place", "cpu", f"{side}{seed}{accuracy}{loss}")
        for seed, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), first_seed)
    )
    values = {"budget": "smoke", "dataset": "d", "model": model, "device": "cpu"}
    values |= {"recipe_hash": "recipe", "data_hash": "data", "test_images": 500, "runs": runs}
    return CellRuns(**(values | changes))


def source(*cells, name="side", **place):
    return Source(Path(name), cells, {"place": place}, ())


def compared(one, other):
    (comparison,) = compare_sources(source(one), source(other))
    return comparison


accuracies = st.lists(st.integers(0, 500).map(lambda right: right / 500), min_size=1, max_size=5)
sides = st.dictionaries(st.sampled_from("abcd"), accuracies, min_size=1)


@given(sides, sides)
def test_exchanging_the_sides_reverses_the_finding(ours, theirs):
    a = source(*(cell(values, model) for model, values in sorted(ours.items())))
    b = source(*(cell(values, model) for model, values in sorted(theirs.items())))
    if not ours.keys() & theirs.keys():
        with pytest.raises(UsageError, match="no cell in common"):
            compare_sources(a, b)
        return
    for there, back in zip(compare_sources(a, b), compare_sources(b, a), strict=True):
        assert back.finding is MIRRORED.get(there.finding, there.finding)
        assert (back.key, back.cautions) == (there.key, there.cautions)
        if there.accuracy_points is None:
            assert back.accuracy_points is None
            continue
        ends = [there.accuracy_points.low, there.accuracy_points.high]
        mirrored = [-back.accuracy_points.high, -back.accuracy_points.low]
        np.testing.assert_array_equal(ends, mirrored)
        assert there.accuracy_points.estimate == -back.accuracy_points.estimate
        # A factor of the loss is turned over; 1e-9 is far above what exp and log round.
        factors = [1 + one.loss_percent.estimate / 100 for one in (there, back)]
        assert factors[0] * factors[1] == pytest.approx(1, rel=1e-9)


def test_a_clear_winner_is_named_on_both_scales():
    comparison = compared(
        cell([0.90, 0.91, 0.92], losses=[0.40, 0.42, 0.41]),
        cell([0.97, 0.96, 0.98], losses=[0.20, 0.21, 0.205]),
    )
    assert comparison.finding is Finding.B_BETTER
    assert comparison.accuracy_points.estimate == pytest.approx(6.0)
    assert 0 < comparison.accuracy_points.low < 6 < comparison.accuracy_points.high
    assert comparison.loss_percent.estimate == pytest.approx(-50.0)
    assert comparison.loss_percent.high < 0


def test_noise_is_not_distinguishable():
    comparison = compared(cell([0.90, 0.92, 0.91]), cell([0.92, 0.91, 0.90], side="b"))
    assert comparison.finding is Finding.NOT_DISTINGUISHABLE
    assert comparison.accuracy_points.sign == 0


def test_more_cells_make_every_interval_wider():
    """0.05 is shared by all the cells that have one, and by no others."""
    one, other = cell([0.90, 0.91, 0.92]), cell([0.93, 0.92, 0.94])
    alone = compared(one, other).accuracy_points
    many = [(cell([0.5, 0.6], model), cell([0.61, 0.5], model)) for model in "abc"]
    without = [(cell([0.5], "x"), cell([0.6], "x")), (cell([0.5, 0.6], "y"),) * 2]

    def beside(pairs):
        ours, theirs = zip((one, other), *pairs, strict=True)
        (found,) = (c for c in compare_sources(source(*ours), source(*theirs)) if c.model == "m")
        return found.accuracy_points

    assert beside(without) == alone
    assert beside(many).low < alone.low


def test_the_order_of_runs_and_cells_does_not_matter():
    ours = [cell([0.90, 0.91, 0.95], "a"), cell([0.5, 0.6], "b")]
    theirs = [cell([0.93, 0.92, 0.99], "a"), cell([0.7, 0.8], "b")]

    def numbers(a, b):
        found = compare_sources(source(*a), source(*b))
        return [(c.key, c.finding, c.accuracy_points.low, c.loss_percent.high) for c in found]

    turned = [dataclasses.replace(one, runs=one.runs[::-1]) for one in theirs]
    expected = numbers(ours, theirs)
    for names, others in zip(expected, numbers(ours[::-1], turned[::-1]), strict=True):
        assert names[:2] == others[:2]
        assert names[2:] == pytest.approx(others[2:], rel=1e-12)


def test_repeated_digests_are_identical_whatever_other_seeds_ran():
    stored = cell([0.9, 0.8, 0.7, 0.95])
    same = compared(stored, cell([0.9, 0.8]))
    assert same.finding is Finding.IDENTICAL
    assert same.accuracy_points is None
    by_value = compared(stored, cell([0.9, 0.8], side="another digest of "))
    assert by_value.finding is Finding.IDENTICAL
    assert compared(stored, cell([0.9, 0.81])).finding is not Finding.IDENTICAL
    other_loss = cell([0.9, 0.8], losses=[0.2, 0.200001])
    assert compared(stored, other_loss).finding is not Finding.IDENTICAL
    assert compared(stored, cell([0.9, 0.8], first_seed=9)).finding is not Finding.IDENTICAL


def test_a_seed_that_ran_in_two_environments_repeats_either():
    twice = cell([0.9, 0.8])
    twice = dataclasses.replace(
        twice, runs=(*twice.runs, *cell([0.91, 0.79], side="elsewhere").runs)
    )
    assert compared(twice, cell([0.91, 0.8], side="elsewhere")).finding is Finding.IDENTICAL


def test_constant_values_are_as_uncertain_as_the_number_of_images():
    """One image of 500 is 0.2 points: less than what the choice of the images decides."""
    near = compared(cell([0.900] * 3), cell([0.902] * 3))
    assert near.finding is Finding.NOT_DISTINGUISHABLE
    assert compared(cell([0.900] * 3), cell([0.980] * 3)).finding is Finding.B_BETTER
    perfect = compared(cell([1.0] * 3), cell([1.0] * 3, losses=[0.0] * 3))
    assert perfect.finding is Finding.NOT_DISTINGUISHABLE
    assert perfect.accuracy_points.low < 0 < perfect.accuracy_points.high


def test_one_run_per_side_distinguishes_nothing():
    comparison = compared(cell([0.2]), cell([0.9]))
    assert comparison.finding is Finding.NOT_DISTINGUISHABLE
    assert comparison.accuracy_points.estimate == pytest.approx(70)
    assert math.isnan(comparison.accuracy_points.low)
    assert comparison.cautions == ("one run per side: no interval",)


def test_one_run_is_compared_by_the_spread_of_the_other_side():
    near = compared(cell([0.90, 0.92, 0.91, 0.93]), cell([0.94]))
    far = compared(cell([0.90, 0.92, 0.91, 0.93]), cell([0.99], first_seed=7))
    assert (near.finding, far.finding) == (Finding.NOT_DISTINGUISHABLE, Finding.B_BETTER)
    assert near.cautions == ("one run on a side",)


def test_too_few_runs_promise_no_more_than_an_accuracy_can_be():
    comparison = compared(cell([0.1, 0.9]), cell([0.2, 0.95]))
    points = comparison.accuracy_points
    assert (points.low, points.high) == (-100, 100)


def test_no_loss_is_too_strange_for_an_interval():
    """A single run against two that lie 15 orders apart, 8 times: exp of the bound overflows."""
    wild = source(*(cell([0.5, 0.7], model, losses=[1e-12, 1e3]) for model in "abcdefgh"))
    single = source(*(cell([0.6], model) for model in "abcdefgh"))
    for comparison in compare_sources(wild, single):
        assert comparison.loss_percent.low >= -100
        assert math.isfinite(comparison.loss_percent.high)


@pytest.mark.parametrize(
    ("changes", "caution"),
    [
        ({"recipe_hash": "r2"}, "other recipe"),
        ({"device": "cuda"}, "cpu against cuda"),
        ({"budget": "quick", "recipe_hash": "r2"}, "smoke against quick"),
    ],
)
def test_other_differences_are_listed_beside_the_finding(changes, caution):
    comparison = compared(cell([0.90, 0.91, 0.92]), cell([0.97, 0.96, 0.98], **changes))
    assert comparison.finding is Finding.B_BETTER
    assert comparison.cautions == (caution,)


def test_other_data_are_not_comparable_however_alike():
    comparison = compared(cell([0.9, 0.8]), cell([0.9, 0.8], data_hash="other"))
    assert comparison.finding is Finding.NOT_COMPARABLE
    assert comparison.accuracy_points is None
    assert comparison.cautions == ("other data",)


def test_a_cell_that_only_one_side_has_is_named():
    ours = source(cell([0.9, 0.8], "a"), cell([0.9, 0.8], "b"))
    theirs = source(cell([0.9, 0.8], "b"), cell([0.9, 0.8], "c"))
    assert [(c.model, c.finding) for c in compare_sources(ours, theirs)] == [
        ("a", Finding.ONLY_IN_A),
        ("b", Finding.IDENTICAL),
        ("c", Finding.ONLY_IN_B),
    ]


def test_environments_are_compared_field_by_field():
    here, there = source(torch="2.11", threads=1), source(torch="2.15", threads=1)
    assert environments_differ(here, there) == "torch 2.11 against 2.15"
    assert environments_differ(here, here) == ""


def test_whole_comparisons_of_nothing_changed_are_mostly_quiet():
    """18 cells of 3 and of 20 runs, 100 times; 5 % are 5, and 13 are exceeded by 5e-4 of chance."""
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(100):
        ours, theirs = (
            source(
                *(
                    cell(rng.binomial(500, 0.95, runs) / 500, str(model), first_seed=seed)
                    for model in range(18)
                )
            )
            for runs, seed in ((20, 0), (3, 100))
        )
        wrong += any(
            c.finding is not Finding.NOT_DISTINGUISHABLE for c in compare_sources(ours, theirs)
        )
    assert wrong <= 13

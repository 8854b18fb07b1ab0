"""The mean change of a trial's cells has an interval that covers it as often as it says."""

import numpy as np

from benchmarks.mutation_trial.mean_change import mean_change


def cells(values):
    """Accuracies by cell and seed from an array (cells, seeds)."""
    return {f"cell {row}": dict(enumerate(of_cell)) for row, of_cell in enumerate(values)}


def test_the_interval_covers_the_true_change_of_correlated_cells():
    """95 % of 2,000 draws, give or take three standard errors, although seeds are shared."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(2_000):
        shared, own = random.normal(size=23), random.normal(size=(6, 23))
        values = 0.9 + 0.01 * (0.5 * shared + own)
        lost, half = mean_change(cells(values[:, :3] - 0.005), cells(values[:, 3:]))
        hits += abs(lost - 0.5) <= half
    assert 0.935 <= hits / 2_000 <= 0.965


def test_only_seeds_that_all_cells_hold_count():
    stored = cells(np.full((2, 6), 0.9))
    fresh = {"cell 0": {0: 0.88, 1: 0.1}, "cell 1": {0: 0.90}}
    lost, half = mean_change(fresh, stored)
    assert (round(lost, 9), half) == (1.0, 0.0)


def test_without_common_seeds_or_with_few_stored_ones_nothing_is_said():
    stored = cells(np.full((2, 6), 0.9))
    assert mean_change({"cell 0": {0: 0.9}, "cell 1": {1: 0.9}}, stored) is None
    assert mean_change(cells([[0.9]]), cells([[0.9] * 4])) is None
    assert mean_change({}, stored) is None

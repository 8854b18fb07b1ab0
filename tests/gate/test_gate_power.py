"""The rules of other gates in benchmarks/gate_power, against independent implementations."""

import gzip
import itertools
import json

import numpy as np
import pytest
from scipy import stats

from benchmarks.gate_power.draws import Drawn, one_cell
from benchmarks.gate_power.peers import (
    benjamini_hochberg,
    permutation_test,
    reference_test,
    two_proportions,
)
from benchmarks.gate_power.tables import matrix_sizes
from tests.gate.simulation import OWN, POOL, STORED, Matrix, real_pool

SEEDS = 3


@pytest.fixture
def drawn():
    """60 sessions of two cells, with drops from none to two standard deviations."""
    rng = np.random.default_rng(0)
    stored = rng.normal(size=(2, STORED, 2))
    fresh = rng.normal(size=(2, SEEDS, 60, 2)) + np.linspace(0, 2, 60)[:, None]
    return Drawn(Matrix(real_pool(), 2), stored, fresh)


def test_benjamini_hochberg_rejects_what_scipy_does():
    p_values = np.random.default_rng(0).random((200, 18)) ** 3
    adjusted = stats.false_discovery_control(p_values, axis=-1)
    assert np.array_equal(benjamini_hochberg(p_values, 0.05), adjusted <= 0.05)


def test_a_permutation_test_alarms_where_counting_all_subsets_does(drawn):
    """999 random ones are within ± 0.02 of 5 %."""
    one = Drawn(drawn.matrix, drawn.stored[..., :1], drawn.fresh[..., :1])
    alarms = permutation_test(SEEDS)(one, np.random.default_rng(1))[:, 0]
    subsets = np.array(list(itertools.combinations(range(SEEDS + STORED), SEEDS)))
    for session, alarm in enumerate(alarms):
        both = np.concatenate([one.fresh[0, :, session, 0], one.stored[0, :, 0]])
        exact = np.mean(both[subsets].sum(axis=1) >= both[:SEEDS].sum() - 1e-9)
        if exact < 0.03 or exact > 0.07:
            assert alarm == (exact < 0.05)
    assert 0 < alarms.sum() < len(alarms)


def test_the_reference_test_is_welchs(drawn):
    alarms = reference_test(SEEDS)(drawn, np.random.default_rng(0))
    for session, cell in itertools.product(range(60), range(2)):
        fresh, stored = drawn.fresh[0, :, session, cell], drawn.stored[0, :, cell]
        error = np.sqrt(fresh.var(ddof=1) / SEEDS + stored.var(ddof=1) / STORED)
        parts = fresh.var(ddof=1) / SEEDS, stored.var(ddof=1) / STORED
        degrees = error**4 / (parts[0] ** 2 / (SEEDS - 1) + parts[1] ** 2 / (STORED - 1))
        chance = stats.t.sf((fresh.mean() - stored.mean()) / error, degrees)
        assert alarms[session, cell] == (chance < 0.05)


def test_two_proportions_are_of_the_images_that_each_cell_is_tested_on():
    """The chi-square test of the counts of two real runs: twice its p is that of one side."""
    pool = real_pool()
    drawn = Drawn(Matrix(pool), pool.values[:, :1], pool.values[:, 1:, None].swapaxes(1, 2))
    alarms = two_proportions(drawn, np.random.default_rng(0))
    with gzip.open(POOL, "rt", encoding="utf-8") as file:
        cells = list(json.load(file)["cells"].values())
    for run, column in itertools.product(range(59), range(18)):
        images = cells[column]["test_images"]
        then, now = (round(images * (1 - cells[column]["accuracy"][n])) for n in (0, run + 1))
        table = [[now, images - now], [then, images - then]]
        chance = stats.chi2_contingency(table, correction=False).pvalue / 2
        assert alarms[run, column] == (now > then and chance < 0.05)
    assert 0 < alarms.sum() < alarms.size


def test_more_level_never_fails_fewer_sessions():
    matrix = Matrix(real_pool())
    rng = np.random.default_rng(0)
    stored, fresh = matrix.draw(rng, STORED, 1)[:, :, 0], matrix.draw(rng, 14, 200)
    drawn = Drawn(matrix, stored, fresh)
    failed = [drawn.play(OWN.scaled(factor)).failed.sum() for factor in (1, 10, 100)]
    assert failed == sorted(failed)
    assert failed[0] < failed[-1]


def test_a_drop_in_one_cell_visits_the_cells_in_turn():
    matrix = Matrix(real_pool())
    assert [one_cell(matrix, number).nonzero()[0].tolist() for number in (0, 17, 19)] == [
        [0],
        [17],
        [1],
    ]


def test_the_table_of_matrix_sizes_finds_large_drops_and_few_small_ones():
    """With a baseline each, only the extremes are certain: 5 deviations are found, 1 rarely."""
    _, *rows = matrix_sizes(baselines=1)
    shares = [[float(cell.strip(" %")) for cell in row.split("|")[2:-1]] for row in rows]
    assert [len(row) for row in shares] == [4] * 4
    for found in (0, 2):
        assert shares[0][found] < 30
        assert shares[-1][found] > 95

"""False alarms, power and seeds of cells alone, simulated with the functions that judge.

Every cell draws its runs independently of the others, and every session has a baseline of its own,
unless a test says otherwise. A run keeps its accuracy and its loss together.
"""

import numpy as np
import pytest
from scipy import stats

from stn_core.gate.statistics import CELLS_FALSE_ALARM_RATE
from tests.gate.simulation import (
    LOOKS,
    STORED,
    Matrix,
    at_looks,
    cell_limits,
    normal_pool,
    play_cells,
    real_pool,
)
from tests.nightly import mostly_nightly

SESSIONS = 20_000


def long_normal_pool():
    """With tails as far out as a run that fails a cell at once, which is one of some 40,000."""
    return normal_pool(100_000)


@pytest.fixture(scope="module")
def real():
    return Matrix(real_pool(), together=False)


@pytest.fixture(scope="module", params=[long_normal_pool, real_pool])
def matrix(request):
    return Matrix(request.param(), together=False)


@pytest.mark.parametrize("cells", mostly_nightly([18, 26, 100], on_every_run=[18]))
def test_a_session_without_a_change_fails_once_in_a_hundred(matrix, cells):
    """20,000 sessions; the upper end of the 95 % interval (Clopper & Pearson) is below 1 %."""
    larger = Matrix(matrix.pool, cells, together=False)
    alarms, seeds = play_cells(larger, np.random.default_rng(cells), SESSIONS)
    failed = int(alarms.any(axis=1).sum())
    assert stats.binomtest(failed, SESSIONS).proportion_ci(0.95).high <= 0.01
    # A gate that never alarms would pass: of what may be spent a good part must be.
    assert failed >= 0.25 * CELLS_FALSE_ALARM_RATE * SESSIONS
    # Two metrics, each with a chance of a quarter to want a second seed, an eighth to want four.
    assert 1.6 < seeds.mean() < 2.1


@pytest.mark.parametrize("share", mostly_nightly([0.5, 1.0], on_every_run=[1.0]))
def test_candidates_of_the_baselines_own_seeds_make_fewer_false_alarms(real, share):
    """10,000 sessions each; simulated with 20,000, 0.55 % fail without pairs, 0.05 % with 0.5."""
    alone, _ = play_cells(real, np.random.default_rng(0), 10_000)
    paired, seeds = play_cells(real, np.random.default_rng(0), 10_000, paired=share)
    # 55 sessions are expected to fail without pairs and 5 with them: no chance bridges that.
    assert paired.any(axis=1).sum() < 0.5 * alone.any(axis=1).sum()
    assert 1 <= seeds.mean() < 2.1


def test_a_drop_is_found_by_candidates_of_the_baselines_own_seeds(real):
    """What is paired varies less; 36,000 cells that drop by 3 standard deviations in accuracy."""
    alarms, _ = play_cells(real, np.random.default_rng(3), 2000, drop=(3.0, 0.0), paired=0.2)
    assert alarms.mean() >= 0.95


@pytest.mark.parametrize(
    ("drop", "least_power", "most_seeds"),
    [(1, 0.05, 7), (2, 0.7, 9.5), (3, 0.97, 6.5), (5, 0.999, 3)],
)
def test_a_drop_is_found(matrix, drop, least_power, most_seeds):
    """Of accuracy alone, in standard deviations, in a matrix of 18 cells; 36,000 cells."""
    alarms, seeds = play_cells(matrix, np.random.default_rng(drop), 2000, drop=(drop, 0.0))
    assert alarms.mean() >= least_power
    assert seeds.mean() <= most_seeds


def test_a_drop_of_accuracy_and_loss_is_found_sooner(matrix):
    # Of 3 deviations: of smaller drops many a one is missed after a single seed, which is sooner.
    one, more_seeds = play_cells(matrix, np.random.default_rng(0), 1000, drop=(3.0, 0.0))
    both, seeds = play_cells(matrix, np.random.default_rng(0), 1000, drop=(3.0, 3.0))
    assert both.mean() > one.mean()
    assert seeds.mean() < more_seeds.mean()


@pytest.mark.parametrize(
    "matrix",
    mostly_nightly([long_normal_pool, real_pool], on_every_run=[long_normal_pool]),
    indirect=True,
)
def test_an_unlucky_baseline_still_has_few_false_alarms(matrix):
    """A baseline is drawn once and used for years: the rate of each of 400, in 10,000 sessions.

    A stop for steadiness is overlooked, so that no rate is too low.
    """
    rng = np.random.default_rng(7)
    stored = matrix.draw(rng, STORED, 400)
    means = [at_looks(values) for values in matrix.draw(rng, LOOKS[-1], 10_000)]
    fresh = np.array(means, dtype=np.float32)
    rises = [cell_limits(matrix, stored, metric).rose for metric in (0, 1)]
    bars = (np.array(rises) + stored.mean(axis=1)[..., None]).astype(np.float32)
    rates = [(fresh > bars[:, [row]]).any(axis=(0, 2, 3)).mean() for row in range(400)]
    assert np.mean(rates) <= 0.01
    # A rate of 0.03 is counted in 10,000 to within 0.0034, and the 20 worst of 400 lie beyond.
    assert np.quantile(rates, 0.95) <= 0.03

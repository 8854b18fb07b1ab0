"""Other gates by their published rules; each judges accuracy alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from benchmarks.gate_power.draws import Drawn
from stn_core.gate.statistics import IMAGES_ADDED
from tests.gate.simulation import STORED

PERMUTATIONS = 999

Gate = Callable[[Drawn, np.random.Generator], np.ndarray]
"""Which cells alarm, (sessions, cells)."""


def reference_test(seeds: int) -> Gate:
    """MLPerf's idea: a one-sided Welch test of each cell at 5 %, without a correction."""

    def alarms(drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
        fresh, stored = drawn.fresh[0, :seeds], drawn.stored[0][:, None]
        test = stats.ttest_ind(fresh, stored, axis=0, equal_var=False, alternative="greater")
        return np.asarray(test.pvalue < 0.05)

    return alarms


def permutation_test(seeds: int) -> Gate:
    """signaltest's: a one-sided permutation test of each cell's mean, with Benjamini-Hochberg."""

    def alarms(drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
        fresh = drawn.fresh[0, :seeds]
        stored = np.broadcast_to(drawn.stored[0][:, None], (STORED, *fresh.shape[1:]))
        both = np.concatenate([fresh, stored]).reshape(seeds + STORED, -1)
        orders = rng.permuted(np.tile(np.arange(len(both)), (PERMUTATIONS, 1)), axis=1)
        sums = (orders < seeds).astype(float) @ both
        # The difference of the means rises with the sum of what counts as fresh. The last bit of
        # a sum depends on its order, and equal ones must count as equal.
        exceeds = np.sum(sums >= both[:seeds].sum(axis=0) - 1e-9, axis=0)
        p_values = (1 + exceeds) / (1 + PERMUTATIONS)
        return benjamini_hochberg(p_values.reshape(fresh.shape[1:]), 0.05)

    return alarms


def benjamini_hochberg(p_values: np.ndarray, rate: float) -> np.ndarray:
    """Which hypotheses are rejected, over the last axis."""
    count = p_values.shape[-1]
    order = np.sort(p_values, axis=-1)
    below = order <= rate * np.arange(1, count + 1) / count
    limit = np.max(np.where(below, order, 0.0), axis=-1, keepdims=True)
    return p_values <= limit


def tolerance(seeds: int, deviations: float) -> Gate:
    """The mean may be worse by this many of the stored values' standard deviations."""

    def alarms(drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
        stored = drawn.stored[0]
        limit = stored.mean(axis=0) + deviations * stored.std(axis=0, ddof=1)
        return drawn.fresh[0, :seeds].mean(axis=0) > limit

    return alarms


def two_proportions(drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
    """evalgate's: the images that one run gets wrong against those of one stored run, at 5 %."""
    pool, columns = drawn.matrix.pool, drawn.matrix.columns
    images, centre = pool.test_images[columns], pool.means[0, columns]
    wrong, then = (
        np.clip(np.exp(centre + badness) - IMAGES_ADDED / images, 0, 1)
        for badness in (drawn.fresh[0, 0], drawn.stored[0, 0])
    )
    pooled = (wrong + then) / 2
    error = np.sqrt(pooled * (1 - pooled) * 2 / images)
    return wrong - then > stats.norm.isf(0.05) * error


PEERS: dict[str, tuple[Gate, int]] = {
    "permutation test, Benjamini-Hochberg, 10 seeds": (permutation_test(10), 10),
    "permutation test, Benjamini-Hochberg, 3 seeds": (permutation_test(3), 3),
    "tolerance of 2 deviations, 3 seeds": (tolerance(3, 2.0), 3),
    "tolerance of 1.5 deviations, 3 seeds": (tolerance(3, 1.5), 3),
    "one-sided test of each cell, 10 seeds": (reference_test(10), 10),
    "two proportions, 1 seed": (two_proportions, 1),
}
"""Each with the number of seeds that it trains per cell."""

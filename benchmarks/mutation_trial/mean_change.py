"""Whether a bug changes accuracy at all: the mean change of all the cells that were judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from stn_core.gate.pooling import LEAST_STORED_SEEDS
from stn_core.gate.statistics import t_isf

LEVEL = 0.05
"""The chance that an interval misses the true change."""

Accuracies = Mapping[str, Mapping[int, float]]
"""In [0, 1], by cell and seed."""


def mean_change(fresh: Accuracies, stored: Accuracies) -> tuple[float, float] | None:
    """The points that the mean of all cells lost, and half the width of its interval.

    Only seeds that all cells hold count. Runs of one seed are correlated across models, so the
    spread is that of the mean from seed to seed among the stored runs (Student's t).

    Args:
        fresh: of the cells that were judged.
        stored: of these cells at least.

    Returns:
        None if the cells have no common seed, or fewer than LEAST_STORED_SEEDS stored ones.
    """
    ours = _means(fresh.values())
    theirs = _means(stored[cell] for cell in fresh)
    if not ours.size or theirs.size < LEAST_STORED_SEEDS:
        return None
    error = theirs.std(ddof=1) * math.sqrt(1 / ours.size + 1 / theirs.size)
    lost = theirs.mean() - ours.mean()
    return 100 * float(lost), 100 * float(t_isf(LEVEL / 2, theirs.size - 1) * error)


def _means(cells: Iterable[Mapping[int, float]]) -> np.ndarray:
    """The mean of all cells at each seed that all of them hold."""
    values = list(cells)
    seeds = set.intersection(*map(set, values)) if values else set()
    return np.array([np.mean([one[seed] for one in values]) for seed in sorted(seeds)])

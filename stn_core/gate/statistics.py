"""How far a few fresh runs may fall from the stored ones before chance stops explaining it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

SESSION_FALSE_ALARM_RATE = 0.008
"""What all the judgements of one session together may spend."""


def sampling_deviation(accuracy: float, test_images: int) -> float:
    """The least standard deviation of an accuracy over seeds, sqrt(error / (2 n)).

    Measured on many networks, half the binomial variance: two trained networks agree on most
    images. An accuracy of 0 or 1 is taken as half an image away from it.

    Args:
        accuracy: in [0, 1].
        test_images: n, >= 1.
    """
    error = max(1 - accuracy, 0.5 / test_images)
    return math.sqrt(error / (2 * test_images))


def accuracy_tolerance(
    baseline: Sequence[float], candidates: int, test_images: int, cells: int
) -> float:
    """How far the mean of fresh runs may differ from the mean of the stored ones by chance.

    The prediction interval of a mean of `candidates` values from the distribution that the
    baseline was drawn from, one-sided at SESSION_FALSE_ALARM_RATE / cells (Bonferroni), with the
    baseline's own standard deviation or `sampling_deviation`, whichever is larger.

    Args:
        baseline: at least 2 accuracies in [0, 1].
        candidates: how many fresh runs, >= 1.
        test_images: how many images each accuracy was measured on.
        cells: how many cells the budget's whole matrix has, >= 1.

    Returns:
        A difference of accuracies, in [0, 1].
    """
    runs = len(baseline)
    deviation = max(
        float(np.std(baseline, ddof=1)), sampling_deviation(float(np.mean(baseline)), test_images)
    )
    quantile = float(stats.t.isf(SESSION_FALSE_ALARM_RATE / cells, df=runs - 1))
    return quantile * deviation * math.sqrt(1 / candidates + 1 / runs)

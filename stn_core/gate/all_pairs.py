"""Every pair of models on one dataset, compared with simultaneous intervals."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from stn_core.errors import needs_extra
from stn_core.gate.intervals import MOST_SEEDS, Difference, Spread, error_of_difference
from stn_core.gate.statistics import FloatArray, Values

with needs_extra("suite"):
    import scipy  # its parts load when they are first used

CONFIDENCE = 0.95
"""The probability that all intervals of a dataset contain their true differences."""

_NODES = (1 - np.cos(np.pi * np.arange(8) / 7)) / 2
"""1 / degrees at which the studentized range is computed, Chebyshev's points: a polynomial through
its logarithms there is within 1e-4 of scipy's everywhere from 1 degree on."""


def differences_of_all_pairs(
    values: Mapping[str, Values], floors: Mapping[str, float], confidence: float = CONFIDENCE
) -> dict[tuple[str, str], Difference]:
    """The differences between all pairs of model means, with simultaneous intervals.

    Games and Howell (1976, J. Educ. Stat. 1): the studentized range over Welch's error with
    Satterthwaite's degrees, as `scipy.stats.tukey_hsd(equal_var=False)` computes it; but no
    variance counts as less than its floor, or as less than the pooled variance of the pair
    (`intervals.margin` explains why). So no standard error is smaller than scipy's.

    Args:
        values: of each model, one value or more, on a scale where differences make sense.
        floors: a model's least credible standard deviation, > 0.
        confidence: in (0, 1), of all intervals together.

    Returns:
        For each (first, second), in the order of the models, the first model's mean minus the
        second's; the ends are nan if neither has two values.
    """
    spreads = {name: _spread(sample, floors[name]) for name, sample in values.items()}
    pairs = {}
    for first, second in itertools.combinations(values, 2):
        estimate = float(np.mean(values[first]) - np.mean(values[second]))
        error, degrees = error_of_difference(spreads[first], spreads[second])
        half = float(_quantile(len(values), confidence, degrees) * error)
        pairs[first, second] = Difference(estimate, estimate - half, estimate + half)
    return pairs


def seeds_to_settle(
    first: Values,
    second: Values,
    floors: tuple[float, float],
    margin: float | None = None,
    *,
    models: int,
    confidence: float = CONFIDENCE,
) -> int | None:
    """How many seeds each of two models needs until they differ, or are equivalent.

    Assumes that estimate and spreads stay as they are; a model with more seeds keeps them.

    Args:
        first, second: the values so far, which do not settle it.
        floors: as for `differences_of_all_pairs`.
        margin: models whose whole interval lies within ± this are equivalent; None without one.
        models: how many are compared.
        confidence: as for `differences_of_all_pairs`.

    Returns:
        More than the smaller sample has; None if no spread is known, or if more than `MOST_SEEDS`
        are needed.
    """
    estimate = abs(float(np.mean(first) - np.mean(second)))
    known = [_spread(sample, floor) for sample, floor in zip((first, second), floors, strict=True)]
    if not sum(one.degrees for one in known):
        return None
    variances = [float(one.credible) for one in known if one.degrees]
    pooled = max(variances)  # used for a model with a single run

    def is_settled(seeds: int) -> bool:
        grown = [
            Spread(float(one.credible) if one.degrees else pooled, max(seeds, one.runs), one.floors)
            for one in known
        ]
        error, degrees = error_of_difference(*grown)
        half = float(_quantile(models, confidence, degrees) * error)
        return half < estimate or (margin is not None and estimate + half <= margin)

    fewest, most = min(one.runs for one in known) + 1, MOST_SEEDS
    if not is_settled(most):
        return None
    while fewest < most:
        middle = (fewest + most) // 2
        fewest, most = (fewest, middle) if is_settled(middle) else (middle + 1, most)
    return fewest


def _spread(sample: Values, floor: float) -> Spread:
    variance = float(np.var(sample, ddof=1)) if len(sample) > 1 else 0.0
    return Spread(variance, len(sample), floor)


def _quantile(models: int, confidence: float, degrees: npt.ArrayLike) -> FloatArray:
    """The factor of a standard error: the studentized range's quantile over the root of 2."""
    curve = _quantiles(models, confidence)
    return np.asarray(np.exp(curve(1 / np.maximum(degrees, 1.0))))


@functools.lru_cache(maxsize=64)
def _quantiles(models: int, confidence: float) -> scipy.interpolate.BarycentricInterpolator:
    """Logarithms by 1 / degrees: scipy takes some milliseconds for each, and models have pairs."""
    degrees = np.append(1e6, 1 / _NODES[1:])
    exact = scipy.stats.studentized_range.ppf(confidence, max(models, 2), degrees) / math.sqrt(2)
    return scipy.interpolate.BarycentricInterpolator(_NODES, np.log(exact))

"""Two sides, both trained now, compared after more and more seeds of each.

Like `sequential.decide` for a stored baseline, but nothing is known about the other side
beforehand: the same seeds give its mean and its spread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from stn_core.gate.sequential import Decision, Outcome, rise_above, spend
from stn_core.gate.statistics import FloatArray, moderated_deviations, t_isf, t_sf

SIDE_LOOKS = (3, 6, 10)
"""Numbers of seeds of both sides after which a cell is judged, up to what the session has."""

SIDE_FUTILITY = 0.6
"""`sequential.FUTILITY` for two sides: a one-sided p above this, divided by the number of seeds,
ends the comparison."""

SIDE_FUTILITY_OF_GAINS = 0.15
"""The same for a fall, which needs stronger evidence to be judged again."""

Measured = tuple[float, float, float]
"""The rise from one side's mean to the other's, the standard deviation of one value, and its
degrees of freedom."""

OverSeeds = tuple[float, float]
"""The variance of a cell's values over seeds, and its degrees of freedom."""


def decide_difference(
    measure: Callable[[int], Measured],
    seeds: int,
    *,
    looks: Sequence[int],
    level: float,
    floor: float = 0.0,
    least_seeds: int = 1,
) -> Decision:
    """Compare one side with the other, look by look; a pure replay.

    Args:
        measure: of the first n seeds of both sides.
        seeds: how many each side has.
        looks: rising numbers of seeds, each >= 2.
        level: probability of a false alarm over all looks together, in (0, 1).
        floor: a rise up to this is never a regression, and such a fall never an improvement.
        least_seeds: looks at fewer seeds end the comparison only if the values rose or fell.
    """
    decision = Decision(Outcome.UNCLEAR, 0, looks[0], math.nan, math.nan, math.nan, math.nan)
    # Both sides have equally many seeds, so the share of information is the share of seeds.
    for look, spent in zip(looks, spend(level, looks, math.inf), strict=True):
        if look > seeds:
            break
        rise, deviation, degrees = measure(look)
        error = deviation * math.sqrt(2 / look)
        chances = [spent, SIDE_FUTILITY / look, SIDE_FUTILITY_OF_GAINS / look]
        quantile = t_isf(chances, degrees)
        clear, low, high = (float(value) for value in quantile * error)
        clear = max(clear, floor)
        outcome = Outcome.ROSE if rise > clear else Outcome.FELL if rise < -clear else None
        is_steady = look >= least_seeds and -high < rise < low
        if outcome is None and (look == looks[-1] or is_steady):
            outcome = Outcome.STEADY
        later = [other for other in looks if other > look]
        decision = Decision(
            outcome=outcome or Outcome.UNCLEAR,
            looked_at=look,
            seeds_needed=look if outcome else later[0],
            rise=rise,
            p_value=float(t_sf(rise / error, degrees)),
            limit=clear,
            stored_mean=math.nan,
        )
        if outcome:
            break
    return decision


def smallest_detectable_difference(
    deviation: float,
    degrees: float,
    *,
    looks: Sequence[int],
    level: float,
    floor: float = 0.0,
    least_seeds: int = 1,
) -> float:
    """The smallest rise that `decide_difference` detects with probability `sequential.POWER`.

    Args:
        deviation: of one value, with its degrees of freedom; assumed to stay as they are.
        looks, level, floor, least_seeds: as for `decide_difference`.
    """
    seeds = np.asarray(looks)
    errors = deviation * np.sqrt(2 / seeds)
    bars = np.where(seeds < least_seeds, -np.inf, t_isf(SIDE_FUTILITY / seeds, degrees) * errors)
    last = spend(level, looks, math.inf)[-1]
    bars[-1] = max(float(t_isf(last, degrees)) * errors[-1], floor)
    return rise_above(bars, errors, degrees)


def spread_of(values: FloatArray) -> OverSeeds:
    """The spread of some values; (0, 0) for one."""
    variance = float(np.var(values, ddof=1)) if len(values) > 1 else 0.0
    return variance, len(values) - 1.0


def side_spread(
    sides: Sequence[FloatArray], floor: float, own: OverSeeds | None, others: Sequence[OverSeeds]
) -> tuple[float, float]:
    """The standard deviation over seeds of one cell's values, and its degrees of freedom.

    Pooled over both sides and the cell's stored values, and moderated by stored values of other
    cells. Stored values contribute their spread and never their mean.

    Args:
        sides: badness of each side, two values or more.
        floor: the least credible standard deviation, > 0.
        own: of stored values of this cell, None if there are none.
        others: of stored values of other cells, two or more of each.
    """
    pooled = [*map(spread_of, sides), *([own] if own else [])]
    degrees = sum(freedom for _, freedom in pooled)
    variance = sum(variance * freedom for variance, freedom in pooled) / degrees
    variances, freedom = np.array([(variance, degrees), *others]).T
    floors = np.concatenate([[floor], np.sqrt(variances[1:])])
    deviations, kept = moderated_deviations(variances, freedom, np.maximum(floors, 1e-9))
    return float(deviations[0]), float(np.broadcast_to(kept, freedom.shape)[0])

"""Decisions on fresh runs, look by look: what each look may spend, and when the answer is clear."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stn_core.errors import needs_extra

with needs_extra("suite"):
    import scipy  # its parts load when they are first used

from stn_core.gate.statistics import FloatArray, Values, Yardstick, t_isf, t_sf

SPENDING_POWER = 3.0
"""rho of the spending function level * fraction ** rho: little early, most at the last look.

A single seed is where real values are least like normal ones, so next to nothing is spent there.
With rho 2 in place of 3 a drop of 2 standard deviations is found in 68.1 % of the cells in place of
70.2, one of 5 after 2.5 seeds in place of 2.9 (62 cells, n = 30,000, 2026-11-29)."""

FUTILITY = 0.25
"""A one-sided p above this, divided by the number of seeds, ends the looking: the cell is steady.

Simulated with real values, 62 cells and looks at 1, 2, 4, 8 and 14 seeds: 1.9 seeds a quiet cell
and 98.8 % of the drops of 3 standard deviations found; with 0.3 in place of 0.25 2.1 and 99.2. The
looks at 3, 6 and 10 with 0.1 that this replaces took 3.7 and found 98.8 (n = 30,000 cells each,
2026-11-29)."""

FUTILITY_OF_GAINS = 0.025
"""The same for a fall, which is looked at again only where chance hardly explains it: a gain is
good to know and fails nothing. It costs 0.04 seeds a quiet cell."""


def spend(level: float, looks: Sequence[int], baseline_runs: float) -> tuple[float, ...]:
    """What each look may spend of a level: level * fraction ** rho, less what is spent before.

    Error spending (Lan & DeMets 1983), the power family of Kim & DeMets (1987); the fraction of
    information at n seeds is I(n) / I(last), I(n) = 1 / (1 / n + 1 / baseline_runs). The looks are
    joined by the union bound: each is a test of its own at what it spends, so the level holds
    however they depend on one another, and also where somebody looks on after a futile look.

    Args:
        level: in (0, 1), for all the looks together.
        looks: rising numbers of seeds, each >= 1.
        baseline_runs: >= 1; infinite where they add no uncertainty of their own.
    """
    information = 1 / (1 / np.asarray(looks, dtype=np.float64) + 1 / baseline_runs)
    spent = level * (information / information[-1]) ** SPENDING_POWER
    return tuple(np.diff(spent, prepend=0.0).tolist())


@dataclass(frozen=True)
class Limits:
    """What the mean rise at each look means; (..., looks) each.

    Args:
        rose: a rise beyond is a regression.
        fell: a rise below, a negative number, is an improvement.
        steady: a rise below ends the looking,
        promising: but for one below this, a negative number.
    """

    rose: FloatArray
    fell: FloatArray
    steady: FloatArray
    promising: FloatArray


def limits(
    deviation: npt.ArrayLike,
    degrees: npt.ArrayLike,
    runs: int,
    *,
    looks: Sequence[int],
    level: float,
    floor: npt.ArrayLike = 0.0,
    futility: float = FUTILITY,
    futility_of_gains: float = FUTILITY_OF_GAINS,
) -> Limits:
    """The limits of cells whose baselines have the same number of runs.

    Args:
        deviation, degrees, floor: as of `decide`, any shapes that broadcast.
        runs: in each baseline.
        looks, level, futility, futility_of_gains: as of `decide`.
    """
    freedom = np.asarray(degrees, dtype=np.float64)[..., None]
    error = np.asarray(deviation, dtype=np.float64)[..., None] * _errors_of_rise(looks, runs)
    least = np.asarray(floor, dtype=np.float64)[..., None]
    clear = np.maximum(t_isf(spend(level, looks, runs), freedom) * error, least)
    seeds = np.asarray(looks)
    steady = t_isf(futility / seeds, freedom) * error
    promising = -t_isf(futility_of_gains / seeds, freedom) * error
    steady[..., -1], promising[..., -1] = np.inf, -np.inf
    return Limits(rose=clear, fell=-clear, steady=steady, promising=promising)


def _errors_of_rise(looks: Sequence[int], runs: int) -> FloatArray:
    """Standard error of the difference of two means at each look, in deviations of one value."""
    return np.sqrt(1 / np.asarray(looks, dtype=np.float64) + 1 / runs)


class Outcome(enum.StrEnum):
    """What the values of a cell have done."""

    ROSE = "rose"
    FELL = "fell"
    STEADY = "steady"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Decision:
    """What one metric of one cell has done, as far as its values tell.

    Args:
        outcome: UNCLEAR where the next look wants more values than there are.
        looked_at: how many values decided, in seed order; 0 before the first look.
        seeds_wanted: looked_at, or the next look's number of seeds where the outcome is UNCLEAR.
        rise: mean badness of the values looked at less the yardstick's; nan before the first look.
        p_value: one-sided, of a rise as large by chance; nan before the first look.
        limit: a larger rise at this look is a regression; nan before the first look.
        stored_mean: the mean badness that the rise is from.
    """

    outcome: Outcome
    looked_at: int
    seeds_wanted: int
    rise: float
    p_value: float
    limit: float
    stored_mean: float


def decide(
    yardstick: Yardstick,
    values: Values,
    *,
    looks: Sequence[int],
    level: float,
    floor: float = 0.0,
    futility: float = FUTILITY,
    futility_of_gains: float = FUTILITY_OF_GAINS,
) -> Decision:
    """Compare fresh values with a yardstick, look by look.

    A pure replay: more values never change what fewer have decided.

    Args:
        yardstick: of the cell.
        values: badness in the order of the seeds; what lies beyond the deciding look is ignored.
        looks: rising numbers of values, after which they are looked at.
        level: chance of a false alarm over all the looks together, in (0, 1).
        floor: a mean rise up to this is never a regression (and a fall no improvement), >= 0.
        futility: after n seeds, a p of a rise above futility / n ends the looking,
        futility_of_gains: unless the p of a fall is below futility_of_gains / n.
    """
    reached = [look for look in looks if look <= len(values)]
    if not reached:
        return Decision(Outcome.UNCLEAR, 0, looks[0], math.nan, math.nan, math.nan, yardstick.mean)
    rises = np.array([np.mean(values[:look]) - yardstick.mean for look in reached])
    bounds = limits(
        yardstick.deviation,
        yardstick.degrees,
        yardstick.runs,
        looks=looks,
        level=level,
        floor=floor,
        futility=futility,
        futility_of_gains=futility_of_gains,
    )
    stop, outcome = settle(rises, bounds)
    last = min(int(stop), len(reached) - 1)
    errors = yardstick.deviation * _errors_of_rise(looks, yardstick.runs)
    p_value = t_sf(rises[last] / errors[last], yardstick.degrees)
    ended = stop < len(reached)
    return Decision(
        outcome=_OUTCOMES[int(outcome)] if ended else Outcome.UNCLEAR,
        looked_at=reached[last],
        seeds_wanted=reached[last] if ended else looks[len(reached)],
        rise=float(rises[last]),
        p_value=float(p_value),
        limit=float(bounds.rose[last]),
        stored_mean=yardstick.mean,
    )


_OUTCOMES = {1: Outcome.ROSE, 0: Outcome.STEADY, -1: Outcome.FELL}


def settle(rises: FloatArray, bounds: Limits) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int8]]:
    """Where the looking ends, and how.

    Args:
        rises: (..., k), the mean rise at each of the first k looks.
        bounds: of all the looks.

    Returns:
        The index of the look that ends it, k where none of these does, and what it says there:
        1 rose, -1 fell, 0 steady (or not ended); (...) each.
    """
    seen = rises.shape[-1]
    rose = rises > bounds.rose[..., :seen]
    fell = rises < bounds.fell[..., :seen]
    still = (rises < bounds.steady[..., :seen]) & (rises > bounds.promising[..., :seen])
    ended = rose | fell | still
    stop = np.where(np.any(ended, axis=-1), np.argmax(ended, axis=-1), seen)
    says = rose.astype(np.int8) - fell.astype(np.int8)
    at_stop = np.take_along_axis(says, np.minimum(stop, seen - 1)[..., None], axis=-1)[..., 0]
    return stop, np.where(stop < seen, at_stop, 0).astype(np.int8)


def smallest_detectable_rise(
    yardstick: Yardstick,
    *,
    looks: Sequence[int],
    level: float,
    floor: float = 0.0,
    power: float = 0.95,
) -> float:
    """The least rise of a cell's mean badness that `decide` finds with the power asked for.

    An upper bound, so that nothing is promised that is not kept: missed is what stops as steady at
    an early look or stays below the limit at the last one, and these chances are added up. Each is
    that of a Student variable, since the deviation is as uncertain for the fresh values as for the
    limits.

    Args:
        yardstick, looks, level, floor: as of `decide`.
        power: in [0.5, 1).
    """
    spread = (yardstick.deviation, yardstick.degrees, yardstick.runs)
    bounds = limits(*spread, looks=looks, level=level, floor=floor)
    bars = np.append(bounds.steady[:-1], bounds.rose[-1])
    errors = yardstick.deviation * _errors_of_rise(looks, yardstick.runs)

    def miss(rise: float) -> float:
        return float(np.sum(t_sf((rise - bars) / errors, yardstick.degrees)))

    low = float(np.max(bars))
    # There every chance is at most half its share of what may be missed.
    share = (1 - power) / (2 * len(looks))
    high = low + float(np.max(errors) * t_isf(share, yardstick.degrees))
    return float(scipy.optimize.brentq(lambda rise: miss(rise) - (1 - power), low, high))

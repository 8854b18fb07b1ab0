"""Decisions on fresh runs, look by look: the level of each look, and when the answer is clear."""

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
"""rho of the spending function level * fraction ** rho: little at early looks, most at the last.

Single seeds deviate most from a normal distribution, so almost nothing is spent there. With rho 2
instead of 3, a drop of 2 standard deviations is detected in 68.1 % of the cells instead of 70.2,
and one of 5 after 2.5 seeds instead of 2.9 (62 cells, n = 30,000, 2026-11-29)."""

FUTILITY = 0.25
"""A one-sided p above this, divided by the number of seeds, ends the test: the cell is steady.

Simulated with real values, 62 cells and looks at 1, 2, 4, 8 and 14 seeds: 1.9 seeds for a cell
without a change, and 98.8 % of drops of 3 standard deviations detected; with 0.3 instead of 0.25,
2.1 seeds and 99.2 %. The looks at 3, 6 and 10 with 0.1 that this replaced took 3.7 seeds and
detected 98.8 % (n = 30,000 cells each, 2026-11-29)."""

FUTILITY_OF_GAINS = 0.025
"""The same for a fall, which needs stronger evidence to be judged again: a gain is good to know
but fails nothing. It costs 0.04 seeds for a cell without a change."""

POWER = 0.95
"""The probability with which a smallest detectable rise is detected."""


def spend(level: float, looks: Sequence[int], baseline_runs: float) -> tuple[float, ...]:
    """What each look spends of a level: level * fraction ** rho, minus what is already spent.

    Error spending (Lan & DeMets 1983), the power family of Kim & DeMets (1987); the fraction of
    information at n seeds is I(n) / I(last), I(n) = 1 / (1 / n + 1 / baseline_runs). The union
    bound joins the looks: each is a separate test at the level it spends. So the level holds
    whatever their dependence, and even if testing goes on after a look that should have ended it.

    Args:
        level: in (0, 1), for all looks together.
        looks: rising numbers of seeds, each >= 1.
        baseline_runs: >= 1; infinite if they add no uncertainty.
    """
    information = 1 / (1 / np.asarray(looks, dtype=np.float64) + 1 / baseline_runs)
    spent = level * (information / information[-1]) ** SPENDING_POWER
    return tuple(np.diff(spent, prepend=0.0).tolist())


@dataclass(frozen=True)
class Limits:
    """The limits of the mean rise at each look; (..., looks) each.

    Args:
        rose: a rise above this is a regression.
        fell: a rise below this, a negative number, is an improvement.
        steady: a rise below this ends the test,
        promising: unless it is below this, a negative number.
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
    least_seeds: int = 1,
) -> Limits:
    """The limits of cells whose baselines have the same number of runs.

    Args:
        deviation, degrees, floor: as for `decide`, any shapes that broadcast.
        runs: in each baseline.
        looks, level, futility, futility_of_gains, least_seeds: as for `decide`.
    """
    freedom = np.asarray(degrees, dtype=np.float64)[..., None]
    error = np.asarray(deviation, dtype=np.float64)[..., None] * _errors_of_rise(looks, runs)
    least = np.asarray(floor, dtype=np.float64)[..., None]
    clear = np.maximum(t_isf(spend(level, looks, runs), freedom) * error, least)
    seeds = np.asarray(looks)
    steady = np.where(seeds < least_seeds, -np.inf, t_isf(futility / seeds, freedom) * error)
    promising = -t_isf(futility_of_gains / seeds, freedom) * error
    steady[..., -1], promising[..., -1] = np.inf, -np.inf
    return Limits(rose=clear, fell=-clear, steady=steady, promising=promising)


def _errors_of_rise(looks: Sequence[int], runs: int) -> FloatArray:
    """Standard error of the difference of two means at each look, in deviations of one value."""
    return np.sqrt(1 / np.asarray(looks, dtype=np.float64) + 1 / runs)


class Outcome(enum.StrEnum):
    """How the values of a cell changed."""

    ROSE = "rose"
    FELL = "fell"
    STEADY = "steady"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Decision:
    """How one metric of one cell changed, judged by the values so far.

    Args:
        outcome: UNCLEAR if the next look needs more values.
        looked_at: how many values decided, in seed order; 0 before the first look.
        seeds_needed: looked_at, or the next look's number of seeds if the outcome is UNCLEAR.
        rise: mean badness of these values minus the yardstick's; nan before the first look.
        p_value: one-sided, of a rise this large by chance; nan before the first look.
        limit: a larger rise at this look is a regression; nan before the first look.
        stored_mean: the mean badness that the rise starts from.
    """

    outcome: Outcome
    looked_at: int
    seeds_needed: int
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
    least_seeds: int = 1,
) -> Decision:
    """Compare fresh values with a yardstick, look by look.

    A pure replay: more values never change what fewer decided.

    Args:
        yardstick: of the cell.
        values: badness in the order of the seeds; those after the deciding look are ignored.
        looks: rising numbers of values after which the cell is judged.
        level: probability of a false alarm over all looks together, in (0, 1).
        floor: a mean rise up to this is never a regression (and a fall no improvement), >= 0.
        futility: after n seeds, a p of a rise above futility / n ends the test,
        futility_of_gains: unless the p of a fall is below futility_of_gains / n.
        least_seeds: looks at fewer values end the test only if they rose or fell.
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
        least_seeds=least_seeds,
    )
    stop, outcome = settle(rises, bounds)
    last = min(int(stop), len(reached) - 1)
    errors = yardstick.deviation * _errors_of_rise(looks, yardstick.runs)
    p_value = t_sf(rises[last] / errors[last], yardstick.degrees)
    ended = stop < len(reached)
    return Decision(
        outcome=_OUTCOMES[int(outcome)] if ended else Outcome.UNCLEAR,
        looked_at=reached[last],
        seeds_needed=reached[last] if ended else looks[len(reached)],
        rise=float(rises[last]),
        p_value=float(p_value),
        limit=float(bounds.rose[last]),
        stored_mean=yardstick.mean,
    )


_OUTCOMES = {1: Outcome.ROSE, 0: Outcome.STEADY, -1: Outcome.FELL}


def settle(rises: FloatArray, bounds: Limits) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int8]]:
    """Which look ends the test, and with what outcome.

    Args:
        rises: (..., k), the mean rise at each of the first k looks.
        bounds: of all looks.

    Returns:
        The index of the look that ends it, k if none of these does, and the outcome:
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
    least_seeds: int = 1,
) -> float:
    """The smallest rise of a cell's mean badness that `decide` detects with probability `POWER`.

    Args:
        yardstick, looks, level, floor, least_seeds: as for `decide`.
    """
    spread = (yardstick.deviation, yardstick.degrees, yardstick.runs)
    bounds = limits(*spread, looks=looks, level=level, floor=floor, least_seeds=least_seeds)
    bars = np.append(bounds.steady[:-1], bounds.rose[-1])
    errors = yardstick.deviation * _errors_of_rise(looks, yardstick.runs)
    return rise_above(bars, errors, yardstick.degrees)


def rise_above(bars: FloatArray, errors: FloatArray, degrees: float) -> float:
    """The smallest rise whose measured means are above all of these bars with probability `POWER`.

    An upper bound, so it never promises too much: a rise is missed if an early look ends as steady
    or the last one stays below its limit, and the probabilities of these events are added up. Each
    is that of a Student variable, because the deviation is as uncertain for the fresh values as for
    the limits.

    Args:
        bars: (looks,), below which the test ends as steady; -inf for a look that cannot end so.
        errors: (looks,), standard errors of the measured rise.
        degrees: of freedom, of the deviation.
    """

    def miss(rise: float) -> float:
        return float(np.sum(t_sf((rise - bars) / errors, degrees)))

    low = float(np.max(bars))
    # There every probability is at most half its share of what may be missed.
    share = (1 - POWER) / (2 * len(bars))
    high = low + float(np.max(errors) * t_isf(share, degrees))
    return float(scipy.optimize.brentq(lambda rise: miss(rise) - (1 - POWER), low, high))

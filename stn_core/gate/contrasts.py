"""Whether measured differences agree with a claim about them."""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stn_core.gate.intervals import MOST_SEEDS, Difference, Spread, margin, margin_of_mean


class Finding(enum.StrEnum):
    """What the values say about a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    OPEN = "open"


class Direction(enum.StrEnum):
    """Where a claim expects a difference."""

    HIGHER = "higher"
    LOWER = "lower"
    EQUAL = "equal"


@dataclass(frozen=True)
class Expectation:
    """The difference that a claim expects.

    Args:
        direction: on which side of 0 it is, or "equal".
        size: its least size, in the difference's unit, >= 0; 0 if only the direction is claimed.
        margin: with "equal", what still counts as no difference, > 0.
    """

    direction: Direction
    size: float = 0.0
    margin: float = 0.0

    def finding(self, difference: Difference) -> Finding:
        """What a difference and its interval say about the claim.

        A claimed direction holds if the whole interval is on that side and does not exclude the
        claimed size; it does not hold if the interval excludes the direction or the size. Equality
        holds if the whole interval is within the margin (two one-sided tests, Schuirmann 1987), and
        does not hold if it is outside.
        """
        low, high = difference.low, difference.high
        if math.isnan(low) or math.isnan(high):
            return Finding.OPEN
        if self.direction is Direction.EQUAL:
            within = low > -self.margin and high < self.margin
            outside = low > self.margin or high < -self.margin
        else:
            if self.direction is Direction.LOWER:
                low, high = -high, -low
            within = low > 0 and high >= self.size
            outside = high <= 0 or high < self.size
        if within:
            return Finding.HOLDS
        return Finding.DOES_NOT_HOLD if outside else Finding.OPEN


def joint_finding(findings: Sequence[Finding]) -> Finding:
    """The finding on several together: all must hold, and one that does not is enough to fail."""
    if Finding.DOES_NOT_HOLD in findings:
        return Finding.DOES_NOT_HOLD
    return Finding.OPEN if Finding.OPEN in findings or not findings else Finding.HOLDS


def seeds_to_decide(
    estimate: float,
    spreads: tuple[Spread] | tuple[Spread, Spread],
    expectation: Expectation,
    level: float,
    unit: Callable[[float], float] = float,
) -> int | None:
    """How many seeds per side would decide it, if estimate and spreads stayed as they are.

    Args:
        estimate: the difference, on the scale of the spreads.
        spreads: of both samples, or of the only one if it is compared with a number. A sample with
            more runs than the number asked about keeps them.
        expectation: of the difference.
        level: the probability that the interval misses the true difference, in (0, 1).
        unit: from the scale of the spreads to the unit of the expectation; non-decreasing.

    Returns:
        The number of seeds, 2 or more; None if even `MOST_SEEDS` would not be enough. If it is not
        decided yet, the number is larger than that of the smaller sample.
    """

    def decides(runs: int) -> bool:
        first, *others = (replace(spread, runs=max(spread.runs, runs)) for spread in spreads)
        half = float(margin(first, others[0], level) if others else margin_of_mean(first, level))
        ends = Difference(estimate, estimate - half, estimate + half).mapped(unit)
        return expectation.finding(ends) is not Finding.OPEN

    numbers = np.unique(np.geomspace(2, MOST_SEEDS, 200).astype(int)).tolist()
    for below, runs in itertools.pairwise([1, *numbers]):
        if decides(runs):
            return next(fewer for fewer in range(below + 1, runs + 1) if decides(fewer))
    return None

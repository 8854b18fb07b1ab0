"""The cells of a group pooled into one value per seed, so that many small drops add up.

Runs of one seed resemble each other across models (correlation 0.08 on average between the smoke
cells' accuracies, 0.13 between their losses, up to 0.6; n = 60, 2026-11-29). So cells are not
independent, and combining their p-values would raise false alarms. Instead, the cells are averaged
at each seed, and the spread of these averages over seeds is measured: it contains what the cells
have in common.

Array functions take seeds along the first axis, members along the last, and any axes in between, so
that the calibration judges thousands of sessions with the functions that judge one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stn_core.gate.statistics import FloatArray, Yardstick

LARGEST_DEVIATION = 3.0
"""A member's distance from its baseline is limited to this many standard deviations: one cell that
breaks down is that cell's failure and not its group's."""

LEAST_STORED_SEEDS = 5
"""How many stored seeds all members must share, for the spread of their averages to be known."""

LEAST_PAIRS_WITHIN = 0.1
"""The share of pairs of members that must be of one measurement, for their average covariance to be
that of all. With six measurements of three cells, 12 %, groups fail in 0.04 to 0.16 % of sessions
without a change (real and normal values, 5 and 20 new runs, 100,000 sessions each, 2026-11-30)."""

GROUP_FUTILITY = 0.08
"""`FUTILITY` of a group. If a group leans, all of its members train more seeds.

In sessions of 18 cells without a change, 29 % of sessions do so, and take 5.6 more runs on average.
A drop of one standard deviation in the ten cells with a transformer is found by a group in 84 % of
sessions, by a group or a cell in 89 %. With 0.05: 21 % of sessions, 3.4 runs, 78 and 86 %. With
0.1: 34 %, 7.1 runs, 87 and 90 % (6,000 sessions without a change, 3,000 with one, 2026-11-29)."""

GROUP_FUTILITY_OF_GAINS = 0.005
"""`FUTILITY_OF_GAINS` of a group. With 0.025, as for a cell, gains alone would cost 1.9 more runs
in a session without a change."""


def standardised(
    values: FloatArray, mean: FloatArray | float, deviation: FloatArray | float
) -> FloatArray:
    """Badness as standard deviations above a cell's baseline, at most LARGEST_DEVIATION either way.

    Args:
        values: badness, any shape.
        mean, deviation: of the cell's yardstick, of shapes that broadcast.
    """
    return np.clip((values - mean) / deviation, -LARGEST_DEVIATION, LARGEST_DEVIATION)


def pooled_deviation(stored: FloatArray, measurements: Sequence[int] = ()) -> FloatArray:
    """The standard deviation of the members' mean over seeds.

    Never less than 1 / sqrt(members), that of independent members: they have causes in common that
    move them together, but move against each other only by luck. All degrees of freedom are kept,
    because an average over members is closer to normal than each of them.

    Args:
        stored: standardised values, (seeds, ..., members), of two seeds or more.
        measurements: of each member, a number that it has in common with those whose stored values
            resemble its own as new ones do; () if all have.

    Returns:
        (...), the axes between the first and the last.
    """
    if len(set(measurements)) > 1:
        own = np.sqrt(_variance_of_mean(stored, np.asarray(measurements)))
    else:
        own = np.std(np.mean(stored, axis=-1), axis=0, ddof=1)
    return np.asarray(np.maximum(own, least_pooled_deviation(stored.shape[-1])))


def _variance_of_mean(stored: FloatArray, measurements: npt.NDArray[np.int_]) -> FloatArray:
    """Of members of several measurements, whose new runs resemble each other across these.

    How much they do is not known. So the covariance of members of two measurements is assumed to be
    the average of those within one; or, if few members are within one, as large as it can be.

    Of 18 cells, every other one measured with other seeds, groups fail in 0.08 to 0.11 % of
    sessions without a change, and find a drop of one deviation everywhere in 91 to 93 %; if all
    were measured with the same, in 0.05 to 0.14 % and 89 to 90 %. If the covariance counted as
    nothing, groups would fail in 0.18 to 0.32 % (real and normal values, 5 and 20 new runs, 30,000
    sessions each; 1,200 with a drop and 5 new runs; 2026-11-30).
    """
    variances = np.var(stored, axis=0, ddof=1)
    if not is_covariance_known(measurements):
        return np.asarray(np.mean(np.sqrt(variances), axis=-1) ** 2)
    parts = [stored[..., measurements == one] for one in np.unique(measurements)]
    together = sum(np.var(np.sum(part, axis=-1), axis=0, ddof=1) for part in parts)
    within, across = _pairs(measurements)
    covariance = np.maximum((together - np.sum(variances, axis=-1)) / within, 0.0)
    return np.asarray((together + across * covariance) / len(measurements) ** 2)


def is_covariance_known(measurements: npt.ArrayLike) -> bool:
    """Whether enough members are of one measurement to tell how much they all resemble each other.

    Args:
        measurements: as for `pooled_deviation`, one or more.
    """
    within, across = _pairs(measurements)
    return within >= LEAST_PAIRS_WITHIN * (within + across)


def _pairs(measurements: npt.ArrayLike) -> tuple[int, int]:
    """How many ordered pairs of members are of one measurement, and how many of two."""
    sizes = np.unique(measurements, return_counts=True)[1]
    members = int(np.sum(sizes))
    within = int(np.sum(sizes * (sizes - 1)))
    return within, members * (members - 1) - within


def least_pooled_deviation(members: int) -> float:
    """Of the mean of this many independent members."""
    return 1 / math.sqrt(members)


def pooled_yardstick(stored: FloatArray, measurements: Sequence[int] = ()) -> Yardstick:
    """The yardstick of a group's fresh values.

    Args:
        stored: standardised values, (seeds, members), of two seeds or more.
        measurements: as for `pooled_deviation`.
    """
    return Yardstick(
        mean=float(np.mean(stored)),
        deviation=float(pooled_deviation(stored, measurements)),
        degrees=len(stored) - 1,
        runs=len(stored),
    )

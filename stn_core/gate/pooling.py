"""Many small drops are one large one: the cells of a group, seed by seed, as one value.

Runs of one seed resemble each other across models (correlation 0.08 in the mean of the smoke
cells' accuracies, 0.13 of their losses, up to 0.6; n = 60, 2026-11-29), so that cells are no
independent witnesses, and adding up their p-values would see drops that are none. Here the cells
are averaged first, at each seed, and only then is it asked how far such averages lie apart over
seeds: what the cells have in common stays in that spread.

Array functions take seeds along the first axis and members along the last, and anything between
them, so that the calibration judges thousands of sessions with the functions that judge one.
"""

from __future__ import annotations

import math

import numpy as np

from stn_core.gate.statistics import FloatArray, Yardstick

LARGEST_DEVIATION = 3.0
"""A member further from its baseline than so many standard deviations counts as so many: one cell
that breaks down is that cell's failure, and not its group's."""

LEAST_STORED_SEEDS = 5
"""With fewer seeds that all members hold nobody knows how far their averages lie apart."""

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


def pooled_deviation(stored: FloatArray) -> FloatArray:
    """How far the members' mean lies apart over seeds, as a standard deviation.

    Never less than for members that have nothing in common, 1 / sqrt(members): what makes them
    move together is shared by all, what would make them move against each other is luck. The
    degrees of freedom are all kept: an average over members is closer to normal than each of them.

    Args:
        stored: standardised values, (seeds, ..., members), of two seeds or more.

    Returns:
        (...), what stands between the first and the last axis.
    """
    own = np.std(np.mean(stored, axis=-1), axis=0, ddof=1)
    return np.asarray(np.maximum(own, least_pooled_deviation(stored.shape[-1])))


def least_pooled_deviation(members: int) -> float:
    """Of the mean of as many members that have nothing in common."""
    return 1 / math.sqrt(members)


def pooled_yardstick(stored: FloatArray) -> Yardstick:
    """What a group's fresh values are compared with.

    Args:
        stored: standardised values, (seeds, members), of two seeds or more.
    """
    return Yardstick(
        mean=float(np.mean(stored)),
        deviation=float(pooled_deviation(stored)),
        degrees=len(stored) - 1,
        runs=len(stored),
    )

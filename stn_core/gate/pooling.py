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

import numpy as np

from stn_core.gate.statistics import FloatArray, Yardstick

LARGEST_DEVIATION = 3.0
"""A member's distance from its baseline is limited to this many standard deviations: one cell that
breaks down is that cell's failure and not its group's."""

LEAST_STORED_SEEDS = 5
"""How many stored seeds all members must share, for the spread of their averages to be known."""

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
    """The standard deviation of the members' mean over seeds.

    Never less than 1 / sqrt(members), that of independent members: they have causes in common that
    move them together, but move against each other only by luck. All degrees of freedom are kept,
    because an average over members is closer to normal than each of them.

    Args:
        stored: standardised values, (seeds, ..., members), of two seeds or more.

    Returns:
        (...), the axes between the first and the last.
    """
    own = np.std(np.mean(stored, axis=-1), axis=0, ddof=1)
    return np.asarray(np.maximum(own, least_pooled_deviation(stored.shape[-1])))


def least_pooled_deviation(members: int) -> float:
    """Of the mean of this many independent members."""
    return 1 / math.sqrt(members)


def pooled_yardstick(stored: FloatArray) -> Yardstick:
    """The yardstick of a group's fresh values.

    Args:
        stored: standardised values, (seeds, members), of two seeds or more.
    """
    return Yardstick(
        mean=float(np.mean(stored)),
        deviation=float(pooled_deviation(stored)),
        degrees=len(stored) - 1,
        runs=len(stored),
    )

"""Baselines and sessions drawn from a pool of real runs, and rates with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.gate.simulation import LOOKS, OWN, STORED, Levels, Matrix, Played, judge


@dataclass(frozen=True)
class Drawn:
    """A baseline, and sessions without a change against it; accuracy alone may drop.

    Args:
        matrix: the cells.
        stored: (2, STORED, cells), log error and log loss.
        fresh: (2, runs, sessions, cells).
    """

    matrix: Matrix
    stored: np.ndarray
    fresh: np.ndarray

    def dropped(self, deviations: np.ndarray) -> Drawn:
        """The same draws, where each cell is worse by this many of its standard deviations."""
        fresh = self.fresh.copy()
        fresh[0] += deviations * self.matrix.pool.deviations[0, self.matrix.columns]
        return Drawn(self.matrix, self.stored, fresh)

    def play(self, levels: Levels = OWN) -> Played:
        """The sessions as this gate judges them."""
        return judge(self.matrix, self.stored, self.fresh, levels)


def draw(matrix: Matrix, rng: np.random.Generator, sessions: int) -> Drawn:
    """A new baseline, and sessions against it."""
    stored = matrix.draw(rng, STORED, 1)[:, :, 0]
    return Drawn(matrix, stored, matrix.draw(rng, LOOKS[-1], sessions))


def one_cell(matrix: Matrix, number: int) -> np.ndarray:
    """Marks one cell, (cells,): a different one for each baseline, in turn."""
    return np.arange(matrix.cells) == number % matrix.cells


def rate(flags: Sequence[np.ndarray]) -> str:
    """A rate in per cent with its 95 % interval; sessions with one baseline are not independent.

    Args:
        flags: of the sessions of each baseline.
    """
    rates = 100 * np.array([one.mean() for one in flags])
    half = 1.96 * rates.std(ddof=1) / len(rates) ** 0.5
    return f"{rates.mean():.2f} ± {half:.2f} %"

"""Whole sessions, played with the functions that judge them: cells, and groups of cells.

Values come from a pool: each row is a seed, with the accuracy and the loss of every cell. The real
pool has 60 seeds of every core cell of the smoke budget; a normal one has its means, deviations and
correlations, also between cells. A larger matrix repeats the pool; a copy takes the row of its
original in COPIED of the draws, so that cells of different copies correlate as those of one do on
average. Fresh runs are independent of the stored ones, which is the harder case: in a session they
share seeds. There is no practical floor: everything significant alarms.

Sessions share one baseline, as in use, or each has its own: a rate is then a mean over baselines.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stn_core.gate.pooling import (
    GROUP_FUTILITY,
    GROUP_FUTILITY_OF_GAINS,
    pooled_deviation,
    standardised,
)
from stn_core.gate.sequential import FUTILITY, Limits, limits, settle
from stn_core.gate.statistics import (
    CELLS_FALSE_ALARM_RATE,
    GROUPS_FALSE_ALARM_RATE,
    log_error,
    log_error_floor,
    log_loss,
    log_loss_floor,
    moderated_deviations,
)
from stn_core.session.budgets import get_budget

POOL = Path(__file__).with_name("pool.json.gz")
LOOKS = get_budget("smoke").looks
STORED = 20
COPIED = 0.6
CELLS_AT_ONCE = 50_000

GROUPS: dict[str, Callable[[str, str], bool]] = {
    "all": lambda dataset, model: True,
    "dataset digits": lambda dataset, model: dataset == "digits",
    "dataset digits_rts": lambda dataset, model: dataset == "digits_rts",
    "transformer": lambda dataset, model: "stn" in model,
    "coordconv": lambda dataset, model: "coord" in model,
    "family stn": lambda dataset, model: model.startswith("stn"),
    "family spinal": lambda dataset, model: model.startswith("spinal"),
    "family cnn": lambda dataset, model: model.endswith("cnn"),
}
"""Those of the core cells that have four members or more."""


@dataclass(frozen=True)
class Pool:
    """What cells may reach.

    Args:
        values: badness less each cell's mean, accuracy then loss, (2, rows, cells).
        floors: least deviations, (2, cells).
        keys: of the cells.
        means: of the badness that the values are counted from, (2, cells).
        test_images: (cells,).
    """

    values: np.ndarray
    floors: np.ndarray
    keys: tuple[str, ...]
    means: np.ndarray
    test_images: np.ndarray

    @property
    def deviations(self) -> np.ndarray:
        return self.values.std(axis=1, ddof=1)


def real_pool() -> Pool:
    with gzip.open(POOL, "rt", encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    errors = [log_error(cell["accuracy"], cell["test_images"]) for cell in cells.values()]
    losses = [log_loss(cell["cross_entropy"]) for cell in cells.values()]
    known = [(float(np.mean(c["accuracy"])), c["test_images"]) for c in cells.values()]
    floors = [[log_error_floor(*cell) for cell in known], [log_loss_floor(*cell) for cell in known]]
    values = np.array([errors, losses]).swapaxes(1, 2)
    means = values.mean(axis=1)
    images = np.array([cell["test_images"] for cell in cells.values()])
    return Pool(values - means[:, None], np.array(floors), tuple(cells), means, images)


def normal_pool(rows: int = 2000) -> Pool:
    real = real_pool()
    cells = len(real.keys)
    together = np.concatenate(list(real.values), axis=1)
    drawn = np.random.default_rng(0).multivariate_normal(
        np.zeros(2 * cells), np.cov(together, rowvar=False), rows, method="eigh"
    )
    values = np.stack([drawn[:, :cells], drawn[:, cells:]])
    return replace(real, values=values - values.mean(axis=1, keepdims=True))


@dataclass(frozen=True)
class Matrix:
    """A number of cells, and their groups.

    Args:
        pool: what they may reach.
        cells: how many.
        together: the cells of one run take the same row of the pool, as far as they are of one
            copy; otherwise every cell takes a row of its own.
    """

    pool: Pool
    cells: int = 18
    together: bool = True

    @property
    def columns(self) -> np.ndarray:
        """Which cell of the pool each cell is."""
        return np.arange(self.cells) % len(self.pool.keys)

    @property
    def copies(self) -> np.ndarray:
        """Which copy of the pool each cell belongs to."""
        return np.arange(self.cells) // len(self.pool.keys)

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """By name, which cells belong."""
        names = [self.pool.keys[column].split("/")[1:] for column in self.columns]
        return {name: np.array([fits(*one) for one in names]) for name, fits in GROUPS.items()}

    @property
    def measurements(self) -> tuple[int, ...]:
        """Of each cell, the measurement that its stored runs are from; () if it is the same."""
        return ()

    def draw_stored(self, rng: np.random.Generator) -> np.ndarray:
        """The stored runs of all cells, (2, STORED, cells)."""
        return self.draw(rng, STORED, 1)[:, :, 0]

    def draw(self, rng: np.random.Generator, runs: int, sessions: int) -> np.ndarray:
        """Runs of all cells, (2, runs, sessions, cells)."""
        rows = len(self.pool.values[0])
        if not self.together:
            chosen = rng.integers(0, rows, (runs, sessions, self.cells))
            return self.pool.values[:, chosen, self.columns]
        count = int(self.copies[-1]) + 1
        chosen = rng.integers(0, rows, (count, runs, sessions))
        same = rng.random((count, runs, sessions)) < COPIED
        chosen = np.where(same, chosen[0], chosen)
        width = len(self.pool.keys)
        drawn = [self.pool.values[:, one, : min(width, self.cells - width * n)] for n, one in
                 enumerate(chosen)]  # fmt: skip
        return np.concatenate(drawn, axis=-1)


@dataclass(frozen=True)
class Levels:
    """The levels of a session's tests, and when a group leans.

    Args:
        cells, groups: the probability of a false alarm of all cells together, and of all groups.
        futility, group_futility: as of `decide`, of cells and of groups.
    """

    cells: float = CELLS_FALSE_ALARM_RATE
    groups: float = GROUPS_FALSE_ALARM_RATE
    futility: float = FUTILITY
    group_futility: float = GROUP_FUTILITY

    def scaled(self, factor: float) -> Levels:
        return replace(self, cells=factor * self.cells, groups=factor * self.groups)


OWN = Levels()
"""Those of the gate."""


@dataclass(frozen=True)
class Played:
    """The results of sessions.

    Args:
        cells: which cells alarmed, (sessions, cells).
        groups: which groups did, (sessions, groups).
        own_seeds: that each cell used for its own verdict, (sessions, cells).
        seeds: including those that groups requested.
    """

    cells: np.ndarray
    groups: np.ndarray
    own_seeds: np.ndarray
    seeds: np.ndarray

    @property
    def failed(self) -> np.ndarray:
        return self.cells.any(axis=1) | self.groups.any(axis=1)


def play(
    matrix: Matrix,
    rng: np.random.Generator,
    *,
    baselines: int,
    sessions: int,
    drop: np.ndarray | float = 0.0,
    loss_rise: np.ndarray | float = 0.0,
) -> list[Played]:
    """Sessions against one baseline after the other.

    Args:
        matrix: the cells.
        rng: decides the draws.
        baselines: how many.
        sessions: against each of them.
        drop, loss_rise: how much worse fresh runs are, in each cell's true standard deviations,
            one number or (cells,).
    """
    worse = np.stack([np.broadcast_to(one, matrix.cells) for one in (drop, loss_rise)])
    worse = worse * matrix.pool.deviations[:, matrix.columns]
    played = []
    for _ in range(baselines):
        stored = matrix.draw_stored(rng)
        fresh = matrix.draw(rng, LOOKS[-1], sessions) + worse[:, None, None]
        played.append(judge(matrix, stored, fresh))
    return played


def play_cells(
    matrix: Matrix,
    rng: np.random.Generator,
    sessions: int,
    *,
    drop: tuple[float, float] = (0.0, 0.0),
    paired: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Sessions without groups, each against a baseline of its own.

    Args:
        matrix: the cells.
        rng: decides the draws.
        sessions: how many.
        drop: how much worse fresh runs are, in true deviations of each cell's accuracy and loss.
        paired: the share of fresh runs that are, to the last bit, the stored ones of their seeds:
            the correlation of a pair.

    Returns:
        Which cells alarm and the seeds that they use, (sessions, cells) each.
    """
    worse = np.array(drop)[:, None] * matrix.pool.deviations[:, matrix.columns]
    at_once = CELLS_AT_ONCE // matrix.cells
    parts = []
    for start in range(0, sessions, at_once):
        size = min(at_once, sessions - start)
        stored, fresh = matrix.draw(rng, STORED, size), matrix.draw(rng, LOOKS[-1], size)
        if paired:
            same = rng.random(fresh.shape[1:]) < paired
            fresh = np.where(same, stored[:, : LOOKS[-1]], fresh)
        parts.append(judge_cells(matrix, stored, fresh + worse[:, None, None]))
    alarms, seeds = zip(*parts, strict=True)
    return np.concatenate(alarms), np.concatenate(seeds)


def judge(matrix: Matrix, stored: np.ndarray, fresh: np.ndarray, levels: Levels = OWN) -> Played:
    """The sessions of one baseline, or of a baseline each.

    Args:
        matrix: the cells.
        stored: (2, STORED, cells), or (2, STORED, sessions, cells).
        fresh: (2, last look, sessions, cells).
        levels: the gate's own, or others to compare with.
    """
    groups = np.array(list(matrix.groups.values()))
    group_parts = []
    for metric in (0, 1):
        means, deviations, _ = spreads(matrix, stored, metric)
        own = standardised(stored[metric], means, deviations)
        new = standardised(fresh[metric], means, deviations)
        group_parts.append(judge_groups(own, new, groups, levels, matrix.measurements))
    alarms, own_seeds = judge_cells(matrix, stored, fresh, levels)
    group_alarms, group_seeds = conclude(group_parts)
    asked = np.max(group_seeds[:, :, None] * groups, axis=1)
    return Played(alarms, group_alarms, own_seeds, np.maximum(own_seeds, asked))


def judge_cells(
    matrix: Matrix, stored: np.ndarray, fresh: np.ndarray, levels: Levels = OWN
) -> tuple[np.ndarray, np.ndarray]:
    """Which cells alarm and the seeds that they use, (sessions, cells) each; arguments as above."""
    return conclude(
        [
            settle(
                at_looks(fresh[metric]) - stored[metric].mean(axis=0)[..., None],
                cell_limits(matrix, stored, metric, levels),
            )
            for metric in (0, 1)
        ]
    )


def spreads(
    matrix: Matrix, stored: np.ndarray, metric: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, moderated deviations and their degrees of freedom, (..., cells) each."""
    deviations, freedom = moderated_deviations(
        stored[metric].var(axis=0, ddof=1),
        np.full(matrix.cells, STORED - 1.0),
        matrix.pool.floors[metric, matrix.columns],
    )
    return stored[metric].mean(axis=0), deviations, freedom


def cell_limits(matrix: Matrix, stored: np.ndarray, metric: int, levels: Levels = OWN) -> Limits:
    """The limits of one metric of every cell, (..., cells, looks) each."""
    _, deviations, freedom = spreads(matrix, stored, metric)
    # Baselines of one size share their degrees: one quantile does for all cells of a session.
    return limits(
        deviations,
        freedom[..., :1],
        STORED,
        looks=LOOKS,
        level=levels.cells / (2 * matrix.cells),
        futility=levels.futility,
    )


def judge_groups(
    stored: np.ndarray,
    fresh: np.ndarray,
    groups: np.ndarray,
    levels: Levels,
    measurements: tuple[int, ...] = (),
):
    """Where each group stops, and how, from standardised values."""
    shares = groups / groups.sum(axis=1, keepdims=True)
    level = levels.groups / (2 * len(groups))
    numbers = np.array(measurements or [0] * stored.shape[-1])
    deviations = [
        pooled_deviation(stored[..., members], tuple(numbers[members])) for members in groups
    ]
    bounds: Limits = limits(
        np.stack(deviations, axis=-1),
        STORED - 1.0,
        STORED,
        looks=LOOKS,
        level=level,
        futility=levels.group_futility,
        futility_of_gains=GROUP_FUTILITY_OF_GAINS,
    )
    middle = stored.mean(axis=0) @ shares.T
    return settle(at_looks(fresh @ shares.T) - middle[..., None], bounds)


def at_looks(values: np.ndarray) -> np.ndarray:
    """The mean of the first runs at each look, (..., looks), of (runs, ...)."""
    sums = np.cumsum(values, axis=0)
    return np.stack([sums[look - 1] / look for look in LOOKS], axis=-1)


def conclude(parts) -> tuple[np.ndarray, np.ndarray]:
    """Alarms and seeds: the test ends when one metric alarms, or when both are settled."""
    stops, outcomes = (np.array(values) for values in zip(*parts, strict=True))
    first_alarm = np.min(np.where(outcomes == 1, stops, len(LOOKS)), axis=0)
    alarms = first_alarm < len(LOOKS)
    return alarms, np.array(LOOKS)[np.where(alarms, first_alarm, np.max(stops, axis=0))]

"""This gate alone: its false alarms, the drops that it detects, and what leaning groups cost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.gate_power.draws import draw, one_cell, rate
from tests.gate.simulation import Levels, Matrix, normal_pool, real_pool

DROPS = (0.5, 1, 2, 3, 5)
CELLS_ALONE = Levels(cells=0.008, groups=1e-12)
"""A gate without groups, whose cells share what this one splits between cells and groups."""


def false_alarms(baselines: int) -> Iterator[str]:
    """A row for every size of the matrix: the mean and the 95th percentile over baselines."""
    yield "| cells | sessions that fail | 95th percentile | seeds | with those of groups |"
    for kind, pool in (("real", real_pool()), ("normal", normal_pool())):
        for cells in (18, 26, 62, 100):
            matrix, rng = Matrix(pool, cells), np.random.default_rng(cells)
            played = [draw(matrix, rng, 200).play() for _ in range(baselines)]
            failed = [one.failed for one in played]
            own = np.mean([one.own_seeds.mean() for one in played])
            seeds = np.mean([one.seeds.mean() for one in played])
            worst = 100 * np.quantile(np.mean(failed, axis=1), 0.95)
            yield f"| {cells} {kind} | {rate(failed)} | {worst:.2f} % | {own:.2f} | {seeds:.2f} |"


def power(baselines: int) -> Iterator[str]:
    """A row for every size of a drop of accuracy and every place where it happens."""
    matrix = Matrix(real_pool())
    places = {
        "one cell": None,
        "a family (4 cells)": matrix.groups["family cnn"],
        "10 transformers": matrix.groups["transformer"],
        "everywhere": np.ones(matrix.cells, dtype=bool),
    }
    yield "| drop | where | cells alone | by a cell | by a group | by either | seeds |"
    for drop in DROPS:
        for place, members in places.items():
            rng = np.random.default_rng(int(2 * drop))
            flags, seeds = [], []
            for number in range(baselines):
                where = one_cell(matrix, number) if members is None else members
                drawn = draw(matrix, rng, 20).dropped(drop * where)
                ours = drawn.play()
                alone = drawn.play(CELLS_ALONE).cells[:, where].any(axis=1)
                cell, group = ours.cells[:, where].any(axis=1), ours.groups.any(axis=1)
                flags.append(np.stack([alone, cell, group, cell | group]))
                seeds.append(ours.seeds.mean())
            shares = np.concatenate(flags, axis=1).mean(axis=1)
            found = " | ".join(f"{100 * share:.0f} %" for share in shares)
            yield f"| {drop} | {place} | {found} | {np.mean(seeds):.1f} |"


def matrix_sizes(baselines: int) -> Iterator[str]:
    """A row for every size of a drop of accuracy: the share of cells that detect it alone."""
    yield "| drop | detected, 18 cells | seeds | detected, 62 cells | seeds |"
    for drop in DROPS[1:]:
        row = f"| {drop} |"
        for cells in (18, 62):
            matrix, rng = Matrix(real_pool(), cells), np.random.default_rng(cells)
            deviations = np.full(cells, drop)
            played = [draw(matrix, rng, 20).dropped(deviations).play() for _ in range(baselines)]
            found = 100 * np.mean([one.cells.mean() for one in played])
            seeds = np.mean([one.own_seeds.mean() for one in played])
            row += f" {found:.1f} % | {seeds:.1f} |"
        yield row


def leaning(baselines: int) -> Iterator[str]:
    """A row for every limit below which a group leans: its cost, and the drops detected."""
    matrix = Matrix(real_pool())
    drops = {
        "1 in a family": matrix.groups["family cnn"],
        "1 in 10 transformers": matrix.groups["transformer"],
        "1 everywhere": np.ones(matrix.cells),
    }
    yield f"| p | sessions that lean | more runs | false | {' | '.join(drops)} |"
    for limit in (0.05, 0.08, 0.1):
        levels, rng = Levels(group_futility=limit), np.random.default_rng(1)
        quiet = [draw(matrix, rng, 20).play(levels) for _ in range(baselines)]
        more = np.concatenate([(one.seeds - one.own_seeds).sum(axis=1) for one in quiet])
        false = 100 * np.mean([one.failed for one in quiet])
        found = []
        for drop in drops.values():
            rng = np.random.default_rng(2)
            dropped = [draw(matrix, rng, 20).dropped(drop).play(levels) for _ in range(baselines)]
            group = 100 * np.mean([one.groups.any(axis=1) for one in dropped])
            either = 100 * np.mean([one.failed for one in dropped])
            found.append(f"{group:.0f} % ({either:.0f} %)")
        share = f"{100 * np.mean(more > 0):.0f} %"
        yield f"| {limit} | {share} | {more.mean():.1f} | {false:.2f} % | {' | '.join(found)} |"

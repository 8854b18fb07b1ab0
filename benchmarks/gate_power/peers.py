"""How often gates fail without a cause, and what they find: the tables of docs/statistics.md.

    python -m benchmarks.gate_power

from the repository's root. This gate is played by the functions that judge (tests/gate/simulation),
the gates that others use by their rules as these are published, on the same draws from
tests/gate/pool.json.gz. ``--baselines N`` plays more sessions, SESSIONS against each baseline.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from scipy import stats

from tests.gate.simulation import STORED, Matrix, Played, judge, normal_pool, real_pool

SESSIONS = 20
DROPS = (0.5, 1, 2, 3, 5)
PERMUTATIONS = 999
PICTURE = Path("docs/gate-frontier.svg")
IMAGES = 360
"""Test images of a cell of the pool, for gates that count them."""


@dataclass(frozen=True)
class Drawn:
    """A baseline, and sessions without a change against it; accuracy alone may drop.

    Args:
        stored: (2, STORED, cells), log error and log loss.
        fresh: (2, runs, SESSIONS, cells).
        scale: of each cell's log error over seeds, (cells,).
    """

    stored: np.ndarray
    fresh: np.ndarray
    scale: np.ndarray

    def dropped(self, deviations: np.ndarray) -> Drawn:
        """The same draws, where each cell is worse by so many deviations."""
        fresh = self.fresh.copy()
        fresh[0] += deviations * self.scale
        return Drawn(self.stored, fresh, self.scale)


def draw(matrix: Matrix, rng: np.random.Generator, runs: int = 14) -> Drawn:
    stored = matrix.draw(rng, STORED, 1)[:, :, 0]
    fresh = matrix.draw(rng, runs, SESSIONS)
    return Drawn(stored, fresh, matrix.pool.deviations[0, matrix.columns])


Gate = Callable[[Matrix, Drawn, np.random.Generator], np.ndarray]
"""Which cells alarm, (sessions, cells)."""


def reference_test(seeds: int) -> Gate:
    """MLPerf's idea: a one-sided Welch test of each cell at 5 %, without a correction."""

    def alarms(matrix: Matrix, drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
        fresh, stored = drawn.fresh[0, :seeds], drawn.stored[0][:, None]
        test = stats.ttest_ind(fresh, stored, axis=0, equal_var=False, alternative="greater")
        return np.asarray(test.pvalue < 0.05)

    return alarms


def permutation_test(seeds: int) -> Gate:
    """A one-sided permutation test of each cell's mean, Benjamini and Hochberg's rule at 5 %."""

    def alarms(matrix: Matrix, drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
        fresh = drawn.fresh[0, :seeds]
        stored = np.broadcast_to(drawn.stored[0][:, None], (STORED, *fresh.shape[1:]))
        both = np.concatenate([fresh, stored])
        total = both.sum(axis=0)
        observed = fresh.mean(axis=0) - stored.mean(axis=0)
        exceeds = np.zeros(observed.shape)
        for _ in range(PERMUTATIONS):
            chosen = both[rng.permutation(len(both))[:seeds]].sum(axis=0)
            exceeds += chosen / seeds - (total - chosen) / STORED >= observed
        return benjamini_hochberg((1 + exceeds) / (1 + PERMUTATIONS), 0.05)

    return alarms


def benjamini_hochberg(p_values: np.ndarray, rate: float) -> np.ndarray:
    """Which are rejected, over the last axis."""
    count = p_values.shape[-1]
    order = np.sort(p_values, axis=-1)
    below = order <= rate * np.arange(1, count + 1) / count
    limit = np.max(np.where(below, order, 0.0), axis=-1, keepdims=True)
    return p_values <= limit


def tolerance(seeds: int, deviations: float) -> Gate:
    """The mean may be so many of the stored values' standard deviations worse."""

    def alarms(matrix: Matrix, drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
        stored = drawn.stored[0]
        limit = stored.mean(axis=0) + deviations * stored.std(axis=0, ddof=1)
        return drawn.fresh[0, :seeds].mean(axis=0) > limit

    return alarms


def two_proportions(matrix: Matrix, drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
    """The images that one run gets wrong against those of one stored run, at 5 % a cell."""
    centre = 0.05  # a share of errors as the pool's cells have it; the pool holds differences alone
    wrong = IMAGES * centre * np.exp(drawn.fresh[0, 0])
    then = IMAGES * centre * np.exp(drawn.stored[0, 0])
    pooled = (wrong + then) / (2 * IMAGES)
    error = np.sqrt(pooled * (1 - pooled) * 2 / IMAGES)
    return (wrong - then) / IMAGES / error > stats.norm.isf(0.05)


PEERS: dict[str, tuple[Gate, int]] = {
    "permutation test, Benjamini-Hochberg": (permutation_test(10), 10),
    "permutation test, 3 seeds": (permutation_test(3), 3),
    "one-sided test of each cell": (reference_test(10), 10),
    "tolerance of 2 deviations": (tolerance(3, 2.0), 3),
    "tolerance of 1.5 deviations": (tolerance(3, 1.5), 3),
    "two proportions": (two_proportions, 1),
}
"""Each with the seeds that it spends on a cell."""


def rate(flags: np.ndarray) -> str:
    """A rate in per cent with its 95 % interval (Clopper & Pearson)."""
    found, count = int(flags.sum()), flags.size
    low, high = stats.binomtest(found, count).proportion_ci(0.95)
    return f"{100 * found / count:.2f} % ({100 * low:.2f} to {100 * high:.2f}, n = {count:,})"


def false_alarms(baselines: int) -> Iterator[str]:
    """A line for every size of the matrix: the mean, and the unluckiest twentieth of baselines."""
    for kind, pool in (("real", real_pool()), ("normal", normal_pool())):
        for cells in (18, 26, 62, 100):
            matrix, rng = Matrix(pool, cells), np.random.default_rng(cells)
            played = [play(matrix, draw(matrix, rng)) for _ in range(baselines)]
            failed = np.array([one.failed.mean() for one in played])
            seeds = np.mean([one.own_seeds.mean() for one in played])
            more = np.mean([one.seeds.mean() for one in played])
            yield (
                f"| {cells} {kind} | {rate(np.concatenate([one.failed for one in played]))} |"
                f" {100 * np.quantile(failed, 0.95):.1f} % | {seeds:.2f} | {more:.2f} |"
            )


def play(matrix: Matrix, drawn: Drawn) -> Played:
    return judge(matrix, drawn.stored, drawn.fresh)


def power(baselines: int) -> Iterator[str]:
    """A row for every size of a drop and place where it happens: by any cell, by any group."""
    matrix = Matrix(real_pool())
    places = {
        "one cell": np.arange(matrix.cells) == 3,
        "a family (4 cells)": matrix.groups["family cnn"],
        "10 transformers": matrix.groups["transformer"],
        "everywhere": np.ones(matrix.cells, dtype=bool),
    }
    for drop in DROPS:
        for place, members in places.items():
            rng = np.random.default_rng(int(2 * drop))
            drops = drop * members.astype(float)
            played = [play(matrix, draw(matrix, rng).dropped(drops)) for _ in range(baselines)]
            cells = np.concatenate([one.cells.any(axis=1) for one in played])
            groups = np.concatenate([one.groups.any(axis=1) for one in played])
            seeds = np.mean([one.seeds.mean() for one in played])
            yield (
                f"| {drop} | {place} | {100 * cells.mean():.0f} % | {100 * groups.mean():.0f} % |"
                f" {100 * (cells | groups).mean():.0f} % | {seeds:.1f} |"
            )


@dataclass(frozen=True)
class Point:
    """A gate on the frontier; shares of sessions."""

    name: str
    false: float
    found: tuple[float, ...]
    seeds: float


def frontier(baselines: int) -> list[Point]:
    """Every gate on the same draws: false sessions, and drops of 2 and 3 deviations found.

    In one cell, by that cell's own alarm or its groups', and everywhere, by any alarm.
    """
    matrix, rng = Matrix(real_pool()), np.random.default_rng(0)
    one = (np.arange(matrix.cells) == 3).astype(float)
    changes = [0.0 * one, *(size * place for place in (one, 1 + 0 * one) for size in (2, 3))]
    names = ["this gate", *PEERS]
    flags: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in changes] for name in names}
    quiet_seeds = []
    for _ in range(baselines):
        drawn = draw(matrix, rng)
        for number, change in enumerate(changes):
            dropped = drawn.dropped(change)
            ours = play(matrix, dropped)
            flags["this gate"][number].append(ours.failed)
            if not number:
                quiet_seeds.append(ours.seeds.mean())
            for name, (gate, _) in PEERS.items():
                flags[name][number].append(gate(matrix, dropped, rng).any(axis=1))
    spent = {"this gate": float(np.mean(quiet_seeds))} | {n: s for n, (_, s) in PEERS.items()}
    shares = {name: [float(np.mean(np.concatenate(f))) for f in flags[name]] for name in names}
    return [Point(name, shares[name][0], tuple(shares[name][1:]), spent[name]) for name in names]


def picture(points: list[Point]) -> None:
    """False sessions against what is found of two deviations in one cell; area: seeds spent."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "frontier", "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
        for number, point in enumerate(points):
            place = (100 * max(point.false, 1e-3), 100 * point.found[0])
            axes.scatter(*place, s=20 * point.seeds, color=f"C{number}")
            axes.annotate(f"{point.name}, {point.seeds:.1f} seeds", place, fontsize=7)
        axes.set(xscale="log", xlabel="sessions that fail without a change, %")
        axes.set_ylabel("drops of two deviations in one cell found, %")
        figure.savefig(PICTURE, metadata={"Date": None})


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    help_text = "how many baselines to draw (default: 200)"
    parser.add_argument("--baselines", type=int, default=200, metavar="N", help=help_text)
    return parser.parse_args(arguments)


def main() -> None:
    baselines = parse_arguments().baselines
    for line in false_alarms(baselines):
        print(line, flush=True)
    for line in power(baselines // 4):
        print(line, flush=True)
    points = frontier(baselines // 4)
    for point in points:
        found = " | ".join(f"{100 * share:.0f} %" for share in point.found)
        print(f"| {point.name} | {100 * point.false:.1f} % | {found} | {point.seeds:.1f} |")
    picture(points)


if __name__ == "__main__":
    main()

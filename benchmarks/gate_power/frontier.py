"""This gate compared with others: at its own false-alarm rate, and at that of each other gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.gate_power.draws import Drawn, draw, one_cell
from benchmarks.gate_power.peers import PEERS
from tests.gate.simulation import OWN, Levels, Matrix, real_pool

PICTURE = Path("docs/gate-frontier.svg")
SESSIONS = 20
OURS = "this gate"


@dataclass(frozen=True)
class Point:
    """A gate; shares of sessions.

    Args:
        name: of the gate.
        false: sessions that fail without a change.
        found: 2 and 3 deviations in one cell, by that cell's alarm or its groups', and everywhere,
            by any alarm.
        seeds: trained per cell without a change.
    """

    name: str
    false: float
    found: tuple[float, ...]
    seeds: float

    @property
    def row(self) -> str:
        found = " | ".join(f"{100 * share:.1f} %" for share in self.found)
        return f"| {self.name} | {100 * self.false:.2f} % | {found} | {self.seeds:.1f} |"


Alarms = Callable[[Drawn], tuple[np.ndarray, np.ndarray, float]]
"""Which cells alarm, (sessions, cells), whether a group does, (sessions,), and seeds per cell."""


def measure(name: str, alarms: Alarms, draws: Sequence[Drawn]) -> Point:
    """A gate on these draws."""
    quiet = [alarms(drawn) for drawn in draws]
    false = np.mean([cells.any(axis=1) | groups for cells, groups, _ in quiet])
    found = []
    for in_one in (True, False):
        for size in (2, 3):
            flags = []
            for number, drawn in enumerate(draws):
                where = one_cell(drawn.matrix, number) | (not in_one)
                cells, groups, _ = alarms(drawn.dropped(size * where))
                flags.append(cells[:, where].any(axis=1) | groups)
            found.append(float(np.mean(flags)))
    return Point(name, float(false), tuple(found), float(np.mean([seeds for *_, seeds in quiet])))


def ours(levels: Levels) -> Alarms:
    """This gate at these levels."""

    def alarms(drawn: Drawn) -> tuple[np.ndarray, np.ndarray, float]:
        played = drawn.play(levels)
        return played.cells, played.groups.any(axis=1), float(played.seeds.mean())

    return alarms


def peer(name: str) -> Alarms:
    """One of PEERS."""
    gate, seeds = PEERS[name]
    rng = np.random.default_rng(3)

    def alarms(drawn: Drawn) -> tuple[np.ndarray, np.ndarray, float]:
        cells = gate(drawn, rng)
        return cells, np.zeros(len(cells), dtype=bool), float(seeds)

    return alarms


def seeds_by_futility(draws: Sequence[Drawn]) -> dict[Levels, float]:
    """Seeds per cell without a change, by the limit for ending a test early, lowest limit first."""
    choices = [replace(OWN, futility=share / 10) for share in range(3, 10)]
    return {
        levels: float(np.mean([drawn.play(levels).seeds.mean() for drawn in draws]))
        for levels in choices
    }


def at_rate(false: float, levels: Levels, draws: Sequence[Drawn]) -> Levels:
    """The levels scaled so that the gate fails at most this share of sessions without a change."""
    low, high = 0.1, 3000.0
    for _ in range(12):
        middle = (low * high) ** 0.5
        played = [drawn.play(levels.scaled(middle)) for drawn in draws]
        if np.mean([one.failed for one in played]) > false:
            high = middle
        else:
            low = middle
    return levels.scaled(low)


def frontier(baselines: int) -> Iterator[str]:
    """A row for every gate, and below each of the others those of this gate at its rate."""
    matrix = Matrix(real_pool())
    rng = np.random.default_rng(0)
    draws = [draw(matrix, rng, SESSIONS) for _ in range(baselines)]
    looking_on = seeds_by_futility(draws)
    own, patient, others = [measure(OURS, ours(OWN), draws)], [], []
    yield "| gate | false | 2 in one | 3 in one | 2 everywhere | 3 everywhere | seeds |"
    yield own[0].row
    for name, (_, seeds) in PEERS.items():
        others.append(measure(name, peer(name), draws))
        yield others[-1].row
        false = others[-1].false
        levels = at_rate(false, OWN, draws)
        own.append(measure(f"{OURS} at that rate", ours(levels), draws))
        yield own[-1].row
        if affordable := [one for one, spent in looking_on.items() if spent <= seeds]:
            levels = at_rate(false, affordable[-1], draws)
            patient.append(measure(f"{OURS}, p > {levels.futility} ends", ours(levels), draws))
            yield patient[-1].row
    picture(own, patient, others)


def picture(own: Sequence[Point], patient: Sequence[Point], others: Sequence[Point]) -> None:
    """False alarms, and drops of two deviations found in one cell; the area of a dot is its seeds.

    Args:
        own: this gate at its own rate, then at those of the others.
        patient: the same, with nearly as many seeds as the other gate.
        others: the gates that it is compared with.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "frontier", "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        curve = sorted(map(_place, own))
        axes.plot(*zip(*curve, strict=True), color="C0", zorder=0, label=OURS)
        axes.scatter(
            *zip(*map(_place, patient), strict=True),
            s=[20 * point.seeds for point in patient],
            facecolor="none",
            edgecolor="C0",
            zorder=3,
            label=f"{OURS}, with more seeds",
        )
        for number, point in enumerate([own[0], *others]):
            axes.scatter(*_place(point), s=20 * point.seeds, color=f"C{number}")
            name = "as it is" if point is own[0] else point.name
            place = {"xytext": (5, -9), "textcoords": "offset points"}
            axes.annotate(name, _place(point), fontsize=7, **place)
        axes.set(xscale="log", xlabel="sessions that fail without a change, %", xlim=(0.2, 600))
        axes.set_ylabel("drops of two deviations in one cell found, %")
        axes.legend(loc="center left", fontsize=7)
        figure.savefig(PICTURE, metadata={"Date": None})
        pyplot.close(figure)


def _place(point: Point) -> tuple[float, float]:
    return 100 * max(point.false, 1e-3), 100 * point.found[0]

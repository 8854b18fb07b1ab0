"""Two sessions, or two sets of baselines, cell by cell: which side is better, how sure."""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stn_core.errors import UsageError
from stn_core.gate.baselines import BaselineRun
from stn_core.gate.intervals import Difference, difference_of_means
from stn_core.gate.metrics import Metric
from stn_core.gate.statistics import sampling_deviation
from stn_core.report.sources import CellRuns, Source
from stn_core.session.cells import CellKey

Pair = tuple[CellRuns | None, CellRuns | None]
"""A cell of A and the same cell of B; None if a side has none."""

CONFIDENCE = 0.95
"""The chance that all intervals of one metric contain the true differences."""


class Finding(enum.StrEnum):
    """The finding on a cell, in the words of the table; accuracy decides."""

    B_BETTER = "B better"
    A_BETTER = "A better"
    NOT_DISTINGUISHABLE = "not distinguishable"
    IDENTICAL = "identical"
    NOT_COMPARABLE = "not comparable"
    ONLY_IN_A = "only in A"
    ONLY_IN_B = "only in B"


@dataclass(frozen=True)
class CellComparison:
    """One cell of A against the same cell of B.

    Args:
        a, b: its runs, None on a side that has none.
        finding: in words; `Finding` says which there are.
        accuracy_points: B's mean accuracy less A's, in points; None if nothing is compared. Its
            interval is nan if neither side has two runs: then no spread is known, and the variance
            floor is no estimate of it.
        loss_percent: by how much B's mean test loss is above A's (geometric means), likewise.
        cautions: what else the two sides differ in.
    """

    a: CellRuns | None
    b: CellRuns | None
    finding: Finding
    accuracy_points: Difference | None = None
    loss_percent: Difference | None = None
    cautions: tuple[str, ...] = ()

    @property
    def budget(self) -> str:
        """The cell's budget, "smoke against quick" if the sides differ."""
        return self._of_both_sides("budget")

    @property
    def dataset(self) -> str:
        """The cell's dataset."""
        return self._of_both_sides("dataset")

    @property
    def model(self) -> str:
        """The cell's model."""
        return self._of_both_sides("model")

    @property
    def device(self) -> str:
        """The type of device, "cpu against cuda" if the sides differ."""
        return self._of_both_sides("device")

    @property
    def key(self) -> str:
        """``budget/dataset/model``."""
        return str(CellKey(self.budget, self.dataset, self.model))

    def _of_both_sides(self, name: str) -> str:
        sides = [getattr(side, name) for side in (self.a, self.b) if side]
        return " against ".join(dict.fromkeys(sides))


def compare_sources(a: Source, b: Source) -> tuple[CellComparison, ...]:
    """Every cell of either side, sorted by key.

    Accuracies are compared in points, test losses by their logarithms; runs are not paired by seed,
    as the two sides may have different ones. The intervals are those of `intervals.margin`, each at
    0.05 over the number of cells that have one (Bonferroni), so that with 95 % all of them hold, of
    accuracy and of loss each. With the real values of 18 smoke cells (60 seeds each) and nothing
    changed, 0 to 2.6 % of comparisons missed an accuracy, for sizes from 3 against 3 to 20 against
    20; if the values of B were spread twice as far, 7.6 % at most (those cells are skewed; 20
    of A against 10 of B; n = 6,000 comparisons a case, 2026-11-21).

    A cell is identical, and has no interval, if every seed that both sides have gave the same
    digest, or the same accuracy and test loss: so the code did the same, whatever other seeds say.

    Args:
        a, b: the sides; `pair_cells` says which of their cells are compared.

    Raises:
        UsageError: they have no cell in common, or a cell has several counterparts.
    """
    pairs = pair_cells(a, b)
    settled = [_settled(*pair) for pair in pairs]
    open_pairs = [pair for pair, done in zip(pairs, settled, strict=True) if done is None]
    count = sum(len(one.runs) + len(other.runs) > 2 for one, other in open_pairs if one and other)
    level = (1 - CONFIDENCE) / max(count, 1)
    return tuple(done or _measured(*pair, level) for pair, done in zip(pairs, settled, strict=True))


def _settled(a: CellRuns | None, b: CellRuns | None) -> CellComparison | None:
    """The comparison if it needs no statistics, else None."""
    if b is None:
        return CellComparison(a, b, Finding.ONLY_IN_A)
    if a is None:
        return CellComparison(a, b, Finding.ONLY_IN_B)
    if a.data_hash != b.data_hash:
        return CellComparison(a, b, Finding.NOT_COMPARABLE, cautions=_cautions(a, b))
    if _repeats(a.runs, b.runs):
        return CellComparison(a, b, Finding.IDENTICAL, cautions=_cautions(a, b))
    return None


def _repeats(a: Iterable[BaselineRun], b: Iterable[BaselineRun]) -> bool:
    """Whether the sides have a seed in common, and each such seed gave the same on both."""
    ours, theirs = _seeds(a), _seeds(b)
    shared = ours.keys() & theirs.keys()
    return bool(shared) and all(
        any(_same(one, other) for one, other in itertools.product(ours[seed], theirs[seed]))
        for seed in shared
    )


def _seeds(runs: Iterable[BaselineRun]) -> dict[int, list[BaselineRun]]:
    """The runs by seed; a seed may have been run in several environments."""
    seeds: dict[int, list[BaselineRun]] = {}
    for run in runs:
        seeds.setdefault(run.seed, []).append(run)
    return seeds


def _same(one: BaselineRun, other: BaselineRun) -> bool:
    values = (one.accuracy, one.cross_entropy) == (other.accuracy, other.cross_entropy)
    return one.digest == other.digest or values


def _cautions(a: CellRuns, b: CellRuns) -> tuple[str, ...]:
    found = []
    if a.budget != b.budget:  # another budget has another recipe
        found.append(f"{a.budget} against {b.budget}")
    elif a.recipe_hash != b.recipe_hash:
        found.append("other recipe")
    if a.data_hash != b.data_hash:
        found.append("other data")
    if a.device != b.device:
        found.append(f"{a.device} against {b.device}")
    return tuple(found)


def _measured(a: CellRuns | None, b: CellRuns | None, level: float) -> CellComparison:
    assert a
    assert b
    floors = (_least_points(a), _least_points(b))
    points = difference_of_means(_points(a), _points(b), floors, level)
    findings = {1: Finding.B_BETTER, 0: Finding.NOT_DISTINGUISHABLE, -1: Finding.A_BETTER}
    cautions = _cautions(a, b)
    fewest, most = sorted((len(a.runs), len(b.runs)))
    if fewest == 1:
        cautions += ("one run per side: no interval" if most == 1 else "one run on a side",)
    return CellComparison(
        a,
        b,
        findings[points.sign],
        accuracy_points=points.mapped(lambda value: float(np.clip(value, -100, 100))),
        loss_percent=_loss_difference(a, b, level).mapped(_percent),
        cautions=cautions,
    )


def _points(cell: CellRuns) -> list[float]:
    return [100 * accuracy for accuracy in cell.accuracies]


def _least_points(cell: CellRuns) -> float:
    return 100 * sampling_deviation(float(np.mean(cell.accuracies)), cell.test_images)


def _loss_difference(a: CellRuns, b: CellRuns, level: float) -> Difference:
    """Of the logarithms."""
    values = [Metric.LOSS.badness(cell.runs, cell.test_images) for cell in (a, b)]
    first, second = (Metric.LOSS.least_deviation(cell.runs, cell.test_images) for cell in (a, b))
    return difference_of_means(values[0], values[1], (first, second), level)


def _percent(logarithm: float) -> float:
    return 100 * math.expm1(min(logarithm, 30.0))  # too few runs, and no bound is too large


def environments_differ(a: Source, b: Source) -> str:
    """In which versions and machines the two sides differ, "" if in none."""
    names = {name for source in (a, b) for place in source.environments.values() for name in place}
    texts = []
    for name in sorted(names):
        ours, theirs = _environment_text(a, name), _environment_text(b, name)
        if ours != theirs:
            texts.append(f"{name} {ours} against {theirs}")
    return ", ".join(texts)


def _environment_text(source: Source, name: str) -> str:
    values = {str(place.get(name, "unknown")) for place in source.environments.values()}
    return " and ".join(sorted(values))


def pair_cells(a: Source, b: Source) -> list[Pair]:
    """The cells of both sides, sorted by name; one without a counterpart is paired with None.

    Cells are paired by budget, dataset and model; if that pairs none, by dataset and model
    across budgets. CPU is paired with CPU and CUDA with CUDA; a cell that each side has on one type
    of device only is paired whatever these are.

    Raises:
        UsageError: the sides have no cell in common, or a cell has counterparts in two budgets.
    """
    for name in (_with_budget, _without_budget):
        ours, theirs = _by_name(a, name), _by_name(b, name)
        shared = ours.keys() & theirs.keys()
        if shared:
            break
    else:
        raise UsageError(
            f"{a.path} and {b.path} have no cell in common: {a.cells[0].key} is one of the first,"
            f" {b.cells[0].key} one of the second"
        )
    for source, cells in ((a, ours), (b, theirs)):
        for common in sorted(shared):
            _refuse_several_budgets(source, common, cells[common])
    names = sorted(ours.keys() | theirs.keys())
    paired = (_pairs(ours.get(one, []), theirs.get(one, [])) for one in names)
    return list(itertools.chain.from_iterable(paired))


def _with_budget(cell: CellRuns) -> str:
    return cell.key


def _without_budget(cell: CellRuns) -> str:
    return f"{cell.dataset}/{cell.model}"


def _by_name(source: Source, name: Callable[[CellRuns], str]) -> dict[str, list[CellRuns]]:
    cells: dict[str, list[CellRuns]] = {}
    for cell in source.cells:
        cells.setdefault(name(cell), []).append(cell)
    return cells


def _refuse_several_budgets(source: Source, name: str, cells: Sequence[CellRuns]) -> None:
    budgets = sorted({cell.budget for cell in cells})
    if len(budgets) > 1:
        raise UsageError(
            f"the two sides share no budget, and {source.path} holds {name} in"
            f" {' and '.join(budgets)}: it is unclear which to compare"
        )


def _pairs(ours: Sequence[CellRuns], theirs: Sequence[CellRuns]) -> list[Pair]:
    """Pairs of one name: CPU with CPU, CUDA with CUDA."""
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])]
    if not ours or not theirs:
        return [(cell, None) for cell in ours] + [(None, cell) for cell in theirs]
    of_a = {cell.device: cell for cell in ours}
    of_b = {cell.device: cell for cell in theirs}
    return [(of_a.get(device), of_b.get(device)) for device in sorted({*of_a, *of_b})]

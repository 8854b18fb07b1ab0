"""Which cell of one side of a comparison is which of the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from stn_core.errors import UsageError
from stn_core.report.sources import CellRuns, Source

Pair = tuple[CellRuns | None, CellRuns | None]


def pair_cells(a: Source, b: Source) -> list[Pair]:
    """The cells of both sides, sorted by name; one that has no counterpart stands alone.

    Cells are paired by budget, dataset and model; where that pairs none, by dataset and model
    across budgets. CPU is paired with CPU and CUDA with CUDA; a cell that each side has on one type
    of device is paired whatever that is.

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
            f"no budget is in both, and {source.path} holds {name} of {' and '.join(budgets)}:"
            " it is open which to compare"
        )


def _pairs(ours: Sequence[CellRuns], theirs: Sequence[CellRuns]) -> list[Pair]:
    """Of one name: like device with like."""
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])]
    if not ours or not theirs:
        return [(cell, None) for cell in ours] + [(None, cell) for cell in theirs]
    of_a = {cell.device: cell for cell in ours}
    of_b = {cell.device: cell for cell in theirs}
    return [(of_a.get(device), of_b.get(device)) for device in sorted({*of_a, *of_b})]

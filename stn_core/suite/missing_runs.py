"""Which runs a claim still needs, beside those that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stn_core.report.claims import FROM_RECORDS, ON_REQUEST, Claim
from stn_core.report.stored_cells import Stored, StoredCell
from stn_core.session.cells import Cell
from stn_core.session.records import Machine
from stn_core.suite.claims import shipped_cell

TrainedOn: TypeAlias = str | Machine
"""Where runs count together: a type of device or, for training times, a kind of machine."""


@dataclass(frozen=True)
class Side:
    """One side of a difference: a cell, and what its runs must have.

    Args:
        cell: the cell.
        metric: what is claimed about; some need complete records, or a quiet machine.
    """

    cell: Cell
    metric: str

    def stored_seeds(self, stored: Stored) -> Mapping[TrainedOn, set[int]]:
        """The seeds of the cell that are stored with today's recipe, by where they were trained."""
        found: dict[TrainedOn, set[int]] = {}
        for (key, device), cell in stored.items():
            if key != self.cell.key or cell.hashes[0] != self.cell.recipe.hash():
                continue
            if self.metric == "train_time":
                for record in cell.timed:
                    found.setdefault(record.environment.machine, set()).add(record.seed)
            else:
                found[device] = self._seeds_of(cell)
        return found

    def _seeds_of(self, cell: StoredCell) -> set[int]:
        if self.metric in FROM_RECORDS or (self.metric == "parameters" and not cell.parameters):
            return {record.seed for record in cell.records}
        if self.metric in ON_REQUEST:
            return {run.seed for run in cell.runs if self.metric in run.metrics}
        return {run.seed for run in cell.runs}


def missing_runs(
    claim: Claim, stored: Stored, seeds: Sequence[int], here: Machine, budget: str | None = None
) -> list[tuple[Cell, int]]:
    """The runs to train, seed by seed, before all differences of a claim have enough runs.

    A difference that was measured on another type of device, or times on another kind of machine,
    needs nothing on this one.

    Args:
        claim: of known models, datasets and budgets.
        stored: the runs that exist.
        seeds: the ones to train; as many stored runs of other seeds also count.
        here: the kind of machine that would train.
        budget: the only one to train; None for all.
    """
    missing: dict[tuple[int, str], tuple[Cell, int]] = {}
    for sides in differences(claim):
        if budget not in (None, sides[0].cell.budget):
            continue
        needed = 1 if sides[0].metric == "parameters" else len(seeds)  # which are exact
        by_side = [side.stored_seeds(stored) for side in sides]
        if any(
            all(len(there.get(place, ())) >= needed for there in by_side) for place in by_side[0]
        ):
            continue
        place = here if sides[0].metric == "train_time" else here.device_type
        for side, by_place in zip(sides, by_side, strict=True):
            there = by_place.get(place, set())
            lacking = [seed for seed in seeds if seed not in there]
            for seed in lacking[: max(needed - len(there), 0)]:
                missing[seed, side.cell.key] = (side.cell, seed)
    return [missing[run] for run in sorted(missing)]


def differences(claim: Claim) -> Iterator[tuple[Side, ...]]:
    """The sides of every difference of a claim; one, if it is compared with a number."""
    for budget in claim.budgets.values():
        for contrast in claim.contrasts:
            sides = [
                Side(shipped_cell(budget, contrast.dataset, model), contrast.metric)
                for model in contrast.models
            ]
            if not contrast.than:  # a number is what it is compared with
                yield (sides[0],)
            for other in sides[1:]:
                yield sides[0], other

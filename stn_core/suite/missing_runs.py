"""Which runs a claim still needs, beside those that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stn_core.report.claims import FROM_RECORDS, ON_REQUEST, Claim
from stn_core.report.stored_cells import Stored
from stn_core.session.cells import Cell
from stn_core.suite.claims import shipped_cell


@dataclass(frozen=True)
class Side:
    """One side of a difference: a cell, and what its runs must have.

    Args:
        cell: the cell.
        metric: what is claimed about; some need complete records, or a quiet machine.
    """

    cell: Cell
    metric: str

    def stored_seeds(self, stored: Stored, device: str) -> set[int]:
        """The seeds of the cell, with today's recipe, that are stored for a type of device."""
        found = stored.get((self.cell.key, device))
        if found is None or found.hashes[0] != self.cell.recipe.hash():
            return set()
        if self.metric == "train_time":
            return {record.seed for record in found.timed}
        if self.metric in FROM_RECORDS or (self.metric == "parameters" and not found.parameters):
            return {record.seed for record in found.records}
        if self.metric in ON_REQUEST:
            return {run.seed for run in found.runs if self.metric in run.metrics}
        return {run.seed for run in found.runs}


def missing_runs(
    claim: Claim, stored: Stored, seeds: Sequence[int], device: str, budget: str | None = None
) -> list[tuple[Cell, int]]:
    """The runs to train, seed by seed, before all differences of a claim have enough runs.

    A difference that was measured on another type of device needs nothing on this one.

    Args:
        claim: of known models, datasets and budgets.
        stored: the runs that exist.
        seeds: the ones to train; as many stored runs of other seeds also count.
        device: the type of device that would train.
        budget: the only one to train; None for all.
    """
    missing: dict[tuple[int, str], tuple[Cell, int]] = {}
    devices = {device, *(place for _, place in stored)}
    for sides in differences(claim):
        if budget not in (None, sides[0].cell.budget):
            continue
        needed = 1 if sides[0].metric == "parameters" else len(seeds)  # which are exact
        if any(
            all(len(side.stored_seeds(stored, place)) >= needed for side in sides)
            for place in devices
        ):
            continue
        for side in sides:
            there = side.stored_seeds(stored, device)
            lacking = [seed for seed in seeds if seed not in there]
            for seed in lacking[: max(needed - len(there), 0)]:
                missing[seed, side.cell.key] = (side.cell, seed)
    return [missing[place] for place in sorted(missing)]


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

"""What every engine does: take runs as plain data, and give back what comes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from stn_core.session.cells import Cell
from stn_core.training.callbacks.base import Callback
from stn_core.training.run_cell import RunResult, RunSettings


@dataclass(frozen=True)
class Task:
    """One seed of one cell. It can be pickled, so that another machine may compute it.

    Args:
        cell, seed: what to run.
        settings: where, and with what means.
        callbacks: what follows the run, in the process that computes it.
    """

    cell: Cell
    seed: int
    settings: RunSettings
    callbacks: tuple[Callback, ...] = ()


class Engine(Protocol):
    """Computes runs."""

    def run(self, tasks: Iterable[Task]) -> Iterator[RunResult]:
        """What comes of each task, the moment that it is there; in any order.

        Whoever takes a result keeps its record, and tells the callbacks so (`tell_kept`), before it
        asks for the next one.

        Raises:
            UsageError: a dataset cannot be had.
        """
        ...

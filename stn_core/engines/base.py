"""What every engine does: take runs as plain data, and give back what comes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stn_core.session.beats import Beat
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
        folder: the session's; what callbacks write below it belongs to the session.
        data_hash: of the dataset that the session knows; "" where any will do.
    """

    cell: Cell
    seed: int
    settings: RunSettings
    callbacks: tuple[Callback, ...] = ()
    folder: str = ""
    data_hash: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Args:
        task: that was submitted.
        result: of the run, None where it was lost.
        files: what the callbacks wrote on another machine, by paths below the task's folder.
        lost: why there is no result, "" where there is one.
    """

    task: Task
    result: RunResult | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    lost: str = ""


class EngineError(Exception):
    """Nothing more comes of an engine: one line that says why, and what to do."""


class Engine(Protocol):
    """Computes runs.

    Attributes:
        is_elsewhere: runs go on while the session does something else, so it submits all that it
            can, early; each run begins anew, without checkpoints, and its files come back with it.
        device: the type of device that it computes on, "cpu" or "cuda"; "" where the session
            finds that out, in its own process.
        workers: how many runs it computes at once.
    """

    is_elsewhere: bool
    device: str
    workers: int

    def submit(self, task: Task) -> None:
        """Take on a task."""
        ...

    def next_outcome(self) -> Outcome:
        """What came of one of the tasks that are out, as soon as there is one; in any order.

        Whoever takes it writes its files, keeps its record, and tells the callbacks so
        (`tell_kept`), before it asks for the next one.

        Raises:
            EngineError: no more will come.
            UsageError: a dataset cannot be had.
        """
        ...

    def beats(self) -> Sequence[Beat]:
        """How far the runs are, where they do not say so in the session's folder."""
        ...

    def cancel(self) -> None:
        """Give up all the tasks that are out."""
        ...

    def close(self) -> None:
        """Give up all the tasks that are out, and what it takes to compute."""
        ...

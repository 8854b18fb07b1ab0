"""What an engine is: it takes runs as plain data and returns their results."""

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
        settings: the device, the threads and the data folder.
        callbacks: called during the run, in the process that computes it.
        folder: the session's; files that callbacks write below it belong to the session.
        data_hash: the hash that the dataset must have; "" accepts any.
    """

    cell: Cell
    seed: int
    settings: RunSettings
    callbacks: tuple[Callback, ...] = ()
    folder: str = ""
    data_hash: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Args:
        task: that was submitted.
        result: of the run, None if it was lost.
        files: what the callbacks wrote on another machine, by path below the task's folder.
        lost: why there is no result, "" if there is one.
    """

    task: Task
    result: RunResult | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    lost: str = ""


class EngineError(Exception):
    """An engine cannot go on: one line that says why, and what to do."""


class Engine(Protocol):
    """Computes runs.

    Attributes:
        is_elsewhere: runs are computed while the session does something else, so it submits as many
            as it can at the start; a run that is tried again starts from its first epoch, and its
            files are sent back with its result.
        device: the type of device that it computes on, "cpu" or "cuda"; "" if the session is to
            find out in its own process.
    """

    is_elsewhere: bool
    device: str

    @property
    def workers(self) -> int:
        """How many runs it computes at once, >= 1; machines may come and go."""
        ...

    def submit(self, task: Task) -> None:
        """Accept a task.

        Raises:
            EngineError: it can never be computed, and so no other one.
        """
        ...

    def next_outcome(self) -> Outcome:
        """Wait for a submitted task to end, and return how it ended; in any order.

        The caller writes its files, keeps its record, and tells the callbacks so (`tell_kept`)
        before it asks for the next one.

        Raises:
            EngineError: no more tasks will end.
            UsageError: a dataset cannot be loaded.
        """
        ...

    def beats(self) -> Sequence[Beat]:
        """How far the runs are, unless they report it in the session's folder."""
        ...

    def cancel(self) -> None:
        """Drop all tasks that have not ended."""
        ...

    def close(self) -> None:
        """Drop all tasks that have not ended, and release everything."""
        ...

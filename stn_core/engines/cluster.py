"""An engine of many machines, any of which may die: lost runs are tried again elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stn_core.engines.away import Returned
from stn_core.engines.base import Outcome, Task
from stn_core.session.beats import Beat

MOST_RETRIES = 3
"""How often a run is tried again after its machine or process died."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Args:
        number: the one it was started with.
        returned: what it sent back, None if its process died.
        death: how it died, in a few words.
        again: whether it is worth trying elsewhere.
    """

    number: int
    returned: Returned | None = None
    death: str = ""
    again: bool = True


class Executor(Protocol):
    """Computes runs on the machines of a cluster.

    Attributes:
        device: the type of device of the cluster that the runs use, "cpu" or "cuda".
        workers: how many runs the cluster computes at once at the moment, >= 1.
    """

    device: str
    workers: int

    def start(self, number: int, task: Task) -> None:
        """Start a run under its own number, and return at once.

        Raises:
            EngineError: the cluster is gone, or the run cannot be sent to it.
        """
        ...

    def ended(self, seconds: float) -> Ended | None:
        """The next run that has ended, None if none ends within that many seconds.

        Raises:
            EngineError: the cluster is gone, or a machine of it was refused.
        """
        ...

    def beats(self) -> Sequence[Beat]:
        """How far the runs are."""
        ...

    def cancel(self, numbers: Sequence[int]) -> None:
        """Stop runs that were started, as far as that is possible."""
        ...

    def close(self) -> None:
        """Leave the cluster."""
        ...


class Cluster:
    """An engine that tries a run again, a few times, if its process dies.

    Args:
        executor: computes them.
    """

    is_elsewhere = True

    def __init__(self, executor: Executor) -> None:
        self.device = executor.device
        self._executor = executor
        self._numbers = itertools.count()
        self._running: dict[int, tuple[Task, list[str]]] = {}

    @property
    def workers(self) -> int:
        """How many runs the cluster computes at once at the moment."""
        return self._executor.workers

    def submit(self, task: Task) -> None:
        """Accept a task."""
        self._start(task, [])

    def _start(self, task: Task, deaths: list[str]) -> None:
        number = next(self._numbers)  # so that a late answer of a lost run is ignored
        self._running[number] = task, deaths
        self._executor.start(number, task)

    def next_outcome(self) -> Outcome:
        """Wait for a submitted task to end, and return how it ended."""
        while True:
            ended = self._executor.ended(seconds=1.0)
            if ended is None or ended.number not in self._running:
                continue
            task, deaths = self._running.pop(ended.number)
            if ended.returned:
                return Outcome(task, ended.returned.result, ended.returned.files)
            deaths = [*deaths, ended.death]
            if not ended.again:
                return Outcome(task, lost=ended.death)
            if len(deaths) > MOST_RETRIES:
                return Outcome(task, lost=f"tried {len(deaths)} times: {'; '.join(_once(deaths))}")
            self._start(task, deaths)

    def beats(self) -> Sequence[Beat]:
        """How far the runs are."""
        return self._executor.beats()

    def cancel(self) -> None:
        """Drop all tasks that have not ended."""
        numbers, self._running = list(self._running), {}
        self._executor.cancel(numbers)

    def close(self) -> None:
        """Drop all tasks that have not ended, and leave the cluster."""
        self.cancel()
        self._executor.close()


def _once(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))

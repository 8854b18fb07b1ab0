"""An engine of many machines, of which any may die: what is lost is run again elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stn_core.engines.away import Returned
from stn_core.engines.base import Outcome, Task
from stn_core.session.beats import Beat

MOST_RETRIES = 3
"""How often a run whose machine or process died is begun anew."""


@dataclass(frozen=True)
class Ended:
    """A run that is over.

    Args:
        number: that it was started under.
        returned: what came back, None where its process died.
        death: how it died, in a few words.
        again: whether it may do better elsewhere.
    """

    number: int
    returned: Returned | None = None
    death: str = ""
    again: bool = True


class Executor(Protocol):
    """Has runs computed on the machines of a cluster.

    Attributes:
        device: the type of device of the cluster that the runs use, "cpu" or "cuda".
        workers: how many runs the cluster computes at once.
    """

    device: str
    workers: int

    def start(self, number: int, task: Task) -> None:
        """Have a run computed, under a number of its own. Returns at once."""
        ...

    def ended(self, seconds: float) -> Ended | None:
        """The next run that is over, None where there is none within some seconds.

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
    """An engine that begins runs anew whose process died, a few times.

    Args:
        executor: that has them computed.
    """

    is_elsewhere = True

    def __init__(self, executor: Executor) -> None:
        self.device = executor.device
        self.workers = executor.workers
        self._executor = executor
        self._numbers = itertools.count()
        self._out: dict[int, tuple[Task, list[str]]] = {}

    def submit(self, task: Task) -> None:
        """Take on a task."""
        self._start(task, [])

    def _start(self, task: Task, deaths: list[str]) -> None:
        number = next(self._numbers)  # what a lost run might still send counts for nothing
        self._out[number] = task, deaths
        self._executor.start(number, task)

    def next_outcome(self) -> Outcome:
        """What came of one of the tasks that are out, as soon as there is one."""
        while True:
            ended = self._executor.ended(seconds=1.0)
            if ended is None or ended.number not in self._out:
                continue
            task, deaths = self._out.pop(ended.number)
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
        """Give up all the tasks that are out."""
        numbers, self._out = list(self._out), {}
        self._executor.cancel(numbers)

    def close(self) -> None:
        """Give up all the tasks that are out, and leave the cluster."""
        self.cancel()
        self._executor.close()


def _once(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))

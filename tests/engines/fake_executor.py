"""An executor without machines, which computes, loses and delays runs as a test asks."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence

from stn_core.engines import EngineError, Task
from stn_core.engines.away import Returned
from stn_core.engines.cluster import Ended
from stn_core.session.beats import Beat
from stn_core.training.run_cell import RunResult
from tests.examples import record


def invented(task: Task) -> Returned:
    """A possible result of a task."""
    return Returned(RunResult(record(task.seed, cell=task.cell)), {})


class FakeExecutor:
    """Computes one run each time its outcome is asked for, until it is closed.

    Args:
        compute: a task's run.
        deaths: how often runs are lost before they succeed, by model and seed.
        next_place: which of the submitted tasks ends next, by its place in their list.
        ends_after: how many runs end before the cluster is gone.
    """

    device = "cpu"
    workers = 2

    def __init__(
        self,
        compute: Callable[[Task], Returned] = invented,
        deaths: Mapping[tuple[str, int], int] | None = None,
        next_place: Callable[[Sequence[Task]], int] = lambda tasks: 0,
        ends_after: int = 10**6,
    ) -> None:
        self._compute = compute
        self._deaths = collections.Counter(deaths or {})
        self._next_place = next_place
        self._left = ends_after
        self.out: list[tuple[int, Task]] = []
        self.started: list[tuple[str, int]] = []
        self.cancelled: list[int] = []
        self.is_closed = False

    def start(self, number: int, task: Task) -> None:
        assert not self.is_closed, "a run is started on a cluster that was left"
        self.out.append((number, task))
        self.started.append((task.cell.model, task.seed))

    def ended(self, seconds: float) -> Ended | None:
        assert not self.is_closed, "a cluster that was left is waited for"
        assert self.out, "no task is out"
        if not self._left:
            raise EngineError("the cluster is gone: nobody answers")
        self._left -= 1
        number, task = self.out.pop(self._next_place([task for _, task in self.out]))
        run = task.cell.model, task.seed
        if self._deaths[run]:
            self._deaths[run] -= 1
            return Ended(number, death="its node died")
        return Ended(number, self._compute(task))

    def beats(self) -> Sequence[Beat]:
        return [Beat(task.cell.key, task.seed, 0, 10) for _, task in self.out[: self.workers]]

    def cancel(self, numbers: Sequence[int]) -> None:
        self.cancelled += numbers
        self.out = [(number, task) for number, task in self.out if number not in numbers]

    def close(self) -> None:
        self.is_closed = True

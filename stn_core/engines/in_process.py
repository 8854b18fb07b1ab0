"""Runs one after the other in this process, which may be one of xdist's workers."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from stn_core.engines.base import Outcome, Task
from stn_core.session.beats import Beat
from stn_core.training.run_cell import run_seed
from stn_core.training.torch_settings import TorchSettings


class InProcess:
    """An engine whose runs all start from torch's settings at the time it is made.

    So it is made after the modules that register models are imported, and what they set counts.
    """

    is_elsewhere = False
    device = ""
    workers = 1

    def __init__(self) -> None:
        self._noted = TorchSettings.now()
        self._tasks: collections.deque[Task] = collections.deque()

    def submit(self, task: Task) -> None:
        """Accept a task; it starts when `next_outcome` reaches it."""
        self._tasks.append(task)

    def next_outcome(self) -> Outcome:
        """Compute the task that was submitted first."""
        task = self._tasks.popleft()
        result = run_seed(task.cell, task.seed, task.settings, task.callbacks, self._noted)
        return Outcome(task, result)

    def beats(self) -> Sequence[Beat]:
        """None: a callback reports progress in the session's folder."""
        return ()

    def cancel(self) -> None:
        """Forget the tasks that have not started."""
        self._tasks.clear()

    def close(self) -> None:
        """Forget the tasks that have not started."""
        self.cancel()

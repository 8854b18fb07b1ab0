"""Runs one after the other in this process, which may be one of xdist's workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stn_core.engines.base import Task
from stn_core.training.run_cell import RunResult, run_seed
from stn_core.training.torch_settings import TorchSettings


class InProcess:
    """An engine whose every run starts from the settings that torch has when it is made.

    So it is made after the modules that register models are imported: what they set counts.
    """

    def __init__(self) -> None:
        self._noted = TorchSettings.now()

    def run(self, tasks: Iterable[Task]) -> Iterator[RunResult]:
        """What comes of each task, in their order."""
        for task in tasks:
            yield run_seed(task.cell, task.seed, task.settings, task.callbacks, self._noted)

"""A callback made of a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from stn_core.training.callbacks import Callback, Run, Watcher
from stn_core.training.history import EpochResult


@dataclass(frozen=True)
class OnEpoch(Callback):
    """Calls a function after each epoch, resumed ones too; behind a checkpoint it has been saved.

    Args:
        function: takes the epoch's result and the run.
    """

    last: ClassVar[bool] = True
    function: Callable[[EpochResult, Run], None]

    def watch(self, run: Run) -> Watcher:
        """What calls the function in one run."""
        return _Caller(self.function, run)


class _Caller(Watcher):
    def __init__(self, function: Callable[[EpochResult, Run], None], run: Run) -> None:
        self._function = function
        self._run = run

    def epoch(self, result: EpochResult) -> None:
        self._function(result, self._run)

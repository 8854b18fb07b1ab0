"""Report in a small file how far a run is, for the session to show."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stn_core.session.beats import Beat, end_beat, write_beat
from stn_core.training.callbacks.base import Callback, Run, Watcher
from stn_core.training.history import EpochResult

LEAST_SECONDS = 0.5
"""Seconds between two heartbeats of a run."""


@dataclass(frozen=True)
class TellProgress(Callback):
    """Reports each run's progress in a small file.

    Args:
        folder: of the files, one for each process; its parent must exist.
    """

    stays: ClassVar[bool] = True
    folder: str

    def watch(self, run: Run) -> Watcher:
        """The watcher that writes the file of one run."""
        folder = Path(self.folder)
        return Heartbeat(run, lambda beat: write_beat(folder, beat), end=lambda: end_beat(folder))


class Heartbeat(Watcher):
    """Reports how far a run is: at its start and after its epochs, but not too often.

    Args:
        run: the one to report.
        send: called with each heartbeat.
        end: called when the run has ended.
    """

    def __init__(self, run: Run, send: Callable[[Beat], None], end: Callable[[], None]) -> None:
        self._record = run.record
        self._send = send
        self._end = end
        self._sent = float("-inf")

    def start(self) -> None:
        """Report that no epoch has ended yet."""
        self._beat(0)

    def epoch(self, result: EpochResult) -> None:
        """Report an epoch, unless the last report is recent."""
        if time.monotonic() - self._sent >= LEAST_SECONDS:
            self._beat(result.epoch)

    def end(self) -> None:
        """Report that the run has ended."""
        self._end()

    def _beat(self, epoch: int) -> None:
        record = self._record
        self._send(Beat(record.key, record.seed, epoch, record.recipe["epochs"]))
        self._sent = time.monotonic()

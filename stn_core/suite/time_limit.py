"""How long a session may go on starting runs."""

from __future__ import annotations

import collections
import datetime
import math
import time
from collections.abc import Callable, Iterable, Sequence

from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord
from stn_core.suite.command_line import START_TIME_FORMAT


class TimeLimit:
    """Allows runs that are expected to end in time.

    The expected time of a run is the one that this process measured for its cell, or the stored
    one, or the one that this process measured for other cells of its dataset. If nothing is known,
    a run may start as long as any time is left.

    Args:
        start_time: of the session, from its results folder's name; the same in all processes.
        minutes: how long the session may last.
        stored_seconds: of a run, by the cell's key; infinite if unknown.
    """

    def __init__(
        self, start_time: str, minutes: float, stored_seconds: Callable[[str], float]
    ) -> None:
        self.minutes = minutes
        self._ends_at = _started(start_time) + 60 * minutes
        self._stored_seconds = stored_seconds
        self._measured: dict[str, list[float]] = collections.defaultdict(list)

    @property
    def seconds_left(self) -> float:
        """Seconds until the end; negative after it."""
        return self._ends_at - time.time()

    def allows(self, cell: Cell, before: Iterable[Cell] = (), workers: int = 1) -> bool:
        """Whether another run of a cell is expected to end in time.

        Args:
            cell: of the run.
            before: the cells of the runs that were accepted earlier and have not ended.
            workers: how many runs are computed at once.
        """
        waits = sum(map(self._expected_seconds, before)) / workers
        return waits + self._expected_seconds(cell) < self.seconds_left

    def allows_all(self, cells: Sequence[Cell], workers: int) -> bool:
        """Whether a run of each of these cells, several at once, is expected to end in time."""
        seconds = [self._expected_seconds(cell) for cell in cells]
        return max([sum(seconds) / workers, *seconds]) < self.seconds_left

    def note(self, record: RunRecord) -> None:
        """Learn how long a run took."""
        self._measured[record.key].append(record.run_seconds)
        self._measured[record.dataset].append(record.run_seconds)

    def _expected_seconds(self, cell: Cell) -> float:
        stored = self._stored_seconds(cell.key)
        for values in (
            self._measured[cell.key],
            [stored] if math.isfinite(stored) else [],
            self._measured[cell.dataset],
        ):
            if values:
                return max(values)
        return 0.0


def _started(start_time: str) -> float:
    """A session's start as a timestamp: of the hour that summer time repeats, the last so far."""
    read = datetime.datetime.strptime(start_time, START_TIME_FORMAT)
    first, second = (read.replace(fold=fold).timestamp() for fold in (0, 1))
    return second if second <= time.time() + 1 else first

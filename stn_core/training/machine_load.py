"""How busy other processes keep the machine: only times of a quiet one can be compared."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STATISTICS = Path("/proc/stat")
_IDLE = (3, 4)
"""The columns of a processor's line that are not work: idle, and waiting for a disk."""
_COLUMNS = 8
"""The columns after these are parts of earlier ones."""


class OtherLoad:
    """The load by other processes, from the moment that this object is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._own = time.process_time()
        self._all = busy_seconds()

    def cores(self, during: float = 0.0) -> float | None:
        """How many cores other processes kept busy on average.

        Args:
            during: how many of the last seconds must have been measured.

        Returns:
            None if the system does not say, or if these seconds began before this object was made,
            as the training time of a resumed run did.
        """
        now, before = busy_seconds(), self._all
        elapsed = max(time.perf_counter() - self._started, 1e-3)
        if now is None or before is None or during > elapsed:
            return None
        own = time.process_time() - self._own
        return max(now - before - own, 0.0) / elapsed


def busy_seconds() -> float | None:
    """The processor seconds that all processes have used since the system started.

    None if the system does not say; Linux does.
    """
    try:
        name, *columns = _STATISTICS.read_text(encoding="ascii").partition("\n")[0].split()
        ticks = [int(column) for column in columns[:_COLUMNS]]
    except (OSError, ValueError):
        return None
    if name != "cpu":
        return None
    work = sum(count for place, count in enumerate(ticks) if place not in _IDLE)
    return work / os.sysconf("SC_CLK_TCK")


def other_cores_now(seconds: float = 1.0) -> float | None:
    """How many cores other processes keep busy, measured for a moment."""
    load = OtherLoad()
    time.sleep(seconds)
    return load.cores()

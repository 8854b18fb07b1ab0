"""The progress of a session in one line, and how long it may still take."""

from __future__ import annotations

import collections
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stn_core.session.beats import Beat, furthest_first
from stn_core.session.cells import split_key


@dataclass(frozen=True)
class Expected:
    """What is known about a cell before it runs.

    Args:
        fewest, most: seeds that are to be trained.
        stored_seconds: of a run, infinite if nothing is stored.
    """

    fewest: int
    most: int
    stored_seconds: float


class Outlook:
    """Learns from the runs that end.

    Args:
        cells: what is expected of each, by key.
        workers: how many runs are trained at once.

    Attributes:
        workers: the same; machines may come and go.
    """

    def __init__(self, cells: Mapping[str, Expected], workers: int) -> None:
        self._cells = cells
        self.workers = workers
        # With every key from the start: a thread that iterates must not meet a new one.
        self._seconds: dict[str, list[float]] = {key: [] for key in cells}
        self._ended: frozenset[str] = frozenset()
        self._totals: dict[str, int] = {}

    def run_ended(self, key: str, seconds: float) -> None:
        """A run of a cell is over, after so many seconds."""
        if key in self._cells:
            self._seconds[key].append(seconds)

    def cell_ended(self, key: str) -> None:
        """A cell has its verdict."""
        if key in self._cells:
            self._ended |= {key}  # a new set: another thread may be reading the old one

    def expect_more(self, keys: Iterable[str]) -> None:
        """Expect more runs of cells that already have their verdicts.

        Args:
            keys: the cell of each run.
        """
        more = collections.Counter(key for key in keys if key in self._cells)
        totals = {key: len(self._seconds[key]) + runs for key, runs in more.items()}
        self._totals = self._totals | totals  # as above

    @property
    def runs_ended(self) -> int:
        """How many runs are over."""
        return sum(map(len, self._seconds.values()))

    def runs_left(self) -> dict[str, float]:
        """How many runs are likely to be left of each cell without a verdict or with more to train.

        A cell is assumed to need as many times its fewest as the cells that ended did.
        """
        fewest = sum(self._cells[key].fewest for key in self._ended)
        needed = sum(len(self._seconds[key]) for key in self._ended)
        more = max(needed / fewest, 1.0) if fewest else 1.0
        left = {}
        for key, cell in self._cells.items():
            total = min(cell.fewest * more, cell.most)
            if key in self._ended:
                total = self._totals.get(key, 0)
            if key not in self._ended or key in self._totals:
                left[key] = max(total - len(self._seconds[key]), 0.0)
        return left

    def run_seconds(self, key: str) -> float | None:
        """How long a run of a cell is likely to take here, None until a run is over.

        The times of other cells show how this machine compares with the stored times.
        """
        return self._run_seconds(key, self._pace())

    def _pace(self) -> tuple[float | None, float | None]:
        """The median of this machine's times over the stored ones, and the mean of its times."""
        known = [(key, seconds) for key, took in self._seconds.items() for seconds in took]
        if not known:
            return None, None
        ratios = [
            seconds / stored
            for key, seconds in known
            if 0 < (stored := self._cells[key].stored_seconds) < math.inf
        ]
        ratio = statistics.median(ratios) if ratios else None
        return ratio, statistics.fmean(seconds for _, seconds in known)

    def _run_seconds(self, key: str, pace: tuple[float | None, float | None]) -> float | None:
        own, stored = self._seconds[key], self._cells[key].stored_seconds
        if own:
            return statistics.mean(own)
        ratio, mean = pace
        return stored * ratio if ratio is not None and math.isfinite(stored) else mean

    def seconds_left(self, beats: Sequence[Beat] = ()) -> float | None:
        """How long the session is still likely to take, None until a run is over.

        Args:
            beats: of the runs that are under way.
        """
        if not self.runs_ended:
            return None
        left, pace = self.runs_left(), self._pace()
        seconds = {key: self._run_seconds(key, pace) or 0.0 for key in left}
        work = {key: runs * seconds[key] for key, runs in left.items()}
        for beat in beats:
            if beat.key in work:
                done = seconds[beat.key] * beat.epoch / max(beat.epochs, 1)
                work[beat.key] = max(work[beat.key] - done, 0.0)
        longest = max((seconds[key] for key in left if left[key]), default=0.0)
        total = sum(work.values())
        return max(total / self.workers, min(longest, total))

    def line(self, beats: Sequence[Beat]) -> str:
        """The progress of the session: "7 of 18 cells · 21 of about 40 runs · …".

        Args:
            beats: of the runs that are under way.
        """
        left_over = self._ended - self._totals.keys()
        beats = [beat for beat in beats if beat.key in self._cells.keys() - left_over]
        done = self.runs_ended
        total = done + round(sum(self.runs_left().values()))
        parts = [
            f"{len(self._ended)} of {len(self._cells)} cells",
            f"{done} of about {total} runs",
        ]
        if beats:
            first = furthest_first(beats)[0]
            _, dataset, model = split_key(first.key)
            run = f"{dataset}-{model} seed {first.seed}, epoch {first.epoch}/{first.epochs}"
            parts.append(f"{len(beats)} running ({run})")
        left = self.seconds_left(beats)
        if left is not None and total > done:
            parts.append(f"{time_text(left)} left")
        return " · ".join(parts)


def time_text(seconds: float) -> str:
    """A duration that is not known to the second: "about 2 min"."""
    if seconds < 55:
        return f"about {max(10, 10 * round(seconds / 10))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"

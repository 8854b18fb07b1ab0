"""Which cells of a page have pictures, and drawing its sections in several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from stn_core.report.figures import FigureFolder
from stn_core.report.results_table import ResultsTable
from stn_core.report.svg import drawing_style
from stn_core.session.cells import split_key
from stn_core.session.child_processes import end_with_parent

MOST_DRAWN = 60
"""Of more cells than this, only those that fail, are best or are named are drawn."""

ALL = "all"
"""As a name: every cell."""

SECTIONS_A_PROCESS = 8
"""Starting another process takes about a second, the time that two cells take to draw."""


class SectionTask(Protocol):
    """A section of the page, to be made in this or in another process."""

    @property
    def is_drawn(self) -> bool:
        """Whether it has figures, which take most of the time."""
        ...

    def draw(self, figures: FigureFolder) -> Any:
        """Make the section, within `drawing_style`."""
        ...


def cells_to_draw(table: ResultsTable, named: Sequence[str]) -> frozenset[str]:
    """The keys of the cells whose pictures a page shows.

    Up to `MOST_DRAWN` cells, these are all of them. Beyond that, they are those that fail, the best
    of each dataset, and those that are named.

    Args:
        table: of the session.
        named: parts of ``dataset-model``; "all" names every cell.
    """
    keys = [row.judgement.key for row in table.rows if row.judgement.records]
    if len(keys) <= MOST_DRAWN or ALL in named:
        return frozenset(keys)
    drawn = set()
    datasets = set()
    for row in table.rows:  # the best model of a dataset comes before its others
        judgement = row.judgement
        cell = split_key(judgement.key)
        is_best = judgement.verdict.passes and cell.dataset not in datasets
        if is_best:
            datasets.add(cell.dataset)
        is_named = any(name in cell.id for name in named)
        if is_best or is_named or not judgement.verdict.passes:
            drawn.add(judgement.key)
    return frozenset(drawn.intersection(keys))


def draw_sections(
    tasks: Sequence[SectionTask], figures: Path | None, on_progress: Callable[[int, int], None]
) -> tuple[list[Any], list[str]]:
    """The sections of a page, in the order of the tasks.

    Args:
        tasks: one per section; those that take longest come first.
        figures: the folder where each figure goes as a file too; None for none.
        on_progress: called after each section with how many are drawn, and of how many.

    Returns:
        The sections, and a message for every figure that could not be drawn.
    """
    count = sum(task.is_drawn for task in tasks)
    sections: list[Any] = []
    failures: list[str] = []
    done = 0
    for task, (section, failed) in zip(tasks, _drawn(tasks, figures, count), strict=True):
        sections.append(section)
        failures += failed
        if task.is_drawn:
            done += 1
            on_progress(done, count)
    return sections, failures


def progress_line(done: int, count: int) -> str:
    """The line that a log gets after a section: one for every tenth of many, else ""."""
    is_tenth = count >= 10 and done * 10 // count > (done - 1) * 10 // count
    return f"drew {done} of {count} sections" if is_tenth else ""


_Drawn = tuple[Any, list[str]]


def _drawn(tasks: Sequence[SectionTask], figures: Path | None, count: int) -> Iterator[_Drawn]:
    workers = min(_processors(), count // SECTIONS_A_PROCESS)
    done = 0
    if workers > 1:
        # "spawn": a copy of this process would share the locks of its threads, torch's too.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
        try:
            for drawn in pool.map(_draw, tasks, [figures] * len(tasks)):
                yield drawn
                done += 1
        except BrokenProcessPool:  # a script without a main guard, a process that was killed
            pass
        finally:
            pool.shutdown(cancel_futures=True)
    for task in tasks[done:]:
        yield _draw(task, figures)


def _end_with_parent() -> None:
    """In a process that draws: leave Ctrl-C to the parent, and end when the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _draw(task: SectionTask, figures: Path | None) -> _Drawn:
    folder = FigureFolder(figures)
    with drawing_style():
        return task.draw(folder), folder.failures

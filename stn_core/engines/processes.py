"""Runs in processes of this engine's own, for what is left when xdist's workers have ended.

They are spawned, not forked: the process that starts them may hold threads, locks and a card.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from pathlib import Path

from stn_core.engines.base import EngineError, Outcome, Task
from stn_core.engines.in_process import InProcess
from stn_core.session.beats import Beat
from stn_core.session.child_processes import end_after, end_with_parent
from stn_core.session.user_modules import import_models


class Processes:
    """An engine that computes several runs at once on this machine.

    Args:
        workers: how many, >= 1.
        imports: modules or files that register the user's models and datasets.
        folder: where to look for them.
    """

    is_elsewhere = False
    device = ""

    def __init__(self, workers: int, imports: tuple[str, ...] = (), folder: Path = Path()) -> None:
        self.workers = workers
        self._imports, self._folder = imports, folder
        context = multiprocessing.get_context("spawn")
        self._is_closed = context.Event()
        self._pool = ProcessPoolExecutor(workers, context, _begin, (self._is_closed,))
        self._running: dict[Future[Outcome], Task] = {}

    def submit(self, task: Task) -> None:
        """Accept a task; it starts when a process is free."""
        self._running[self._pool.submit(_compute, task, self._imports, self._folder)] = task

    def next_outcome(self) -> Outcome:
        """Wait for a task to end, and return how it ended.

        Raises:
            EngineError: a process died.
            UsageError: a module cannot be imported or a dataset cannot be loaded.
        """
        done = next(iter(wait(self._running, return_when=FIRST_COMPLETED).done))
        del self._running[done]
        try:
            return done.result()
        except BrokenProcessPool:
            raise EngineError("a process that trained died: killed, or out of memory?") from None

    def beats(self) -> Sequence[Beat]:
        """None: a callback reports progress in the session's folder."""
        return ()

    def cancel(self) -> None:
        """Forget the tasks that have not started."""
        for future in self._running:
            future.cancel()
        self._running.clear()

    def close(self) -> None:
        """Forget the tasks that have not ended, and end the processes."""
        self.cancel()
        self._is_closed.set()
        self._pool.shutdown(cancel_futures=True)


def _begin(is_closed: Event) -> None:
    """In a new process: a terminal's Ctrl-C is left to the session, which ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    end_after(is_closed.wait)


def _compute(task: Task, imports: tuple[str, ...], folder: Path) -> Outcome:
    import_models(imports, folder)
    engine = InProcess()
    engine.submit(task)
    return engine.next_outcome()

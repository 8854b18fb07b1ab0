"""Processes that a session starts must not outlive it, even if it is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable


def end_with_parent() -> None:
    """In a process of `multiprocessing`: end as soon as the parent has ended.

    Otherwise it goes on with its task, and then waits for ever for another one.
    """
    parent = multiprocessing.parent_process()
    assert parent
    end_after(parent.join)


def end_after(wait: Callable[[], object]) -> None:
    """End this process, in the middle of whatever it does, once a function returns."""

    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

"""Processes that a session starts must not outlive it, even if it is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """In a process of `multiprocessing`: end as soon as the parent has ended.

    Otherwise it goes on with its task, and then waits for ever for another one.
    """
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

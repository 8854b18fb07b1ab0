"""Settings of a process that any code can change, other than torch's and random generators."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _folder() -> Path | None:
    """The current folder, None if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return Path.cwd()
    return None


def _return_to(folder: Path | None) -> None:
    if folder:
        os.chdir(folder)


def _umask() -> int:
    mask = os.umask(0o077)  # which can only be read by setting it
    os.umask(mask)
    return mask


def _handle_signals(handlers: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        with contextlib.suppress(ValueError, TypeError):  # another thread's, or not Python's own
            signal.signal(number, handler)


_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "current folder": (_folder, _return_to),
    "file mode mask": (_umask, os.umask),
    "handlers of SIGINT and SIGTERM": (
        lambda: list(map(signal.getsignal, _SIGNALS)),
        _handle_signals,
    ),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "numpy's handling of errors": (np.geterr, lambda values: np.seterr(**values)),
    "numpy's print options": (np.get_printoptions, lambda values: np.set_printoptions(**values)),
}
"""By name: what returns the value, and what sets it."""


@contextlib.contextmanager
def process_settings_kept() -> Iterator[list[str]]:
    """Run a block, then restore the process's settings.

    Warning filters are restored silently: libraries add their own when they are imported.

    Yields:
        A list that, after the block, names the settings that the block changed and did not restore.
    """
    changes: list[str] = []
    before = {name: read() for name, (read, _) in _SETTINGS.items()}
    filters = cast(list[Any], warnings.filters)
    filters_before = list(filters)
    try:
        yield changes
    finally:
        # In place and by hand: after `warnings.catch_warnings` every warning is shown once more.
        filters[:] = filters_before
        for name, (read, write) in _SETTINGS.items():
            if read() != before[name]:
                changes.append(name)
                write(before[name])

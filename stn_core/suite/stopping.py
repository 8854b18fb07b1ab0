"""How a session stops early: SIGTERM and Ctrl-C end it in the same way, its workers with it.

The first signal interrupts what trains; what came back until then is judged. Once the end of the
session has begun no signal raises anything: one says that the summary is being written, the next
one ends the process. Workers leave Ctrl-C, which a terminal sends to them too, to the first
process, and end when that is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from stn_core.suite.options import respelled

SECONDS_TO_STOP = 1.0
"""How long a worker has for what it is writing before it is killed, which costs no finished run."""

_Handler = Callable[[int, FrameType | None], None]


class StoppedBySignal(KeyboardInterrupt):
    """SIGTERM, which pytest is to answer as it answers Ctrl-C."""


class Stopping:
    """Answers SIGINT and SIGTERM while a session runs; a handler of the user's own stays.

    Args:
        config: of the first process, or of the only one.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_ending = False
        self._was_told = False
        self._stopped_by: int | None = None
        self._raised_at = 0.0
        self._usual = _answer_by(self._answer, signal.SIGINT, signal.SIGTERM)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Stop the workers before anything is judged: xdist would let them train on."""
        self._is_ending = True
        # There is no public way to ask xdist for its workers.
        nodes = getattr(self._config.pluginmanager.get_plugin("dsession"), "nodemanager", None)
        if nodes:
            nodes.group.terminate(timeout=SECONDS_TO_STOP)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Any:
        """From here on no signal raises; a session that SIGTERM stopped says so by its status."""
        self._is_ending = True
        answer = yield
        if self._stopped_by == signal.SIGTERM and session.exitstatus == pytest.ExitCode.INTERRUPTED:
            session.exitstatus = 128 + signal.SIGTERM
        return answer

    def pytest_unconfigure(self) -> None:
        """Leave the signals as they were; of a stopped session Ctrl-C ends the rest in silence."""
        for number, usual in self._usual.items():
            signal.signal(number, usual if self._stopped_by is None else signal.SIG_DFL)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        if self._is_ending:
            self._answer_at_the_end(number)
        # `timeout`, for one, sends a signal to the process and to its group: two at once are one.
        elif time.monotonic() - self._raised_at > SECONDS_TO_STOP:
            self._stopped_by, self._raised_at = number, time.monotonic()
            if number == signal.SIGTERM:
                raise StoppedBySignal("by SIGTERM")
            raise KeyboardInterrupt

    def _answer_at_the_end(self, number: int) -> None:
        if self._was_told:
            line = "stopped without a summary; to go on from the finished runs: --resume last"
            _say(respelled(line, self._config))
            os._exit(128 + number)
        self._was_told = True
        _say("stopping: the summary is being written; once more ends the session without it")


def end_with_first_process() -> None:
    """In one of xdist's workers: leave Ctrl-C to the first process, and end when that is gone.

    Without this a worker whose first process was killed trains on for a quarter of a minute.
    """
    _answer_by(lambda number, frame: None, signal.SIGINT)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    """A process whose parent ends gets another one; on Windows it never does, and xdist sees it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _answer_by(answer: _Handler, *numbers: signal.Signals) -> dict[signal.Signals, Any]:
    """Install a handler where Python's own stands, and return what stood there."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # Python leaves signals to the main thread
    usual = {number: signal.getsignal(number) for number in numbers}
    ours = {
        number: handler
        for number, handler in usual.items()
        if handler in (signal.SIG_DFL, signal.default_int_handler)
    }
    for number in ours:
        signal.signal(number, answer)
    return ours


def _say(line: str) -> None:
    """Write a line past Python's buffers, which the signal may have found half written."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{line}\n".encode())

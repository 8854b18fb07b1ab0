"""How a session stops early: SIGTERM and Ctrl-C end it, and its workers, in the same way.

The first signal interrupts training; the runs that have finished are judged. Once the session has
begun to end, signals interrupt only what still trains then: the first other one says that the
summary is being written, the next one ends the process. A terminal also sends Ctrl-C to the
workers; they leave it to the first process, and end when that process is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from stn_core.errors import UsageError
from stn_core.suite.command_line import CommandLine
from stn_core.suite.spelling import respelled

SECONDS_TO_STOP = 1.0
"""Seconds that a worker has to finish writing before it is killed, which loses no finished run."""

_Handler = Callable[[int, FrameType | None], None]


class StoppedBySignal(KeyboardInterrupt):
    """Raised on SIGTERM, so that pytest treats it like Ctrl-C."""


class Stopping:
    """Handles SIGINT and SIGTERM while a session runs; a handler of the user's stays in place.

    Args:
        config: of the first process, or the only one.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_ending = False
        self._was_told = False
        self._stopped_by: int | None = None
        self._raised_at = 0.0
        self._session: pytest.Session | None = None
        self._usual = _answer_by(self._answer, signal.SIGINT, signal.SIGTERM)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Stop the workers before anything is judged; xdist would let them go on training."""
        self._is_ending = True
        # There is no public way to ask xdist for its workers.
        nodes = getattr(self._config.pluginmanager.get_plugin("dsession"), "nodemanager", None)
        if nodes:
            nodes.group.terminate(timeout=SECONDS_TO_STOP)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Any:
        """Stop raising on signals; a session that SIGTERM stopped says so by its exit status."""
        self._is_ending = True
        self._session = session
        answer = yield
        if self._stopped_by == signal.SIGTERM and session.exitstatus == pytest.ExitCode.INTERRUPTED:
            session.exitstatus = 128 + signal.SIGTERM
        return answer

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let signals interrupt what trains after the last test, as they do before it.

        Raises:
            UsageError: one did; the session's exit status says so, too.
        """
        self._is_ending = False
        try:
            yield
        except KeyboardInterrupt:
            if self._session:
                self._session.exitstatus = pytest.ExitCode.INTERRUPTED
            raise UsageError("the session was stopped: --resume last continues") from None
        finally:
            self._is_ending = True

    def pytest_unconfigure(self) -> None:
        """Restore the signals; in a stopped session, Ctrl-C then ends the rest silently."""
        for number, usual in self._usual.items():
            signal.signal(number, usual if self._stopped_by is None else signal.SIG_DFL)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        if self._is_ending:
            self._answer_at_the_end(number)
        # Some programs, such as `timeout`, signal the process and its group: two at once count as
        # one.
        elif time.monotonic() - self._raised_at > SECONDS_TO_STOP:
            self._stopped_by, self._raised_at = number, time.monotonic()
            self._raise()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Stop now if the exception was lost, as happens to one that is raised in `__del__`."""
        if self._stopped_by is not None and not self._is_ending:
            self._raise()

    def _raise(self) -> None:
        if self._stopped_by == signal.SIGTERM:
            raise StoppedBySignal("by SIGTERM")
        raise KeyboardInterrupt

    def _answer_at_the_end(self, number: int) -> None:
        if self._was_told:
            claims = CommandLine(self._config).asks_for_claims
            again = "the same command" if claims else "--resume last"
            line = f"stopped without a summary; to continue from the finished runs: {again}"
            _say(respelled(line, self._config))
            os._exit(128 + number)
        self._was_told = True
        _say("stopping: the summary is being written; once more ends the session without it")


def end_with_first_process() -> None:
    """In one of xdist's workers, leave Ctrl-C to the first process, and end when that is gone.

    Otherwise a worker whose first process was killed goes on training for 15 seconds.
    """
    _answer_by(lambda number, frame: None, signal.SIGINT)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    """A process whose parent ends gets another parent; not on Windows, where xdist notices."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _answer_by(answer: _Handler, *numbers: signal.Signals) -> dict[signal.Signals, Any]:
    """Replace a handler, if it is Python's own, and return the previous one."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # only the main thread may set handlers
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
    """Write a line past Python's buffers, which may be half written when the signal comes."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{line}\n".encode())

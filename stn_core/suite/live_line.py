"""A line at the bottom of the terminal that says how far a session is.

It is drawn below what pytest writes and erased before pytest writes more, so nothing of it remains.
Without a terminal, a line is written every half minute. Both also happen while a test runs and its
output is captured. What pytest calls its terminal is then a temporary file, so while the line is
shown, everything goes to the terminal that pytest started with.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

DRAW_SECONDS, WRITE_SECONDS = 1.0, 30.0
_CLEAR = "\r\x1b[2K"


class LiveLine:
    """Shows a changing text between `start` and `stop`.

    Args:
        reporter: pytest's terminal reporter.
        text: returns the current text; called in a separate thread.
        is_quiet: write nothing if there is no terminal.
        is_drawn: redraw the line in place, if there is a terminal.
    """

    def __init__(
        self, reporter: Any, text: Callable[[], str], *, is_quiet: bool, is_drawn: bool
    ) -> None:
        self._reporter = reporter
        self._writer = reporter._tw  # pytest has no public way to its terminal
        self._file = self._writer._file
        self._out = self._file
        self._text = text
        self._is_quiet = is_quiet
        self._draws = is_drawn and self._file.isatty() and os.environ.get("TERM") != "dumb"
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._column: int | None = None
        self._thread = threading.Thread(target=self._run, name="live line", daemon=True)

    def start(self) -> None:
        """Start showing the text."""
        self._file.flush()
        self._out = _reopened(self._file)
        self._writer._file = _Guarded(self)
        self._thread.start()

    def stop(self) -> None:
        """Erase the line and stop."""
        self._over.set()
        self._thread.join()
        self._erase()
        self._writer._file = self._file
        if self._out is not self._file:
            self._out.close()

    def write(self, text: str) -> int:
        """Write pytest's text where the line was."""
        with self._lock:
            self._erase()
            if self._out is not self._file:
                self._file.flush()  # what a test has printed before, if nothing captures it
            written: int = self._out.write(text)
            self._out.flush()
            return written

    def _run(self) -> None:
        written = time.monotonic()
        while not self._over.wait(DRAW_SECONDS):
            try:
                text = self._text()
            except OSError:  # its files cannot be read at the moment
                continue
            if self._draws:
                self._draw(text)
            elif not self._is_quiet and time.monotonic() - written >= WRITE_SECONDS:
                written = time.monotonic()
                with self._lock:
                    begin_line(self._reporter)
                    self._reporter.write_line(text)

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        text = text[: width - 1].encode(encoding, "replace").decode(encoding)
        with self._lock:
            self._erase()
            column = self._writer.width_of_current_line
            if column >= width or self._over.is_set():
                return
            self._column = column
            self._out.write(("\n" if column else "") + _CLEAR + text)
            self._out.flush()

    def _erase(self) -> None:
        """Erase the line, and go back to where pytest was."""
        with self._lock:
            if self._column is None:
                return
            back = f"\x1b[1A\r\x1b[{self._column}C" if self._column else ""
            self._out.write(_CLEAR + back)
            self._out.flush()
            self._column = None


def begin_line(reporter: Any) -> None:
    """Begin a new line on pytest's terminal, also after a percentage, which pytest itself forgets.

    Args:
        reporter: pytest's terminal reporter.
    """
    reporter.ensure_newline()
    if reporter._tw.width_of_current_line:
        reporter._tw.line()


def _reopened(file: Any) -> Any:
    """A copy of a terminal or file that stays open when its descriptor is redirected."""
    try:
        descriptor = os.dup(file.fileno())
    except (AttributeError, OSError):  # it is in memory
        return file
    return open(descriptor, "w", encoding=file.encoding, errors=file.errors)  # noqa: PTH123


class _Guarded:
    """pytest's terminal, which makes room before it writes."""

    def __init__(self, line: LiveLine) -> None:
        self._line = line

    def write(self, text: str) -> int:
        return self._line.write(text)

    def flush(self) -> None:
        self._line._out.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line._file, name)

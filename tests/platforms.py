"""Marks of tests that not every platform can run."""

import sys

import pytest

needs_posix_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="kills a process by a signal that Windows lacks"
)
needs_named_pipes = pytest.mark.skipif(
    sys.platform == "win32", reason="makes a named pipe among files, which Windows does not"
)

"""What becomes of a process if the one that started it is killed."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path


def ends_if_killed(script, folder, is_busy):
    """Check that the process that a script has started ends, in the middle of its task.

    Args:
        script: of Python; it prints the number of the process that it starts.
        folder: in which the script runs.
        is_busy: a file that this process makes as its task begins.
    """
    starts = [sys.executable, "-c", script]
    with subprocess.Popen(starts, stdout=subprocess.PIPE, text=True, cwd=folder) as session:
        assert session.stdout
        started = int(session.stdout.readline())
        _wait_until(is_busy.exists)
        session.kill()
    _wait_until(lambda: not _is_alive(started))


def _wait_until(is_true):
    patience = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < patience
        time.sleep(0.05)


def _is_alive(process):
    """Whether a process has not ended; nobody may have asked for its exit status yet."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    with contextlib.suppress(OSError):
        os.kill(process, 0)
        return not Path("/proc/self").exists()
    return False

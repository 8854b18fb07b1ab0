"""What every module may rely on: nothing that Windows lacks when it is imported."""

from __future__ import annotations

import subprocess
import sys

IMPORT_EVERYTHING = """
import importlib, os, pkgutil, signal, sys

def import_everything():
    import stn_core
    for module in pkgutil.walk_packages(stn_core.__path__, "stn_core."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

import_everything()  # so that other packages are there as on this platform
for name in [name for name in sys.modules if name.partition(".")[0] == "stn_core"]:
    del sys.modules[name]

for name in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for name in ("fork", "geteuid", "getuid", "killpg", "mkfifo", "register_at_fork",
             "sched_getaffinity", "sysconf", "sysconf_names", "uname", "O_NOFOLLOW", "O_NONBLOCK"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2"):
    if hasattr(signal, name):
        delattr(signal, name)
sys.platform = "win32"
import_everything()
"""


def test_every_module_can_be_imported_without_what_windows_lacks() -> None:
    """It stands in for Windows, on which CI runs part of the tests."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

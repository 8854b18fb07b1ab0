"""How much memory there is, and one line where a file unpacks to more."""

from __future__ import annotations

import os
from pathlib import Path

from stn_core.errors import UsageError

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def check_fits(path: Path, num_bytes: int) -> None:
    """Refuse what no memory here holds, before any of it is unpacked.

    Args:
        path: of the file.
        num_bytes: what it unpacks to.

    Raises:
        UsageError: that is more than there is.
    """
    there_is = total_memory()
    if there_is is not None and num_bytes > there_is:
        raise UsageError(
            f"{path} unpacks to {in_gib(num_bytes)}, more than the {in_gib(there_is)} of memory "
            "here; make the images smaller or fewer, or take a larger machine"
        )


def in_gib(num_bytes: int) -> str:
    """A number of bytes as a person reads it."""
    return f"{num_bytes / 2**30:,.1f} GiB"


def total_memory() -> int | None:
    """Bytes that this process can have: the machine's, or its container's; None: not known."""
    found = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in _CGROUP_LIMITS:
        try:
            found.append(int(limit.read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return min(found, default=None)

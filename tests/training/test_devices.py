"""What a process says of the memory that it has used."""

import os
from pathlib import Path

import numpy as np

from stn_core.training.devices import peak_resident_bytes

STATUS = Path("/proc/self/statm")


def resident_bytes():
    """Now, where the system tells; else 0, the least it can be."""
    return int(STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATUS.exists() else 0


def test_the_peak_of_memory_grows_by_what_is_held_and_never_falls():
    before = peak_resident_bytes()
    room = before - resident_bytes()  # of what was freed since
    held = np.ones(room + 2**26, np.uint8)
    # Not `before` plus 2**26: the system may have taken back other pages in the meantime.
    now = resident_bytes() or held.size
    peak = peak_resident_bytes()
    assert max(before, now - 2**20) <= peak < before + 1.5 * held.size
    del held
    assert peak_resident_bytes() >= peak

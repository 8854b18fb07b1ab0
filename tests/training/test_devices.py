"""What a process says of the memory that it has used."""

import numpy as np

from stn_core.training.devices import peak_resident_bytes


def test_the_peak_of_memory_grows_by_what_is_held_and_never_falls():
    before = peak_resident_bytes()
    size = before + 2**26  # so that what was freed before cannot make room for it
    held = np.ones(size, np.uint8)
    peak = peak_resident_bytes()
    assert size < peak < before + 1.5 * size
    del held
    assert peak_resident_bytes() >= peak

"""One thread a process; warnings are errors in tests/, though a user's own model may warn."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

_HERE = Path(__file__).parent

# Before anything imports torch, and for the processes that tests start. As a cell trains: two
# workers fill two cores, and with more threads the small tensors of these tests wait for one
# another, which cost 112 s of CPU time where the work is 1.6 s (2026-11).
os.environ["OMP_NUM_THREADS"] = "1"

# Time per example says nothing on a shared machine.
settings.register_profile("stn_core", deadline=None)
settings.load_profile("stn_core")


def pytest_collection_modifyitems(items):
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"))
            # torch's compiler says so of Python 3.13.0; marks that come later win.
            item.add_marker(pytest.mark.filterwarnings("ignore:Guards may run slower"))

"""Warnings are errors in tests/; a model of a user's own that warns is benchmarked all the same."""

from pathlib import Path

import pytest
from hypothesis import settings

_HERE = Path(__file__).parent

# Time per example says nothing on a shared machine.
settings.register_profile("stn_core", deadline=None)
settings.load_profile("stn_core")


def pytest_collection_modifyitems(items):
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"))
            # torch's compiler says so of Python 3.13.0; marks that come later win.
            item.add_marker(pytest.mark.filterwarnings("ignore:Guards may run slower"))

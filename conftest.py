"""Loads the suite's plugin and gives tests the device that the command line names."""

from __future__ import annotations

import pytest

pytest_plugins = ["stn_core.suite.plugin"]


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config):
    """The device of ``--device``: a GPU where there is one, unless another is named."""
    from stn_core.devices import resolve_device

    return resolve_device(pytestconfig.getoption("--device") or "auto")

"""Gives tests the device that the command line names, and leaves timings out unless asked for."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config):
    """The device of ``--device``: a GPU where there is one, unless another is named."""
    from stn_core.devices import resolve_device
    from stn_core.errors import UsageError

    try:
        return resolve_device(pytestconfig.getoption("--device") or "auto")
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Two timings at once, or one beside a training, would measure each other."""
    if "throughput" in config.getoption("-m"):
        return
    timings = [item for item in items if item.get_closest_marker("throughput")]
    items[:] = [item for item in items if item not in timings]
    config.hook.pytest_deselected(items=timings)

"""A second plugin for those who want it: ``--device`` means ``--stn-device``, and so on.

Choose it with ``-p stn_core.suite.short_options`` where no other plugin and no conftest.py has
options of these names.
"""

from __future__ import annotations

import pytest

pytest_plugins = ["stn_core.suite.plugin"]


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the short names, unless the plugin itself is yet to come and declares both."""
    if pluginmanager.hasplugin("stn_core.suite.plugin"):
        from stn_core.suite.options import declare_options

        declare_options(parser, [""], hidden=True)

"""A second plugin for those who want it: ``--device`` means ``--stn-device``, and so on.

Choose it with ``-p stn_core.suite.short_options`` where no other plugin and no conftest.py has
options of these names.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Generator
from typing import Any

import pytest

pytest_plugins = ["stn_core.suite.plugin"]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, Any, Any]:
    """Declare the short names once every installed plugin has declared its options.

    Whoever comes second clashes, and pytest shows that of a plugin as a traceback.
    """
    from stn_core.suite.options import clash_line, declare_options

    try:
        declare_options(parser, "")
    except argparse.ArgumentError as error:
        raise pytest.UsageError(clash_line(error)) from None
    # As pytest has done with the options so far, so that no value is taken for a test's path.
    known = parser.parse_known_args(args, copy.copy(early_config.option))
    known.confcutdir = early_config.known_args_namespace.confcutdir
    early_config.known_args_namespace = known
    return (yield)
